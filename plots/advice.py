"""What fewer fields cost and save: difference in AUC to all fields over kept fields, bytes and times below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plots.sheet import Shape, handle, scale_axis, sheet, spans_decades
from plots.style import ACCENT, COLUMN_IN, INK, MUTED, Mark, look, mark

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Point", "draw"]

_MAX_TICKS = 9


@dataclass(frozen=True)
class Point:
    """A number of kept fields against all fields."""

    k: int
    difference: float
    """In AUC, on test rows."""
    low: float
    high: float
    validation: float | None = None
    """The same on validation rows, by which K is chosen."""
    shares: tuple[float | None, ...] = ()
    """What is left of each cost."""


def draw(title: str, points: Sequence[Point], costs: Sequence[str], tolerance: float, chosen: Point | None) -> Figure:
    """A panel of AUC with the band of its interval, and one of what is left of the costs, as far as it is known.

    Args:
        title: heading of the figure.
        points: by increasing K, all fields last; at least two.
        costs: what ``shares`` are of.
        tolerance: loss of AUC that is allowed, a dotted line.
        chosen: the chosen set, which need not be one of the points; None: there is none.
    """
    auc, valid = mark(0), mark(1)
    marks = [mark(number + 2) for number in range(len(costs))]
    known = [any(p.shares[number] is not None for p in points[:-1]) for number in range(len(costs))]
    legend = [
        handle("on test rows, band: 95 % interval", auc),
        handle("on validation rows, by which K is chosen", valid),
        handle(f"tolerance, a loss of {tolerance:g}", Mark(ACCENT, "none", ":")),
        *(handle(cost, one) for cost, one, there in zip(costs, marks, known, strict=True) if there),
    ]
    if chosen is not None:
        legend.insert(3, handle(f"chosen: K = {chosen.k}", Mark(INK, "*", "none")))
    with look():
        figure, (top, below) = sheet(title, 2, Shape(columns=1, width=COLUMN_IN, height=1.6, first=0.66), legend)
        _quality(top, points, tolerance, chosen, auc, valid)
        _costs(below, points, chosen, marks)
        ticks = _apart([point.k for point in points])
        for axes in (top, below):
            scale_axis(axes, "x", [point.k for point in points])
            scale_axis(axes, "y", [])
            axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
            axes.minorticks_off()
            axes.grid(color=MUTED, alpha=0.2, linewidth=0.4)
            axes.set_xlabel("Kept fields K")
    return figure


def _apart(numbers: Sequence[int]) -> list[int]:
    """The largest of increasing numbers, and those below that have room for their digits beside the next."""
    found = [numbers[-1]]
    span = (lambda a, b: math.log(b / a)) if spans_decades(numbers) else (lambda a, b: b - a)
    for number in reversed(numbers[:-1]):
        if span(number, found[-1]) > span(numbers[0], numbers[-1]) / _MAX_TICKS:
            found.append(number)
    return found[::-1]


def _quality(
    axes: Axes, points: Sequence[Point], tolerance: float, chosen: Point | None, auc: Mark, valid: Mark
) -> None:
    x = [point.k for point in points]
    axes.fill_between(x, [p.low for p in points], [p.high for p in points], color=auc.colour, alpha=0.2, linewidth=0)
    _line(axes, x, [point.difference for point in points], auc)
    seen = [(point.k, point.validation) for point in points if point.validation is not None]
    if seen:
        _line(axes, [k for k, _ in seen], [number for _, number in seen], valid)
    axes.axhline(0, color=MUTED, linewidth=0.6, zorder=0)
    axes.axhline(-tolerance, color=ACCENT, linestyle=":", linewidth=1.1, zorder=1)
    if chosen is not None:
        axes.vlines([chosen.k], [chosen.low], [chosen.high], color=INK, linewidth=1.0, zorder=4)
        axes.plot([chosen.k], [chosen.difference], color=INK, marker="*", markersize=7, markeredgewidth=0, zorder=5)
    axes.set_ylabel("AUC less that of all fields")


def _costs(axes: Axes, points: Sequence[Point], chosen: Point | None, marks: Sequence[Mark]) -> None:
    for number, one in enumerate(marks):
        known = [(point.k, 100 * share) for point in points if (share := point.shares[number]) is not None]
        if known:
            _line(axes, [k for k, _ in known], [share for _, share in known], one)
        if chosen is not None and (share := chosen.shares[number]) is not None:
            axes.plot([chosen.k], [100 * share], color=INK, marker="*", markersize=7, markeredgewidth=0, zorder=5)
    axes.set_ylabel("Share of all fields' [%]")
    axes.set_ylim(bottom=0)


def _line(axes: Axes, x: Sequence[float], y: Sequence[float], one: Mark) -> None:
    axes.plot(
        x, y, color=one.colour, linestyle=one.line, marker=one.marker, markersize=4, linewidth=1.1, markeredgewidth=0
    )
