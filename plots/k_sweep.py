"""AUC over the number of kept fields with its area (AUKC): how well a method orders the fields at every length."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.stats.checks import NotTestable
from bench.stats.curve import aukc
from bench.tables.places import Place
from plots.lines import Curve, Panel, draw_panels
from plots.sheet import Shape
from plots.style import COLUMN_IN, mark

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["MIN_POINTS", "Sweep", "draw", "sweeps"]

MIN_POINTS = 3
_MAX_TICKS = 8


@dataclass(frozen=True)
class Sweep:
    """A method's mean AUC over its mean number of kept fields."""

    curve: Curve
    aukc: float
    """Begun at a useless model on no field, as a share of the largest area up to the curve's own end."""


def sweeps(place: Place) -> list[Sweep]:
    """Every method with three numbers of kept fields or more."""
    found = []
    for row, title in place.rows.items():
        auc, kept = place.by_tau(row, "auc"), place.by_tau(row, "n_kept")
        both = sorted(
            ((kept[tau].mean or 0.0, value) for tau, value in auc.items() if tau in kept), key=lambda point: point[0]
        )
        if len({k for k, _ in both}) < MIN_POINTS:
            continue
        x, values = (tuple(part) for part in zip(*both, strict=True))
        try:
            area = aukc(x, [value.mean for value in values])
        except NotTestable:  # two prune ratios keep equally many: no function of K
            continue
        found.append(Sweep(Curve(title, mark(place.order[row]), x, values), area))
    return found


def draw(place: Place, title: str) -> Figure | None:
    """AUC over K, AUKC in the legend, the baseline dashed; None where no method kept three different numbers.

    Args:
        place: cells of one data set and one backbone.
        title: heading of the figure.
    """
    content = sweeps(place)
    if not content:
        return None
    curves = tuple(replace(s.curve, title=f"{s.curve.title}, AUKC {s.aukc:.4f}") for s in content)
    notes = ["AUKC: area between the curve and an AUC of 0.5, as a share of the largest up to its end."]
    if len({s.curve.x for s in content}) > 1:
        notes.append("Areas over different numbers of fields do not compare.")
    panel = Panel("auc", curves, place.baseline("auc"))
    fields = sorted({x for curve in curves for x in curve.x})
    ticks = fields if len(fields) <= _MAX_TICKS else []
    shape = Shape(columns=1, width=COLUMN_IN, height=1.9)
    return draw_panels(title, [panel], "Kept fields K", ticks, [*notes, *place.lacking(("auc",))], shape)
