"""What one setting is worth once the fields are chosen, by backbone: the paper's Figure 2b.

Two rows make a pair when they are of one method, budget and prune ratio, their parameters differ in one text only, and
at every seed they scored all fields alike and kept the same. Then that setting has no part in the selection, and the
difference is what it does afterwards, such as continuing from the pretrained weights or starting anew. Variants that
choose otherwise (another loss, noise or relaxation) score otherwise and make no pair: their difference is that of two
selections, which the tables show. Methods without field scores make none either.

The row with fewer overrides in its label is shown against the other, so that bars say what the default is worth; rows
with equally many make no pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean, stdev
from typing import TYPE_CHECKING

import numpy as np

from bench.tables.cells import Block, Record, RowKey
from bench.tables.metrics import METRICS
from bench.tables.places import Place
from plots.sheet import Shape, box, sheet
from plots.style import COLUMN_IN, INK, MUTED, PAGE_IN, look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["SHOWN", "Ablation", "Gain", "ablations", "draw"]

SHOWN = ("auc", "logloss")
"""Metrics, a bar each."""
_COLOURS, _HATCHES = ("#4477aa", "#e69f00"), ("", "////")
_BAR, _COLUMN_HOLDS = 0.36, 6
_SAME_SCORE = 1e-3
"""Relative difference of scores that rounding may make where sums have no fixed order."""
_Entry = tuple[Block, RowKey, float | None]
"""(cells, row, its own τ)."""


@dataclass(frozen=True)
class Gain:
    """One backbone: improvement in percent, the sign turned where lower is better."""

    backbone: str
    """Title."""
    mean: tuple[float, ...]
    """By metric of ``SHOWN``: mean over seeds of the improvement at one seed."""
    sd: tuple[float | None, ...]


@dataclass(frozen=True)
class Ablation:
    """One pair of variants over the backbones that have it complete."""

    method: str
    """Registered name."""
    title: str
    label: str
    """The data set as asked for."""
    dataset: str
    """Its title."""
    tau: float | None
    parameter: str
    new: str
    """Value whose effect is shown."""
    old: str
    """Value that it is compared with."""
    gains: tuple[Gain, ...]


def ablations(whole: Sequence[Place]) -> list[Ablation]:
    """Every pair of the run that belongs together.

    Args:
        whole: all places of a run.
    """
    found: dict[tuple[object, ...], Ablation] = {}
    for place in whole:
        group = replace(place.group, backbone_params="")
        for (block, new, tau), (_, old, _), parameter in _pairs(place):
            gain = _gain(place, block, new, old)
            if gain is not None:
                cell, other = place.sample(block, new), place.sample(block, old)
                title = cell["method_title"] or cell["method"]
                texts = cell["params"][parameter], other["params"][parameter]
                first = Ablation(cell["method"], title, place.label, place.dataset, tau, parameter, *texts, ())
                known = found.get((group, new, old, tau), first)
                found[group, new, old, tau] = replace(known, gains=(*known.gains, gain))
    return list(found.values())


def _pairs(place: Place) -> Iterator[tuple[_Entry, _Entry, str]]:
    """(row with fewer overrides, the other, name of the one setting in which they differ)."""
    entries = sorted(place.entries(), key=lambda entry: _overrides(entry[1]))
    for new, old in combinations(entries, 2):
        alike = new[1].budget == old[1].budget and new[2] == old[2] and _overrides(new[1]) < _overrides(old[1])
        parameter = _setting(place.sample(*new[:2]), place.sample(*old[:2])) if alike else None
        if parameter is not None and _same_selection(new[0].ok(place.group, new[1]), old[0].ok(place.group, old[1])):
            yield new, old, parameter


def _overrides(row: RowKey) -> int:
    return row.label.partition("[")[2].count("=")


def _setting(one: Record, other: Record) -> str | None:
    """The one parameter in which two cells of a method differ, if it is a text in both."""
    if one["method"] != other["method"] or set(one["params"]) != set(other["params"]):
        return None
    differ = [name for name, value in one["params"].items() if value != other["params"][name]]
    texts = len(differ) == 1 and all(isinstance(cell["params"][differ[0]], str) for cell in (one, other))
    return differ[0] if texts else None


def _same_selection(one: Mapping[int, Record], other: Mapping[int, Record]) -> bool:
    """Whether two rows scored all fields alike and kept the same at every seed that both have."""
    seeds = one.keys() & other.keys()
    return bool(seeds) and all(_alike(one[seed], other[seed]) for seed in seeds)


def _alike(one: Record, other: Record) -> bool:
    scores = one["field_scores"], other["field_scores"]
    if scores[0] is None or scores[1] is None or one["kept_fields"] != other["kept_fields"]:
        return False
    a, b = (np.array(numbers, dtype=np.float64) for numbers in scores)  # [F] each
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=_SAME_SCORE, atol=0, equal_nan=True))


def _gain(place: Place, block: Block, new: RowKey, old: RowKey) -> Gain | None:
    """Improvement by ``new``; None unless both rows have all metrics at every seed of the column."""
    means, sds = [], []
    for metric in SHOWN:
        numbers = place.numbers(block, metric)
        if new not in numbers or old not in numbers or not all(numbers[old].numbers):
            return None
        sign = 1 if METRICS[metric].better == "higher" else -1
        pairs = zip(numbers[new].numbers, numbers[old].numbers, strict=True)
        percent = [sign * (a - b) / b * 100 for a, b in pairs]
        means.append(fmean(percent))
        sds.append(stdev(percent) if len(percent) > 1 else None)
    return Gain(place.backbone, tuple(means), tuple(sds))


def draw(ablation: Ablation, title: str) -> Figure:
    """Two bars by backbone, AUC and Logloss.

    Args:
        ablation: one of ``ablations(...)``.
        title: heading of the figure.
    """
    spread = any(sd is not None for gain in ablation.gains for sd in gain.sd)
    notes = [
        f"Improvement of {ablation.parameter}={ablation.new} over {ablation.parameter}={ablation.old} with the same "
        "fields, seed by seed; above 0 it is better in both metrics."
        + (" Lines: one standard deviation to both sides." if spread else "")
    ]
    width = COLUMN_IN if len(ablation.gains) <= _COLUMN_HOLDS else PAGE_IN
    with look():
        legend = [
            box(METRICS[metric].title, colour, hatch)
            for metric, colour, hatch in zip(SHOWN, _COLOURS, _HATCHES, strict=True)
        ]
        figure, (axes,) = sheet(title, 1, Shape(columns=1, width=width, height=1.6, below=0.25), legend, notes)
        _paint(axes, ablation.gains)
    return figure


def _paint(axes: Axes, gains: Sequence[Gain]) -> None:
    for number, (colour, hatch) in enumerate(zip(_COLOURS, _HATCHES, strict=True)):
        x = [i + (number - 0.5) * _BAR for i in range(len(gains))]
        means = [gain.mean[number] for gain in gains]
        axes.bar(x, means, _BAR, color=colour, edgecolor=INK, linewidth=0.4, hatch=hatch)
        sds = [gain.sd[number] or 0.0 for gain in gains]
        low, high = ([m + sign * sd for m, sd in zip(means, sds, strict=True)] for sign in (-1, 1))
        axes.vlines(x, low, high, color=INK, linewidth=0.9)
    axes.axhline(0, color=INK, linewidth=0.7)
    axes.set_xticks(range(len(gains)), [gain.backbone for gain in gains])
    axes.set_xlim(-0.6, len(gains) - 0.4)
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("Improvement [%]")
    axes.grid(axis="y", color=MUTED, alpha=0.2, linewidth=0.4)
    axes.set_axisbelow(True)
