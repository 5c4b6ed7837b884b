"""Groups of one step that have an optimiser of their own, and gates that act on single coordinates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.api import CTRModel, FitPlan, Gate, Group, Step
from bench.engine.clock import Clock
from bench.engine.fast.adam import FusedAdam
from bench.engine.fast.sgd import FusedSGD
from bench.engine.steps import log_loss
from bench.engine.update import Updates
from bench.run.context import CellContext
from bench.run.job import Job

MakeJob = Callable[..., Job]

PLAN = FitPlan(epochs=1, batch_size=64)


def context(job: Job) -> CellContext[Any]:
    return job.context(Clock(job.device))


def mixed(model: CTRModel) -> Step:
    network = model.network_parameters()
    return Step([Group([model.table.weight], 0.01), Group(network, 0.5, optimizer="sgd")])


def test_each_group_is_updated_by_its_own_optimizer(make_job: MakeJob) -> None:
    job = make_job("no-selection")
    ctx, batch = context(job), next(job.data.train.slices(64))
    model = ctx.model().eval()
    table, network = model.table.weight.detach().clone(), [p.detach().clone() for p in model.network_parameters()]
    grads = torch.autograd.grad(log_loss(model, batch), model.network_parameters())
    Updates(model, [mixed(model)], PLAN).run(0, batch, 0)
    for now, before, grad in zip(model.network_parameters(), network, grads, strict=True):
        torch.testing.assert_close(now.detach(), before - 0.5 * grad)
    moved = (model.table.weight.detach() - table).abs()
    touched = batch.ids.unique().long()
    # Adam's first step has the length of its rate wherever the gradient is well above its ε of 1e-8
    assert moved[touched].median().item() == pytest.approx(0.01, rel=0.05)
    assert moved.sum() == moved[touched].sum()


def test_optimizers_stand_in_the_order_of_the_groups(make_job: MakeJob) -> None:
    model = context(make_job("no-selection")).model()
    seen: list[type] = []
    step = mixed(model)
    step.after = lambda optimizer: seen.append(type(optimizer))
    updates = Updates(model, [step, Step(step.groups[:1], optimizer="sgd")], PLAN)
    assert [type(one) for one in updates.optimizers] == [FusedAdam, FusedSGD, FusedSGD]
    updates.run(0, next(make_job("no-selection").data.train.slices(8)), 0)
    assert seen == [FusedAdam]


def test_learning_rates_decay_and_resume_with_both_optimizers(make_job: MakeJob, tmp_path: Path) -> None:
    """Three epochs in one go equal two and, from the checkpoint, one more."""
    job = make_job("no-selection")

    def fit(epochs: int, folder: Path | None) -> CTRModel:
        ctx = context(make_job("no-selection", checkpoints=folder))
        model = ctx.model()
        ctx.fit(model, job.data.train, job.data.valid, [mixed(model)], epochs=epochs, lr_decay=0.5, patience=9)
        return model

    straight = fit(3, None)
    fit(2, tmp_path)
    resumed = fit(3, tmp_path)
    assert torch.equal(straight.table.weight, resumed.table.weight)


class Coordinates(Gate):
    shape = "BFD"

    def __init__(self, factors: Tensor) -> None:
        super().__init__()
        self.factors = factors

    def forward(self, e: Tensor, ids: Tensor) -> Tensor:
        return self.factors


def test_a_linear_weight_takes_the_factor_of_the_first_coordinate(make_job: MakeJob) -> None:
    job = make_job("no-selection", backbone="deepfm[mlp=8]")
    model, batch = context(job).model().eval(), next(job.data.train.slices(16))
    z = torch.rand(16, 8, 8, generator=torch.Generator().manual_seed(0))
    model.gate = Coordinates(z)
    e, linear = model.table.split(batch.ids, 8)
    assert linear is not None
    assert torch.equal(model(batch), model.backbone(e * z, linear * z[..., 0]))
