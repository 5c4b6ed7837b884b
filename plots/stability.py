"""How alike the fields are that a method keeps from seed to seed: Nogueira's measure with its 95 % interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import MaxNLocator

from bench.stats.stability import Stability, nogueira
from bench.tables.cells import RowKey
from bench.tables.places import Place, tau_text
from plots.sheet import Shape, sheet
from plots.style import COLUMN_IN, MUTED, PAGE_IN, look, mark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Point", "draw", "points", "without_value"]

_LETTER_IN, _ROW_IN = 0.062, 0.15
_COLUMNS = 4
_LONG_NAME = 18
"""Letters of a method's name that leave too little of one column of a paper for the dots."""
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


def without_value(place: Place, found: Sequence[Point]) -> list[str]:
    """Titles of the methods that have a selection at every seed and yet no stability: they always keep all fields."""
    known = {(point.row, point.tau) for point in found}
    names = []
    for block, row, tau in place.entries():
        numbers = place.numbers(block, "n_kept").get(row)
        if numbers is not None and len(numbers.seeds) > 1 and (row, tau) not in known:
            names.append(place.rows[row])
    return list(dict.fromkeys(names))


def draw(place: Place, title: str) -> Figure | None:
    """Dots with their intervals, a line by method, a panel by prune ratio.

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
    longest = max(len(place.rows[row]) for row in rows)
    few = len(taus) == 1 and longest <= _LONG_NAME
    shape = Shape(
        columns=_COLUMNS,
        width=COLUMN_IN if few else PAGE_IN,
        height=_ROW_IN * len(rows) + 0.1,
        left=0.12,
        first=0.2 + _LETTER_IN * longest,
        above=0.24 if len(taus) > 1 else 0.08,
    )
    with look():
        figure, axes = sheet(title, len(taus), shape, (), _notes(place, content))
        low = max(-1.0, min(-0.05, *(point.found.low - 0.03 for point in content)))
        for i, (part, tau) in enumerate(zip(axes, taus, strict=True)):
            _paint(part, [point for point in content if point.tau == tau], rows, place)
            part.set_xlim(low, 1.05)
            part.set_yticks(range(len(rows)), [place.rows[row] for row in rows] if i % _COLUMNS == 0 else [])
            if len(taus) > 1:
                part.set_title("no τ" if tau is None else tau_text(tau), y=1, size=7, pad=3)
    return figure


def _notes(place: Place, content: Sequence[Point]) -> list[str]:
    notes = [
        "1: the same fields at every seed; 0: as alike as by lot. Dotted: the usual bounds of excellent and poor. "
        "Bars: asymptotic 95 % interval, rough with few seeds and without width with two."
    ]
    if names := without_value(place, content):
        notes.append(f"Without a value, since they keep every field at every seed: {', '.join(names)}.")
    return [*notes, *place.lacking(("n_kept",))]


def _paint(axes: Axes, content: Sequence[Point], rows: Sequence[RowKey], place: Place) -> None:
    for bound in (_EXCELLENT, _POOR):
        axes.axvline(bound, color=MUTED, linewidth=0.7, linestyle=(0, (1, 2)), zorder=0)
    places = [rows.index(point.row) for point in content]
    colours = [mark(place.order[point.row]).colour for point in content]
    low, high = [point.found.low for point in content], [point.found.high for point in content]
    axes.hlines(places, low, high, colors=colours, linewidth=1.1)
    for point, y in zip(content, places, strict=True):
        shown = mark(place.order[point.row])
        axes.plot(
            [point.found.value],
            [y],
            linestyle="none",
            marker=shown.marker,
            markersize=5,
            markeredgewidth=0,
            color=shown.colour,
        )
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="both", color=MUTED, alpha=0.2, linewidth=0.4)
    axes.set_xlabel("Stability Φ ↑")
