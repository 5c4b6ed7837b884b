from __future__ import annotations

from collections.abc import Callable
from statistics import stdev

import pytest

from bench.records import CellRecord
from bench.tables.places import Place
from plots.cost import draw, stacks
from plots.style import render

Record = Callable[..., CellRecord]
PlaceOf = Callable[..., Place]


def test_bars_are_means_over_seeds_and_stack_to_the_total(record: Record, place_of: PlaceOf) -> None:
    times = {"keep": [(0.0, 4.0), (0.0, 6.0)], "slim": [(1.0, 2.0), (3.0, 1.0)]}
    cells = [
        record(method, seed, None if method == "keep" else 0.5, pt_s=pt, ct_s=ct)
        for method, pairs in times.items()
        for seed, (pt, ct) in enumerate(pairs)
    ]
    place = place_of(*cells)
    (stack,) = stacks(place)
    assert [(bar.title, bar.pt, bar.ct, bar.tt) for bar in stack.bars] == [("Keep", 0, 5, 5), ("Slim", 2, 1.5, 3.5)]
    assert [bar.sd for bar in stack.bars] == [pytest.approx(stdev([4, 6])), pytest.approx(stdev([3, 4]))]
    figure = draw(place, "Training time")
    assert figure is not None
    (axes,) = figure.axes
    pt, ct = axes.containers
    assert [bar.get_width() for bar in pt] == [0, 2]
    assert [(bar.get_x(), bar.get_width()) for bar in ct] == [(0, 5), (2, 1.5)]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Keep", "Slim"]
    assert axes.get_xlabel() == "Training time [s]"
    assert [text.get_text().strip() for text in axes.texts] == ["5.000", "3.500"]
    assert all(bar.get_hatch() for bar in pt), "the parts differ in more than colour"
    assert set(render(figure)) == {".pdf", ".png", ".svg"}


def test_every_prune_ratio_has_a_panel_on_one_scale(record: Record, place_of: PlaceOf) -> None:
    cells = [record("keep"), *(record("slim", tau=tau, ct_s=8 * (1 - tau)) for tau in (0.25, 0.5, 0.75))]
    figure = draw(place_of(*cells), "t")
    assert figure is not None
    assert [axes.get_title() for axes in figure.axes] == ["τ = 0.25", "τ = 0.5", "τ = 0.75"]
    assert len({axes.get_xlim() for axes in figure.axes}) == 1
    assert [axes.containers[1][1].get_width() for axes in figure.axes] == [6, 4, 2]
    assert [axes.containers[1][0].get_width() for axes in figure.axes] == [4, 4, 4], "the baseline is in all of them"


def test_failed_and_resumed_cells_are_named_and_not_drawn(record: Record, place_of: PlaceOf) -> None:
    cells = [
        *(record(method, seed) for method in ("keep", "bold") for seed in (0, 1)),
        record("slim", 0, 0.5),
        record("slim", 1, 0.5, status="failed"),
        record("lean", 0, 0.5),
        record("lean", 1, 0.5, resumed=True),
    ]
    place = place_of(*cells)
    assert [bar.title for stack in stacks(place) for bar in stack.bars] == ["Keep", "Bold"]
    figure = draw(place, "t")
    assert figure is not None
    note = " ".join(figure.texts[-1].get_text().split())
    assert "for want of results at every seed: Slim at τ = 0.5; Lean at τ = 0.5." in note


def test_one_method_makes_no_comparison(record: Record, place_of: PlaceOf) -> None:
    assert draw(place_of(record("keep")), "t") is None
    assert draw(place_of(record("keep"), record("slim", tau=0.5, status="skipped")), "t") is None
