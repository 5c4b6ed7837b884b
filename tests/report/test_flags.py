"""Flags of cells: where each shows, in every format, of records old and new, and what ``explain`` says of them."""

from __future__ import annotations

import csv as csv_reader
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.flags import FLAGS
from bench.records import CellRecord, RunFolder, to_frame
from bench.report.formats import csv, html, latex, markdown
from bench.report.formats.terminal import terminal_table
from bench.tables.k_sweep import sweep_tables
from bench.tables.model import Table
from bench.tables.overall import efficiency_tables, overall_tables
from bench.tables.titles import Titles

Cell = Callable[..., CellRecord]
PLAIN = Titles()
NAMES = ["age", "banner", "city", "device"]
SCORES = [0.0, 0.5, 0.0, 0.0]
TIED = {"field_names": NAMES, "field_scores": SCORES, "kept_fields": [0, 1], "tie_count": 3}
"""K = 2 of four: banner by its score, age of three that have none."""


def overall(*cells: CellRecord) -> Table:
    (table,) = overall_tables(to_frame(cells), PLAIN)
    return table


def flags(table: Table, title: str) -> list[tuple[str, ...]]:
    """Flags of the row's title and of its numbers."""
    (row,) = [row for row in table.rows if row.title == title]
    return [row.flags, *(value.flags for value in row.values)]


def notes(table: Table, symbol: str) -> list[str]:
    return [note.text for note in table.notes if note.symbol == symbol]


def test_a_cut_among_equal_scores_is_flagged_where_the_record_has_no_flag(cell: Cell) -> None:
    tied = [cell("alpha", seed=seed, **TIED) for seed in (0, 1)]
    assert not any("flags" in one.notes for one in tied)
    table = overall(cell(), *tied, cell("alpha", seed=2, **TIED | {"tie_count": 2}), cell("beta", tie_count=0))
    assert flags(table, "Alpha")[:3] == [(), ("◇",), ()]
    assert flags(table, "Beta")[1] == ("†",)
    assert flags(table, "Keep-All")[1] == ("†",)
    assert notes(table, "◇") == [
        "TIES, the cut falls among fields of one score, of which it keeps those of lower index: "
        "Alpha on clicks, seeds 0, 1 (3 fields), seed 2 (2 fields)."
    ]


def test_a_training_that_was_stopped_on_learned_rows_is_flagged(cell: Cell) -> None:
    table = overall(cell(), cell("alpha", notes={"learned_valid_rows": 1234}), cell("beta", notes={}))
    assert flags(table, "Alpha")[1] == ("♣",)
    assert notes(table, "♣") == [
        "LEARNED-VALIDATION, stopped on validation rows that its gates had learned: Alpha on clicks, seed 0 "
        "(1,234 rows)."
    ]


def test_a_table_without_auc_flags_the_row(cell: Cell) -> None:
    (costs,) = efficiency_tables(to_frame([cell(), cell("alpha", auc=0.5, **TIED)]), PLAIN)
    assert flags(costs, "Alpha")[0] == ("§", "◇")
    assert flags(costs, "Keep-All")[0] == ()
    assert len(notes(costs, "◇")) == len(notes(costs, "§")) == 1
    rows = csv_reader.DictReader(io.StringIO(csv.document([costs])))
    assert {(row["title"], row["flags"]) for row in rows} == {("Keep-All", ""), ("Alpha", "§◇")}


@pytest.mark.parametrize(
    ("positives", "rows", "said"),
    [
        (1, 120, "1 positive among 120 test rows"),
        (9, 1000, "9 positives among 1,000 test rows"),
        (117, 120, "3 negatives among 120 test rows"),
        (10, 120, None),
        (110, 120, None),
    ],
)
def test_a_test_split_with_few_rows_of_a_class_is_flagged_once_a_column(
    cell: Cell, positives: int, rows: int, said: str | None
) -> None:
    sizes = {
        "split_rows": {"train": 960, "valid": 120, "test": rows},
        "positives": {"train": 300, "valid": 30, "test": positives},
    }
    cells = [cell(**sizes), cell("alpha", **sizes), cell("alpha", seed=1, **sizes)]
    table = overall(*cells)
    assert all(("△" in flags(table, title)[1]) is (said is not None) for title in ("Keep-All", "Alpha"))
    wanted = [] if said is None else [f"SCARCE-CLASS, fewer than 10 test rows of one class: clicks ({said})."]
    assert notes(table, "△") == wanted
    (costs,) = efficiency_tables(to_frame(cells), PLAIN)
    assert notes(costs, "△") == []
    assert flags(costs, "Alpha")[0] == ()


def test_records_without_counts_of_positives_are_not_flagged(cell: Cell) -> None:
    assert flags(overall(cell(auc=1.0)), "Keep-All")[1] == ("▽",)


def test_an_auc_that_is_too_good_is_flagged_unless_few_rows_explain_it(cell: Cell) -> None:
    few = {"positives": {"train": 300, "valid": 30, "test": 1}}
    table = overall(cell(auc=0.9998), cell("coin", auc=0.9999), cell("alpha", dataset="few", auc=1.0, **few))
    assert flags(table, "Keep-All")[1] == ()
    assert flags(table, "Coin")[1] == ("▽",)
    assert notes(table, "▽") == [
        "HIGH-AUC, test AUC of 0.9999 or more, so that a field may give the label away: Coin on clicks, seed 0."
    ]
    assert flags(table, "Alpha")[4] == ("△",)


def test_flags_stand_side_by_side_in_every_format(cell: Cell) -> None:
    few = {"positives": {"train": 300, "valid": 30, "test": 1}}
    cells = [cell(auc=0.7, **few), cell("alpha", auc=0.5, **few, **TIED)]
    table = overall(*cells)
    assert flags(table, "Alpha")[1] == ("§", "◇", "△")
    assert r"0.5000}\rlap{$^{\S\diamond\bigtriangleup}$}" in latex.tabular(table)
    assert "0.5000</u>§◇△ |" in markdown.document([table], "Results")
    assert "0.5000²§◇△" in terminal_table(to_frame(cells), PLAIN, width=120)
    page = html.page([one.to_dict() for one in cells], [html.Section("Results", [table])], {})
    assert "</a>§◇△</td>" in page
    for text in (markdown.document([table], "Results"), page, terminal_table(to_frame(cells), PLAIN, width=200)):
        assert all(name in text for name in ("LOW-AUC", "TIES", "SCARCE-CLASS"))
    document = latex.document([table])
    assert r"$^{\diamond}$ TIES" in document and r"$^{\bigtriangleup}$ SCARCE-CLASS" in document
    (number,) = [
        row["flags"]
        for row in csv_reader.DictReader(io.StringIO(csv.document([table])))
        if (row["title"], row["metric"]) == ("Alpha", "auc")
    ]
    assert number == "§◇△"


def test_every_flag_has_a_name_and_a_symbol_of_its_own_that_latex_knows() -> None:
    assert len({flag.name for flag in FLAGS}) == len({flag.symbol for flag in FLAGS}) == len(FLAGS)
    assert all(latex.escape(flag.symbol).startswith("$^{\\") for flag in FLAGS)


def test_over_prune_ratios_a_column_s_flag_is_explained_once(cell: Cell) -> None:
    few = {"positives": {"train": 300, "valid": 30, "test": 1}, "field_names": NAMES}
    kept = {0.0: [0, 1, 2, 3], 0.5: [0, 1], 0.75: [0]}
    cells = [cell("alpha", tau=tau, kept_fields=fields, **few) for tau, fields in kept.items()]
    cells.append(cell("beta", tau=0.5, auc=0.6, **few | TIED))
    (table,) = sweep_tables(to_frame(cells), PLAIN)
    assert notes(table, "△") == [
        "SCARCE-CLASS, fewer than 10 test rows of one class: clicks (1 positive among 100 test rows)."
    ]
    assert notes(table, "◇") == [
        "TIES, the cut falls among fields of one score, of which it keeps those of lower index: "
        "Beta on clicks at τ = 0.5, seed 0 (3 fields)."
    ]


def explained(run: RunFolder, capsys: pytest.CaptureFixture[str], *argv: str) -> list[str]:
    assert main(["explain", str(run.path), "table2", *argv]) == 0
    return [line.strip() for line in capsys.readouterr().out.splitlines()]


def test_explain_names_the_tied_fields_and_says_what_a_flag_means(
    tmp_path: Path, cell: Cell, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(tmp_path)
    few: dict[str, Any] = {"positives": {"train": 300, "valid": 30, "test": 1}}
    for record in (cell(**few), cell("alpha", **few, **TIED), cell("beta", **few, **TIED | {"tie_count": 0})):
        run.write(record)
    lines = explained(run, capsys, "clicks", "alpha", "auc")
    assert lines[1].endswith("◇△")
    assert any(line.startswith("◇ TIES, ") and "Alpha on clicks, seed 0 (3 fields)" in line for line in lines)
    assert any(line.startswith("△ SCARCE-CLASS, ") and "(1 positive among 100 test rows)" in line for line in lines)
    tied = "fields tied: age, city, device (all of score 0; 1 of 3 kept, by their order)"
    assert tied in lines
    assert tied in explained(run, capsys, "clicks", "alpha", "logloss")
    assert not any(line.startswith("fields tied") for line in explained(run, capsys, "clicks", "beta", "auc"))


def test_a_ranking_that_was_none_is_a_dash_with_its_reason(
    tmp_path: Path, cell: Cell, capsys: pytest.CaptureFixture[str]
) -> None:
    reason = "no ranking, all 4 fields have the same score: no tree found a split; give more rows"
    run = RunFolder(tmp_path)
    for record in (cell(), cell("alpha", status="skipped", reason=reason)):
        run.write(record)
    assert notes(overall(*run.records()), "—") == [f"skipped ({reason}): Alpha on clicks, seed 0."]
    assert f"skipped ({reason}): Alpha on clicks, seed 0." in explained(run, capsys, "clicks", "alpha", "auc")
