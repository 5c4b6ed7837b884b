"""``--tune optuna``: the same number of trials for every method, over what it declares and the profile's lr and L2.

The trials of a (data set, backbone, method, τ) follow one another. The first has the defaults; every later one is drawn
by Optuna's TPE from those before it, by a sampler made anew whose seed depends on the trial's number alone. So a trial
depends on what came before it and on nothing that a process remembers: a search that was killed goes on, here or
elsewhere, as if nothing had happened. The journal is the trials' files; ones that were under way leave nothing.

A trial is given up (pruned) at an evaluation of its last training, from the second on, where its best validation AUC so
far is below the median of what finished trials had there, five at least (Optuna's median rule).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import median
from typing import Any

from bench.identity import config_hash
from bench.params import Search, parse_spec, searched
from bench.run.best import Outcome
from bench.run.job import ResolvedCell
from bench.run.refusals import require_sampler
from bench.run.settings import PARAMS, Values
from bench.run.tuning import PRUNED, SEED, Asked, Trial, Trials, Tuning, chosen
from bench.seeds import seed

__all__ = ["Study", "restored", "study_of"]

SAMPLER = "tpe"
DIGITS = 3
"""Significant digits of what is drawn: what a rate is told with, and alike on all processors."""
SPAN = 10.0
"""Rate and L2 are searched from the profile's own over this to that times this."""
NO_L2 = Search(1e-7, 1e-3)
"""What is searched where the profile's own L2 is 0, which counts as the low end."""
_FINISHED, _SPARED = 5, 1
"""Finished trials that a median takes, and first evaluations that no trial is given up at."""


@dataclass(frozen=True)
class Study(Trials):
    """The trials of a search, in the order in which they were made."""

    space: Mapping[str, Search] = field(hash=False)
    """By setting."""
    own: Values
    """The defaults that are numbers: what the first trial has. What is none stays as it is there."""
    size: int
    trials: tuple[Trial, ...] = ()
    given: Outcome | None = None
    """What an earlier search has chosen: nothing is tried."""
    idle = "lr_grid"

    @property
    def planned(self) -> int:
        return 0 if self.given is not None else self.size

    @property
    def missing(self) -> Sequence[float]:
        return range(len(self.trials), self.planned)

    def asked(self) -> Sequence[Asked]:
        return [self._next] if self.missing else []

    @cached_property
    def _next(self) -> Asked:
        values = self.own if not self.trials else _drawn(self.space, self.trials)
        return Asked(values, _least([trial.curve for trial in self.trials if trial.status == "ok"]))

    @property
    def best(self) -> Trial | None:
        """The trial of the highest validation AUC, of equal ones the first; None where none has a result."""
        return max(self._scored, key=lambda trial: trial.valid_auc or 0.0, default=None)

    @property
    def outcome(self) -> Outcome | None:
        """What a search that is over has chosen; None where no trial has a result."""
        if self.given is not None or self.missing or self.best is None:
            return self.given
        return Outcome(self.values, self.size, self.best.valid_auc, round(self.seconds, 3))

    @property
    def values(self) -> Values:
        if self.given is not None:
            return self.given.values
        return self.own if self.best is None else self.best.values

    @property
    def seconds(self) -> float:
        return super().seconds if self.given is None else self.given.seconds

    @property
    def _tuned(self) -> str:
        return "the settings"

    def add(self, trial: Trial) -> Study:
        return replace(self, trials=(*self.trials, trial))

    def resumed(self, read: Callable[[Study], Trial | None]) -> Study:
        """The same with the trials that are kept, of which ``read`` gives the next.

        Where all are there and none worked, they do not count.
        """
        found = self
        while found.missing and (trial := read(found)) is not None:
            found = found.add(trial)
        return found if found.missing or found.decided else self

    def key(self, identity: Mapping[str, Any]) -> str:
        """Under which the next trial is kept, of a cell that has this ``identity`` at its defaults."""
        drawn_as = {"space": _spelled(self.space), "sampler": SAMPLER, "seed": SEED, "number": len(self.trials)}
        return config_hash({"cell": identity, "study": drawn_as})

    def identity(self) -> dict[str, Any]:
        return {"sampler": SAMPLER, "seed": SEED, "trials": self.size, "space": _spelled(self.space)}

    def in_profile(self) -> dict[str, Any]:
        ends = {name: [space.low, space.high] for name, space in self.space.items() if not name.startswith(PARAMS)}
        return {**ends, "trials": self.size}

    def to_dict(self) -> dict[str, Any]:
        told = {**self.identity(), "planned": self.size, "default": dict(self.own), "values": dict(self.values)}
        told["trials"] = [{"values": dict(one.values), **one.told()} for one in self.trials]
        return told | ({} if self.given is None else {"given": self.given.told()})


def study_of(cell: ResolvedCell, size: int, given: Outcome | None) -> Study:
    """The search for ``cell``, which is at its defaults, with no trial made.

    Args:
        cell: with the profile around whose rate and L2 is searched.
        size: number of trials.
        given: what an earlier search has chosen.

    Raises:
        ConfigError: that cannot be.
    """
    profile, params = cell.profile, cell.method.params
    named = parse_spec(cell.cell.method).given  # what the user has set stays
    own: dict[str, Any] = {name: getattr(params, name) for name in searched(params) if name not in named}
    space = {"lr": _around(profile.lr), "l2": _around(profile.l2) if profile.l2 else NO_L2}
    space |= {f"{PARAMS}{name}": found for name, found in searched(params).items() if name in own}
    numbers = {f"{PARAMS}{name}": float(value) for name, value in own.items() if value is not None}
    if given is not None:
        given.check(cell.method.params)
    return Study(space, {"lr": profile.lr, "l2": profile.l2, **numbers}, size, given=given)


def restored(told: Mapping[str, Any]) -> Trials:
    """The trials of a record's ``tuning``, as far as its cell's identity and values depend on them."""
    if "grid" in told:
        return Tuning(tuple(told["grid"]), told["lr"])
    space = {name: Search(low, high, scale == "log") for name, (low, high, scale) in told["space"].items()}
    return Study(space, told["default"], told["planned"], given=Outcome(chosen(told), 0, None, 0.0))


def _around(own: float) -> Search:
    return Search(float(f"{own / SPAN:.6g}"), float(f"{own * SPAN:.6g}"))


def _spelled(space: Mapping[str, Search]) -> dict[str, list[Any]]:
    return {name: [one.low, one.high, "log" if one.log else "linear"] for name, one in space.items()}


def _least(curves: Sequence[Sequence[float]]) -> tuple[float | None, ...]:
    """Median by evaluation of the finished trials that came so far; None where they are too few."""
    longest = max(map(len, curves), default=0)
    columns = [[curve[i] for curve in curves if i < len(curve)] for i in range(longest)]
    return tuple(
        median(column) if i >= _SPARED and len(column) >= _FINISHED else None for i, column in enumerate(columns)
    )


def _drawn(space: Mapping[str, Search], trials: Sequence[Trial]) -> Values:
    """What to try after ``trials``.

    Raises:
        ConfigError: there is no sampler.
    """
    require_sampler()
    import optuna  # noqa: PLC0415 - an extra

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    own = seed(use="trial", number=len(trials), seed=SEED) % 2**32
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=own))
    ranges: dict[str, Any] = {
        name: optuna.distributions.FloatDistribution(s.low, s.high, log=s.log) for name, s in space.items()
    }
    states = {"ok": optuna.trial.TrialState.COMPLETE, PRUNED: optuna.trial.TrialState.PRUNED}
    for trial in trials:
        known = {name: min(max(value, space[name].low), space[name].high) for name, value in trial.values.items()}
        study.add_trial(
            optuna.trial.create_trial(
                state=states.get(trial.status, optuna.trial.TrialState.FAIL),
                value=trial.valid_auc if trial.status == "ok" else None,
                params=known,
                distributions={name: ranges[name] for name in known},
                intermediate_values=dict(enumerate(trial.curve)),
            )
        )
    return {name: _rounded(value, space[name]) for name, value in study.ask(ranges).params.items()}


def _rounded(value: float, space: Search) -> float:
    return min(max(float(f"{value:.{DIGITS}g}"), space.low), space.high)
