"""Rows under headings by what their methods select, as soon as single weights are among them, or where it is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.errors import ConfigError
from bench.records import CellRecord, RunFolder, to_frame
from bench.report.build import build_report
from bench.report.formats import csv, latex, markdown
from bench.report.formats.terminal import terminal_table
from bench.tables.kinds import KINDS
from bench.tables.levels import Sections, sections_of
from bench.tables.model import Table
from bench.tables.overall import FIELD_FORMS, overall_tables, tables_of
from bench.tables.titles import Titles

Cell = Callable[..., CellRecord]
TITLES = Titles(levels={"sparse": "weight", "alpha": "value", "beta": "field", "coin": "field", "each": "row"})
ORDER = {name: i for i, name in enumerate(("keep-all", "sparse", "alpha", "each", "new", "beta", "coin"))}


@pytest.fixture
def cells(cell: Cell) -> list[CellRecord]:
    """In an order of tables that mixes the levels; nobody knows what New selects."""

    def one(method: str, **changes: Any) -> CellRecord:
        return cell(method, method_order=ORDER[method], **changes)

    return [
        one("keep-all"),
        one("sparse", budget="exact", auc=0.71),
        one("alpha", budget="native", auc=0.72),
        one("alpha", label="alpha[budget=field]", auc=0.73),
        one("each", budget="native", auc=0.74),
        one("new", budget="native", auc=0.76),
        one("beta", auc=0.77),
        one("coin", auc=0.7),
    ]


def table(cells: list[CellRecord], sections: Sections = "auto") -> Table:
    (found,) = overall_tables(to_frame(cells), replace(TITLES, sections=sections))
    return found


def shown(found: Table) -> list[tuple[str, str]]:
    return [(row.heading, row.title) for row in found.rows]


WHOLE = [
    ("", "Keep-All"),
    ("Fields", "Beta"),
    ("", "Coin"),
    ("Values of fields", "Alpha"),
    ("Single weights", "Sparse"),
    ("Fields of each row", "Each"),
    ("Of unknown level", "New"),
    (FIELD_FORMS, "Alpha [budget=field]"),
]
PLAIN = ["Keep-All", "Sparse", "Alpha", "Each", "New", "Beta", "Coin", "Alpha [budget=field]"]


def test_rows_stand_under_headings_by_level_where_weights_are_among_them(cells: list[CellRecord]) -> None:
    found = table(cells)
    assert shown(found) == WHOLE
    assert [row.opens for row in found.rows] == [bool(heading) for heading, _ in WHOLE]
    assert shown(table(cells, "on")) == WHOLE


def test_without_weights_or_against_a_wish_tables_are_as_before(cells: list[CellRecord]) -> None:
    held = ("", FIELD_FORMS)
    assert shown(table(cells, "off")) == [(held[title == PLAIN[-1]], title) for title in PLAIN]
    fewer = [record for record in cells if record.method != "sparse"]
    assert [title for _, title in shown(table(fewer))] == [title for title in PLAIN if title != "Sparse"]
    assert shown(table(fewer, "on")) == [pair for pair in WHOLE if pair[1] != "Sparse"]


def test_weights_alone_beside_the_baseline_need_no_heading(cells: list[CellRecord]) -> None:
    assert shown(table(cells[:2])) == [("", "Keep-All"), ("", "Sparse")]


def test_a_method_held_to_fields_and_in_no_other_form_stands_with_those_that_select_fields(
    cells: list[CellRecord],
) -> None:
    found = shown(table([record for record in cells if record.label != "alpha"]))
    assert found[:3] == [("", "Keep-All"), ("Fields", "Alpha [budget=field]"), ("", "Beta")]


def test_best_and_second_best_are_of_the_whole_table(cells: list[CellRecord]) -> None:
    marks = {row.title: row.values[0].mark for row in table(cells).rows if row.values[0].mark}
    assert marks == {"Beta": "best", "New": "second"}


def test_csv_keeps_the_order_of_tables(cells: list[CellRecord]) -> None:
    assert csv.document([table(cells)]) == csv.document([table(cells, "off")])


def test_every_format_shows_the_headings(cells: list[CellRecord], tmp_path: Path) -> None:
    found = table(cells)
    lines = latex.tabular(found).splitlines()
    place = lines.index(r"\multicolumn{4}{@{}l}{\textit{Single weights}} \\")
    assert lines[place - 1] == r"\midrule" and lines[place + 1].startswith("Sparse & ")
    text = markdown.document([found], "Results")
    assert "| *Single weights* |  |  |  |\n| Sparse |" in text
    printed = terminal_table(to_frame(cells), TITLES, width=120).splitlines()
    place = printed.index("Single weights")
    assert set(printed[place - 1]) == {"-", " "} and printed[place + 1].startswith("Sparse ")
    run = RunFolder(tmp_path)
    for record in cells:
        run.write(record)
    page = build_report(run, TITLES)[-1].read_text(encoding="utf-8")
    for heading in ("Fields", "Values of fields", "Single weights", FIELD_FORMS):
        assert f'<th class="set" colspan="4">{heading}</th>' in page


def test_a_run_folder_says_whether_there_are_sections(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    assert sections_of(file) == "auto"
    file.write_text('sections = "off"\n')
    assert Titles.of_run(tmp_path).sections == "off"
    assert Titles.of_run(tmp_path, "on").sections == "on"
    for text, fault in (("sections = true", "sections = True is not allowed; choose one of auto, on, off"), ("[", "")):
        file.write_text(text)
        with pytest.raises(ConfigError, match=fault or "cannot be read"):
            sections_of(file)


def test_levels_are_those_of_the_registry() -> None:
    levels = Titles.registered().levels
    assert (levels["no-selection"], levels["lasso"], levels["optfs"]) == ("none", "field", "value")
    assert (levels["optem"], levels["adafs"], levels["random-k"]) == ("dimension", "row", "field")


def test_run_keeps_the_wish_and_report_may_have_another(bench: Callable[..., Any], data_dir: Path) -> None:
    from cell_records import TINY

    flags = ["--data-dir", str(data_dir), "--backbones", "dnn[mlp=4]", "--epochs", "1", "--out", "x"]
    done = bench("run", "--datasets", TINY, "--methods", "random-k", "no-selection", "--sections", "on", *flags)
    assert done.code == 0, done.err
    assert 'sections = "on"' in Path("x/run.toml").read_text()
    assert "\nFields\n" in done.out
    assert "\nFields\n" in bench("report", "x").out
    again = bench("report", "x", "--sections", "off")
    assert again.code == 0 and "\nFields\n" not in again.out
    assert "*Fields*" not in Path("x/tables/overall.md").read_text()


def test_the_table_of_masked_weights_has_no_rows_of_what_masks_none(cells: list[CellRecord], cell: Cell) -> None:
    held = dict.fromkeys(("active", "empty_rows", "dense_bytes", "csr_bytes", "bitmask_bytes", "mask_update_s"), 5)
    masked = [replace(one, weights=held) if one.method in {"sparse", "new"} else one for one in cells]
    broken = cell("thin", method_order=9, budget="exact", status="failed", reason="ValueError: no", weights=None)
    titles = replace(TITLES, levels={**TITLES.levels, "thin": "weight"})
    (found,) = tables_of(KINDS["weights"], to_frame([*masked, broken]), titles)
    assert {row.title for row in found.rows} == {"Keep-All", "Sparse", "New", "Thin"}
    assert tables_of(KINDS["weights"], to_frame([*cells, broken]), titles) == []
