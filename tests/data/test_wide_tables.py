"""Tables of many columns: what makes them quick changes no byte of the store, and no message."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from plain_reference import manifest_of, write_card

from bench.data.prepare import dictionaries
from bench.data.prepare.prepare import Settings, prepare
from bench.data.prepare.turning import beside, turned
from bench.data.raw import readers
from bench.errors import DataError

N_COLUMNS, N_ROWS = 48, 200
KINDS = ("categorical", "integer", "numeric", "categorical")


def value(row: int, column: int) -> str:
    """A short text, a whole number, a number and a long text in turn; some are missing."""
    draw = (row * 7919 + column * 104_729) % 9973
    if draw % 11 == 0:
        return ""
    return (f"v{draw % 50}", str(draw % 3000 - 20), f"{draw / 64}", f"campaign number {draw % 40}")[column % 4]


def wide(folder):
    """A card and its table."""
    columns = "".join(f'c{i} = "{KINDS[i % 4]}"\n' for i in range(N_COLUMNS))
    card = write_card(folder, f'name = "wide"\n[raw]\n[raw.columns]\ny = "label"\n{columns}')
    rows = [[str(row * 31 % 7 % 2), *(value(row, i) for i in range(N_COLUMNS))] for row in range(N_ROWS)]
    lines = [",".join(["y", *(f"c{i}" for i in range(N_COLUMNS))]), *map(",".join, rows)]
    (folder / "wide.csv").write_text("\n".join(lines) + "\n")
    return card


def prepared(folder, card, chunk_bytes=1 << 20):
    return prepare(card, folder / "wide.csv", folder / "out", settings=Settings(chunk_bytes, threads=2))


def test_the_store_is_what_it_was_before_wide_tables_were_quick(tmp_path):
    """The checksums are those of the commit before."""
    found = manifest_of(prepared(tmp_path, wide(tmp_path)))["files"]
    assert {name: digest[:16] for name, digest in found.items() if name.endswith(".npy")} == {
        "ids.npy": "7df7b79da26cf982",
        "labels.npy": "f2ddb29b8a3531b8",
        "numeric.npy": "27cf1e44d0f7be05",
        "split.npy": "43659b7a0c83c437",
    }


@pytest.mark.parametrize("chunk_bytes", [1500, 1 << 20])
def test_the_store_does_not_depend_on_what_the_parser_sees_at_a_time(tmp_path, monkeypatch, chunk_bytes):
    card = wide(tmp_path)
    monkeypatch.setattr(readers, "_has_short_lines", lambda _: False)
    whole = manifest_of(prepared(tmp_path, card, chunk_bytes))["files"]
    monkeypatch.undo()
    monkeypatch.setattr(readers, "_PARSED_BYTES", 2000)
    assert manifest_of(prepared(tmp_path, card, chunk_bytes))["files"] == whole


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_the_store_does_not_depend_on_how_many_rows_are_coded_at_a_time(tmp_path, monkeypatch, ending):
    """Nor on when values are merged: all at the end, or some of the fields on the way."""
    card, raw = wide(tmp_path), tmp_path / f"wide.{ending}"
    if ending == "parquet":
        frame = pd.read_csv(tmp_path / "wide.csv", dtype={f"c{i}": "Int64" for i in range(1, N_COLUMNS, 4)})
        frame.to_parquet(raw, index=False)
    found = []
    sizes = [
        (1 << 20, 1 << 19, 0),
        (1500, 1 << 19, 0),
        (20_000, 1, 0),
        (9000, 60, 0),
        (1500, 1, 1 << 28),
        (1500, 1, 4000),
    ]
    for place, (chunk_bytes, wait, n_bytes) in enumerate(sizes):
        monkeypatch.setattr(dictionaries, "MERGE_VALUES", wait)
        monkeypatch.setattr(dictionaries, "WAITING_BYTES", n_bytes)
        store = prepare(card, raw, tmp_path / f"{place}", settings=Settings(chunk_bytes, threads=2))
        found.append(manifest_of(store)["files"])
    assert all(one == found[0] for one in found)


def test_what_waits_to_be_merged_is_bounded_however_many_fields_there_are():
    most = [n_fields * dictionaries.waiting_values(n_fields) for n_fields in (1, 40, 300, 2000, 30_000)]
    assert max(most) == 40 * dictionaries.MERGE_VALUES
    assert most[0] == dictionaries.MERGE_VALUES


def test_a_line_longer_than_that_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "_PARSED_BYTES", 2000)
    card = wide(tmp_path)
    text = (tmp_path / "wide.csv").read_text().replace("campaign number 7,", f"{'x' * 3000},")
    assert "x" * 3000 in text
    (tmp_path / "wide.csv").write_text(text)
    assert manifest_of(prepared(tmp_path, card))["n_rows"] == N_ROWS


@pytest.mark.parametrize(("row", "column", "text"), [(150, 2, "many"), (199, 3, "1e"), (0, 3, "-")])
def test_errors_name_the_line(tmp_path, monkeypatch, row, column, text):
    monkeypatch.setattr(readers, "_PARSED_BYTES", 2000)
    card = wide(tmp_path)
    lines = (tmp_path / "wide.csv").read_text().splitlines()
    cells = lines[row + 1].split(",")
    cells[column] = text
    lines[row + 1] = ",".join(cells)
    (tmp_path / "wide.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match=rf"wide.csv: line {row + 2}, column 'c{column - 1}': '{text}' is not a"):
        prepared(tmp_path, card)


@pytest.mark.parametrize("n_columns", [0, 1, 256, 600])
def test_columns_are_put_beside_each_other(n_columns):
    columns = [np.arange(300, dtype=np.uint16) * 7 + number for number in range(n_columns)]
    rows = beside(iter(columns), (300, n_columns), np.int32)
    assert rows.tolist() == [[row * 7 + number for number in range(n_columns)] for row in range(300)]


@pytest.mark.parametrize("columns", [range(3, 4), range(0, 5), range(2, 9)])
def test_some_columns_are_taken_out_of_rows(columns):
    rows = np.arange(5000 * 9, dtype=np.float64).reshape(5000, 9)
    assert turned(rows, columns).tolist() == [rows[:, column].tolist() for column in columns]
