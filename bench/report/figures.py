"""Every figure that the records of a run allow. Import it where figures are wanted: it loads Matplotlib."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bench.tables.cells import records_of
from bench.tables.places import Place, places, tau_text
from bench.tables.roles import true_roles
from bench.tables.titles import Titles
from plots import (
    ablation,
    cost,
    importance,
    k_sweep,
    pareto,
    sensitivity,
    stability,
    style,
    tau_curves,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["KINDS", "Plan", "Run", "draw", "plans"]


_COLLECT_EVERY = 5
"""Figures; their parts refer to each other, so that only the collector frees them."""


@dataclass(frozen=True)
class Run:
    """What figures are drawn from."""

    frame: pd.DataFrame
    """As ``bench.records.load_frame`` returns it."""
    places: list[Place]

    @classmethod
    def of(cls, frame: pd.DataFrame, titles: Titles) -> Run:
        return cls(frame, places(records_of(frame), titles))


@dataclass(frozen=True)
class Plan:
    """A figure before it is drawn."""

    name: str
    """Nearly fit for a file name; without the suffix."""
    title: str
    draw: Callable[[], Figure | None]
    """None where the records do not support it."""


def plans(run: Run) -> list[Plan]:
    """All figures of a run in the order of the page; the same records give the same list."""
    return [plan for kind in KINDS for plan in kind(run)]


def draw(whole: Sequence[Plan], numbers: Iterable[int]) -> dict[int, dict[str, bytes]]:
    """Contents by suffix, by number of the plan; nothing where the records do not support the figure.

    Args:
        whole: all figures of a run.
        numbers: those to draw, asked for one after the other.
    """
    found: dict[int, dict[str, bytes]] = {}
    collecting = gc.isenabled()
    gc.freeze()
    gc.disable()  # it would search records and half-made figures again and again
    try:
        for number in numbers:
            figure = whole[number].draw()
            found[number] = {} if figure is None else style.render(figure)
            if len(found) % _COLLECT_EVERY == 0:
                gc.collect()
    finally:
        gc.unfreeze()
        if collecting:
            gc.enable()
    return found


def _by_place(name: str, heading: str, draw: Callable[[Place, str], Figure | None]) -> Callable[[Run], Iterator[Plan]]:
    """A kind with one figure by data set and backbone."""

    def kind(run: Run) -> Iterator[Plan]:
        for place in run.places:
            title = f"{heading}: {place.title}"
            yield Plan(f"{name}-{place.key}", title, partial(draw, place, title))

    return kind


def _heatmap(frame: pd.DataFrame, title: str) -> Figure | None:
    done = records_of(frame[frame["status"] == "ok"].head(1))
    return importance.draw(frame, title, true_roles(done[0]) if done else {})


def _importance(run: Run) -> Iterator[Plan]:
    for place in run.places:
        title = f"Importance of fields: {place.dataset}, {place.backbone}"
        frame = run.frame.iloc[place.cells]
        yield Plan(f"importance-{place.key}", title, partial(_heatmap, frame, title))


def _sensitivity(run: Run) -> Iterator[Plan]:
    for place in run.places:
        for sweep in sensitivity.sweeps(place):
            title = f"{sweep.title} by {sweep.parameter}: {place.title}"
            name = f"sensitivity-{sweep.method}-{sweep.parameter}-{place.key}"
            yield Plan(name, title, partial(sensitivity.draw, place, sweep, title))


def _ablation(run: Run) -> Iterator[Plan]:
    for pair in ablation.ablations(run.places):
        where = pair.dataset if pair.tau is None else f"{pair.dataset}, {tau_text(pair.tau)}"
        title = f"{pair.title}, {pair.parameter} {pair.new} against {pair.old}: {where}"
        tau = "" if pair.tau is None else f"-tau{pair.tau:g}"
        name = f"ablation-{pair.method}-{pair.parameter}-{pair.old}{tau}-{pair.label}"
        yield Plan(name, title, partial(ablation.draw, pair, title))


def _critical_difference(run: Run) -> Iterator[Plan]:
    def draw(tau: float | None, title: str) -> Figure | None:
        from plots import critical_difference  # noqa: PLC0415 - SciPy's statistics are slow to import

        return critical_difference.draw(run.frame, tau, title)

    for tau in sorted(set(run.frame["tau"].dropna())) or [None]:
        title = f"Ranks of the methods{'' if tau is None else f' at prune ratio τ = {tau:g}'}"
        name = f"critical-difference{'' if tau is None else f'-tau{tau:g}'}"
        yield Plan(name, title, partial(draw, tau, title))


KINDS: tuple[Callable[[Run], Iterator[Plan]], ...] = (
    _by_place("cost", "Training time", cost.draw),
    _by_place("pareto", "AUC and cost", pareto.draw),
    _by_place("tau", "Results over the prune ratio", tau_curves.draw),
    _by_place("k-sweep", "AUC over kept fields", k_sweep.draw),
    _sensitivity,
    _ablation,
    _importance,
    _by_place("stability", "Stability of the selection", stability.draw),
    _critical_difference,
)
"""What is tried for every run, in the order of the page; a kind yields nothing where the records do not support it."""
