"""Which methods differ over data sets and backbones: mean ranks by AUC with Nemenyi's critical difference.

A block is a data set with a backbone; AUC is averaged over seeds first, because seeds of one block are no independent
evidence. Blocks in which a method lacks a cell are left out as a whole.
"""

from __future__ import annotations

import json
import math
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.records import display_title
from bench.stats.checks import NotTestable
from bench.stats.ranks import Friedman, average_ranks, cliques, critical_difference, friedman
from plots.style import ACCENT, INK, MUTED, PAGE_IN, look, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["MIN_BLOCKS", "MIN_METHODS", "Ranking", "draw", "ranking"]

MIN_METHODS, MIN_BLOCKS = 3, 5
_PAD_IN, _LETTER_IN, _NOTE_LETTER_IN = 0.08, 0.062, 0.048
_HEAD_IN, _CLIQUE_IN, _ROW_IN, _NOTE_IN = 0.92, 0.09, 0.18, 0.13
_PLACE = ("dataset", "dataset_revision", "split_rows", "profile", "backbone", "backbone_params")
Method = tuple[Any, str, str]
"""(place in the registry, label, budget)."""


@dataclass(frozen=True)
class Ranking:
    """What the figure shows, before it is drawn."""

    methods: list[str]
    """Titles, k of them."""
    ranks: np.ndarray
    """Mean ranks over the blocks, [k]; 1 is best."""
    difference: float
    """Ranks further apart than this differ at the 5 % level."""
    groups: list[list[int]]
    """Largest sets of methods that do not, from best to worst."""
    test: Friedman
    n_incomplete: int
    """Blocks left out because a method lacks a cell there."""
    without: list[str]
    """Methods left out because no block is complete for them."""


def ranking(frame: pd.DataFrame, tau: float | None) -> Ranking | None:
    """Mean ranks of the methods at one prune ratio; those that do not use it count at each.

    Args:
        frame: a run as ``bench.records.load_frame`` returns it.
        tau: the prune ratio; None for the methods that use none.

    Returns:
        None with fewer than 3 methods or 5 complete blocks, and where the methods tie everywhere.
    """
    cells = frame[frame["tau"].isna() | (frame["tau"] == tau)].to_dict("records")
    titles = {_method(cell): _title(cell) for cell in cells}
    blocks: dict[str, list[dict[Any, Any]]] = {}
    for cell in cells:
        blocks.setdefault(_place(cell), []).append(cell)
    tables = [_means(blocks[place]) for place in sorted(blocks)]
    ranked = [method for method in titles if any(method in table for table in tables)]
    ranked.sort(key=lambda method: (method[0], method[1:]))
    whole = [[table[method] for method in ranked] for table in tables if all(method in table for method in ranked)]
    if len(ranked) < MIN_METHODS or len(whole) < MIN_BLOCKS:
        return None
    try:
        test = friedman(whole)
    except NotTestable:
        return None
    ranks, difference = average_ranks(whole), critical_difference(len(ranked), len(whole))
    return Ranking(
        methods=_distinct(ranked, titles),
        ranks=ranks,
        difference=difference,
        groups=cliques(ranks, difference),
        test=test,
        n_incomplete=len(tables) - len(whole),
        without=[title for method, title in titles.items() if method not in ranked],
    )


def _place(cell: Any) -> str:
    return json.dumps([str(cell[key]) if key == "dataset_revision" else cell[key] for key in _PLACE], sort_keys=True)


def _method(cell: Any) -> Method:
    order = cell["method_order"]
    return (math.inf if not isinstance(order, int) else order, cell["label"], _text(cell["budget"]) or "")


def _title(cell: Any) -> str:
    return display_title(cell["label"], _text(cell["method_title"]))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _distinct(methods: list[Method], titles: dict[Method, str]) -> list[str]:
    """Titles, with the budget where two methods differ in nothing else."""
    shown = [titles[method] for method in methods]
    return [
        f"{title} ({method[2] or 'no'} budget)" if shown.count(title) > 1 else title
        for method, title in zip(methods, shown, strict=True)
    ]


def _means(block: list[dict[Any, Any]]) -> dict[Method, float]:
    """Mean AUC of the methods that have exactly one result at every seed of the block."""
    seeds = {cell["seed"] for cell in block}
    found: dict[Method, dict[int, list[float]]] = {}
    for cell in block:
        auc = cell["auc"] if cell["status"] == "ok" else math.nan
        found.setdefault(_method(cell), {}).setdefault(cell["seed"], []).append(auc)
    return {
        method: float(np.mean([numbers[0] for numbers in by_seed.values()]))
        for method, by_seed in found.items()
        if set(by_seed) == seeds and all(len(n) == 1 and math.isfinite(n[0]) for n in by_seed.values())
    }


def draw(frame: pd.DataFrame, tau: float | None, title: str) -> Figure | None:
    """Critical-difference diagram: an axis of mean ranks, a bar under methods that do not differ.

    Args:
        frame: a run as ``bench.records.load_frame`` returns it.
        tau: the prune ratio; None for the methods that use none.
        title: heading of the figure.

    Returns:
        The figure, or None where ``ranking`` has nothing to show.
    """
    content = ranking(frame, tau)
    if content is None:
        return None
    with look():
        return _compose(content, title)


def _compose(content: Ranking, title: str) -> Figure:
    """Place heading, axis, bars, names and note; all lengths in inches, y downwards from the top."""
    order = [int(i) for i in np.argsort(content.ranks, kind="stable")]
    half = (len(order) + 1) // 2
    notes = textwrap.wrap(_note(content), int((PAGE_IN - 2 * _PAD_IN) / _NOTE_LETTER_IN))
    names = _HEAD_IN + _CLIQUE_IN * (len(content.groups) + 1)
    height = names + _ROW_IN * half + 0.1 + _NOTE_IN * len(notes) + _PAD_IN
    side = _PAD_IN + _LETTER_IN * (max(len(name) for name in content.methods) + 6) + 0.1
    figure = new_figure(max(PAGE_IN, 2 * side + 2.5), height)
    width = figure.get_figwidth()
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    scale = (width - 2 * side) / (len(order) - 1)

    def at(rank: float) -> float:
        return side + (rank - 1) * scale

    axes.text(_PAD_IN, 0.16, title, size=9, va="center")
    _axis(axes, [at(rank) for rank in range(1, len(order) + 1)], at(1 + content.difference), content.difference)
    for i, group in enumerate(content.groups):
        span = [at(float(content.ranks[group[0]])) - 0.03, at(float(content.ranks[group[-1]])) + 0.03]
        axes.plot(span, [_HEAD_IN + _CLIQUE_IN * (i + 1)] * 2, color=ACCENT, linewidth=2.4, solid_capstyle="butt")
    for place, method in enumerate(order):
        left = place < half
        y = names + _ROW_IN * (place if left else len(order) - 1 - place) + 0.08
        end = side - 0.1 if left else width - side + 0.1
        x = at(float(content.ranks[method]))
        axes.plot([x, x, end], [_HEAD_IN, y, y], color=MUTED, linewidth=0.7, zorder=0)
        text = f"{content.methods[method]}  {content.ranks[method]:.2f}"
        axes.text(end + (-0.04 if left else 0.04), y, text, ha="right" if left else "left", va="center")
    axes.text(_PAD_IN, height - _PAD_IN, "\n".join(notes), size=6, color=MUTED, va="bottom", linespacing=1.3)
    return figure


def _axis(axes: Axes, ticks: list[float], end: float, difference: float) -> None:
    """The axis of ranks with the critical difference above it."""
    axes.plot([ticks[0], ticks[-1]], [_HEAD_IN] * 2, color=INK, linewidth=0.8)
    for rank, x in enumerate(ticks, start=1):
        axes.plot([x, x], [_HEAD_IN - 0.05, _HEAD_IN], color=INK, linewidth=0.8)
        axes.text(x, _HEAD_IN - 0.08, str(rank), ha="center", va="bottom", size=6.5)
    y = 0.5
    axes.plot([ticks[0], end], [y, y], color=INK, linewidth=1.2)
    for tip in (ticks[0], end):
        axes.plot([tip, tip], [y - 0.04, y + 0.04], color=INK, linewidth=1.2)
    axes.text(
        (ticks[0] + end) / 2, y - 0.05, f"critical difference {difference:.2f}", ha="center", va="bottom", size=6.5
    )
    axes.text(ticks[0] - 0.08, _HEAD_IN - 0.02, "mean rank, 1 = best", ha="right", va="bottom", size=6, color=MUTED)


def _note(content: Ranking) -> str:
    test = content.test
    p = f"p = {test.f_p:.4f}" if test.f_p >= 1e-4 else "p < 0.0001"
    parts = [
        f"Ranks of the AUC, mean over seeds, in {test.n_blocks} blocks (data set × backbone; blocks that share a data "
        "set are not independent). Methods under one bar cannot be told apart by Nemenyi's test at 5 %.",
        f"Friedman's test that all are alike, in the form of Iman and Davenport: {p}.",
    ]
    if content.n_incomplete:
        parts.append(f"Blocks left out because a method lacks a cell: {content.n_incomplete}.")
    if content.without:
        parts.append(f"Methods complete in no block: {', '.join(content.without)}.")
    return " ".join(parts)
