"""Tables of many columns: what makes them quick changes no byte of the store, and no message."""

from __future__ import annotations

import numpy as np
import pytest
from plain_reference import manifest_of, write_card

from bench.data.prepare.encode import beside
from bench.data.prepare.prepare import Settings, prepare
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
