"""Curves of several methods over one quantity, a panel by metric: what τ, a parameter or fewer fields do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.metrics import METRICS
from bench.report.model import Value
from plots.sheet import Shape, handle, scale_axis, sheet
from plots.style import MUTED, Mark, look, mark

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Curve", "Panel", "draw_panels"]


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
        notes = ["Bars: one standard deviation over seeds to both sides.", *notes]
    with look():
        legend = [handle(name, curve.mark) for name, curve in curves.items()]
        legend += [handle(name, mark(None), marker=False) for name in references]
        figure, axes = sheet(title, len(panels), shape, legend, notes)
        for part, panel in zip(axes, panels, strict=True):
            for curve in panel.curves:
                _plot_curve(part, curve, METRICS[panel.metric].scale)
            if panel.reference:
                _plot_reference(part, panel)
            part.set(xlabel=x_label, ylabel=METRICS[panel.metric].heading)
            scale_axis(part, "x", everywhere)
            scale_axis(part, "y", [])
            if ticks:
                part.set_xticks(ticks, [f"{tick:,g}" for tick in ticks])
            part.grid(color=MUTED, alpha=0.2, linewidth=0.4)
    return figure


def _plot_curve(axes: Axes, curve: Curve, scale: float = 1.0) -> None:
    """A line with its markers, and bars of one standard deviation to both sides."""
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
    )
    bars = [(x, m, v.sd / scale) for x, m, v in zip(curve.x, means, curve.values, strict=True) if v.sd]
    if bars:
        x, middle, half = zip(*bars, strict=True)
        low, high = ([m + sign * h for m, h in zip(middle, half, strict=True)] for sign in (-1, 1))
        axes.vlines(x, low, high, color=curve.mark.colour, linewidth=0.9, alpha=0.65)


def _plot_reference(axes: Axes, panel: Panel) -> None:
    if panel.reference is not None and panel.reference[1].mean is not None:
        shown, base = panel.reference[1].mean / METRICS[panel.metric].scale, mark(None)
        axes.axhline(shown, color=base.colour, linestyle=base.line, linewidth=1.1, zorder=1)
