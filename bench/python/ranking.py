"""``rank``: fields in the order of one method, without training where the method needs none."""

from __future__ import annotations

import html
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import rankdata

from bench.advising.config import EXPERIMENT
from bench.environment import called
from bench.errors import ConfigError, DataError
from bench.python.data import Data, checked
from bench.python.work import progress, run_config
from bench.run import cell, sweep
from bench.run.config import RunConfig, base_config
from bench.run.context import silent
from bench.run.grid import MethodChoice
from bench.run.session import Plan, Session, resolve, use_threads

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["Ranking", "rank"]

_BARS = 40
"""Fields that a figure shows."""
_LETTERS = 24
"""Of a name that are shown."""
_BAR_IN, _LETTER_IN, _LONGEST_IN, _EDGE_IN = 0.16, 0.07, 2.4, 0.25
"""Inches: height of a bar's row, width of a letter, room of the longest bar, and around."""
_KEEP_ALL = 0.0
"""Prune ratio of a ranking that does not depend on it: so it is no error that all scores are equal."""


@dataclass(frozen=True)
class Ranking:
    """Fields, best first."""

    method: str
    dataset: str
    fields: tuple[str, ...] = field(repr=False)
    """In the order of the data."""
    scores: np.ndarray = field(repr=False)
    """Higher is more important, float64 [seeds, F]."""

    @property
    def ranks(self) -> np.ndarray:
        """From 1 on, ties share their mean, float64 [seeds, F]."""
        return np.stack([rankdata(-one) for one in self.scores])

    @property
    def order(self) -> np.ndarray:
        """Places of the fields in the data, best first, int64 [F]; ties by their place."""
        return np.argsort(self.ranks.mean(axis=0), kind="stable")

    @property
    def frame(self) -> pd.DataFrame:
        """One row a field, best first: ``field``, ``rank``, ``score``; of several seeds means and the range."""
        import pandas as pd  # noqa: PLC0415 - slow to import

        ranks = self.ranks
        columns: dict[str, Any] = {"field": self.fields, "rank": ranks.mean(axis=0), "score": self.scores.mean(axis=0)}
        if len(ranks) > 1:
            columns |= {"best_rank": ranks.min(axis=0), "worst_rank": ranks.max(axis=0)}
        return pd.DataFrame(columns).iloc[self.order].reset_index(drop=True)

    def top(self, k: int) -> list[str]:
        """The first ``k`` fields.

        Raises:
            ConfigError: there are not so many, or k is below 1.
        """
        if not 1 <= k <= len(self.fields):
            raise ConfigError(f"k={k} is out of range; allowed: [1, {len(self.fields)}], the number of fields.")
        return [self.fields[place] for place in self.order[:k]]

    def plot(self) -> Figure:
        """Bars of the scores, best first, of the first fields of many."""
        from plots.style import look, mark, new_figure  # noqa: PLC0415 - Matplotlib is slow to import

        shown = self.frame.head(_BARS)
        names = [name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…" for name in shown["field"]]
        left, high = _EDGE_IN + _LETTER_IN * max(map(len, names)), _BAR_IN * len(shown)
        width, height = left + _LONGEST_IN + _EDGE_IN, high + 3 * _EDGE_IN
        with look():
            figure = new_figure(width, height)
            place = (left / width, 2 * _EDGE_IN / height, _LONGEST_IN / width, high / height)
            axes = figure.add_axes(place)
            axes.barh(range(len(shown)), shown["score"], color=mark(0).colour)
            axes.set_yticks(range(len(shown)), names)
            axes.set_ylim(len(shown) - 0.5, -0.5)
            axes.set_title(f"{self.dataset}: fields by {self.method}", fontsize="medium")
            axes.set_xlabel("score")
        return figure

    def __str__(self) -> str:
        return f"{self.dataset}, fields by {self.method}\n{self.frame.to_string(index=False)}"

    def _repr_html_(self) -> str:
        heading = html.escape(f"{self.dataset}: fields by {self.method}")
        return f"<p>{heading}</p>{self.frame.to_html(index=False, max_rows=60)}"


def rank(  # noqa: PLR0913 - keyword arguments, all with defaults
    data: Data,
    method: str | None = None,
    *,
    backbone: str | None = None,
    seeds: int = 1,
    prune_ratio: float = 0.5,
    out: str | Path | None = None,
    verbose: bool = True,
    **settings: Any,
) -> Ranking:
    """Rank the fields of a data set: the scores that ``compare`` and ``python -m bench run`` would show.

    Args:
        data: from ``bench.dataset``.
        method: by name, parameters in brackets; by default the second ranker of ``advise``, XGBoost.
        backbone: the model of methods that train one; by default that of ``advise``.
        seeds: how often it is ranked; ranks are means over seeds.
        prune_ratio: of methods whose scores depend on it.
        out: run folder; by default a temporary one.
        verbose: whether to show progress.
        **settings: as of ``python -m bench run``: profile, set, rows, device, threads, ….

    Raises:
        ConfigError: an unknown name, or a method that does not rank fields.
        DataError: the method cannot rank these fields.
    """
    base = base_config(EXPERIMENT, None, has_datasets=True)
    chosen = {"methods": (method or base.methods[1],), "backbones": (backbone or base.backbones[0],), "seeds": seeds}
    config = run_config(
        "rank", {**checked(data, "rank").chosen, **chosen, "prune_ratio": (prune_ratio,), "out": out}, settings
    )
    plan = resolve(config)
    choice = next(iter(plan.methods.values()))
    if choice.entry.scores == "none" and choice.error is None:
        raise ConfigError(
            f"method={choice.label!r} gives fields no scores; `python -m bench list` shows those that do."
        )
    scores = _selected(config, choice) if _needs_no_model(choice) else _trained(plan, verbose)
    return Ranking(choice.label, data.card.title, tuple(data.fields), scores)


def _needs_no_model(choice: MethodChoice) -> bool:
    """Whether scores are those of the selection alone, in which no backbone has a part."""
    if choice.error is not None:
        return False
    return choice.entry.scores == "select" and "backbone" not in choice.make().axes()


def _selected(config: RunConfig, choice: MethodChoice) -> np.ndarray:
    """Scores of the selection by seed.

    Raises:
        DataError: there are none.
    """
    if "tau" not in choice.make().axes():
        config = replace(config, prune_ratio=(_KEEP_ALL,))
    session = Session(resolve(config), blind=True)
    use_threads(config)
    session.check_fields(session.plan.cards)
    found = []
    for one in session.plan.cells():
        job = session.job(session.cell(one), silent)
        result = cell.run_selection(job)
        if result["status"] != "ok" or result["scores"] is None:
            raise DataError(_none(one.method, result["status"], result.get("reason")))
        found.append(np.asarray(result["scores"], dtype=np.float64))
    return np.stack(found)


def _trained(plan: Plan, verbose: bool) -> np.ndarray:
    """Scores of whole cells by seed.

    Raises:
        DataError: there are none.
    """
    with called("bench.rank"), progress(verbose) as reporter:
        records = sweep.run(plan, reporter)
    for record in records:
        if record.status != "ok" or record.field_scores is None:
            raise DataError(_none(record.label, record.status, record.reason))
    return np.array([record.field_scores for record in records], dtype=np.float64)


def _none(method: str, status: str, reason: object) -> str:
    return f"{method} has no ranking of these fields: {status}: {reason or 'no scores of fields'}"
