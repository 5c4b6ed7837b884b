"""Settings that are chosen by validation AUC: learning rates with ``--tune lr``, and the L2 of the user's own data.

Before the first cell of a (data set, backbone, method, τ) runs, the method is tried at every rate of the profile's
grid, with one seed; the cells of all seeds then use the rate of the highest validation AUC. For a table of the user's
own, whose card names no L2, every L2 of ``PENALTIES`` is tried with the baseline before that, once a backbone; all
methods then train with the best. A trial selects and trains as a cell does, without test rows. Trials are kept in the
run folder under the identity of what they tried.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from bench.errors import DataError
from bench.files import read_text, write_atomically
from bench.records import STATUSES, Status, plain
from bench.run.settings import PARAMS, Values

SEED = 0
"""Seed of every trial."""
_NAMES = {"lr": "the learning rate", "l2": "the L2"}
PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2)
"""L2 that is tried beside the profile's own. Rare ids want more than shipped data sets with their ``min_count``."""


PRUNED: Literal["pruned"] = "pruned"
"""Status of a trial that was given up before its end: it counts, and has no result."""


@dataclass(frozen=True)
class Asked:
    """What a trial has to try."""

    values: Values = field(hash=False)
    least: tuple[float | None, ...] = ()
    """Validation AUC by evaluation of the last training: where the best so far is below, the trial is given up. None:
    it goes on."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The one whose fields these JSON values are."""
        return cls(values["values"], tuple(values["least"]))


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What came of some values of settings."""

    values: Values = field(hash=False)
    status: Status | Literal["pruned"]
    valid_auc: float | None = None
    """AUC of the trained model on the validation split; None where the trial has no result."""
    seconds: float | None = None
    """PT + CT, as a cell's TT; a ranking that trials share is charged to each."""
    curve: tuple[float, ...] = ()
    """AUC of every validation in the last training."""
    reason: str | None = None
    traceback: str | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, source: str) -> Self:
        """Build a trial from JSON values; older ones have one setting, ``parameter``, and its ``value``.

        Raises:
            DataError: they are none of a trial; the message names ``source``.
        """
        try:
            known = dict(values)
            if "value" in known:
                known["values"] = {known.pop("parameter", "lr"): known.pop("value")}
            trial = cls(**known | {"curve": tuple(known.get("curve", ()))})
            tried = trial.values
            numbers = isinstance(tried, dict) and all(isinstance(one, int | float) for one in tried.values())
            if trial.status not in (*STATUSES, PRUNED) or not numbers:
                raise ValueError(f"values={tried!r}, status={trial.status!r}")
        except (ValueError, TypeError) as error:
            raise DataError(f"{source} is not a readable trial ({error}). Delete it and run again.") from error
        return trial

    def to_dict(self) -> dict[str, Any]:
        """JSON values of all fields."""
        return {item.name: plain(getattr(self, item.name)) for item in fields(self)}

    def told(self) -> dict[str, Any]:
        """What a cell's record says of it beside its values."""
        left_out = ("traceback", "values", "curve")
        return {key: known for key, known in self.to_dict().items() if key not in left_out}

    @property
    def text(self) -> str:
        """One line on what came of it."""
        tried = values_text(self.values)
        if self.valid_auc is None:
            return f"{tried}: {self.status}: {self.reason}"
        return f"{tried}: validation AUC {self.valid_auc:.4f}  TT {self.seconds:.1f}s"


def chosen(told: Mapping[str, Any]) -> Values:
    """What a record's ``tuning`` says was chosen, by setting."""
    found: Values = told["values"] if "values" in told else {"lr": told["lr"]}
    return found


def values_text(values: Values) -> str:
    """Values as lines and tables say them."""
    return ", ".join(f"{name.removeprefix(PARAMS)} {value:g}" for name, value in values.items())


class Trials(ABC):
    """The trials of one (data set, backbone, method, τ), as far as they are done, and what they choose."""

    trials: tuple[Trial, ...]
    idle: ClassVar[str]
    """Setting of the profile that has no part where these choose."""

    @property
    @abstractmethod
    def planned(self) -> int:
        """How many trials there are to be."""

    @property
    @abstractmethod
    def missing(self) -> Sequence[float]:
        """What was not yet tried: as many as trials are left."""

    @abstractmethod
    def asked(self) -> Sequence[Asked]:
        """What can be tried now; nothing where all was."""

    @property
    @abstractmethod
    def values(self) -> Values:
        """What is chosen, by setting."""

    @property
    @abstractmethod
    def _tuned(self) -> str:
        """What is chosen, in words."""

    @abstractmethod
    def add(self, trial: Trial) -> Self:
        """The same with one more trial."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """The part of a cell's identity that says how its values were chosen."""

    @abstractmethod
    def in_profile(self) -> dict[str, Any]:
        """What a record's profile says of it, so that cells of one choice share a column, and no others stand in it."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """What a cell's record says of it."""

    @property
    def _scored(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.valid_auc is not None]

    @property
    def failure(self) -> dict[str, Any] | None:
        """Status, reason and traceback of the cells, where every trial has failed; None otherwise."""
        failed = [trial for trial in self.trials if trial.status != "skipped"]
        if self._scored or not failed:
            return None
        statuses = {trial.status for trial in failed}
        return {
            "status": statuses.pop() if len(statuses) == 1 else "failed",
            "reason": f"every trial of {self._tuned} failed: {'; '.join(trial.text for trial in failed)}",
            "traceback": failed[-1].traceback,
        }

    @property
    def decided(self) -> bool:
        """Whether the trials are complete and the cells can run."""
        return not self.missing and self.failure is None

    @property
    def seconds(self) -> float:
        """Of all trials with a result."""
        return sum(trial.seconds or 0.0 for trial in self.trials)


@dataclass(frozen=True)
class Tuning(Trials):
    """The trials of the values of one setting of the profile."""

    grid: tuple[float, ...]
    own: float
    """The profile's own value."""
    trials: tuple[Trial, ...] = ()
    parameter: str = "lr"
    idle = "lr"

    @property
    def planned(self) -> int:
        return len(self.grid)

    @property
    def missing(self) -> tuple[float, ...]:
        """Values that were not tried yet."""
        tried = {self.value_of(trial) for trial in self.trials}
        return tuple(value for value in self.grid if value not in tried)

    def asked(self) -> Sequence[Asked]:
        return [Asked({self.parameter: value}) for value in self.missing]

    def value_of(self, trial: Trial) -> float:
        """What a trial has tried."""
        return trial.values[self.parameter]

    @property
    def value(self) -> float:
        """The value of the highest validation AUC; of equal ones the profile's own, else the smallest.

        Where no trial has a result it is the profile's own.
        """
        tried = [(self.value_of(trial), trial.valid_auc) for trial in self._scored]
        scored = [(auc, value == self.own, -value) for value, auc in tried]
        return -max(scored)[2] if scored else self.own

    @property
    def values(self) -> Values:
        return {self.parameter: self.value}

    @property
    def _tuned(self) -> str:
        return _NAMES[self.parameter]

    def add(self, trial: Trial) -> Tuning:
        """The same with one more trial, in the order of the grid, whoever came first."""
        trials = sorted((*self.trials, trial), key=lambda one: self.grid.index(self.value_of(one)))
        return replace(self, trials=tuple(trials))

    def identity(self) -> dict[str, Any]:
        return {self.parameter: list(self.grid), "seed": SEED}

    def in_profile(self) -> dict[str, Any]:
        return {self.parameter: list(self.grid)}

    def to_dict(self) -> dict[str, Any]:
        trials = [{self.parameter: self.value_of(one), **one.told()} for one in self.trials]
        chosen = {self.parameter: self.value, "trials": trials}
        return {"parameter": self.parameter, "grid": list(self.grid), "seed": SEED, **chosen}


class TrialStore:
    """The trials of a run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, key: str) -> Path:
        """Where the trial of the identity ``key`` is kept."""
        return self.folder / f"{key[:16]}.json"

    def read(self, key: str) -> Trial | None:
        """The trial of the identity ``key``, or None.

        Raises:
            DataError: the file is not readable.
        """
        file = self.file(key)
        text = read_text(file)
        if text is None:
            return None
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{file} is not a readable trial ({error}). Delete it and run again.") from error
        return Trial.from_dict(values, source=str(file))

    def write(self, key: str, trial: Trial) -> None:
        """Keep ``trial``, in the place of an earlier one."""
        with write_atomically(self.file(key)) as file:
            json.dump(trial.to_dict(), file)
