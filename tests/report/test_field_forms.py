"""Rows that differ from another in ``budget=field`` alone stand below a rule and a heading, in every format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.records import CellRecord, RunFolder, to_frame
from bench.report.build import build_report
from bench.report.formats import latex, markdown
from bench.report.formats.terminal import terminal_table
from bench.tables.model import Table
from bench.tables.overall import FIELD_FORMS, overall_tables
from bench.tables.titles import Titles

Cell = Callable[..., CellRecord]
PLAIN = Titles()
HEADING = latex.escape(FIELD_FORMS)


@pytest.fixture
def cells(cell: Cell) -> list[CellRecord]:
    """Alpha has both forms; Beta is named with a budget but has no other form."""
    return [
        cell(),
        cell("alpha", label="alpha", budget="native", auc=0.71),
        cell("alpha", label="alpha[budget=field,x=1]", auc=0.73),
        cell("alpha", label="alpha[x=1]", budget="native", auc=0.72),
        cell("beta", label="beta[budget=field]", auc=0.74),
    ]


@pytest.fixture
def table(cells: list[CellRecord]) -> Table:
    (found,) = overall_tables(to_frame(cells), PLAIN)
    return found


def test_only_forms_of_another_row_are_set_off(table: Table) -> None:
    titles = ["Keep-All", "Alpha", "Alpha [x=1]", "Beta [budget=field]", "Alpha [budget=field,x=1]"]
    assert [row.title for row in table.rows] == titles
    assert [row.heading for row in table.rows] == ["", "", "", "", FIELD_FORMS]
    assert [row.opens for row in table.rows] == [False, False, False, False, True]


def test_the_default_budget_of_a_field_method_is_no_second_form(cell: Cell) -> None:
    both = [cell("alpha", label="alpha"), cell("alpha", label="alpha[budget=native]", budget="native")]
    (table,) = overall_tables(to_frame(both), PLAIN)
    assert [row.heading for row in table.rows] == ["", ""]


def test_latex_has_a_rule_and_a_heading(table: Table) -> None:
    lines = latex.tabular(table).splitlines()
    place = lines.index(rf"\multicolumn{{4}}{{@{{}}l}}{{\textit{{{HEADING}}}}} \\")
    assert lines[place - 1] == r"\midrule"
    assert lines[place + 1].startswith("Alpha {[}budget=field,x=1{]} & ")
    assert lines[place + 2] == r"\bottomrule"


def test_markdown_has_a_heading_row(table: Table) -> None:
    lines = markdown.document([table], "Results").splitlines()
    place = lines.index(f"| *{markdown.escape(FIELD_FORMS)}* |  |  |  |")
    assert lines[place + 1].startswith(r"| Alpha \[budget=field,x=1\] |")


def test_the_terminal_has_a_rule_and_a_heading(cells: list[CellRecord]) -> None:
    lines = terminal_table(to_frame(cells), PLAIN, width=120).splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith(FIELD_FORMS))
    assert set(lines[place - 1]) == {"-", " "}
    assert lines[place + 1].startswith("Alpha [budget=field,x=1]")


def test_the_page_sorts_both_sets_apart(cells: list[CellRecord], tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for record in cells:
        run.write(record)
    text = build_report(run, PLAIN)[-1].read_text(encoding="utf-8")
    table = text.partition("<h3>Results with net")[2].partition("</table>")[0]
    first, heading, second = (part.partition("</tbody>")[0] for part in table.split("<tbody>")[1:])
    assert first.count("<tr>") == 4
    assert heading == f'<tr><th class="set" colspan="4">{FIELD_FORMS}</th></tr>'
    assert second.count("<tr>") == 1
