"""Curves of several methods over one quantity, a panel by metric: what τ, a parameter or fewer fields do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.transforms import offset_copy

from bench.tables.metrics import METRICS
from bench.tables.model import Value
from plots.sheet import Shape, handle, scale_axis, sheet
from plots.style import MUTED, Mark, look, mark

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Curve", "Panel", "draw_panels"]

_ASIDE_PT, _SPREAD_PT = 1.5, 10.0
"""Between neighbouring curves, and over all of them: their bars must not hide each other."""
_BARS = "Bars: one standard deviation over seeds to both sides. Curves stand a little aside of each other to show them."


@dataclass(frozen=True)
class Curve:
    """One line: a number over seeds at every x."""

    title: str
    mark: Mark
    x: tuple[float, ...]
    """Increasing, [n]."""
    values: tuple[Value, ...]
    """[n]."""


@dataclass(frozen=True)
class Panel:
    metric: str
    curves: tuple[Curve, ...]
    reference: tuple[str, Value] | None = None
    """Title and number of the baseline: a dashed line."""


def draw_panels(
    title: str, panels: Sequence[Panel], x_label: str, ticks: Sequence[float], notes: Sequence[str], shape: Shape
) -> Figure:
    """All panels over the same x.

    Args:
        title: heading of the figure.
        panels: at least one.
        x_label: what x is, with its unit.
        ticks: where x is marked; empty for Matplotlib's choice.
        notes: sentences under the panels.
        shape: their room.
    """
    curves = {curve.title: curve for panel in panels for curve in panel.curves}
    references = list(dict.fromkeys(panel.reference[0] for panel in panels if panel.reference))
    everywhere = [x for curve in curves.values() for x in curve.x]
    if any(value.sd for panel in panels for curve in panel.curves for value in curve.values):
        notes = [
            _BARS,
            *notes,
        ]
    with look():
        legend = [handle(name, curve.mark) for name, curve in curves.items()]
        legend += [handle(name, mark(None), marker=False) for name in references]
        figure, axes = sheet(title, len(panels), shape, legend, notes)
        for part, panel in zip(axes, panels, strict=True):
            for number, curve in enumerate(panel.curves):
                aside = (number - (len(panel.curves) - 1) / 2) * min(_ASIDE_PT, _SPREAD_PT / len(panel.curves))
                _plot_curve(part, curve, METRICS[panel.metric].scale, aside)
            if panel.reference:
                _plot_reference(part, panel)
            part.margins(x=0.08)
            part.autoscale_view()
            part.set(xlabel=x_label, ylabel=METRICS[panel.metric].heading)
            scale_axis(part, "x", everywhere)
            scale_axis(part, "y", [])
            if ticks:
                part.set_xticks(ticks, [f"{tick:,g}" for tick in ticks])
            part.grid(color=MUTED, alpha=0.2, linewidth=0.4)
    return figure


def _plot_curve(axes: Axes, curve: Curve, scale: float, aside_pt: float) -> None:
    """A line with its markers, and bars of one standard deviation to both sides, a little aside of its x."""
    where = offset_copy(axes.transData, axes.get_figure(root=True), x=aside_pt, units="points")
    means = [float(value.mean or 0.0) / scale for value in curve.values]
    axes.plot(
        curve.x,
        means,
        color=curve.mark.colour,
        linestyle=curve.mark.line,
        marker=curve.mark.marker,
        markersize=4,
        linewidth=1.1,
        markeredgewidth=0,
        transform=where,
    )
    half = [(value.sd or 0.0) / scale for value in curve.values]
    low, high = ([m + sign * h for m, h in zip(means, half, strict=True)] for sign in (-1, 1))
    axes.vlines(curve.x, low, high, color=curve.mark.colour, linewidth=0.9, alpha=0.65, transform=where)
    axes.update_datalim([*zip(curve.x, low, strict=True), *zip(curve.x, high, strict=True)])


def _plot_reference(axes: Axes, panel: Panel) -> None:
    if panel.reference is not None and panel.reference[1].mean is not None:
        shown, base = panel.reference[1].mean / METRICS[panel.metric].scale, mark(None)
        axes.axhline(shown, color=base.colour, linestyle=base.line, linewidth=1.1, zorder=1)
