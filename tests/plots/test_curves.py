"""Lines over the prune ratio, over kept fields and over a parameter."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

from bench.records import CellRecord
from bench.stats.curve import aukc
from bench.tables.places import Place
from plots import k_sweep, sensitivity, tau_curves
from plots.sheet import legend_labels
from plots.style import INK, mark, render

Record = Callable[..., CellRecord]
PlaceOf = Callable[..., Place]
TAUS = (0.0, 0.25, 0.5, 0.75)


def lines(axes: Axes) -> list[tuple[list[float], list[float]]]:
    """(x, y) of the curves, reference lines left out."""
    found = [(list(map(float, np.ravel(line.get_xdata()))), list(map(float, line.get_ydata()))) for line in axes.lines]
    return [(x, y) for x, y in found if x != [0.0, 1.0]]


def dashed(axes: Axes) -> list[float]:
    return [float(line.get_ydata()[0]) for line in axes.lines if list(line.get_xdata()) == [0, 1]]


def over_tau(record: Record, method: str, auc: dict[float, list[float]], **changes: Any) -> list[CellRecord]:
    return [
        record(method, seed, tau, auc=value, **changes)
        for tau, by_seed in auc.items()
        for seed, value in enumerate(by_seed)
    ]


def test_tau_curves_show_means_spread_and_the_baseline(record: Record, place_of: PlaceOf) -> None:
    auc = {0.75: [0.71, 0.73], 0.0: [0.80, 0.78], 0.5: [0.76, 0.76]}
    slim = over_tau(record, "slim", auc)
    base = [record("keep", seed, auc=0.7 + 0.1 * seed, logloss=0.4, ct_s=9.0) for seed in (0, 1)]
    one = [record("lean", seed, 0.5) for seed in (0, 1)]
    place = place_of(*slim, *base, *one)
    first = tau_curves.panels(place)[0]
    assert [curve.title for curve in first.curves] == ["Slim"], "a single prune ratio is no curve"
    figure = tau_curves.draw(place, "Prune ratio")
    assert figure is not None
    assert [axes.get_ylabel() for axes in figure.axes] == ["AUC ↑", "Logloss ↓", "TT [s] ↓"]
    assert {axes.get_xlabel() for axes in figure.axes} == {"Prune ratio τ [%]"}
    ((x, y),) = lines(figure.axes[0])
    assert x == [0, 50, 75]
    np.testing.assert_allclose(y, [fmean(auc[tau]) for tau in (0.0, 0.5, 0.75)])
    (bars,) = figure.axes[0].collections
    segments = {segment[0][0]: np.ptp(segment[:, 1]) for segment in bars.get_segments()}
    assert segments == pytest.approx({100 * tau: 2 * stdev(values) for tau, values in auc.items()})
    low, high = figure.axes[0].get_ylim()
    assert low < fmean(auc[0.75]) - stdev(auc[0.75]), "the whole bar is in view"
    assert fmean(auc[0.0]) + stdev(auc[0.0]) < high < 0.85
    left, right = figure.axes[0].get_xlim()
    assert -10 < left < 0, "the first prune ratio"
    assert 75 < right < 85, "the last"
    assert [dashed(axes) for axes in figure.axes] == [[pytest.approx(0.75)], [pytest.approx(0.4)], [pytest.approx(9)]]
    assert legend_labels(figure) == ["Slim", "Keep"]
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["0", "50", "75"]
    assert set(render(figure)) == {".pdf", ".png", ".svg"}


def test_a_prune_ratio_that_lacks_a_seed_is_no_point(record: Record, place_of: PlaceOf) -> None:
    auc = {tau: [0.7, 0.8] for tau in TAUS}
    cells = over_tau(record, "slim", auc)
    lean = [
        record("lean", 0, tau, auc=0.7) if (tau, seed) == (0.5, 1) else record("lean", seed, tau, auc=0.7)
        for tau in TAUS
        for seed in (0, 1)
        if (tau, seed) != (0.5, 1)
    ]
    slim, other = tau_curves.panels(place_of(*cells, *lean))[0].curves
    assert slim.x == (0, 25, 50, 75)
    assert other.x == (0, 25, 75)


def test_times_of_resumed_cells_are_no_points(record: Record, place_of: PlaceOf) -> None:
    cells = [record("slim", 0, tau, resumed=tau == 0.5) for tau in TAUS]
    auc, _, time = tau_curves.panels(place_of(*cells))
    assert auc.curves[0].x == (0, 25, 50, 75)
    assert time.curves[0].x == (0, 25, 75)


def test_without_two_prune_ratios_there_is_no_curve(record: Record, place_of: PlaceOf) -> None:
    cells = [record("keep"), record("slim", tau=0.5), record("lean", tau=0.5), record("slim", tau=0.25, status="oom")]
    place = place_of(*cells)
    assert tau_curves.draw(place, "t") is None
    assert k_sweep.draw(place, "t") is None
    assert sensitivity.sweeps(place) == []


def test_methods_differ_in_marker_and_line_as_well_as_in_colour() -> None:
    looks = [mark(i) for i in range(30)]
    assert len({(look.marker, str(look.line)) for look in looks}) == 30
    assert len({look.colour for look in looks[:9]}) == 9
    assert mark(None).colour == INK


def test_k_sweep_is_over_kept_fields_with_its_area(record: Record, place_of: PlaceOf) -> None:
    auc = {0.0: [0.80, 0.82], 0.25: [0.78, 0.80], 0.5: [0.70, 0.76], 0.75: [0.6, 0.6]}
    cells = over_tau(record, "slim", auc)
    flat = over_tau(record, "lean", auc, kept_fields=[0, 1, 2])
    place = place_of(*cells, *flat, record("keep", 0, auc=0.79), record("keep", 1, auc=0.79))
    (sweep,) = k_sweep.sweeps(place)
    assert sweep.curve.x == (2, 4, 6, 8), "8 fields less the floor of τ times 8"
    means = [fmean(auc[tau]) for tau in (0.75, 0.5, 0.25, 0.0)]
    assert [value.mean for value in sweep.curve.values] == pytest.approx(means)
    assert sweep.aukc == pytest.approx(aukc([2, 4, 6, 8], means))
    figure = k_sweep.draw(place, "AUC over kept fields")
    assert figure is not None
    assert legend_labels(figure) == [f"Slim, AUKC {sweep.aukc:.4f}", "Keep"]
    assert figure.get_figwidth() == 3.3, "one column of a paper"
    assert dashed(figure.axes[0]) == [pytest.approx(0.79)]


def test_k_sweep_needs_three_numbers_of_fields(record: Record, place_of: PlaceOf) -> None:
    auc = {0.25: [0.8], 0.5: [0.7]}
    assert k_sweep.draw(place_of(*over_tau(record, "slim", auc)), "t") is None
    assert k_sweep.draw(place_of(*over_tau(record, "slim", {**auc, 0.75: [0.6]})), "t") is not None


def variants(record: Record, **changes: Any) -> list[CellRecord]:
    """A method at three values of ``rows``, the second its default; ``noise`` and ``share`` stay."""
    sizes = {100: "slim[rows=100]", 2000: "slim", 5000: "slim[rows=5000]"}
    return [
        record(
            "slim", 0, label=label, auc=0.7 + rows / 1e5,
            **{"tau": 0.5, **changes, "params": {"rows": rows, "noise": "one", "fast": True, "share": None}},
        )
        for rows, label in sizes.items()
    ]  # fmt: skip


def test_sensitivity_sweeps_the_one_number_that_differs(record: Record, place_of: PlaceOf) -> None:
    other = record("slim", tau=0.5, label="slim[rows=100,noise=all]", params={"rows": 100, "noise": "all"})
    place = place_of(*variants(record), other, record("keep", auc=0.72))
    (sweep,) = sensitivity.sweeps(place)
    assert (sweep.method, sweep.title, sweep.parameter) == ("slim", "Slim", "rows")
    (curve,) = sweep.panels[0].curves
    assert curve.x == (100, 2000, 5000)
    assert [value.mean for value in curve.values] == pytest.approx([0.701, 0.72, 0.75])
    figure = sensitivity.draw(place, sweep, "t")
    assert {axes.get_xscale() for axes in figure.axes} == {"log"}, "a factor of 50"
    assert {axes.get_xlabel() for axes in figure.axes} == {"rows"}
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["100", "2,000", "5,000"]
    assert dashed(figure.axes[0]) == [pytest.approx(0.72)]
    assert set(render(figure)) == {".pdf", ".png", ".svg"}


def test_prune_ratios_and_other_settings_make_lines_of_their_own(record: Record, place_of: PlaceOf) -> None:
    cells = [cell for tau in (0.25, 0.5) for cell in variants(record, tau=tau)]
    (sweep,) = sensitivity.sweeps(place_of(*cells))
    assert [curve.title for curve in sweep.panels[0].curves] == ["τ = 0.25", "τ = 0.5"]


@pytest.mark.parametrize("values", [("one", "all"), (True, False), (5, None), ([1], [2])])
def test_texts_truth_values_and_a_number_against_none_are_no_sweep(
    record: Record, place_of: PlaceOf, values: tuple[Any, Any]
) -> None:
    cells = [record("slim", label=f"slim[x={value}]", tau=0.5, params={"x": value}) for value in values]
    assert sensitivity.sweeps(place_of(*cells)) == []


def test_two_numbers_that_differ_are_no_sweep(record: Record, place_of: PlaceOf) -> None:
    cells = [record("slim", label=f"slim[a={a},b={b}]", tau=0.5, params={"a": a, "b": b}) for a, b in ((1, 2), (3, 4))]
    assert sensitivity.sweeps(place_of(*cells)) == []


def test_a_failed_value_is_left_out_of_the_sweep(record: Record, place_of: PlaceOf) -> None:
    cells = variants(record)
    broken = record("slim", label="slim[rows=9]", tau=0.5, status="failed", params={**cells[0].params, "rows": 9})
    place = place_of(*cells, broken)
    (sweep,) = sensitivity.sweeps(place)
    assert sweep.panels[0].curves[0].x == (100, 2000, 5000)
    figure = sensitivity.draw(place, sweep, "t")
    assert "Slim [rows=9] at τ = 0.5" in " ".join(figure.texts[-1].get_text().split())
