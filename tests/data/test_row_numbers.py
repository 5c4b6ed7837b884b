"""The index that pandas writes: named where it is a field, or not named by the card at all."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from plain_reference import manifest_of, write_card

from bench.data.prepare.prepare import Settings, prepare
from bench.errors import DataError

CARD = """
name = "mine"
[raw]
join = true
[raw.columns]
"{name}" = "{kind}"
y = "label"
c = "categorical"
x = "numeric"
"""


def frame(n=300):
    rng = np.random.default_rng(0)
    return pd.DataFrame({"y": rng.integers(0, 2, n), "c": rng.choice(["1", "2"], n), "x": rng.normal(size=n)})


def notes_of(folder, kind, write, name="Unnamed: 0", chunk_bytes=1000):
    path = folder / "t"
    write(path)
    card = write_card(folder, CARD.format(name=name, kind=kind))
    return manifest_of(prepare(card, path, folder / "out", settings=Settings(chunk_bytes=chunk_bytes)))["notes"]


def as_csv(table):
    return lambda path: table.to_csv(path, index=False)


@pytest.mark.parametrize("kind", ["categorical", "integer", "numeric"])
@pytest.mark.parametrize("chunk_bytes", [1000, 1 << 20])
@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("start", [0, 1, 1000])
def test_a_field_that_numbers_the_rows_is_named(tmp_path, kind, chunk_bytes, form, start):
    table = frame()
    table.insert(0, "row", np.arange(start, start + len(table)))
    write = as_csv(table) if form == "csv" else lambda path: table.to_parquet(path, index=False)
    [note] = notes_of(tmp_path, kind, write, "row", chunk_bytes)
    assert note.startswith("column 'row' numbers the rows") and 'the kind "ignore"' in note


@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
def test_a_shuffled_index_is_known_by_its_name(tmp_path, name):
    table = frame()
    table.insert(0, name, np.random.default_rng(1).permutation(len(table)))
    [note] = notes_of(tmp_path, "categorical", as_csv(table), name)
    assert note.startswith(f"column {name!r} has the name that pandas gives to an index")


def test_an_ignored_index_is_nothing_to_speak_of(tmp_path):
    assert notes_of(tmp_path, "ignore", lambda path: frame().to_csv(path), name="") == []


@pytest.mark.parametrize("kind", ["categorical", "integer", "numeric"])
@pytest.mark.parametrize("values", ["shuffled", "one missing", "by two", "starts again", "constant"])
def test_other_numbers_are_nothing_to_speak_of(tmp_path, kind, values):
    table = frame()
    n = len(table)
    made = {
        "shuffled": np.random.default_rng(1).permutation(n),
        "one missing": [None if i == n // 3 else i for i in range(n)],
        "by two": np.arange(n) * 2,
        "starts again": np.arange(n) % (n - 20),
        "constant": np.zeros(n, dtype=int),
    }
    table.insert(0, "row", pd.array(made[values], dtype="Int64"))
    assert notes_of(tmp_path, kind, as_csv(table), "row") == []


def test_parts_are_numbered_each_by_itself(tmp_path):
    folder = tmp_path / "t"
    folder.mkdir()
    for name in ("a.csv", "b.csv"):
        frame(50).to_csv(folder / name)
    notes = notes_of(tmp_path, "integer", lambda path: None, "")
    assert notes[1].startswith("column '' numbers the rows")


@pytest.mark.parametrize("index", [None, ""])
def test_an_index_that_the_card_does_not_name_is_explained(tmp_path, index):
    table = frame()
    table.insert(0, "Unnamed: 0" if index is None else index, range(len(table)))
    with pytest.raises(DataError, match=r'The index that pandas writes is one of them: "(Unnamed: 0)?" = "ignore"'):
        notes_of(tmp_path, "ignore", as_csv(table.assign(z=1)), "z")
