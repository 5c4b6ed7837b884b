from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from bench.records import CellRecord, to_frame
from bench.report.formats import csv, latex, markdown
from bench.stats.paired import detectable_difference, holm, pair_spreads
from bench.tables.model import Table, Value
from bench.tables.overall import efficiency_tables, overall_tables
from bench.tables.significance import significance_tables
from bench.tables.titles import Titles

Cell = Callable[..., CellRecord]
PLAIN = Titles()
AUC = {
    "keep-all": [0.700, 0.701, 0.703],
    "coin": [0.690, 0.695, 0.689],
    "alpha": [0.720, 0.722, 0.721],
    "beta": [0.710, 0.714, 0.711],
}


@pytest.fixture
def cells(cell: Cell) -> list[CellRecord]:
    return [cell(name, seed=s, auc=auc) for name, numbers in AUC.items() for s, auc in enumerate(numbers)]


def only(cells: list[CellRecord]) -> Table:
    (table,) = significance_tables(to_frame(cells), PLAIN)
    return table


def value(table: Table, title: str, metric: str) -> Value:
    row = next(row for row in table.rows if row.title == title)
    return row.values[[column.name for column in table.groups[0].metrics].index(metric)]


def notes(table: Table) -> list[str]:
    return [note.text for note in table.notes if note.symbol == ""]


def test_two_seeds_have_gains_and_intervals_but_no_p(cells: list[CellRecord]) -> None:
    table = only([cell for cell in cells if cell.seed < 2])
    shown = [column.name for column in table.groups[0].metrics]
    assert shown == ["auc", "gain", "gain_low", "gain_high", "lead", "lead_low", "lead_high"]
    assert "p: two-sided" not in table.caption and "With two seeds there is no p" in table.caption
    assert "p: two-sided" in only(cells).caption and "With two seeds" not in only(cells).caption


def test_gain_is_against_the_baseline_and_corrected_over_the_methods(cells: list[CellRecord]) -> None:
    table = only(cells)
    methods = ["coin", "alpha", "beta"]
    raw = [stats.ttest_rel(AUC[m], AUC["keep-all"]).pvalue for m in methods]
    for method, p in zip(methods, holm(raw), strict=True):
        title = method.title()
        assert value(table, title, "gain").mean == pytest.approx(np.mean(AUC[method]) - np.mean(AUC["keep-all"]))
        assert value(table, title, "gain_p").mean == pytest.approx(p)
    d = np.subtract(AUC["alpha"], AUC["keep-all"])
    half = stats.t.ppf(0.975, 2) * d.std(ddof=1) / math.sqrt(3)
    assert value(table, "Alpha", "gain_low").mean == pytest.approx(d.mean() - half)
    assert value(table, "Alpha", "gain_high").mean == pytest.approx(d.mean() + half)
    assert value(table, "Alpha", "gain").text == "+0.0197"
    assert value(table, "Alpha", "gain").seeds == (0, 1, 2)
    assert [v.text for v in table.rows[0].values[1:]] == [""] * 8, "the baseline is no rival of itself"


def test_lead_is_against_the_best_other_method(cells: list[CellRecord]) -> None:
    table = only(cells)
    pairs = {"Coin": "alpha", "Alpha": "beta", "Beta": "alpha"}
    coin, alpha = (stats.ttest_rel(AUC[title.lower()], AUC[pairs[title]]).pvalue for title in ("Coin", "Alpha"))
    corrected = holm([coin, alpha])  # Beta against Alpha is Alpha against Beta: one test, not two
    for (title, rival), p in zip(pairs.items(), (*corrected, corrected[1]), strict=True):
        difference = np.mean(AUC[title.lower()]) - np.mean(AUC[rival])
        assert value(table, title, "lead").mean == pytest.approx(difference)
        assert value(table, title, "lead_p").mean == pytest.approx(p)


def test_a_method_that_lacks_a_cell_is_refused_and_named(cells: list[CellRecord], cell: Cell) -> None:
    table = only([*cells[:8], cell("alpha", seed=2, status="failed", reason="no"), *cells[9:]])
    assert value(table, "Alpha", "gain") == Value()
    assert value(table, "Alpha", "lead_p") == Value()
    assert value(table, "Coin", "lead").mean == pytest.approx(np.mean(AUC["coin"]) - np.mean(AUC["beta"]))
    assert "Not tested, nor anything against it, for want of cells: Alpha lacks seed 2." in notes(table)
    raw = [stats.ttest_rel(AUC[m], AUC["keep-all"]).pvalue for m in ("coin", "beta")]
    assert value(table, "Beta", "gain_p").mean == pytest.approx(holm(raw)[1])


def test_nothing_is_tested_against_a_baseline_that_lacks_a_cell_or_was_not_run(cells: list[CellRecord]) -> None:
    lacking = only(cells[1:])
    assert [value(lacking, t, "gain") for t in ("Coin", "Alpha", "Beta")] == [Value()] * 3
    assert value(lacking, "Alpha", "lead").seeds == (0, 1, 2)
    assert "Keep-All lacks seed 0." in " ".join(notes(lacking))
    absent = only(cells[3:])
    assert value(absent, "Alpha", "gain") == Value()
    assert "a method that keeps every field, which was not run" in absent.caption


def test_differences_that_do_not_vary_are_not_tested(cell: Cell) -> None:
    table = only([cell("keep-all", seed=s) for s in (0, 1)] + [cell("alpha", seed=s) for s in (0, 1)])
    assert value(table, "Alpha", "gain") == Value()
    assert "lead" not in [column.name for column in table.groups[0].metrics], "there is no rival"
    assert any("Alpha against Keep-All: the differences of all seeds are equal" in note for note in notes(table))


def test_one_seed_or_one_method_gives_no_table(cell: Cell) -> None:
    assert significance_tables(to_frame([cell(), cell("alpha")]), PLAIN) == []
    assert significance_tables(to_frame([cell(seed=0), cell(seed=1)]), PLAIN) == []


def test_wilcoxon_is_shown_from_six_seeds_on(cell: Cell) -> None:
    cells = [cell("keep-all", seed=s, auc=0.7) for s in range(6)]
    cells += [cell("alpha", seed=s, auc=0.71 + s / 1000) for s in range(6)]
    assert value(only(cells), "Alpha", "gain_wilcoxon_p").mean == pytest.approx(2 / 2**6)
    assert "Wilcoxon" in only(cells).caption


def test_all_formats_hold_the_tests(cells: list[CellRecord]) -> None:
    table = only(cells)
    assert (table.name, table.title) == (
        "net-tau0.5-clicks",
        "Significance of differences in AUC with net at prune ratio τ = 0.5",
    )
    assert "+0.0197" in latex.tabular(table)
    assert "| clicks<br>Gain |" in markdown.document([table], "x")
    assert ",gain_p," in csv.document([table])


def test_the_smallest_detectable_difference_stands_under_every_table(cells: list[CellRecord]) -> None:
    smallest = detectable_difference(np.median(pair_spreads(list(AUC.values()))).item(), 3)
    frame = to_frame(cells)
    lead = "Smallest difference of two methods that 3 seeds can detect"
    for table in (*overall_tables(frame, PLAIN), *significance_tables(frame, PLAIN)):
        (note,) = [note for note in notes(table) if note.startswith(lead)]
        assert note.endswith(f"the median over all pairs): AUC {smallest:.2g} on clicks."), "all else is constant"
    (costs,) = efficiency_tables(frame, PLAIN)
    assert notes(costs) == [], "nothing varies"


def test_one_erratic_method_does_not_speak_for_all(cell: Cell) -> None:
    aucs = {"keep-all": (0.7, 0.71), "alpha": (0.7, 0.712), "beta": (0.7, 0.713), "wild": (0.5, 0.9)}
    cells = [cell(m, seed=s, auc=auc) for m, found in aucs.items() for s, auc in enumerate(found)]
    (table,) = overall_tables(to_frame(cells), PLAIN)
    # differences grow by .001 .002 .003 within the sound ones, by .387 to .39 with the wild one: the median is .195
    ends = sorted(abs((b[1] - b[0]) - (a[1] - a[0])) for a, b in itertools.combinations(aucs.values(), 2))
    smallest = detectable_difference((ends[2] + ends[3]) / 2 / math.sqrt(2), 2)
    (note,) = [note for note in notes(table) if "detect" in note]
    assert f"AUC {smallest:.2g} on clicks" in note


def test_one_seed_detects_nothing_and_incomplete_rows_do_not_count(cell: Cell) -> None:
    (table,) = overall_tables(to_frame([cell(auc=0.7), cell("alpha", auc=0.8)]), PLAIN)
    assert notes(table) == []
    cells = [cell("keep-all", seed=s, auc=0.7 + s / 100) for s in (0, 1)] + [cell("alpha", seed=0, auc=0.8)]
    (table,) = overall_tables(to_frame(cells), PLAIN)
    assert not any("detect" in note for note in notes(table))


def test_differences_that_are_rounding_alone_detect_nothing(cell: Cell) -> None:
    # 0.1 apart at every seed, but not to the last bit: 0.3 - 0.2 is not 0.8 - 0.7
    cells = [cell(m, seed=s, auc=a + x) for s, a in enumerate((0.2, 0.7)) for m, x in (("alpha", 0.0), ("beta", 0.1))]
    (table,) = overall_tables(to_frame(cells), PLAIN)
    assert not any("AUC" in note for note in notes(table) if "detect" in note)


def test_detectable_times_have_their_unit(cell: Cell) -> None:
    times = {"keep-all": [3000.0, 3100.0], "alpha": [1000.0, 1200.0]}
    cells = [cell(m, seed=s, ct_s=t) for m, seconds in times.items() for s, t in enumerate(seconds)]
    (costs,) = efficiency_tables(to_frame(cells), PLAIN)
    smallest = detectable_difference(np.std([2000.0, 1900.0], ddof=1).item(), 2)
    assert f"CT {smallest:,.0f} s, TT {smallest:,.0f} s on clicks." in notes(costs)[0]
