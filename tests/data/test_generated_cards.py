from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
from plain_reference import manifest_of, plain_ids, plain_split, write_card

from bench.data.prepare.prepare import prepare
from bench.data.raw.generated import GeneratedBlock, GeneratedData
from bench.errors import ConfigError, DataError
from bench.rows.load import load

CARD = """
name = "made"
generator = "test_generated_cards:generate"
min_count = 2
[params]
rows = 200
cut = { default = 50, min = 1 }
"""


def generate(params):
    assert set(params) == {"rows", "cut"}
    rng = np.random.default_rng(0)
    n = int(params["rows"])
    columns = {"a": rng.integers(-1, 12, n), "b": rng.integers(0, 40, n)}
    truth = rng.random(n).astype(np.float32)
    labels = (rng.random(n) < truth).astype(np.uint8)

    def blocks():
        for start in range(0, n, int(params["cut"])):
            part = slice(start, start + int(params["cut"]))
            yield GeneratedBlock({name: column[part] for name, column in columns.items()}, labels[part], truth[part])

    return GeneratedData(("b", "a"), {"a": "main", "b": "noise"}, blocks())


def test_generated_rows_go_through_the_same_encoder(tmp_path):
    card = write_card(tmp_path, CARD)
    opened = load(prepare(card, None, tmp_path / "out"), card)
    (all_rows,) = generate({"rows": 200, "cut": 200}).blocks
    rows = [
        {"a": None if a < 0 else str(a), "b": str(b)}
        for a, b in zip(all_rows.columns["a"], all_rows.columns["b"], strict=True)
    ]
    split = plain_split(all_rows.labels.tolist(), 0, ["0.8", "0.1", "0.1"])
    ids, kept = plain_ids(rows, split, ["b", "a"], 2)
    assert opened.roles == {"a": "main", "b": "noise"}
    assert opened.schema.names == ("b", "a")
    for part, number in ((opened.train, 0), (opened.valid, 1), (opened.test, 2)):
        mine = np.array(split) == number
        np.testing.assert_array_equal(part.ids, ids[mine])
        np.testing.assert_array_equal(part.labels, all_rows.labels[mine])
    np.testing.assert_array_equal(opened.test_truth, all_rows.truth[np.array(split) == 2])
    table = pq.read_table(tmp_path / "out" / "vocabulary.parquet").to_pylist()
    assert [row["value"] for row in table if row["field"] == "a"][2:] == kept["a"]


def test_blocks_do_not_matter_and_fewer_rows_keep_their_truth(tmp_path):
    first = write_card(tmp_path, CARD)
    second = write_card(tmp_path, CARD, cut="7")
    one = load(prepare(first, None, tmp_path / "one"), first, 120)
    two = load(prepare(second, None, tmp_path / "two"), second, 120)
    assert manifest_of(tmp_path / "one")["files"] == manifest_of(tmp_path / "two")["files"]
    (all_rows,) = generate({"rows": 200, "cut": 200}).blocks
    np.testing.assert_array_equal(one.test_truth, all_rows.truth[one.test.index])
    np.testing.assert_array_equal(one.test.ids, two.test.ids)


def test_a_generator_that_is_not_there_or_makes_nothing(tmp_path):
    for target, message in [
        ("no.such:thing", "'no.such:thing' .named by the card. cannot be imported"),
        ("math:nothing", "'math:nothing' .named by the card. cannot be imported"),
        ("math:pi", "'math:pi' .named by the card. cannot be called"),
    ]:
        card = write_card(tmp_path, CARD.replace("test_generated_cards:generate", target))
        with pytest.raises(ConfigError, match=message):
            prepare(card, None, tmp_path / "out")
    with pytest.raises(DataError, match="the generator made no rows"):
        prepare(write_card(tmp_path, CARD, rows="0"), None, tmp_path / "out")
