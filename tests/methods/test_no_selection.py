"""The baseline, and its control of procedure: a training that goes on with a fresh optimiser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from bench.api import CTRModel, FitLog, Rows, UserError
from bench.checks import check_method
from bench.checks.rules import RULES
from bench.engine.evaluate import evaluate
from bench.run.cell import run_cell
from bench.run.context import CellContext
from bench.run.grid import choose_method
from bench.run.job import Job

MakeJob = Callable[..., Job]


@dataclass
class Fit:
    """One training: weights and validation AUC before it, settings, and what came of it."""

    before: dict[str, torch.Tensor]
    auc_before: float
    plan: dict[str, Any]
    log: FitLog
    after: dict[str, torch.Tensor]


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[Fit]:
    """The trainings of a cell, in order."""
    found: list[Fit] = []
    original = CellContext.fit

    def state(model: CTRModel) -> dict[str, torch.Tensor]:
        return {name: value.detach().clone() for name, value in model.state_dict().items()}

    def fit(ctx: Any, model: CTRModel, train: Rows, valid: Rows, **plan: Any) -> FitLog:
        before, auc = state(model), evaluate(model, valid).auc
        log = original(ctx, model, train, valid, **plan)
        found.append(Fit(before, auc, plan, log, state(model)))
        return log

    monkeypatch.setattr(CellContext, "fit", fit)
    return found


def test_the_baseline_trains_once(make_job: MakeJob, fits: list[Fit]) -> None:
    record = run_cell(make_job("no-selection"))
    assert record.status == "ok", record.traceback
    assert [fit.plan["name"] for fit in fits] == ["train"]
    assert (record.warmup_s, record.is_baseline) == (None, True)


def test_a_restart_goes_on_from_the_best_weights_of_the_warm_up(make_job: MakeJob, fits: list[Fit]) -> None:
    job = make_job("no-selection[restart=true,warmup_epochs=3]")
    job = replace(job, profile=replace(job.profile, max_epochs=4, patience=9))
    record = run_cell(job)
    assert record.status == "ok", record.traceback
    warm, train = fits
    assert (warm.plan["name"], train.plan["name"]) == ("warmup", "train")
    assert (warm.log.epochs, train.log.epochs) == (3, 4)  # the second is as long as any training
    assert all(torch.equal(train.before[name], value) for name, value in warm.after.items())
    assert train.auc_before == pytest.approx(max(entry["valid_auc"] for entry in warm.log.history))
    assert any(not torch.equal(train.after[name], value) for name, value in warm.after.items())
    assert (record.epochs, record.best_epoch) == (4, train.log.best_epoch)


def test_the_warm_up_is_continued_training(make_job: MakeJob, fits: list[Fit]) -> None:
    record = run_cell(make_job("no-selection[restart=true]"))
    warm, train = fits
    assert warm.plan["epochs"] == 2
    assert record.warmup_s == warm.log.total_s > 0
    assert record.ct_s is not None and record.pt_s is not None
    assert record.ct_s >= warm.log.total_s + train.log.total_s
    assert record.pt_s < 0.1 * record.ct_s


def test_the_restart_keeps_the_contract() -> None:
    assert check_method("no-selection[restart=true]", "dnn").rules == tuple(rule.__name__ for rule in RULES)


def test_a_restart_has_a_warm_up() -> None:
    with pytest.raises(UserError, match="warmup_epochs=0"):
        choose_method("no-selection[restart=true,warmup_epochs=0]")
