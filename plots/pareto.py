"""What AUC costs: mean test AUC against training time, inference time and size, and what nothing else beats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.tables.cells import RowKey
from bench.tables.metrics import METRICS
from bench.tables.places import Place
from plots.sheet import Shape, handle, scale_axis, sheet
from plots.style import MUTED, look, mark

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COSTS", "Panel", "Point", "draw", "front", "panels"]

COSTS = ("tt_s", "it_s", "embedding_bytes")
"""Metrics of the panels, all better when lower."""
_MIN_METHODS = 2
_SIZES = (3.0, 6.0)
"""Markers, in points, at the smallest and the largest share of pruned fields."""


@dataclass(frozen=True)
class Point:
    """One method at one prune ratio, means over seeds."""

    row: RowKey
    tau: float | None
    cost: float
    """As printed, in the metric's unit."""
    auc: float
    rankable: bool
    """False where the cost may not be compared: other optimizers."""


@dataclass(frozen=True)
class Panel:
    metric: str
    points: tuple[Point, ...]
    front: tuple[int, ...]
    """Which of them no other beats, by increasing cost."""


def front(cost: Sequence[float], auc: Sequence[float]) -> list[int]:
    """Points that no other beats: none is as good in both and better in one. By increasing cost."""
    points = list(zip(cost, auc, strict=True))
    best = [i for i, (c, a) in enumerate(points) if not any(d <= c and b >= a and (d, b) != (c, a) for d, b in points)]
    return sorted(best, key=lambda i: points[i])


def panels(place: Place) -> list[Panel]:
    """A panel by cost with every method that has AUC and cost at every seed; panels with two methods or more."""
    found = []
    for metric in COSTS:
        points = []
        for block, row, tau in place.entries():
            auc, cost = place.numbers(block, "auc").get(row), place.numbers(block, metric).get(row)
            if auc is not None and cost is not None and auc.mean is not None and cost.mean is not None:
                shown = cost.mean / METRICS[metric].scale
                points.append(Point(row, tau, shown, auc.mean, cost.rankable))
        if len({point.row for point in points}) >= _MIN_METHODS:
            ranked = [i for i, point in enumerate(points) if point.rankable]
            best = front([points[i].cost for i in ranked], [points[i].auc for i in ranked])
            found.append(Panel(metric, tuple(points), tuple(ranked[i] for i in best)))
    return found


def draw(place: Place, title: str) -> Figure | None:
    """A panel by cost, a marker by method, larger the fewer fields are pruned, and the front as a stepped line.

    Args:
        place: cells of one data set and one backbone; all its prune ratios share the panels.
        title: heading of the figure.

    Returns:
        The figure, or None where no two methods have an AUC and a cost.
    """
    content = panels(place)
    if not content:
        return None
    drawn = {point.row for panel in content for point in panel.points}
    taus = sorted({point.tau for panel in content for point in panel.points if point.tau is not None})
    notes = ["Stepped line: no other point is as good in both and better in one."]
    if len(taus) > 1:
        notes.append(f"A thin line joins one method's prune ratios, from {taus[0]:g} (large) to {taus[-1]:g} (small).")
    if not all(point.rankable for panel in content for point in panel.points):
        notes.append("Hollow: trained with another optimizer, its cost not compared.")
    with look():
        legend = [handle(name, mark(place.order[row]), line=False) for row, name in place.rows.items() if row in drawn]
        shape, lacking = Shape(height=1.9, left=0.25), place.lacking(("auc", *COSTS))
        figure, axes = sheet(title, len(content), shape, legend, [*notes, *lacking])
        for part, panel in zip(axes, content, strict=True):
            _paint(part, panel, place, taus)
            shown = METRICS[panel.metric]
            part.set(xlabel=shown.heading)
        axes[0].set_ylabel(METRICS["auc"].heading)
        limits = [part.get_ylim() for part in axes]
        for part in axes:
            part.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
        for part in axes[1:]:
            part.tick_params(axis="y", labelleft=False)
    return figure


def _paint(axes: Axes, panel: Panel, place: Place, taus: Sequence[float]) -> None:
    scale_axis(axes, "x", [point.cost for point in panel.points])
    scale_axis(axes, "y", [])
    for row in dict.fromkeys(point.row for point in panel.points):
        mine, shown = [point for point in panel.points if point.row == row], mark(place.order[row])
        if len(mine) > 1:
            axes.plot([p.cost for p in mine], [p.auc for p in mine], color=shown.colour, linewidth=0.6, alpha=0.6)
        hollow = [not point.rankable for point in mine]
        axes.scatter(
            [point.cost for point in mine],
            [point.auc for point in mine],
            [_size(point.tau, taus) ** 2 for point in mine],
            marker=shown.marker,
            facecolors=["none" if empty else shown.colour for empty in hollow],
            edgecolors=[shown.colour if empty else "white" for empty in hollow],
            linewidths=[0.8 if empty else 0.4 for empty in hollow],
            zorder=3 if place.order[row] is not None else 4,
        )
    axes.grid(color=MUTED, alpha=0.2, linewidth=0.4)
    axes.margins(0.08)
    end = axes.get_xlim()[1]
    axes.set_xlim(right=end)
    steps = [panel.points[i] for i in panel.front]
    cost, auc = [point.cost for point in steps], [point.auc for point in steps]
    axes.step([*cost, end], [*auc, *auc[-1:]], where="post", color=MUTED, linewidth=1.6, alpha=0.5, zorder=1)


def _size(tau: float | None, taus: Sequence[float]) -> float:
    if tau is None or len(taus) < 2:
        return _SIZES[1] if len(taus) > 1 else sum(_SIZES) / 2
    small, large = _SIZES
    return large - (large - small) * (tau - taus[0]) / (taus[-1] - taus[0])
