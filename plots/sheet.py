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
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from plots.style import INK, MUTED, PAGE_IN, Mark, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["LOG_SPAN", "Shape", "box", "handle", "legend_labels", "scale_axis", "sheet", "spans_decades"]

LOG_SPAN = 10.0
"""Positive numbers whose extremes are further apart than this are shown on a logarithmic axis."""
_PAD, _RIGHT = 0.08, 0.18
_LEGEND = "legend"
"""Label of its texts among those of a figure."""
_LABEL_DROP = 0.22
"""From the lower edge of a panel to what its horizontal axis is."""
_TITLE_LETTER, _TITLE_LINE = 0.075, 0.17
_LEGEND_LETTER, _LEGEND_LINE, _LEGEND_GAP = 0.051, 0.128, 0.08
_SAMPLE, _BESIDE, _BOX, _HANDLE = 0.235, 0.07, 0.063, 0.42
"""Length of a sample in the legend, room behind it, height of a box, and all that an entry takes beside its letters."""
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
    title: str, n_panels: int, shape: Shape, legend: Sequence[Line2D | Rectangle] = (), notes: Sequence[str] = ()
) -> tuple[Figure, list[Axes]]:
    """An empty figure and its panels; call it inside ``look()``.

    Args:
        title: heading of the figure.
        n_panels: how many, line by line.
        shape: their room.
        legend: one ``handle`` or ``box`` an entry.
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
        part = figure.add_axes((x / shape.width, y / height, panel / shape.width, shape.height / height), label=str(i))
        part.set_title("", y=1)  # Matplotlib would look for room above the ticks at every drawing
        part.xaxis.set_label_coords(0.5, -_LABEL_DROP / shape.height)
        axes.append(part)
    figure.text(_PAD / shape.width, 1 - _PAD / height, "\n".join(heading), size=9, va="top", linespacing=1.25)
    _legend(figure, legend, foot + legend_height, n_columns, shape.width, height)
    figure.text(_PAD / shape.width, _PAD / height, "\n".join(small), size=6, color=MUTED, va="bottom", linespacing=1.3)
    return figure, axes


def _legend(
    figure: Figure, entries: Sequence[Line2D | Rectangle], top: float, n_columns: int, width: float, height: float
) -> None:
    """Samples with their labels, column by column under ``top``: a ``Legend`` takes as long to draw as a panel."""
    lines = math.ceil(len(entries) / n_columns)
    x = _PAD
    for first in range(0, len(entries), lines or 1):
        column = entries[first : first + lines]
        for number, entry in enumerate(column):
            y = top - _LEGEND_LINE * (number + 0.5)
            if isinstance(entry, Rectangle):
                entry.set_bounds(x / width, (y - _BOX / 2) / height, _SAMPLE / width, _BOX / height)
            else:
                entry.set_data([(x + share * _SAMPLE) / width for share in (0.0, 0.5, 1.0)], [y / height] * 3)
                entry.set_markevery([1])
            figure.add_artist(entry)
            at, text = ((x + _SAMPLE + _BESIDE) / width, y / height), str(entry.get_label())
            figure.text(*at, text, size=6.5, va="center_baseline", label=_LEGEND)
        x += _HANDLE + _LEGEND_LETTER * max(len(str(entry.get_label())) for entry in column)


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
    decades = math.log10(max(values) / min(values))
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2 else (1.0, 3.0) if decades < 3 else (1.0,)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def box(label: str, colour: str, hatch: str | None = None) -> Rectangle:
    """An entry of a legend for bars."""
    return Rectangle((0, 0), 0, 0, facecolor=colour, edgecolor=INK, linewidth=0.4, hatch=hatch, label=label)


def legend_labels(figure: Figure) -> list[str]:
    """What the legend of a ``sheet`` names, in its order."""
    return [text.get_text() for text in figure.texts if text.get_label() == _LEGEND]
