"""How alike the fields are that a method keeps from seed to seed: Nogueira's measure with its 95 % interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.stats.stability import Stability, nogueira
from bench.tables.cells import RowKey
from bench.tables.places import Place
from plots.sheet import Shape, handle, sheet
from plots.style import COLUMN_IN, MUTED, PAGE_IN, look, mark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Point", "draw", "points"]

_SPREAD = 0.7
"""Share of the distance between two prune ratios over which the methods are spread."""
_COLUMN_HOLDS = 12
"""Points that fit into one column of a paper."""
_EXCELLENT, _POOR = 0.75, 0.4


@dataclass(frozen=True)
class Point:
    """One method at one prune ratio."""

    row: RowKey
    tau: float | None
    found: Stability


def points(place: Place) -> list[Point]:
    """Every method and prune ratio with a selection at every seed, two at least, that does not always keep all."""
    whole = []
    for block, row, tau in place.entries():
        numbers = place.numbers(block, "n_kept").get(row)
        if numbers is None or len(numbers.seeds) < 2:
            continue
        cells = block.ok(place.group, row)
        kept = np.zeros((len(numbers.seeds), len(next(iter(cells.values()))["field_names"])))  # [M, F]
        for i, seed in enumerate(numbers.seeds):
            kept[i, cells[seed]["kept_fields"]] = 1
        found = nogueira(kept)
        if math.isfinite(found.value):
            whole.append(Point(row, tau, found))
    return whole


def draw(place: Place, title: str) -> Figure | None:
    """Dots with their intervals, methods beside each other at every prune ratio.

    Args:
        place: cells of one data set and one backbone.
        title: heading of the figure.

    Returns:
        The figure, or None where no method selected among the fields at two seeds.
    """
    content = points(place)
    if not content:
        return None
    rows = [row for row in place.rows if any(point.row == row for point in content)]
    taus = sorted({point.tau for point in content}, key=lambda tau: -1.0 if tau is None else tau)
    notes = [
        "1: the same fields at every seed; 0: as alike as by lot. Dotted: the usual bounds of excellent and poor. "
        "Bars: asymptotic 95 % interval, rough with few seeds and without width with two.",
        *place.lacking(("n_kept",)),
    ]
    width = PAGE_IN if len(rows) * len(taus) > _COLUMN_HOLDS else COLUMN_IN
    with look():
        legend = [handle(place.rows[row], mark(place.order[row]), line=False) for row in rows]
        figure, axes = sheet(title, 1, Shape(columns=1, width=width, height=1.9), legend, notes)
        _paint(axes[0], content, rows, taus, place)
    return figure


def _paint(
    axes: Axes, content: Sequence[Point], rows: Sequence[RowKey], taus: Sequence[float | None], place: Place
) -> None:
    step = _SPREAD / len(rows)
    for bound in (_EXCELLENT, _POOR):
        axes.axhline(bound, color=MUTED, linewidth=0.7, linestyle=(0, (1, 2)), zorder=0)
    for number, row in enumerate(rows):
        shown = mark(place.order[row])
        mine = [point for point in content if point.row == row]
        x = [taus.index(point.tau) + (number - (len(rows) - 1) / 2) * step for point in mine]
        axes.vlines(x, [p.found.low for p in mine], [p.found.high for p in mine], color=shown.colour, linewidth=1.1)
        axes.plot(
            x,
            [p.found.value for p in mine],
            linestyle="none",
            marker=shown.marker,
            markersize=4,
            markeredgewidth=0,
            color=shown.colour,
        )
    axes.set_xticks(range(len(taus)), ["none" if tau is None else f"{100 * tau:g}" for tau in taus])
    axes.set_xlim(-0.6, len(taus) - 0.4)
    axes.set_ylim(min(-0.05, *(point.found.value - 0.1 for point in content)), 1.05)
    axes.set(xlabel="Prune ratio τ (%)", ylabel="Stability Φ ↑")
    axes.grid(axis="y", color=MUTED, alpha=0.2, linewidth=0.4)
