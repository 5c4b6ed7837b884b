"""AUC over kept fields and the area under it, by hand."""

from __future__ import annotations

import csv as csv_reader
import io
from collections.abc import Callable
from typing import Any

import pytest

from bench.records import CellRecord, to_frame
from bench.report.formats import csv
from bench.tables.k_sweep import sweep_tables
from bench.tables.model import Table, Value
from bench.tables.overall import FIELD_FORMS
from bench.tables.titles import Titles

Cell = Callable[..., CellRecord]
PLAIN = Titles()
NAMES = ["a", "b", "c", "d"]
TAUS = (0.0, 0.5, 0.75)
"""Of 4 fields: 4, 2 and 1."""
AUC = {0.0: 0.80, 0.5: 0.75, 0.75: 0.60}
AREA = ((0.60 - 0.5) / 2 * 1 + ((0.60 - 0.5) + (0.75 - 0.5)) / 2 * 1 + ((0.75 - 0.5) + (0.80 - 0.5)) / 2 * 2) / (
    0.5 * 4
)


def curve(cell: Cell, method: str = "alpha", seed: int = 0, better: float = 0.0, **changes: Any) -> list[CellRecord]:
    kept = {0.0: [0, 1, 2, 3], 0.5: [0, 1], 0.75: [0]}
    cells = []
    for tau in TAUS:
        found = {"field_names": NAMES, "kept_fields": kept[tau], "auc": AUC[tau] + better}
        cells.append(cell(method, seed=seed, tau=tau, **(found | changes)))
    return cells


def only(cells: list[CellRecord]) -> Table:
    (table,) = sweep_tables(to_frame(cells), PLAIN)
    return table


def row(table: Table, title: str) -> tuple[Value, ...]:
    return next(row.values for row in table.rows if row.title == title)


def texts(table: Table) -> list[str]:
    return [note.text for note in table.notes]


def test_columns_are_prune_ratios_and_the_area_comes_last(cell: Cell) -> None:
    base = cell(field_names=NAMES, kept_fields=[0, 1, 2, 3], auc=0.81)
    table = only([base, *curve(cell), *curve(cell, "beta", better=0.01)])
    assert [group.title for group in table.groups] == ["τ = 0, K = 4", "τ = 0.5, K = 2", "τ = 0.75, K = 1", "Curve"]
    assert [value.text for value in row(table, "Alpha")] == ["0.8000", "0.7500", "0.6000", f"{AREA:.4f}"]
    # 0.01 more everywhere but at the origin: half of the first field's step, all of the other three, over 0.5 * 4
    assert row(table, "Beta")[-1].mean == pytest.approx(AREA + 0.01 * (0.5 + 3) / 2)
    assert [value.mark for value in row(table, "Beta")] == ["best"] * 4
    assert "Keep-All, with all 4 fields: AUC 0.8100." in texts(table)
    assert [row.title for row in table.rows] == ["Alpha", "Beta"], "a method without τ has no curve"


def test_the_area_is_taken_by_seed(cell: Cell) -> None:
    table = only([*curve(cell), *curve(cell, seed=1, better=0.02)])
    area = row(table, "Alpha")[-1]
    assert area.numbers == pytest.approx((AREA, AREA + 0.02 * 3.5 / 2))
    assert area.sd == pytest.approx(0.02 * 3.5 / 2 / 2**0.5)


def test_a_missing_point_leaves_no_area(cell: Cell) -> None:
    lacking = curve(cell, "beta")[:2]
    failed = cell("coin", tau=0.75, status="oom", field_names=NAMES)
    table = only([*curve(cell), *lacking, *curve(cell, "coin")[:2], failed])
    assert row(table, "Beta")[-1] == row(table, "Coin")[-1] == Value()
    assert "AUKC of Beta: no seed has a result at every prune ratio." in texts(table)
    assert "not run at τ = 0.75: Beta." in texts(table)
    assert "oom: Coin on clicks at τ = 0.75, seed 0." in texts(table)


def test_a_seed_fewer_is_flagged_and_not_ranked(cell: Cell) -> None:
    table = only([*curve(cell), *curve(cell, seed=1), *curve(cell, "beta", better=0.1)])
    assert row(table, "Beta")[-1].flags == ("†",)
    assert row(table, "Beta")[-1].mark == ""


def test_methods_that_remove_no_field_have_no_area(cell: Cell) -> None:
    table = only([*curve(cell), *curve(cell, "beta", kept_fields=[0, 1, 2, 3])])
    assert row(table, "Beta")[-1] == Value()
    assert any(text.startswith("AUKC of Beta: numbers of kept fields") for text in texts(table))


def test_prune_ratios_of_weights_are_no_numbers_of_fields(cell: Cell) -> None:
    every = {"kept_fields": [0, 1, 2, 3]}
    masked = curve(cell, budget="exact", **every)
    held = curve(cell, "beta[budget=match:alpha]", budget="match:alpha")
    table = only([*masked, *held])
    assert [group.title for group in table.groups] == ["τ = 0", "τ = 0.5", "τ = 0.75"]
    assert table.title.startswith("AUC over prune ratios with")
    assert not [text for text in texts(table) if text.startswith("AUKC")]
    both = only([*masked, *held, *curve(cell, "coin", budget="field")])
    assert both.groups[-1].title == "Curve"


def test_notes_of_one_kind_are_one(cell: Cell) -> None:
    table = only([*curve(cell, auc=0.54), *curve(cell, "beta", auc=0.53)])
    (low,) = [note.text for note in table.notes if note.symbol == "§"]
    assert low.count("LOW-AUC") == 1
    assert low.count("Alpha on clicks at τ = ") == len(TAUS)


def test_two_prune_ratios_are_no_curve(cell: Cell) -> None:
    assert sweep_tables(to_frame(curve(cell)[:2]), PLAIN) == []


def test_forms_by_whole_fields_stand_below(cell: Cell) -> None:
    native = curve(cell, budget="native")
    table = only([*curve(cell, label="alpha[budget=field]"), *native, *curve(cell, "beta")])
    assert [(one.title, one.heading) for one in table.rows] == [
        ("Alpha", ""),
        ("Beta", ""),
        ("Alpha [budget=field]", FIELD_FORMS),
    ]


def test_tidy_csv_has_the_prune_ratio_of_every_number(cell: Cell) -> None:
    rows = list(csv_reader.DictReader(io.StringIO(csv.document([only(curve(cell))]))))
    assert [(row["tau"], row["metric"], row["dataset_title"]) for row in rows] == [
        ("0", "auc", "clicks"), ("0.5", "auc", "clicks"), ("0.75", "auc", "clicks"), ("", "aukc", "clicks"),
    ]  # fmt: skip
