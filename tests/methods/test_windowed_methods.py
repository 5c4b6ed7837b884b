"""Methods on tables that are updated several steps at a time come to what they come to otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench.api import CTRModel, FitPlan
from bench.engine import update
from bench.engine.fast import windowed
from bench.plugins import methods
from bench.records import CellRecord
from bench.run.cell import run_cell
from bench.run.grid import expand
from bench.run.job import Job

SMALL = {
    "light-fmp": "[pretrain_rows=400,pretrain_batch=16,pretrain_epochs=4]",
    "light-fmp-pooled": "[pretrain_rows=400,pretrain_batch=16,pretrain_epochs=4]",
    "light-fmp-once": "[pretrain_steps=100]",
    "optfs": "[search_epochs=2]",
    "optem": "[generations=1]",
}


def training_in_their_own_way() -> list[str]:
    """Methods that differ in how they train: of those that rank with no network one stands for all."""
    known = methods()
    return [name for name in expand(["all"], known) if known.entry(name).family != "shallow" or name == "lasso"]


@pytest.mark.parametrize("method", training_in_their_own_way())
def test_results_are_the_same(make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """But for rounding at the end of the table, whose size is no multiple of 16 here."""
    windows: list[int] = []
    settle, made = windowed.HotRows.settle, update.Updates.__init__
    trainings: dict[str, bool] = {}

    def spy(self: windowed.HotRows) -> None:
        windows.append(len(self._past))
        settle(self)

    def note(self: update.Updates, model: CTRModel, steps: Any, plan: FitPlan, *rest: Any, **more: Any) -> None:
        made(self, model, steps, plan, *rest, **more)
        trainings[plan.name] = any(isinstance(one, windowed.WindowedAdam) for one in self.optimizers)

    def run() -> CellRecord:
        record = run_cell(make_job(method + SMALL.get(method, "")))
        assert record.status == "ok", record.traceback
        return record

    plain = run()
    monkeypatch.setattr(update, "pays", lambda weight, lookups: True)
    monkeypatch.setattr(windowed, "MOST", 1)
    monkeypatch.setattr(windowed.HotRows, "settle", spy)
    monkeypatch.setattr(update.Updates, "__init__", note)
    ours = run()
    assert max(windows) > 1
    assert {name for name, held in trainings.items() if not held} == ({"search"} if method == "optfs" else set())
    assert (ours.auc, ours.logloss) == pytest.approx((plain.auc, plain.logloss), abs=1e-5)
    assert ours.kept_fields == plain.kept_fields
    if plain.field_scores is not None:
        np.testing.assert_allclose(np.array(ours.field_scores), np.array(plain.field_scores), rtol=1e-3, atol=1e-5)
