"""Stores of some of a table's rows, made without one of the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from plain_reference import manifest_of, plain_hash, write_card

from bench.data.prepare.prepare import Settings, prepare
from bench.data.store.splits import nth_hash, row_hash
from bench.data.store.store import Store
from bench.errors import ConfigError, DataError
from bench.rows.load import load

N = 600
CARD = """
name = "mine"
min_count = 2
[raw]
{keys}
[raw.columns]
y = "label"
c = "categorical"
n = "integer"
x = "numeric"
"""


def frame():
    rng = np.random.default_rng(0)
    words = [f"value {i}" if i % 2 else f"v{i}" for i in range(40)]
    values = {"y": rng.integers(0, 2, N), "c": rng.choice(words, N), "n": rng.integers(0, 30, N)}
    return pd.DataFrame(values | {"x": rng.normal(size=N)})


def card(folder, keys="", **overrides):
    return write_card(folder, CARD.format(keys=keys), **{name: str(value) for name, value in overrides.items()})


@pytest.fixture
def table(tmp_path) -> Path:
    frame().to_csv(tmp_path / "t.csv", index=False)
    return tmp_path / "t.csv"


def drawn(store):
    return np.load(store / "rows.npy").tolist()


def test_rows_are_those_that_a_run_takes_from_the_whole(tmp_path, table):
    """Rows, labels, splits, vocabularies, ids and numbers."""
    whole, some = card(tmp_path), card(tmp_path, rows=150)
    prepare(whole, table, tmp_path / "whole")
    prepare(some, table, tmp_path / "some", settings=Settings(chunk_bytes=900, threads=3))
    assert drawn(tmp_path / "some") == sorted(sorted(range(N), key=lambda row: plain_hash(0, row))[:150])
    for rows in (None, 60):  # also of the rows of the sample
        expected = load(tmp_path / "whole", whole, rows or 150)
        found = load(tmp_path / "some", some, rows)
        assert found.schema == expected.schema
        for split in ("train", "valid", "test"):
            one, two = getattr(found, split), getattr(expected, split)
            for name in ("ids", "numeric", "labels"):
                np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


@pytest.mark.parametrize(("share", "seed"), [(0.05, 0), (0.1, 0), (0.25, 3), (1e-3, 3)])
def test_a_share_takes_the_hashes_below_it(tmp_path, table, share, seed):
    mine = card(tmp_path, sample=share, split_seed=seed)
    expected = [row for row in range(N) if plain_hash(seed, row) < share * 2**64]
    if len(expected) < 10:
        with pytest.raises(DataError, match=f"{len(expected)} of its 600 rows are drawn, too few to split"):
            prepare(mine, table, tmp_path / "out")
    else:
        store = prepare(mine, table, tmp_path / "out")
        assert drawn(store) == expected
        np.testing.assert_array_equal(np.load(store / "labels.npy"), frame().y[expected])
        note = f"{len(expected)} of 600 rows, drawn by a hash of their numbers: mine[sample={share}"
        assert note in manifest_of(store)["notes"][-1]


def test_a_smaller_share_is_within_a_larger_one(tmp_path, table):
    rows = [set(drawn(prepare(card(tmp_path, sample=share), table, tmp_path / "out"))) for share in (0.1, 0.2, 0.5)]
    assert rows[0] < rows[1] < rows[2]


@pytest.mark.parametrize("form", ["parts", "parquet", "newlines", "folders", "chunks"])
def test_parts_and_forms_do_not_matter(tmp_path, table, form):
    expected = manifest_of(prepare(card(tmp_path, sample=0.2), table, tmp_path / "1"))["files"]
    raw, keys, chunk_bytes = table, "", 1 << 20
    if form == "parts":
        raw = tmp_path / "parts"
        raw.mkdir()
        for place in range(12):
            frame()[place * 50 : place * 50 + 50].to_csv(raw / f"{place}.csv", index=False)
    elif form == "parquet":
        raw, chunk_bytes = tmp_path / "t.parquet", 300
        frame().to_parquet(raw, index=False)
    elif form == "newlines":
        raw, keys, chunk_bytes = tmp_path / "n.csv", "newlines_in_values = true", 500
        frame().to_csv(raw, index=False, quoting=2)
    elif form == "folders":
        raw = tmp_path / "hive"
        for label, part in frame().assign(place=np.arange(N) // 300).groupby("place"):
            (raw / f"place={label}").mkdir(parents=True)
            part.drop(columns="place").to_parquet(raw / f"place={label}" / "0.parquet", index=False)
    else:
        chunk_bytes = 200
    mine = card(tmp_path, keys, sample=0.2)
    store = prepare(mine, raw, tmp_path / "2", settings=Settings(chunk_bytes, threads=3))
    assert manifest_of(store)["files"] == expected


@pytest.mark.parametrize("keys", ["", "newlines_in_values = true"])
def test_errors_name_the_line_of_the_whole(tmp_path, keys):
    rows = np.flatnonzero(row_hash(0, np.arange(N)) < np.uint64(0.2 * 2**64))
    wrong = frame().astype(object)
    wrong.loc[rows[9], "x"] = "many"
    wrong.to_csv(tmp_path / "t.csv", index=False)
    said = rf"t.csv: line {rows[9] + 2}, column 'x': 'many' is not a number"
    with pytest.raises(DataError, match=said):
        prepare(card(tmp_path, keys, sample=0.2), tmp_path / "t.csv", tmp_path / "out")
    wrong = frame().assign(y=lambda one: one.y.where(one.index != rows[5], 7))
    wrong.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=rf"t.csv: line {rows[5] + 2}, column 'y': the label is '7'"):
        prepare(card(tmp_path, keys, sample=0.2), tmp_path / "t.csv", tmp_path / "out", settings=Settings(400))


def test_more_rows_than_there_are_means_all(tmp_path, table):
    whole = manifest_of(prepare(card(tmp_path), table, tmp_path / "1"))["files"]
    some = manifest_of(prepare(card(tmp_path, rows=N + 1), table, tmp_path / "2"))["files"]
    assert {name: sum_ for name, sum_ in some.items() if name != "rows.npy"} == whole


@pytest.mark.parametrize(("n_rows", "wanted"), [(1, 1), (7, 3), (5000, 1), (5000, 700), (5000, 4999)])
def test_the_hash_of_a_place_is_found_without_all(n_rows, wanted):
    assert nth_hash(n_rows, 3, wanted) == sorted(plain_hash(3, row) for row in range(n_rows))[wanted - 1]


def test_a_sample_never_passes_for_the_whole(tmp_path, table):
    whole, some = card(tmp_path), card(tmp_path, sample=0.5)
    assert (some.spec, some.key == whole.key) == ("mine[sample=0.5]", False)
    assert "sample" not in whole.params
    assert "rows" not in whole.params
    prepare(some, table, tmp_path / "out")
    with pytest.raises(DataError, match=r"was made with sample=0.5, not 1.0"):
        Store(tmp_path / "out", whole)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"sample": 0}, "out of range"),
        ({"sample": 1.5}, "out of range"),
        ({"rows": -1}, "out of range"),
        ({"rows": 9}, "too few to split"),
        ({"rows": 50, "sample": 0.5}, "exclude each other"),
    ],
)
def test_what_cannot_be_drawn(tmp_path, overrides, message):
    with pytest.raises(ConfigError, match=message):
        card(tmp_path, **overrides)


def test_the_command_names_the_store(bench, table):
    Path("own.toml").write_text(CARD.format(keys=""))
    made = bench("prepare", "own.toml", "--raw", str(table), "--sample", "0.3")
    assert "use these rows with: --datasets 'own.toml[sample=0.3]'" in made.out
    assert made.out.startswith("data/mine@")
    assert "of 600 rows, drawn by a hash" in made.out
    assert "600 rows" not in bench("prepare", "own.toml", "--raw", str(table), "--rows", "100").out.splitlines()[0]
    twice = bench("prepare", "own.toml[rows=50]", "--raw", str(table), "--rows", "100")
    assert (twice.code, "exclude each other" in twice.err) == (2, True)
    generated = bench("prepare", "planted", "--sample", "0.5")
    assert (generated.code, "has no parameter 'sample'" in generated.err) == (2, True)
