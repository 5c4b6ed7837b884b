"""What tables say where the code of a plug-in changed between the cells of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.records import CellRecord, to_frame
from bench.tables.model import Table
from bench.tables.overall import overall_tables
from bench.tables.titles import Titles

Cell = Callable[..., CellRecord]


def table_of(cell: Cell, told: list[dict[str, Any]], part: str = "method") -> Table:
    """Two seeds, with the code of each."""
    cells = [cell(seed=seed, plugins={part: code}) for seed, code in enumerate(told)]
    (table,) = overall_tables(to_frame(cells), Titles())
    return table


def test_every_version_of_a_file_is_a_row_and_no_number_mixes_them(cell: Cell) -> None:
    table = table_of(cell, [{"file": "a.py", "sha256": digit * 64} for digit in "12"])
    assert [row.title for row in table.rows] == ["Keep-All (version 1111111)", "Keep-All (version 2222222)"]
    assert [len(value.seeds) for row in table.rows for value in row.values[:1]] == [1, 1]
    said = [note.text for note in table.notes]
    assert any("a.py was changed between cells of this run" in text for text in said)


def test_one_version_needs_no_word(cell: Cell) -> None:
    table = table_of(cell, [{"file": "a.py", "sha256": "1" * 64}] * 2)
    assert [row.title for row in table.rows] == ["Keep-All"]
    assert not any("changed between" in note.text for note in table.notes)


def test_versions_of_a_package_share_a_row_and_a_note_names_them(cell: Cell) -> None:
    table = table_of(cell, [{"package": "zoo", "version": version} for version in "12"])
    assert [row.title for row in table.rows] == ["Keep-All"]
    assert any("several versions of a package, zoo 1 and zoo 2" in note.text for note in table.notes)


def test_versions_of_a_backbone_are_columns(cell: Cell) -> None:
    table = table_of(cell, [{"file": "n.py", "sha256": digit * 64} for digit in "12"], part="backbone")
    assert [group.title.rpartition(" · ")[2] for group in table.groups] == [
        "backbone version 1111111",
        "backbone version 2222222",
    ]
