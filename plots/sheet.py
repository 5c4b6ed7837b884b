"""Panels beside and below each other with a heading, a legend and notes; all lengths in inches.

Placed by arithmetic and not by Matplotlib's layout engines: those draw every figure several times.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from plots.style import MUTED, PAGE_IN, Mark, new_figure

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["LOG_SPAN", "Shape", "handle", "scale_axis", "sheet", "spans_decades"]

LOG_SPAN = 10.0
"""Positive numbers whose extremes are further apart than this are shown on a logarithmic axis."""
_PAD, _RIGHT = 0.08, 0.18
_TITLE_LETTER, _TITLE_LINE = 0.075, 0.17
_LEGEND_LETTER, _LEGEND_LINE, _LEGEND_GAP, _HANDLE = 0.051, 0.128, 0.08, 0.42
_NOTE_LETTER, _NOTE_LINE = 0.049, 0.13


@dataclass(frozen=True)
class Shape:
    """Room of the panels."""

    columns: int = 3
    """Panels in a line, at most."""
    width: float = PAGE_IN
    """Of the whole figure."""
    height: float = 1.5
    """Of a panel without what is written around it."""
    left: float = 0.6
    """Before every panel."""
    first: float = 0.55
    """Before the first panel of a line."""
    below: float = 0.43
    above: float = 0.08


def sheet(
    title: str, n_panels: int, shape: Shape, legend: Sequence[Artist] = (), notes: Sequence[str] = ()
) -> tuple[Figure, list[Axes]]:
    """An empty figure and its panels; call it inside ``look()``.

    Args:
        title: heading of the figure.
        n_panels: how many, line by line.
        shape: their room.
        legend: one handle an entry.
        notes: sentences under it all.
    """
    inner = shape.width - 2 * _PAD
    heading = textwrap.wrap(title, int(inner / _TITLE_LETTER))
    small = textwrap.wrap(" ".join(notes), int(inner / _NOTE_LETTER))
    longest = max((len(str(entry.get_label())) for entry in legend), default=0)
    n_columns = max(1, min(len(legend), int(inner / (_HANDLE + _LEGEND_LETTER * longest))))
    head = _PAD + _TITLE_LINE * len(heading)
    foot = _PAD + _NOTE_LINE * len(small)
    legend_height = _LEGEND_LINE * math.ceil(len(legend) / n_columns) + (_LEGEND_GAP if legend else 0)
    columns = min(n_panels, shape.columns)
    lines = math.ceil(n_panels / columns)
    line = shape.above + shape.height + shape.below
    height = head + line * lines + legend_height + foot
    figure = new_figure(shape.width, height)
    panel = (shape.width - _RIGHT - shape.first - shape.left * (columns - 1)) / columns
    axes = []
    for i in range(n_panels):
        row, column = divmod(i, columns)
        x = shape.first + column * (panel + shape.left)
        y = height - head - line * row - shape.above - shape.height
        axes.append(
            figure.add_axes((x / shape.width, y / height, panel / shape.width, shape.height / height), label=str(i))
        )
    figure.text(_PAD / shape.width, 1 - _PAD / height, "\n".join(heading), size=9, va="top", linespacing=1.25)
    if legend:
        at = (_PAD / shape.width, (foot + legend_height) / height)
        figure.legend(
            handles=list(legend),
            loc="upper left",
            bbox_to_anchor=at,
            ncols=n_columns,
            borderpad=0,
            borderaxespad=0,
            handlelength=2.6,
            columnspacing=1.2,
            labelspacing=0.35,
        )
    figure.text(_PAD / shape.width, _PAD / height, "\n".join(small), size=6, color=MUTED, va="bottom", linespacing=1.3)
    return figure, axes


def handle(label: str, look: Mark, *, marker: bool = True, line: bool = True) -> Line2D:
    """An entry of a legend."""
    return Line2D(
        [],
        [],
        color=look.colour,
        linestyle=look.line if line else "none",
        marker=look.marker if marker else "none",
        markersize=6 if look.marker == "*" else 4,
        linewidth=1.1,
        markeredgewidth=0,
        label=label,
    )


def spans_decades(values: Sequence[float]) -> bool:
    """Whether an axis through ``values`` is to be logarithmic."""
    return len(values) > 0 and min(values) > 0 and max(values) >= LOG_SPAN * min(values)


def scale_axis(axes: Axes, which: Literal["x", "y"], values: Sequence[float]) -> None:
    """Make an axis linear or logarithmic, as suits ``values``, with few ticks and numbers written out."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    if not spans_decades(values):
        axis.set_major_locator(MaxNLocator(4))
        return
    axes.set(**{f"{which}scale": "log"})
    fine = max(values) / min(values) < LOG_SPAN**2.5
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if fine else (1.0,)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
