"""Every figure that the records of a run allow. Import it where figures are wanted: it loads Matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.report.cells import records_of
from bench.report.naming import file_name
from bench.report.places import Place, places, tau_text
from bench.report.titles import Titles
from plots import (
    ablation,
    cost,
    critical_difference,
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

__all__ = ["KINDS", "Drawn", "Run", "figure_files"]


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
class Drawn:
    name: str
    """Nearly fit for a file name; without the suffix."""
    title: str
    figure: Figure


def figure_files(frame: pd.DataFrame, titles: Titles) -> Iterator[tuple[str, str, bytes]]:
    """(file name, title, contents) of every figure in every format; the same records give the same bytes.

    Args:
        frame: a run as ``bench.records.load_frame`` returns it.
        titles: names and order of data sets and backbones in print.
    """
    run = Run.of(frame, titles)
    taken: list[str] = []
    for kind in KINDS:
        for drawn in kind(run):
            taken.append(file_name(drawn.name, taken))
            for suffix, data in style.render(drawn.figure).items():
                yield f"{taken[-1]}{suffix}", drawn.title, data


def _by_place(name: str, heading: str, draw: Callable[[Place, str], Figure | None]) -> Callable[[Run], Iterator[Drawn]]:
    """A kind with one figure by data set and backbone."""

    def kind(run: Run) -> Iterator[Drawn]:
        for place in run.places:
            title = f"{heading}: {place.title}"
            figure = draw(place, title)
            if figure is not None:
                yield Drawn(f"{name}-{place.key}", title, figure)

    return kind


def _importance(run: Run) -> Iterator[Drawn]:
    for place in run.places:
        title = f"Importance of fields: {place.dataset}, {place.backbone}"
        figure = importance.draw(run.frame.iloc[place.cells], title)
        if figure is not None:
            yield Drawn(f"importance-{place.key}", title, figure)


def _sensitivity(run: Run) -> Iterator[Drawn]:
    for place in run.places:
        for sweep in sensitivity.sweeps(place):
            title = f"{sweep.title} by {sweep.parameter}: {place.title}"
            name = f"sensitivity-{sweep.method}-{sweep.parameter}-{place.key}"
            yield Drawn(name, title, sensitivity.draw(place, sweep, title))


def _ablation(run: Run) -> Iterator[Drawn]:
    for pair in ablation.ablations(run.places):
        where = pair.dataset if pair.tau is None else f"{pair.dataset}, {tau_text(pair.tau)}"
        title = f"{pair.title}, {pair.parameter} {pair.new} against {pair.old}: {where}"
        tau = "" if pair.tau is None else f"-tau{pair.tau:g}"
        name = f"ablation-{pair.method}-{pair.parameter}-{pair.old}{tau}-{pair.label}"
        yield Drawn(name, title, ablation.draw(pair, title))


def _critical_difference(run: Run) -> Iterator[Drawn]:
    for tau in sorted(set(run.frame["tau"].dropna())) or [None]:
        title = f"Ranks of the methods{'' if tau is None else f' at prune ratio τ = {tau:g}'}"
        figure = critical_difference.draw(run.frame, tau, title)
        if figure is not None:
            yield Drawn(f"critical-difference{'' if tau is None else f'-tau{tau:g}'}", title, figure)


KINDS: tuple[Callable[[Run], Iterator[Drawn]], ...] = (
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
