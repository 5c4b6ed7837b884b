"""What one numeric parameter of a method does to AUC, Logloss and training time: the paper's Figure 2d.

Rows belong together when they are of one method, budget and prune ratio and their parameters differ in one number
only. Overrides left out of a label take part with their default, so that the plain method is a point of its own
sweep.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.tables.cells import Block, RowKey
from bench.tables.places import Place, tau_text
from plots.lines import Curve, Panel, draw_panels
from plots.sheet import Shape
from plots.style import mark

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SHOWN", "Sweep", "draw", "sweeps"]

SHOWN = ("auc", "logloss", "tt_s")
"""Metrics, a panel each."""
_MAX_TICKS = 6


@dataclass(frozen=True)
class _Line:
    """What the rows of one line share besides method and parameter name."""

    tau: float | None
    budget: str | None
    others: str
    """The other parameters, as JSON."""


@dataclass(frozen=True)
class Sweep:
    """One method and one of its parameters."""

    method: str
    """Registered name."""
    title: str
    parameter: str
    panels: tuple[Panel, ...]
    rows: frozenset[RowKey]


def sweeps(place: Place) -> list[Sweep]:
    """Every method and numeric parameter with results at two values or more."""
    found: dict[tuple[str, str], dict[_Line, dict[float, tuple[Block, RowKey]]]] = {}
    for block, row, tau in place.entries():
        cell = place.sample(block, row)
        for name, value in cell["params"].items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                others = {key: other for key, other in cell["params"].items() if key != name}
                line = _Line(tau, row.budget, json.dumps(others, sort_keys=True))
                lines = found.setdefault((cell["method"], name), {})
                lines.setdefault(line, {}).setdefault(float(value), (block, row))
    whole = []
    for (method, name), lines in found.items():
        several = {line: points for line, points in lines.items() if len(points) > 1}
        rows = [place_of for points in several.values() for place_of in points.values()]
        title = next((place.sample(*place_of)["method_title"] for place_of in rows), None) or method
        panels = tuple(panel for metric in SHOWN if (panel := _panel(place, metric, several, title)).curves)
        if panels:
            whole.append(Sweep(method, title, name, panels, frozenset(row for _, row in rows)))
    return whole


def _panel(
    place: Place, metric: str, lines: Mapping[_Line, Mapping[float, tuple[Block, RowKey]]], method: str
) -> Panel:
    curves = []
    for number, (line, points) in enumerate(lines.items()):
        values = {
            x: place.numbers(block, metric)[row]
            for x, (block, row) in sorted(points.items())
            if row in place.numbers(block, metric)
        }
        if len(values) > 1:
            title = _title(line, list(lines)) or method
            curves.append(Curve(title, mark(number), tuple(values), tuple(values.values())))
    return Panel(metric, tuple(curves), place.baseline(metric))


def _title(line: _Line, rivals: list[_Line]) -> str:
    """What sets a line apart from the others of its figure; empty where nothing does."""
    parts = []
    if len({other.tau for other in rivals}) > 1 and line.tau is not None:
        parts.append(tau_text(line.tau))
    if len({other.budget for other in rivals}) > 1:
        parts.append(f"{line.budget or 'no'} budget")
    settings: list[dict[str, Any]] = [json.loads(other.others) for other in rivals]
    mine = json.loads(line.others)
    differ = [key for key in mine if len({json.dumps(other.get(key)) for other in settings}) > 1]
    return ", ".join([*parts, *(f"{key}={mine[key]}" for key in differ)])


def draw(place: Place, sweep: Sweep, title: str) -> Figure:
    """Lines over the values of the parameter, the baseline dashed.

    Args:
        place: cells of one data set and one backbone.
        sweep: one of ``sweeps(place)``.
        title: heading of the figure.
    """
    xs = sorted({x for panel in sweep.panels for curve in panel.curves for x in curve.x})
    ticks = xs if len(xs) <= _MAX_TICKS else []
    return draw_panels(title, sweep.panels, sweep.parameter, ticks, place.lacking(SHOWN, sweep.rows), Shape())
