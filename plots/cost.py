"""Pretraining and continued training of every method as stacked bars: the paper's Figure 2a."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.ticker import MaxNLocator

from bench.tables.metrics import METRICS
from bench.tables.places import Place, tau_text
from plots.sheet import Shape, box, sheet
from plots.style import INK, MUTED, look

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Bar", "Stack", "draw", "stacks"]

_PT, _CT = "#e69f00", "#4477aa"
_SHOWN = ("pt_s", "ct_s", "tt_s")
_LETTER_IN, _BAR_IN = 0.062, 0.17
_COLUMNS = 4
_ROOM = 1.32
"""The axis ends so much beyond the longest bar: the total stands behind it."""


@dataclass(frozen=True)
class Bar:
    """One method: means over seeds, seconds."""

    title: str
    pt: float
    ct: float
    tt: float
    sd: float | None
    """Of the total."""


@dataclass(frozen=True)
class Stack:
    """One panel: the methods at one prune ratio."""

    tau: float | None
    bars: tuple[Bar, ...]


def stacks(place: Place) -> list[Stack]:
    """A panel by prune ratio with every method that has both times at every seed; panels with two such methods."""
    found = []
    for block in place.blocks:
        pt, ct, tt = (place.numbers(block, metric) for metric in _SHOWN)
        rows = [row for row in place.rows if row in pt and row in ct and row in tt]
        bars = tuple(
            Bar(place.rows[row], pt[row].mean or 0.0, ct[row].mean or 0.0, tt[row].mean or 0.0, tt[row].sd)
            for row in rows
        )
        if len(bars) > 1:
            found.append(Stack(block.tau if place.taus else None, bars))
    return found


def draw(place: Place, title: str) -> Figure | None:
    """Stacked horizontal bars, a panel by prune ratio; None where no two methods have times.

    Args:
        place: cells of one data set and one backbone.
        title: heading of the figure.
    """
    content = stacks(place)
    if not content:
        return None
    names = [name for name in place.rows.values() if any(bar.title == name for s in content for bar in s.bars)]
    end = _ROOM * max(bar.tt + (bar.sd or 0.0) for stack in content for bar in stack.bars)
    several = len(content) > 1
    shape = Shape(
        columns=_COLUMNS,
        height=_BAR_IN * len(names) + 0.05,
        left=0.12,
        first=0.2 + _LETTER_IN * max(map(len, names)),
        above=0.24 if several else 0.08,
    )
    notes = ["Total behind the bar.", *place.lacking(_SHOWN)]
    if any(bar.sd for stack in content for bar in stack.bars):
        notes[0] = "Total behind the bar; line: one standard deviation of the total over seeds to both sides."
    with look():
        legend = [
            box("PT, pretraining and selection", _PT, "////"),
            box("CT, continued training", _CT),
        ]
        figure, axes = sheet(title, len(content), shape, legend, notes)
        for i, (panel, stack) in enumerate(zip(axes, content, strict=True)):
            _paint(panel, stack, names, named=i % _COLUMNS == 0)
            panel.set_xlim(0, end)
            if several and stack.tau is not None:
                panel.set_title(tau_text(stack.tau), y=1, size=7, pad=3)
    return figure


def _paint(axes: Axes, stack: Stack, names: Sequence[str], *, named: bool) -> None:
    at = [names.index(bar.title) for bar in stack.bars]
    pt, ct = [bar.pt for bar in stack.bars], [bar.ct for bar in stack.bars]
    axes.barh(at, pt, 0.66, color=_PT, edgecolor=INK, linewidth=0.4, hatch="////")
    axes.barh(at, ct, 0.66, left=pt, color=_CT, edgecolor=INK, linewidth=0.4)
    spread = [(y, bar.tt, bar.sd) for y, bar in zip(at, stack.bars, strict=True) if bar.sd]
    if spread:
        y, middle, half = zip(*spread, strict=True)
        low, high = ([m + sign * h for m, h in zip(middle, half, strict=True)] for sign in (-1, 1))
        axes.hlines(y, low, high, color=INK, linewidth=1.0)
    for place, bar in zip(at, stack.bars, strict=True):
        axes.text(bar.tt + (bar.sd or 0.0), place, f" {METRICS['tt_s'].text(bar.tt)}", va="center", size=6)
    axes.set_yticks(range(len(names)) if named else [], names if named else [])
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.grid(axis="x", color=MUTED, alpha=0.2, linewidth=0.4)
    axes.set_axisbelow(True)
    axes.set_xlabel("Training time [s]")
