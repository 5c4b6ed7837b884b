from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import pytest

from bench.records import CellRecord, to_frame
from bench.report.build import build_report
from bench.report.formats import latex
from bench.tables.adaptability import adaptability_tables, improvement
from bench.tables.metrics import LOGLOSS, TT
from bench.tables.model import Value, number_of
from bench.tables.titles import Titles

Cell = Callable[..., CellRecord]
TITLES = Titles({"clicks": "Clicks"}, {"net": "Net", "deep": "Deep"})


def pair(cell: Cell, backbone: str, **changes: Any) -> list[CellRecord]:
    old = cell(backbone=backbone, auc=0.80, logloss=0.50, tt_s=4000.0)
    return [old, cell("alpha", backbone=backbone, **{"auc": 0.82, "logloss": 0.45, "tt_s": 3000.0, **changes})]


def tables(*cells: CellRecord) -> list[Any]:
    return adaptability_tables(to_frame(cells), TITLES)


def test_rows_are_backbones_with_and_without_the_method_and_what_it_gains(cell: Cell) -> None:
    (table,) = tables(*pair(cell, "net"), *pair(cell, "deep", auc=0.78, tt_s=4400.0))
    assert [row.title for row in table.rows] == [
        "Net",
        "+ Alpha",
        "Improvement (%)",
        "Deep",
        "+ Alpha",
        "Improvement (%)",
    ]
    texts = [[value.text for value in row.values] for row in table.rows]
    assert texts[:3] == [
        ["0.8000", "0.5000", "1h6m40s"],
        ["0.8200", "0.4500", "50m0s"],
        # 0.02 of 0.80, 0.05 of 0.50, 1000 s of 4000 s
        ["2.50", "10.00", "25.00"],
    ]
    assert texts[5] == ["-2.50", "10.00", "-10.00"]
    marks = [[value.mark for value in row.values] for row in table.rows]
    assert marks == [[""] * 3, ["best"] * 3, [""] * 3, ["best", "", "best"], ["", "best", ""], [""] * 3]
    assert [row.backbone for row in table.rows] == ["net"] * 3 + ["deep"] * 3
    assert (table.name, table.title) == ("alpha-tau0.5-clicks", "Alpha with every backbone at prune ratio τ = 0.5")
    assert table.groups[0].title == "Clicks"
    assert "Profile small; seed 0; 800/100/100 rows" in table.caption


def test_improvement_is_of_the_means_over_seeds(cell: Cell) -> None:
    cells = [c for b in ("net", "deep") for c in pair(cell, b)]
    cells += [cell(backbone=b, seed=1, auc=0.70) for b in ("net", "deep")]
    cells += [cell("alpha", backbone=b, seed=1, auc=0.80) for b in ("net", "deep")]
    (table,) = tables(*cells)
    old, new = statistics.fmean([0.80, 0.70]), statistics.fmean([0.82, 0.80])
    assert table.rows[2].values[0].mean == pytest.approx(100 * (new - old) / old)
    assert "±" in table.caption
    assert any("2 seeds can detect" in note.text and "on Net" in note.text for note in table.notes)


def test_a_missing_cell_has_no_improvement_and_is_explained(cell: Cell) -> None:
    failed = cell("alpha", backbone="deep", status="failed", reason="no memory")
    (table,) = tables(*pair(cell, "net"), cell(backbone="deep"), failed)
    assert table.rows[5].values == (Value(),) * 3
    assert "failed (no memory): Alpha on Deep, seed 0." in [note.text for note in table.notes]
    lacking = [*pair(cell, "net"), *pair(cell, "deep"), cell(backbone="deep", seed=1)]
    (table,) = tables(*lacking)
    assert table.rows[5].values[0] == Value(), "means over other seeds are not compared"


def test_there_is_a_table_only_with_two_backbones_and_a_baseline(cell: Cell) -> None:
    assert tables(*pair(cell, "net"), cell(backbone="deep")) == []
    assert tables(*pair(cell, "net")[1:], *pair(cell, "deep")[1:]) == []


def test_data_sets_methods_and_taus_have_tables_of_their_own(cell: Cell) -> None:
    cells = [c for b in ("net", "deep") for c in pair(cell, b)]
    cells += [cell("beta", backbone=b, tau=None) for b in ("net", "deep")]
    cells += [cell("alpha", backbone=b, tau=0.25) for b in ("net", "deep")]
    cells += [c for b in ("net", "deep") for c in pair(cell, b, dataset="films")[1:]]
    cells += [cell(backbone=b, dataset="films") for b in ("net", "deep")]
    names = [table.name for table in tables(*cells)]
    assert sorted(names) == ["alpha-tau0.25-clicks", "alpha-tau0.5-clicks", "alpha-tau0.5-films", "beta-clicks"]
    assert names[-1] == "alpha-tau0.5-films", "data sets in their order"


def test_settings_of_one_backbone_are_told_apart(cell: Cell) -> None:
    wide = [cell(m, backbone="net", backbone_params={"width": w}) for m in ("keep-all", "alpha") for w in (1, 2)]
    (table,) = tables(*wide, *pair(cell, "deep"))
    titles = [row.title for row in table.rows[::3]]
    assert titles == ["Net · width=1", "Net · width=2", "Deep"]


def test_report_writes_table3(cell: Cell, tmp_path) -> None:
    from bench.records import RunFolder

    run = RunFolder(tmp_path)
    for record in [*pair(cell, "net"), *pair(cell, "deep")]:
        run.write(record)
    names = {path.name for path in build_report(run, TITLES)}
    assert {"table3.tex", "table3.md", "table3.csv", "table3-alpha-tau0.5-clicks.tex"} <= names
    tex = (run.tables / "table3.tex").read_text()
    assert tex.count(r"\midrule") == 2, "under the heading and between the backbones"
    assert "second best" not in tex
    assert latex.escape("+ Alpha") in tex


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (15803, "4h23m23s"),
        (18312, "5h5m12s"),
        (9422, "2h37m2s"),
        (3599.6, "1h0m0s"),
        (61.2, "1m1s"),
        (7.256, "7.26s"),
        (0.0866, "0.0866s"),
    ],
)
def test_durations_are_printed_and_read(seconds: float, text: str) -> None:
    assert TT.text(seconds) == text
    assert number_of(text) == pytest.approx(seconds, abs=0.5)


def test_improvement_needs_two_comparable_numbers() -> None:
    old, new = (Value(mean, None, (0,), str(mean), rankable=True) for mean in (0.5, 0.25))
    assert improvement(old, new, LOGLOSS).text == "50.00"
    assert improvement(Value(0.0, None, (0,), "0", rankable=True), new, LOGLOSS) == Value()
    assert improvement(Value(), new, LOGLOSS) == Value()
