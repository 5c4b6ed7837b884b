"""AUC, Logloss and training time over the prune ratio, a line by method: the paper's Figure 2c."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.tables.places import Place
from plots.lines import Curve, Panel, draw_panels
from plots.sheet import Shape
from plots.style import mark

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SHOWN", "draw", "panels"]

SHOWN = ("auc", "logloss", "tt_s")
"""Metrics, a panel each."""


def panels(place: Place) -> list[Panel]:
    """A panel by metric with every method that has it at two prune ratios or more; x in percent. Empty without any."""
    found = []
    for metric in SHOWN:
        numbers = {row: place.by_tau(row, metric) for row in place.rows}
        curves = tuple(
            Curve(place.rows[row], mark(place.order[row]), tuple(100 * tau for tau in by_tau), tuple(by_tau.values()))
            for row, by_tau in numbers.items()
            if len(by_tau) > 1
        )
        if curves:
            found.append(Panel(metric, curves, place.baseline(metric)))
    return found


def draw(place: Place, title: str) -> Figure | None:
    """Lines over the prune ratio, the baseline dashed; None where no method has results at two of them.

    Args:
        place: cells of one data set and one backbone.
        title: heading of the figure.
    """
    content = panels(place)
    if not content:
        return None
    ticks = sorted({x for panel in content for curve in panel.curves for x in curve.x})
    return draw_panels(title, content, "Prune ratio τ [%]", ticks, place.lacking(SHOWN), Shape())
