"""One trial: a cell that never sees the test split, and may be given up on the way."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from bench.engine.clock import Clock
from bench.engine.evaluate import evaluate_finite
from bench.method import Method
from bench.rows.residency import settle
from bench.run.cell import attempt, select_and_train
from bench.run.columns import time_columns
from bench.run.context import CellContext, Emit
from bench.run.job import Job
from bench.run.tuning import PRUNED, Asked, Trial

__all__ = ["run_trial"]

_FIT = "train"
"""Name of the training whose model is evaluated."""


class _GivenUpError(Exception):
    """The training is not worth its end."""


@dataclass
class _Watch:
    """Passes events on, keeps the validation AUC of the last training, and ends it where that stays too low."""

    emit: Emit
    least: tuple[float | None, ...]
    curve: list[float] = field(default_factory=list)

    def __call__(self, event: dict[str, Any]) -> None:
        self.emit(event)
        if event["event"] != "epoch" or event["fit"] != _FIT:
            return
        self.curve.append(event["valid_auc"])
        number, best = len(self.curve), max(self.curve)
        least = self.least[number - 1] if number <= len(self.least) else None
        if least is not None and best < least:
            raise _GivenUpError(f"validation AUC {best:.4f} after {number} evaluations, below the median {least:.4f}")


def run_trial(job: Job, asked: Asked) -> Trial:
    """Try a job that was resolved with the values ``asked`` for: train without test rows, evaluate on validation."""
    watch = _Watch(job.emit, asked.least)

    def work(job: Job, method: Method[Any], ctx: CellContext[Any], clock: Clock) -> dict[str, Any]:
        try:
            found = _validate(job, method, ctx, clock)
        except _GivenUpError as reason:
            spent = clock.report()
            seconds = sum(spent.get(phase, 0.0) for phase in ("select", "train"))
            found = {"status": PRUNED, "reason": str(reason), "seconds": seconds}
        return {**found, "curve": tuple(watch.curve)}

    blind = replace(job, data=job.data.without_test(), emit=watch)
    return Trial(values=asked.values, **attempt(blind, work))


def _validate(job: Job, method: Method[Any], ctx: CellContext[Any], clock: Clock) -> dict[str, Any]:
    """Train, and evaluate on the validation split."""
    chosen, trained = select_and_train(job, method, ctx, clock)
    quality = evaluate_finite(trained.model, settle(job.data.valid), "validation")
    return {"valid_auc": quality.auc, "seconds": time_columns(clock, chosen, trained.log)["tt_s"]}
