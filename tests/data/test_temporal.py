"""Splits by time: who comes where, what a card must say, and that splits by lot stay what they were."""

from __future__ import annotations

import csv
import hashlib
import json
import random
from dataclasses import asdict
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_reference import criteo_lines, manifest_of, plain_hash, plain_ids, write_card

from bench.data.card.card import load_card
from bench.data.card.time_order import DAY_S
from bench.data.prepare.prepare import Settings, prepare
from bench.data.store.temporal import temporal_splits
from bench.datasets import TABLE, card_path, resolve_dataset, with_split
from bench.errors import ConfigError, DataError
from bench.rows.load import load

CRITEO = (0.72, 0.18, 0.1)
OTHERS = (0.8, 0.1, 0.1)

CARD = """
name = "mine"
min_count = 2
[raw.columns]
y = "label"
c = "categorical"
at = { kind = "time", format = "unix", parts = { hour = "hour" } }
x = "numeric"
[time]
column = "at"
"""


def plain_temporal(times: list[int], shares: tuple[float, ...]) -> list[int]:
    """Rows sorted by time, then by place; cut at the shares, halves rounded up."""
    order = sorted(range(len(times)), key=lambda row: (times[row], row))
    cuts = [Fraction(str(shares[0])), Fraction(str(shares[0])) + Fraction(str(shares[1]))]
    train, valid = (int((cut * len(times) + Fraction(1, 2)) // 1) for cut in cuts)
    split = [0] * len(times)
    for place, row in enumerate(order):
        split[row] = (place >= train) + (place >= valid)
    return split


@given(st.lists(st.integers(-6, 6), min_size=10, max_size=300), st.booleans())
@settings(max_examples=100, deadline=None)
def test_rows_are_cut_in_the_order_of_time_and_of_the_file(times, criteo):
    shares = CRITEO if criteo else OTHERS
    found = temporal_splits(len(times), shares, np.array(times, dtype=np.int64))
    assert found.dtype == np.uint8
    assert found.tolist() == plain_temporal(times, shares)


@pytest.mark.parametrize("n", [10, 11, 12, 13, 14, 15, 100, 999])
def test_file_order_is_the_order_of_ascending_times(n):
    assert temporal_splits(n, CRITEO, None).tolist() == plain_temporal(list(range(n)), CRITEO)


def days(*counts: int) -> np.ndarray:
    """So many rows a day, an hour apart; the first five days lie before 1970."""
    return np.concatenate([(day - 5) * DAY_S + 3600 * (np.arange(n) % 24) for day, n in enumerate(counts)])


@pytest.mark.parametrize(
    ("counts", "cuts"),
    [
        ((10,) * 10, (80, 90)),  # the shares end at midnight
        ((10, 10, 10, 10, 10, 10, 10, 13, 8, 9), (83, 91)),  # near it: 80 of 100 lies before, 90 of 100 before 91
        ((50, 10, 40), (50, 60)),  # three days: one each
        ((1, 1, 98), (1, 2)),  # the nearest that leaves every split a day
        ((79, 2, 19), (79, 81)),
        ((70, 20, 5, 5), (70, 90)),  # 70 and 90 are as near to 80: the earlier
        ((60, 40), (80, 90)),  # two days: between rows
        ((100,), (80, 90)),
    ],
)
def test_days_are_not_cut_where_there_are_three(counts, cuts):
    times = days(*counts)
    expected = [(row >= cuts[0]) + (row >= cuts[1]) for row in range(100)]
    found = temporal_splits(100, OTHERS, times, "day")
    order = np.argsort(times, kind="stable")  # hours repeat within a day of more than 24 rows
    assert found[order].tolist() == expected


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A shuffled table of 300 rows with times that repeat, and its rows."""
    folder = tmp_path_factory.mktemp("raw")
    rng = random.Random(3)
    rows = [
        {
            "y": str(int(rng.random() < 0.4)),
            "c": rng.choice(["", *"abcdefgh"]),
            "at": str(1_600_000_000 + 977 * rng.randrange(120)),
            "x": f"{rng.random():.3f}",
        }
        for _ in range(300)
    ]
    with (folder / "t.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "t.csv", rows


def test_rows_before_1970_come_first(raw, tmp_path):
    """The table of ``raw`` moved by whole days, so that its middle lies at 1970."""
    path, rows = raw
    back = (1_600_000_000 + 977 * 60) // DAY_S * DAY_S
    moved = [row | {"at": str(int(row["at"]) - back)} for row in rows]
    assert 50 < sum(row["at"].startswith("-") for row in moved) < 250
    with (tmp_path / "t.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(moved)
    card = write_card(tmp_path, CARD, split="temporal")
    late = load(prepare(card, path, tmp_path / "late"), card)
    early = load(prepare(card, tmp_path / "t.csv", tmp_path / "early"), card)
    assert late.schema == early.schema
    for (_, one), (_, other) in zip(parts_of(late), parts_of(early), strict=True):
        np.testing.assert_array_equal(one.index, other.index)
        np.testing.assert_array_equal(one.ids, other.ids)


def parts_of(opened):
    return enumerate((opened.train, opened.valid, opened.test))


def test_a_temporal_store_and_its_vocabulary(raw, tmp_path):
    path, rows = raw
    card = write_card(tmp_path, CARD, split="temporal")
    assert (card.spec, card.overrides) == ("mine[split=temporal]", {"split": "temporal"})
    store = prepare(card, path, tmp_path / "out", settings=Settings(chunk_bytes=700))
    opened = load(store, card)
    split = np.array(plain_temporal([int(row["at"]) for row in rows], OTHERS))
    assert opened.split_rows == {"train": 240, "valid": 30, "test": 30}
    coded = [{"c": row["c"] or None, "hour": str(int(row["at"]) % 86400 // 3600)} for row in rows]
    ids, kept = plain_ids(coded, split.tolist(), ["c", "hour"], 2)
    assert opened.schema.cardinalities.tolist() == [2 + len(kept["c"]), 2 + len(kept["hour"]), 3]
    numbers = np.array([float(row["x"]) for row in rows])
    standard = (numbers - numbers[split == 0].mean()) / numbers[split == 0].std()
    for number, part in parts_of(opened):
        mine = split == number
        np.testing.assert_array_equal(part.index, np.flatnonzero(mine))
        np.testing.assert_array_equal(part.ids[:, :2], ids[mine])
        np.testing.assert_allclose(part.numeric[:, 0], standard[mine], rtol=1e-5, atol=1e-6)
    times = [np.array([int(rows[row]["at"]) for row in part.index]) for _, part in parts_of(opened)]
    assert times[0].max() <= times[1].min() and times[1].max() <= times[2].min()


@pytest.mark.parametrize("wanted", [120, 299])
def test_fewer_rows_keep_their_split_and_refit_the_vocabulary(raw, tmp_path, wanted):
    path, rows = raw
    card = write_card(tmp_path, CARD, split="temporal")
    store = prepare(card, path, tmp_path / "out")
    chosen = sorted(sorted(range(300), key=lambda row: plain_hash(0, row))[:wanted])
    split = np.array(plain_temporal([int(row["at"]) for row in rows], OTHERS))[chosen]
    coded = [{"c": rows[i]["c"] or None, "hour": str(int(rows[i]["at"]) % 86400 // 3600)} for i in chosen]
    ids, kept = plain_ids(coded, split.tolist(), ["c", "hour"], 2)
    opened = load(store, card, wanted)
    assert sum(opened.split_rows.values()) == wanted
    assert opened.schema.cardinalities[:2].tolist() == [2 + len(kept["c"]), 2 + len(kept["hour"])]
    for number, part in parts_of(opened):
        np.testing.assert_array_equal(part.index, np.array(chosen)[split == number])
        np.testing.assert_array_equal(part.ids[:, :2], ids[split == number])


def test_a_row_without_a_time_has_no_place(raw, tmp_path):
    path, _ = raw
    lines = path.read_text().splitlines()
    values = lines[7].split(",")
    lines[7] = ",".join([*values[:2], "", values[3]])
    (tmp_path / "t.csv").write_text("\n".join(lines))
    assert prepare(write_card(tmp_path, CARD), tmp_path / "t.csv", tmp_path / "random").is_dir()
    card = write_card(tmp_path, CARD, split="temporal")
    with pytest.raises(DataError, match=r"t.csv: line 8, column 'at': the time is missing, by which split=temporal"):
        prepare(card, tmp_path / "t.csv", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_file_order_needs_no_column(tmp_path):
    lines = criteo_lines(200)
    (tmp_path / "train.txt").write_text("\n".join(lines))
    card = resolve_dataset("criteo[split=temporal]")
    opened = load(prepare(card, tmp_path / "train.txt", tmp_path / "out"), card)
    found = [part.index.tolist() for _, part in parts_of(opened)]
    assert found == [list(range(144)), list(range(144, 180)), list(range(180, 200))]


def test_a_column_of_times_may_serve_for_the_order_alone(raw, tmp_path):
    path, rows = raw
    card = write_card(tmp_path, CARD.replace(', parts = { hour = "hour" }', ""), split="temporal")
    opened = load(prepare(card, path, tmp_path / "out"), card)
    assert opened.schema.names == ("c", "x")
    split = plain_temporal([int(row["at"]) for row in rows], OTHERS)
    assert opened.test.index.tolist() == [row for row, place in enumerate(split) if place == 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"\[time\]: give either column = .* or order = \"file\""),
        ('column = "at"\norder = "file"', "give either column"),
        ('order = "rows"', "give either column"),
        ('colum = "at"', "key 'colum' is unknown. Did you mean 'column'"),
        ('column = "c"', "column 'c' is none of the kind 'time'. Known: at"),
        ('column = "att"', "column 'att' is none of the kind 'time'. Did you mean 'at'"),
        ('column = "at"\ncut = "week"', "cut = 'week' must be row, or day"),
        ('order = "file"\ncut = "day"', "cut = 'day' must be row, or day where a column holds the times"),
    ],
)
def test_the_time_table_of_a_card_is_read_strictly(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        write_card(tmp_path, CARD.replace('column = "at"', text))


def test_data_without_an_order_are_refused(tmp_path):
    for name in ("planted", "criteo-like"):
        with pytest.raises(ConfigError, match=rf"'{name}': split=temporal needs .* generated rows have none; leave it"):
            resolve_dataset(f"{name}[split=temporal]")
        assert resolve_dataset(f"{name}[split=random]").key == name
    own = CARD.partition("[time]")[0]
    with pytest.raises(ConfigError, match=r"'mine': split=temporal needs .* add a \[time\] table with column = "):
        write_card(tmp_path, own, split="temporal")
    assert write_card(tmp_path, own, split="random").spec == "mine"
    with pytest.raises(ConfigError, match="split=by-day is not allowed; choose one of random, temporal"):
        write_card(tmp_path, CARD, split="by-day")
    with pytest.raises(ConfigError, match=r"\[params\]: 'split' is a parameter that every card has"):
        write_card(tmp_path, f"{own}[params]\nsplit = 3")


def test_a_table_that_lacks_the_times_is_refused(tmp_path):
    folder = tmp_path / "ml-1m"
    folder.mkdir()
    (folder / "ratings_no_timestamp.dat").write_text("1::2::5\n2::2::3\n")
    (folder / "movies.dat").write_text("2::Toy Story (1995)::Comedy\n")
    (folder / "users.dat").write_text("1::F::1::2::3\n2::M::1::2::3\n")
    with pytest.raises(
        DataError, match=r"ratings_no_timestamp.dat: has no column 'Timestamp', by which split=temporal"
    ):
        prepare(resolve_dataset("movielens-1m[split=temporal]"), folder, tmp_path / "out")


def test_the_flag_adds_the_parameter_where_none_is_named():
    assert with_split("criteo", "random") == "criteo"
    assert with_split("criteo", "temporal") == "criteo[split=temporal]"
    assert with_split("my.toml[min_count=3]", "temporal") == "my.toml[min_count=3,split=temporal]"
    assert with_split("planted[split=random]", "temporal") == "planted[split=random]"


def _as_first_described(layout):
    """What the first stores knew of a layout; what came later says nothing in their cards."""
    keys = [
        "files",
        "columns",
        "fields",
        "delimiter",
        "header",
        "quote",
        "escape",
        "newlines_in_values",
        "encoding",
        "missing",
        "label_rule",
        "rule",
    ]
    columns = [
        {key: column[key] for key in ("name", "role", "field", "time_format", "parts")} for column in layout["columns"]
    ]
    return {key: layout[key] for key in keys} | {"columns": columns}


@pytest.mark.parametrize("name", [name for name in TABLE if name != "aliccp"])  # it looks columns up: came later
def test_stores_split_by_lot_are_what_they_were(name):
    card = load_card(card_path(TABLE[name]))
    parts = {
        "layouts": [_as_first_described(asdict(layout)) for layout in card.layouts],
        "generator": card.generator,
        "shares": card.shares,
    }
    assert card.definition == hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    assert (card.key, card.spec, card.temporal) == (name, name, False)
    if card.order is not None:
        temporal = load_card(card_path(TABLE[name]), {"split": "temporal"})
        assert (temporal.definition != card.definition, temporal.spec) == (True, f"{name}[split=temporal]")


def test_a_store_older_than_the_parameter_opens_by_lot_and_not_by_time(raw, tmp_path):
    card = write_card(tmp_path, CARD)
    store = prepare(card, raw[0], tmp_path / "out")
    manifest = manifest_of(store)
    assert manifest["params"].pop("split") == "random"
    (store / "manifest.json").write_text(json.dumps(manifest))
    assert load(store, card).split_rows == {"train": 240, "valid": 30, "test": 30}
    with pytest.raises(DataError, match=r"the card was changed|made with split=random, not temporal"):
        load(store, write_card(tmp_path, CARD, split="temporal"))


def test_another_order_is_another_store(raw, tmp_path):
    first = write_card(tmp_path, CARD, split="temporal")
    store = prepare(first, raw[0], tmp_path / "out")
    second = write_card(tmp_path, CARD + 'cut = "day"\n', split="temporal")
    with pytest.raises(DataError, match="the card was changed since the store was made"):
        load(store, second)


def test_prepare_and_run_take_the_flag_and_tables_show_it(bench, tmp_path):
    (tmp_path / "train.txt").write_text("\n".join(criteo_lines(400)))
    done = bench("prepare", "criteo", "--split", "temporal", "--raw", str(tmp_path / "train.txt"))
    assert done.code == 0, done.err
    assert "400 rows (train 288, valid 72, test 40)" in done.out
    flags = ["--methods", "no-selection", "random-k", "--backbones", "dnn[mlp=8]", "--epochs", "1", "--seeds", "1"]
    missing = bench("run", "--datasets", "criteo", *flags)
    assert (missing.code, "'criteo' is not prepared" in missing.err) == (2, True)
    found = bench("run", "--datasets", "criteo", "--split", "temporal", *flags, "--out", "x")
    assert found.code == 0, found.err
    assert "Criteo [split=temporal]" in found.out
    again = bench("run", "--datasets", "criteo[split=temporal]", *flags, "--out", "x")
    assert again.err.startswith("2 cells, 2 done before, 0 to run")
    refused = bench("run", "--split", "temporal", *flags)
    assert refused.code == 2
    assert "generated rows have none" in refused.err
