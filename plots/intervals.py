"""Numbers with their intervals, a line each, against a number that they are compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from plots.sheet import Shape, sheet
from plots.style import ACCENT, INK, MUTED, PAGE_IN, look

__all__ = ["Bar", "Figure", "draw"]

_ROW_IN, _LETTER_IN = 0.15, 0.062


@dataclass(frozen=True)
class Bar:
    """One number."""

    name: str
    mean: float
    low: float
    """The number itself where it has no interval, as the next."""
    high: float
    muted: bool = False
    """Whether it is only there to compare with."""
    printed: float | None = None
    """What somebody else has in its place."""


_NOTES: tuple[tuple[str, Callable[[Sequence[Bar]], bool]], ...] = (
    ("Bars: 95 % intervals.", lambda bars: True),
    ("Grey: controls.", lambda bars: any(bar.muted for bar in bars)),
    ("Hollow: as the paper prints it.", lambda bars: any(bar.printed is not None for bar in bars)),
)
"""What is said under the figure, and when."""


def draw(title: str, bars: Sequence[Bar], label: str, reference: float | None) -> Figure:
    """Dots with their intervals from top to bottom.

    Args:
        title: heading of the figure.
        bars: one at least.
        label: what the numbers are.
        reference: where a line is drawn; None: nowhere.
    """
    longest = max(len(bar.name) for bar in bars)
    shape = Shape(
        columns=1,
        width=PAGE_IN,
        height=_ROW_IN * len(bars) + 0.1,
        left=0.12,
        first=0.2 + _LETTER_IN * longest,
    )
    with look():
        figure, (axes,) = sheet(title, 1, shape, (), [note for note, shown in _NOTES if shown(bars)])
        if reference is not None:
            axes.axvline(reference, color=MUTED, linewidth=0.7, linestyle=(0, (1, 2)), zorder=0)
        for place, bar in enumerate(bars):
            colour = MUTED if bar.muted else ACCENT
            axes.hlines([place], [bar.low], [bar.high], colors=[colour], linewidth=1.1)
            axes.plot([bar.mean], [place], linestyle="none", marker="o", markersize=3.5, color=colour)
            if bar.printed is not None:
                axes.plot([bar.printed], [place], linestyle="none", marker="D", markersize=4, mfc="none", color=INK)
        axes.set_yticks(range(len(bars)), [bar.name for bar in bars])
        axes.set_ylim(len(bars) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.grid(axis="both", color=MUTED, alpha=0.2, linewidth=0.4)
        axes.set_xlabel(label, color=INK)
    return figure
