"""Facts of fields, on a table whose facts follow from how it is made."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from plain_reference import write_card

from bench.data.prepare.prepare import prepare
from bench.data.store import fields, measure
from bench.data.store.fields import describe, keep_fields, read_fields
from bench.data.store.store import Store, read_facts
from bench.errors import DataError, StorageError
from bench.stats.association import single_field_auc

N = 1000
KINDS = {
    "city": "categorical",
    "town": "categorical",  # city, renamed, but for one row
    "code": "categorical",  # city, renamed
    "gap": "categorical",  # every fourth is missing
    "same": "categorical",
    "told": "categorical",  # the label and a number
    "cm": "numeric",
    "mm": "numeric",
    "other": "numeric",
}


def columns() -> dict[str, list[object]]:
    rng = np.random.default_rng(0)
    label, city = rng.integers(2, size=N), rng.integers(8, size=N)
    cm = np.where(np.arange(N) % 5, rng.permutation(N), -1)
    return {
        "y": label.tolist(),
        "city": city.tolist(),
        "town": [f"t{(3 * c) % 8}" for c in city],
        "code": [f"x{c * 7}" for c in city],
        "gap": ["" if i % 4 == 0 else f"g{i % 3}" for i in range(N)],
        "same": ["one"] * N,
        "told": (2 * label + rng.integers(2, size=N)).tolist(),
        "cm": ["" if c < 0 else c for c in cm],
        "mm": ["" if c < 0 else -10 * c for c in cm],
        "other": rng.permutation(N).tolist(),
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Store, card and columns; ``town`` says another city in the fourth train row alone."""
    folder = tmp_path_factory.mktemp("facts")
    listed = "\n".join(f'{name} = "{kind}"' for name, kind in KINDS.items())
    card = write_card(folder, f'name = "mine"\nmin_count = 1\n[raw.columns]\ny = "label"\n{listed}\n')
    table = columns()
    raw = folder / "t.csv"

    def write():
        lines = [",".join(table), *(",".join(map(str, row)) for row in zip(*table.values(), strict=True))]
        raw.write_text("\n".join(lines))

    write()
    store = prepare(card, raw, folder / "first" / "mine")
    fourth = int(Store(store, card).rows(0)[3])
    table["town"][fourth] = next(town for town in table["town"] if town != table["town"][fourth])
    write()
    return prepare(card, raw, folder / "data" / "mine"), card, table


def facts(made, **settings):
    store, card, _ = made
    return describe(store, card, **settings).by_name


def test_values_missing_and_most_frequent_are_shares_of_the_train_rows(made):
    store, card, table = made
    found, train = facts(made), Store(store, card).rows(0)
    gap = [table["gap"][row] for row in train]
    counts = [gap.count(value) for value in ("", "g0", "g1", "g2")]
    assert (found["gap"].values, found["gap"].missing) == (3, counts[0] / len(train))
    assert found["gap"].top == max(counts) / len(train)
    cm = [table["cm"][row] for row in train]
    assert found["cm"].missing == cm.count("") / len(train)
    assert found["cm"].values == len({value for value in cm if value != ""})
    assert [name for name, one in found.items() if one.constant] == ["same"]


def test_auc_alone_is_that_of_the_codes_and_a_leak_is_told(made):
    store, card, table = made
    found, train = facts(made), Store(store, card).rows(0)
    labels = [table["y"][row] for row in train]
    assert found["city"].auc == single_field_auc([table["city"][row] for row in train], labels)
    assert found["told"].auc == 1
    assert [name for name, one in found.items() if one.leak] == ["told"]


@pytest.mark.parametrize("most", [10**6, 200])
def test_twins_are_one_to_one_on_all_train_rows_however_few_are_looked_at(made, monkeypatch, most):
    """Of 200 evenly spaced of 800 rows none is the fourth: on them, town and city are one-to-one."""
    monkeypatch.setattr(measure, "MOST_ROWS", most)
    store, card, _ = made
    found = measure.measure(Store(store, card))
    by_name = {one.name: one for one in found.fields}
    assert found.rows == min(most, found.train_rows)
    assert (by_name["city"].twins, by_name["code"].twins, by_name["town"].twins) == (("code",), ("city",), ())
    assert [name for name, _ in by_name["town"].near] == ["city"]
    assert (by_name["cm"].twins, by_name["mm"].twins, by_name["other"].twins) == (("mm",), ("cm",), ())
    assert by_name["same"].constant


def test_wide_tables_are_looked_at_in_fewer_rows(made, monkeypatch):
    store, card, _ = made
    monkeypatch.setattr(measure, "MOST_CELLS", 50 * len(KINDS))
    assert measure.measure(Store(store, card)).rows == 50


def test_facts_are_measured_once_a_store_and_anew_where_it_or_they_changed(made, monkeypatch):
    store, card, _ = made
    first = describe(store, card)
    kept = store / "fields.json"
    monkeypatch.setattr(fields, "measure", None)
    assert describe(store, card) == first
    monkeypatch.undo()
    for damaged in ("", "{", "[]", json.dumps({"of": {}}), kept.read_text().replace('"rows"', '"rowz"')):
        kept.write_text(damaged)
        assert describe(store, card) == first
        assert json.loads(kept.read_text())["rows"] == first.measured.rows
    assert describe(store, card, rows=400).measured.train_rows < first.measured.train_rows
    assert json.loads(kept.read_text())["rows"] == first.measured.rows, "some rows are not kept as all"


def test_a_store_that_cannot_be_written_is_described_all_the_same(made):
    store, card, _ = made
    (store / "fields.json").unlink(missing_ok=True)
    (store / "fields.json").mkdir()
    try:
        assert describe(store, card).measured.fields
    finally:
        (store / "fields.json").rmdir()


def test_a_damaged_store_is_refused(made, tmp_path):
    store, card, _ = made
    copy = tmp_path / "mine"
    copy.mkdir()
    for file in store.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    (copy / "fields.json").unlink(missing_ok=True)
    (copy / "ids.npy").write_bytes((copy / "ids.npy").read_bytes()[:-4])
    with pytest.raises(DataError, match=r"ids\.npy: the checksum"):
        describe(copy, card)


def test_a_run_folder_keeps_them_under_what_records_say_of_their_rows(made, tmp_path):
    store, card, _ = made
    for rows in (None, 400, None):
        keep_fields(tmp_path, store, card, read_facts(store, card, rows), rows)
    found = {one.split_rows["train"]: one for one in read_fields(tmp_path)}
    assert sorted(found) == sorted(read_facts(store, card, rows).split_rows["train"] for rows in (400, None))
    assert found[max(found)] == describe(store, card)
    assert read_fields(tmp_path / "older") == []


def test_a_damaged_file_of_a_run_folder_is_named(made, tmp_path: Path):
    store, card, _ = made
    keep_fields(tmp_path, store, card, read_facts(store, card), None)
    (file,) = (tmp_path / "fields").iterdir()
    whole = json.loads(file.read_text())
    file.write_text(json.dumps(whole | {"format": 0}))
    assert read_fields(tmp_path) == [], "of another version"
    for text in ("", "[1]", json.dumps(whole | {"measured": {}}), json.dumps(whole | {"split_rows": 3})):
        file.write_text(text)
        with pytest.raises(StorageError, match="does not hold the facts of fields"):
            read_fields(tmp_path)
