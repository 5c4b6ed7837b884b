"""Settings that are chosen by validation AUC: learning rates with ``--tune lr``, and the L2 of the user's own data.

Before the first cell of a (data set, backbone, method, τ) runs, the method is tried at every rate of the profile's
grid, with one seed; the cells of all seeds then use the rate of the highest validation AUC. For a table of the user's
own, whose card names no L2, every L2 of ``PENALTIES`` is tried with the baseline before that, once a backbone; all
methods then train with the best. A trial selects and trains as a cell does, without test rows. Trials are kept in the
run folder under the identity of what they tried.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from bench.errors import DataError
from bench.files import read_text, write_atomically
from bench.records import STATUSES, Status, plain

SEED = 0
"""Seed of every trial."""
_NAMES = {"lr": "the learning rate", "l2": "the L2"}
PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2)
"""L2 that is tried beside the profile's own. Rare ids want more than shipped data sets with their ``min_count``."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What came of one value of a setting."""

    value: float
    status: Status
    parameter: str = "lr"
    """The setting: a field of the profile."""
    valid_auc: float | None = None
    """AUC of the trained model on the validation split; None where the trial has no result."""
    seconds: float | None = None
    """PT + CT, as a cell's TT; a ranking that trials share is charged to each."""
    reason: str | None = None
    traceback: str | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, source: str) -> Self:
        """Build a trial from JSON values.

        Raises:
            DataError: they are none of a trial; the message names ``source``.
        """
        try:
            trial = cls(**values)
            if trial.status not in STATUSES or not isinstance(trial.value, float):
                raise ValueError(f"value={trial.value!r}, status={trial.status!r}")
        except (ValueError, TypeError) as error:
            raise DataError(f"{source} is not a readable trial ({error}). Delete it and run again.") from error
        return trial

    def to_dict(self) -> dict[str, Any]:
        """JSON values of all fields."""
        return {item.name: plain(getattr(self, item.name)) for item in fields(self)}

    @property
    def text(self) -> str:
        """One line on what came of it."""
        if self.valid_auc is None:
            return f"{self.parameter} {self.value:g}: {self.status}: {self.reason}"
        return f"{self.parameter} {self.value:g}: validation AUC {self.valid_auc:.4f}  TT {self.seconds:.1f}s"


@dataclass(frozen=True)
class Tuning:
    """The trials of one (data set, backbone, method, τ), as far as they are done."""

    grid: tuple[float, ...]
    own: float
    """The profile's own value."""
    trials: tuple[Trial, ...] = ()
    parameter: str = "lr"

    @property
    def missing(self) -> tuple[float, ...]:
        """Values that were not tried yet."""
        tried = {trial.value for trial in self.trials}
        return tuple(value for value in self.grid if value not in tried)

    @property
    def value(self) -> float:
        """The value of the highest validation AUC; of equal ones the profile's own, else the smallest.

        Where no trial has a result it is the profile's own.
        """
        scored = [(trial.valid_auc, trial.value == self.own, -trial.value) for trial in self._scored]
        return -max(scored)[2] if scored else self.own

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
            "reason": f"every trial of {_NAMES[self.parameter]} failed: {'; '.join(trial.text for trial in failed)}",
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

    def add(self, trial: Trial) -> Tuning:
        """The same with one more trial, in the order of the grid, whoever came first."""
        trials = sorted((*self.trials, trial), key=lambda one: self.grid.index(one.value))
        return replace(self, trials=tuple(trials))

    def identity(self) -> dict[str, Any]:
        """The part of a cell's identity that says how its value was chosen."""
        return {self.parameter: list(self.grid), "seed": SEED}

    def to_dict(self) -> dict[str, Any]:
        """What a cell's record says of it."""
        left_out = ("traceback", "value", "parameter")
        told = [{key: known for key, known in one.to_dict().items() if key not in left_out} for one in self.trials]
        trials = [{self.parameter: one.value, **more} for one, more in zip(self.trials, told, strict=True)]
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
