from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bench.records import CellRecord, to_frame
from bench.stats.front import front
from bench.tables.cells import records_of
from bench.tables.places import Place, places
from bench.tables.titles import Titles
from plots.pareto import draw, panels
from plots.sheet import legend_labels
from plots.style import render

Record = Callable[..., CellRecord]
PlaceOf = Callable[..., Place]


def test_front_holds_what_no_other_beats() -> None:
    rng = np.random.default_rng(3)
    cost, auc = rng.integers(0, 12, 40).astype(float), rng.integers(0, 12, 40).astype(float)
    beaten = {
        i
        for i in range(40)
        for j in range(40)
        if cost[j] <= cost[i] and auc[j] >= auc[i] and (cost[j] < cost[i] or auc[j] > auc[i])
    }
    found = front(cost.tolist(), auc.tolist())
    assert set(found) == set(range(40)) - beaten
    assert cost[found].tolist() == sorted(cost[found])
    assert front([2.0, 1.0, 1.0], [0.7, 0.7, 0.7]) == [1, 2], "of equal points all stay"
    assert front([], []) == []


def test_every_cost_has_a_panel_in_its_printed_unit(record: Record, place_of: PlaceOf) -> None:
    cells = [
        record("keep", auc=0.80, ct_s=8.0, it_s=1.0, embedding_bytes=8 * 2**20),
        record("slim", tau=0.5, auc=0.81, pt_s=1.0, ct_s=3.0, it_s=0.5, embedding_bytes=4 * 2**20),
        record("lean", tau=0.5, auc=0.79, pt_s=1.0, ct_s=1.0, it_s=0.75, embedding_bytes=2**20),
        record("bold", tau=0.5, auc=0.78, pt_s=4.0, ct_s=1.0, it_s=0.75, embedding_bytes=4 * 2**20),
    ]
    time, inference, size = panels(place_of(*cells))
    shown = [{point.row.label: (point.cost, point.auc) for point in panel.points} for panel in (time, inference, size)]
    assert shown[0] == {"keep": (8, 0.80), "slim": (4, 0.81), "lean": (2, 0.79), "bold": (5, 0.78)}
    assert shown[2]["slim"] == (4, 0.81), "MiB"
    best = [[panel.points[i].row.label for i in panel.front] for panel in (time, inference, size)]
    assert best == [["lean", "slim"], ["slim"], ["lean", "slim"]]
    figure = draw(place_of(*cells), "AUC and cost")
    assert figure is not None
    assert [axes.get_xlabel() for axes in figure.axes] == ["TT [s] ↓", "IT [ms] ↓", "Embedding size [MiB] ↓"]
    assert [axes.get_ylabel() for axes in figure.axes] == ["AUC ↑", "", ""]
    assert len({axes.get_ylim() for axes in figure.axes}) == 1, "one scale of AUC for all"
    assert legend_labels(figure) == ["Keep", "Slim", "Lean", "Bold"]
    steps = figure.axes[0].lines[-1]
    assert steps.get_xydata().tolist() == [[2, 0.79], [4, 0.81], [figure.axes[0].get_xlim()[1], 0.81]]
    assert steps.get_drawstyle() == "steps-post"
    assert set(render(figure)) == {".pdf", ".png", ".svg"}


def test_wide_costs_are_logarithmic(record: Record, place_of: PlaceOf) -> None:
    cells = [record("keep", ct_s=100.0), record("slim", tau=0.5, pt_s=1.0, ct_s=1.0)]
    figure = draw(place_of(*cells), "t")
    assert figure is not None
    assert [axes.get_xscale() for axes in figure.axes] == ["log", "linear", "linear"]


def test_prune_ratios_share_the_panels_and_the_front(record: Record, place_of: PlaceOf) -> None:
    auc = {0.25: 0.80, 0.5: 0.82, 0.75: 0.70}
    cells = [record("keep", auc=0.81, ct_s=20.0)]
    cells += [record("slim", tau=tau, auc=a, ct_s=8 * (1 - tau)) for tau, a in auc.items()]
    time = panels(place_of(*cells))[0]
    assert [(point.row.label, point.tau) for point in time.points] == [
        ("keep", None), ("slim", 0.25), ("slim", 0.5), ("slim", 0.75),
    ]  # fmt: skip
    assert [time.points[i].tau for i in time.front] == [0.75, 0.5]
    figure = draw(place_of(*cells), "t")
    assert figure is not None
    base, slim = figure.axes[0].collections
    assert slim.get_offsets().tolist() == [[point.cost, point.auc] for point in time.points[1:]]
    sizes = slim.get_sizes().tolist()
    assert sizes == sorted(set(sizes), reverse=True), "the more fields are kept, the larger"
    assert base.get_sizes().tolist() == [1.5**2 * sizes[0]], "a star covers little of its square"


def test_times_of_another_optimizer_are_hollow_and_off_the_front(record: Record, place_of: PlaceOf) -> None:
    cells = [record("keep", auc=0.7), record("slim", tau=0.5, auc=0.9, ct_s=0.5, optimizer="sgd")]
    time, inference, _ = panels(place_of(*cells))
    assert [time.points[i].row.label for i in time.front] == ["keep"]
    assert "slim" in [inference.points[i].row.label for i in inference.front], "inference has no optimizer"
    figure = draw(place_of(*cells), "t")
    assert figure is not None
    filled = [[float(colour[3]) for colour in dots.get_facecolor()] for dots in figure.axes[0].collections]
    assert filled == [[1.0], [0.0]]
    assert "Hollow: trained with another optimizer" in " ".join(figure.texts[-1].get_text().split())


def test_failed_cells_are_named_and_one_method_is_no_figure(record: Record, place_of: PlaceOf) -> None:
    broken = record("slim", tau=0.5, status="timeout")
    assert draw(place_of(record("keep"), broken), "t") is None
    figure = draw(place_of(record("keep"), broken, record("lean", tau=0.5)), "t")
    assert figure is not None
    assert "Slim at τ = 0.5" in " ".join(figure.texts[-1].get_text().split())
    unsized = [
        record(method, tau=None if method == "keep" else 0.5, embedding_bytes=None) for method in ("keep", "slim")
    ]
    assert [panel.metric for panel in panels(place_of(*unsized))] == ["tt_s", "it_s"]


@pytest.mark.parametrize("taus", [(0.5,), (0.25, 0.5)])
def test_marks_are_the_same_in_every_place(
    record: Record, places_of: Callable[..., list[Place]], taus: tuple[float, ...]
) -> None:
    cells = [record("keep"), *(record("lean", tau=tau) for tau in taus)]
    cells += [record(method, tau=0.5, dataset="other") for method in ("slim", "lean")]
    first, second = places_of(*cells)
    lean = next(row for row in first.rows if row.label == "lean")
    assert first.order[lean] == second.order[lean] == 1, "the second method of the run"


def arranged(record: Record, *controls: CellRecord) -> Place:
    cells = [
        record("keep", auc=0.80, ct_s=8.0, it_s=1.0),
        record("slim", tau=0.5, auc=0.81, pt_s=1.0, ct_s=3.0, it_s=0.5),
        record("lean", tau=0.5, auc=0.79, pt_s=1.0, ct_s=1.0, it_s=0.75),
    ]
    (place,) = places(records_of(to_frame([*cells, *controls])), Titles(), ("bold",))
    return place


def test_a_control_below_the_axis_is_an_arrow_that_the_note_explains(record: Record) -> None:
    place = arranged(record, record("bold", tau=0.5, auc=0.55, pt_s=0.0, ct_s=0.5))
    figure, without = draw(place, "t"), draw(arranged(record), "t")
    assert figure is not None
    assert without is not None
    for axes, plain in zip(figure.axes, without.axes, strict=True):
        assert axes.get_ylim() == plain.get_ylim(), "the axis is as without it"
        (arrow,) = [text for text in axes.texts if text.arrow_patch is not None and not text.get_text()]
        assert arrow.xyann[1] > arrow.xy[1] == 0.0, "it points down to the edge"
    time = figure.axes[0]
    (arrow,) = [text for text in time.texts if not text.get_text()]
    assert arrow.xy[0] == 0.5, "at its cost"
    assert "Arrows: controls beyond the axis, Bold 0.5500." in " ".join(figure.texts[-1].get_text().split())
    assert "bold" not in {panel.points[i].row.label for panel in panels(place) for i in panel.front}


def test_a_control_within_the_axis_is_a_point(record: Record) -> None:
    figure = draw(arranged(record, record("bold", tau=0.5, auc=0.795, pt_s=0.0, ct_s=0.5)), "t")
    assert figure is not None
    assert not any(text.arrow_patch and not text.get_text() for text in figure.axes[0].texts)
    assert [0.5, 0.795] in [spot for dots in figure.axes[0].collections for spot in dots.get_offsets().tolist()]
    assert "Arrows" not in figure.texts[-1].get_text()


def test_the_front_has_names_that_hide_neither_each_other_nor_a_point(record: Record) -> None:
    figure = draw(arranged(record), "t")
    assert figure is not None
    axes = figure.axes[0]
    figure.canvas.draw()
    boxes = {text.get_text(): text.get_window_extent() for text in axes.texts}
    assert set(boxes) == {"Slim", "Lean"}
    assert not boxes["Slim"].overlaps(boxes["Lean"])
    for box in boxes.values():
        for dots in axes.collections:
            for spot in axes.transData.transform(dots.get_offsets()):
                assert not box.contains(*spot)
