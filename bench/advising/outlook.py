"""What there is time for, by the forecast of a run: the least that advice takes, and trials of L2 before it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean

from bench.advising import penalty, words
from bench.advising.config import AdviseConfig
from bench.advising.lab import FOLDER, Lab, OpenL2
from bench.errors import ConfigError
from bench.registry import Span
from bench.run.forecast import forecasts
from bench.run.progress import duration

__all__ = ["begin"]

_FILE = "l2.json"


@dataclass(frozen=True)
class _Outlook:
    least: Span | None
    """Seconds of all fields, rankings with one seed and one smaller set, as far as not done; None: not known."""
    training: Span | None
    """Seconds of one training with all fields."""


def begin(config: AdviseConfig, lab: Lab) -> str:
    """Refuse a time that is too short, and settle the L2 of all cells; returns what to say of that, or nothing.

    Raises:
        ConfigError: the time is too short.
        DataError: what was decided by an earlier command cannot be read.
    """
    open_l2, file = lab.open_l2(), lab.folder / FOLDER / _FILE
    decision = None if open_l2 is None else penalty.read_decision(file, open_l2.key)
    if decision is not None:
        lab.settle_l2(decision.grid)
    to_choose = open_l2 if decision is None else None
    outlook = _outlook(config, lab, None if to_choose is None else to_choose.own)
    _check_time(config, outlook)
    _look_at_fields(lab)
    if to_choose is not None:
        decision = _decide(config, lab, outlook, to_choose)
        penalty.write_decision(file, decision)
        lab.settle_l2(decision.grid)
    return "" if decision is None else decision.said


def _look_at_fields(lab: Lab) -> None:
    """Say which fields may be leaks, before time is spent on them."""
    lab.keep_facts()
    leaks = {name: one.auc for name, one in lab.facts().items() if one.leak and one.auc is not None}
    if leaks:
        lab.warn(words.leaks(leaks))


def _outlook(config: AdviseConfig, lab: Lab, l2: float | None) -> _Outlook:
    """What is left to do takes; with ``l2`` instead of one that is yet to be chosen."""
    from bench.run import estimate  # noqa: PLC0415 - not where all is done

    parts = [lab.session((lab.baseline,), seeds, l2) for seeds in (config.seeds, 1)]
    unranked = lab.unranked(l2)
    if not unranked and all(parts[0].done(cell) for cell in parts[0].plan.cells()):
        return _Outlook((0.0, 0.0), None)
    (size,) = estimate.sizes(parts[0])
    pace = estimate.pace(parts[0], size)
    whole, one = (found.seconds for part in parts for found in forecasts(part, [pace]))
    if whole is None or one is None:
        return _Outlook(None, one)
    trainings = [
        config.seeds + sum(span[end] for span in unranked) for end in (0, 1)
    ]  # the smaller set's, and searches
    return _Outlook((whole[0] + trainings[0] * one[0], whole[1] + trainings[1] * one[1]), one)


def _check_time(config: AdviseConfig, outlook: _Outlook) -> None:
    """Refuse a time in which not even one retraining ends.

    Raises:
        ConfigError: it is too short.
    """
    if outlook.least is None or outlook.least[0] <= config.time_s:
        return
    low, high = outlook.least
    raise ConfigError(
        f"time={config.time} is too short: all fields, the rankings and one smaller set take about "
        f"{duration(low)} to {duration(high)} here. Give --time {math.ceil(high / 60)}m, fewer seeds or rankers, "
        "or --rows."
    )


def _decide(config: AdviseConfig, lab: Lab, outlook: _Outlook, given: OpenL2) -> penalty.Decision:
    """Try values of L2 in their share of the time: a quarter, and no more than what all else leaves."""
    own, ladder = given.own, given.ladder
    rest = math.inf if outlook.least is None else lab.left_s - fmean(outlook.least)
    room = max(0.0, min(penalty.SHARE * config.time_s, rest))
    one = None if outlook.training is None else math.sqrt(math.prod(outlook.training))
    lab.say(f"advice, before all: the L2 of {lab.dataset}, of the {config.time} at most {duration(room)}")
    made: dict[float, float | None] = {}

    def attempt(value: float) -> float | None:
        tuning = lab.try_l2((*made, value))
        made.update({} if tuning is None else {tuning.value_of(one): one.valid_auc for one in tuning.trials})
        return made.setdefault(value, None)

    tried = penalty.choose(own, ladder, room, one, attempt)
    if len(tried) < 2:
        took = "" if one is None else f", a training takes about {duration(one)}"
        left = f"only {duration(room)} of the {config.time}" if room else f"none of the {config.time}"
        said = (
            f"L2 is {own:g}, the profile's: {left} could go into trials of others{took}. With more --time and another "
            "--out it is chosen; --set l2=… sets it."
        )
        return penalty.Decision(given.key, (own,), said)
    best = max(tried, key=lambda value: (tried[value], value == own, -value))
    shown = ", ".join(f"{value:g}" for value in sorted(tried))
    few = "" if len(tried) == len(ladder) else f" (of {len(ladder)} values; there was no time for the others)"
    said = f"L2 is {best:g}, the best of {shown} on validation rows{few}, tried with all fields and one seed each."
    return penalty.Decision(given.key, tuple(sorted(tried)), said)
