"""BELOW-LINEAR: where the baseline stays under logistic regression on the same rows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.records import CellRecord, to_frame
from bench.report.formats import latex
from bench.tables.model import Table
from bench.tables.overall import efficiency_tables, overall_tables
from bench.tables.titles import Titles

Cell = Callable[..., CellRecord]
TITLES = Titles({"clicks": "Clicks"})


def line(difference: float, error: float = 0.01) -> dict[str, float]:
    return {"auc": 0.78, "strength": 0.1, "rows": 800.0, "difference": difference, "error": error}


def overall(*cells: CellRecord) -> Table:
    (table,) = overall_tables(to_frame(cells), TITLES)
    return table


def below(table: Table) -> list[str]:
    return [note.text for note in table.notes if "BELOW-LINEAR" in note.text]


def test_two_errors_under_the_line_flag_the_column(cell: Cell) -> None:
    table = overall(cell(auc=0.755, line=line(-0.025)), cell("alpha", auc=0.8), cell("beta", status="oom"))
    assert ["⋆" in row.values[0].flags for row in table.rows] == [True, True, False], "a dash is not flagged"
    (note,) = below(table)
    assert note.endswith(": Clicks 0.7550 of 0.7800.")
    assert r"\star" in latex.tabular(table)


@pytest.mark.parametrize("found", [line(-0.019), line(0.02), line(-0.025, error=0.02), None])
def test_less_does_not(cell: Cell, found: dict[str, float] | None) -> None:
    table = overall(cell(auc=0.755, line=found), cell("alpha", auc=0.8))
    assert below(table) == []
    assert not any("⋆" in row.values[0].flags for row in table.rows)


def test_the_spread_of_the_seeds_is_part_of_the_error(cell: Cell) -> None:
    # differences -0.01 and -0.05: mean -0.03, sd 0.0283, error √(0.01² + 0.0283² / 2) = 0.0224
    assert below(overall(*(cell(seed=s, line=line(d)) for s, d in enumerate((-0.01, -0.05))))) == []
    # differences -0.03 twice: error 0.01, because both seeds are tested on the same rows
    assert len(below(overall(*(cell(seed=s, line=line(-0.03)) for s in range(2))))) == 1


def test_a_table_without_auc_says_it_too(cell: Cell) -> None:
    (costs,) = efficiency_tables(to_frame([cell(line=line(-0.1))]), TITLES)
    assert len(below(costs)) == 1
    assert not any("⋆" in value.flags for row in costs.rows for value in row.values)
