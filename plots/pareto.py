"""What AUC costs: mean test AUC against training time, inference time and size, and what nothing else beats.

Controls do not stretch the axes: one that lies below them is an arrow at the edge, with its AUC in the note.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.stats.front import front
from bench.tables.cells import RowKey
from bench.tables.metrics import METRICS
from bench.tables.places import Place, tau_text
from plots.labels import Label, put_labels
from plots.sheet import Shape, handle, scale_axis, sheet
from plots.style import MUTED, look, mark

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COSTS", "Panel", "Point", "draw", "panels"]

COSTS = ("tt_s", "it_s", "embedding_bytes")
"""Metrics of the panels, all better when lower."""
_MIN_METHODS = 2
_SIZES = (4.0, 7.0)
"""Markers, in points, at the smallest and the largest share of pruned fields."""
_AT_FRONT = 1.35
"""How much larger they are at the front."""
_STAR = 1.5
"""How much larger a star is, which covers little of its square."""
_ROOM_ABOVE = 0.16
"""Share of the axis that is left for labels above the highest point."""
_MAX_LABELS = 8
_ARROW = 0.07
"""Length of an arrow at the edge, as a share of the axis."""


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
            ranked = [i for i, point in enumerate(points) if point.rankable and point.row not in place.controls]
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
    with look():
        legend = [handle(name, mark(place.order[row]), line=False) for row, name in place.rows.items() if row in drawn]
        shape, lacking = Shape(height=2.2, left=0.25), place.lacking(("auc", *COSTS))
        notes = [*_notes(content, taus), *_below_text(content, place)]
        figure, axes = sheet(title, len(content), shape, legend, [*notes, *lacking])
        for part, panel in zip(axes, content, strict=True):
            _paint(part, panel, place, taus)
            part.set(xlabel=METRICS[panel.metric].heading)
        axes[0].set_ylabel(METRICS["auc"].heading)
        low, high = _limits(content, place)
        for part, panel in zip(axes, content, strict=True):
            part.set_ylim(low, high)
            _paint_controls(part, panel, place, taus)
            put_labels(part, _labels(panel, place), [(point.cost, point.auc) for point in panel.points])
        for part in axes[1:]:
            part.tick_params(axis="y", labelleft=False)
    return figure


def _notes(content: Sequence[Panel], taus: Sequence[float]) -> list[str]:
    notes = ["Stepped line with names: no other point is as good in both and better in one; controls do not compete."]
    if len(taus) > 1:
        notes.append(f"A thin line joins one method's prune ratios, from {taus[0]:g} (large) to {taus[-1]:g} (small).")
    if not all(point.rankable for panel in content for point in panel.points):
        notes.append("Hollow: trained with another optimizer, its cost not compared.")
    return notes


def _aside(panel: Panel, place: Place) -> frozenset[RowKey]:
    """Rows that do not stretch the axes: the controls, where enough others are there to make some."""
    rows = {point.row for point in panel.points}
    return place.controls if len(rows - place.controls) >= _MIN_METHODS else frozenset()


def _limits(content: Sequence[Panel], place: Place) -> tuple[float, float]:
    """Ends of the axis of AUC, one for all panels, with room for labels above."""
    values = [point.auc for panel in content for point in panel.points if point.row not in _aside(panel, place)]
    span = (max(values) - min(values)) or 0.01
    return min(values) - 0.08 * span, max(values) + _ROOM_ABOVE * span


def _below_text(content: Sequence[Panel], place: Place) -> list[str]:
    """Names and AUC of the controls that are arrows."""
    low, high = _limits(content, place)
    found = {
        point.row: f"{place.rows[point.row]} {METRICS['auc'].text(point.auc)}"
        for panel in content
        for point in sorted(panel.points, key=lambda point: -point.auc)
        if point.row in _aside(panel, place) and not low <= point.auc <= high
    }
    return [f"Arrows: controls beyond the axis, {', '.join(found.values())}."] if found else []


def _labels(panel: Panel, place: Place) -> list[Label]:
    """The names of the methods at the front, best first, with the prune ratio where a method has several.

    Of points at one place the first has a name, and of many those of the highest AUC.
    """
    found: list[Label] = []
    places = {(panel.points[i].cost, panel.points[i].auc): i for i in sorted(panel.front, reverse=True)}
    for point in sorted((panel.points[i] for i in places.values()), key=lambda point: -point.auc)[:_MAX_LABELS]:
        several = sum(other.row == point.row for other in panel.points) > 1
        tau = f", {tau_text(point.tau)}" if several and point.tau is not None else ""
        text = (place.rows[point.row] + tau).replace(" [", "\n[", 1)
        found.append(Label(text, point.cost, point.auc, mark(place.order[point.row]).colour))
    return found


def _paint(axes: Axes, panel: Panel, place: Place, taus: Sequence[float]) -> None:
    aside = _aside(panel, place)
    scale_axis(axes, "x", [point.cost for point in panel.points])
    scale_axis(axes, "y", [])
    for row in dict.fromkeys(point.row for point in panel.points if point.row not in aside):
        _scatter(axes, panel, row, place, taus)
    inside = next(point.auc for point in panel.points if point.row not in aside)
    axes.update_datalim([(point.cost, inside) for point in panel.points])
    axes.grid(color=MUTED, alpha=0.2, linewidth=0.4)
    axes.margins(0.08)
    axes.autoscale_view()
    end = axes.get_xlim()[1]
    axes.set_xlim(right=end)
    if not panel.front:  # controls alone, or none that may be compared
        return
    steps = [panel.points[i] for i in panel.front]
    cost, auc = [point.cost for point in steps], [point.auc for point in steps]
    axes.step([*cost, end], [*auc, *auc[-1:]], where="post", color=MUTED, linewidth=1.6, alpha=0.5, zorder=1)


def _scatter(axes: Axes, panel: Panel, row: RowKey, place: Place, taus: Sequence[float]) -> None:
    """All points of a method, those of the front larger."""
    mine, shown = [i for i, point in enumerate(panel.points) if point.row == row], mark(place.order[row])
    points = [panel.points[i] for i in mine]
    if len(mine) > 1:
        axes.plot([p.cost for p in points], [p.auc for p in points], color=shown.colour, linewidth=0.6, alpha=0.6)
    hollow = [not point.rankable for point in points]
    front_scale = _AT_FRONT if len(taus) < 2 else 1.0  # of several prune ratios, size says which
    larger = [(front_scale if i in panel.front else 1.0) * (_STAR if shown.marker == "*" else 1.0) for i in mine]
    axes.scatter(
        [point.cost for point in points],
        [point.auc for point in points],
        [(_size(point.tau, taus) * scale) ** 2 for point, scale in zip(points, larger, strict=True)],
        marker=shown.marker,
        facecolors=["none" if empty else shown.colour for empty in hollow],
        edgecolors=[shown.colour if empty else "white" for empty in hollow],
        linewidths=[0.8 if empty else 0.4 for empty in hollow],
        zorder=3 if place.order[row] is not None else 4,
    )


def _paint_controls(axes: Axes, panel: Panel, place: Place, taus: Sequence[float]) -> None:
    """Controls within the axis of AUC as the others, those beyond as arrows at its end; the axes stay as they are."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    for row in dict.fromkeys(point.row for point in panel.points if point.row in _aside(panel, place)):
        mine = [point for point in panel.points if point.row == row]
        if all(low <= point.auc <= high for point in mine):
            _scatter(axes, panel, row, place, taus)
            continue
        for point in mine:
            down = point.auc < (low + high) / 2
            ends = (_ARROW, 0.0) if down else (1 - _ARROW, 1.0)
            start, tip = ((point.cost, end) for end in ends)
            style = {
                "arrowstyle": "-|>",
                "color": mark(place.order[row]).colour,
                "linewidth": 1.1,
                "shrinkA": 0,
                "shrinkB": 0,
            }
            where = axes.get_xaxis_transform()
            axes.annotate("", tip, start, xycoords=where, textcoords=where, arrowprops=style, annotation_clip=False)
    axes.set(xlim=(left, right), ylim=(low, high))


def _size(tau: float | None, taus: Sequence[float]) -> float:
    if tau is None or len(taus) < 2:
        return _SIZES[1] if len(taus) > 1 else sum(_SIZES) / 2
    small, large = _SIZES
    return large - (large - small) * (tau - taus[0]) / (taus[-1] - taus[0])
