from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure

from bench.records import CellRecord
from bench.stats.stability import nogueira
from bench.tables.places import Place
from plots.stability import draw, points
from plots.style import render

Record = Callable[..., CellRecord]
PlaceOf = Callable[..., Place]
KEPT = {"slim": [[0, 1, 2, 3], [0, 1, 2, 4], [0, 1, 2, 3]], "lean": [[0, 1, 2, 3], [4, 5, 6, 7], [0, 2, 4, 6]]}


def note_of(figure: Figure) -> str:
    return " ".join(figure.texts[-1].get_text().split())


def selections(record: Record, tau: float | None = 0.5) -> list[CellRecord]:
    return [
        record(method, seed, tau, kept_fields=kept)
        for method, by_seed in KEPT.items()
        for seed, kept in enumerate(by_seed)
    ]


def test_points_are_nogueiras_measure_of_the_seeds(record: Record, place_of: PlaceOf) -> None:
    base = [record("keep", seed) for seed in range(3)]
    place = place_of(*base, *selections(record), *selections(record, 0.25))
    found = points(place)
    assert [(point.row.label, point.tau) for point in found] == [
        ("slim", 0.25), ("lean", 0.25), ("slim", 0.5), ("lean", 0.5),
    ], "whoever keeps all fields has no stability"  # fmt: skip
    for point in found:
        masks = np.array([[field in kept for field in range(8)] for kept in KEPT[point.row.label]], dtype=float)
        assert point.found == nogueira(masks)
    figure = draw(place, "Stability")
    assert figure is not None
    assert [axes.get_title() for axes in figure.axes] == ["τ = 0.25", "τ = 0.5"]
    for axes, tau in zip(figure.axes, (0.25, 0.5), strict=True):
        mine = [point.found for point in found if point.tau == tau]
        dots = [line for line in axes.lines if line.get_marker() in ("o", "s")]
        assert [line.get_xydata().tolist() for line in dots] == [[[one.value, i]] for i, one in enumerate(mine)]
        spans = [segment[:, 0].tolist() for bars in axes.collections for segment in bars.get_segments()]
        assert spans == [pytest.approx([one.low, one.high]) for one in mine]
        assert axes.get_xlabel() == "Stability Φ ↑"
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["Slim", "Lean"]
    assert "Without a value, since they keep every field at every seed: Keep." in note_of(figure)
    assert set(render(figure)) == {".pdf", ".png", ".svg"}


def test_one_seed_or_all_fields_give_no_figure(record: Record, place_of: PlaceOf) -> None:
    assert draw(place_of(*(cell for cell in selections(record) if cell.seed == 0)), "t") is None
    assert draw(place_of(*(record("keep", seed) for seed in range(3))), "t") is None


def test_a_method_that_lacks_a_seed_is_named_and_left_out(record: Record, place_of: PlaceOf) -> None:
    cells = selections(record)
    broken = record("lean", 2, 0.5, status="failed")
    place = place_of(*cells[:-1], broken)
    assert [point.row.label for point in points(place)] == ["slim"]
    figure = draw(place, "t")
    assert figure is not None
    assert "Lean at τ = 0.5" in note_of(figure)
