"""AEFS: what a row keeps, the four terms of its loss, and who learns from which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bench.api import Batch, CTRModel, Rows
from bench.engine.clock import Clock
from bench.profiles import SMALL
from bench.run.job import Job, resolve_backbone
from methods.aefs import AEFS, AEFSParams, AuxiliaryGate, Sizes
from methods.parts.gate_budget import gate_plan

N, FIELDS, D, SMALL_D, K = 10, 5, 4, 3, 2


@pytest.fixture
def rows(rows_of: Callable[..., Rows]) -> Rows:
    rng = np.random.default_rng(0)
    made = rows_of(rng.integers(0, 4, (N, FIELDS)), np.full(FIELDS, 4), rng.random(N) < 0.5)
    return made


def batch_of(rows: Rows) -> Batch:
    batch = next(rows.slices(len(rows)))
    return Batch(batch.ids, batch.numeric, batch.labels.double(), batch.pooled)


@pytest.fixture
def model(rows: Rows) -> CTRModel:
    """A gated model, in evaluation mode."""
    choice = resolve_backbone("xdeepfm", SMALL)
    draw = torch.Generator().manual_seed(4)
    net = choice.cls(FIELDS, D, choice.params).double()
    for param in net.parameters():
        param.data.copy_(torch.randn(param.shape, generator=draw) * 0.3)
    table = torch.randn(rows.schema.vocabulary_rows, D + net.uses_linear, generator=draw, dtype=torch.float64)
    made = CTRModel(rows.schema, table, net)
    sizes = Sizes(rows.schema.vocabulary_rows, FIELDS, D, SMALL_D, K)
    made.gate = AuxiliaryGate(sizes, 1.0, 0.2, draw).double()
    return made.eval()


def gate_of(model: CTRModel) -> AuxiliaryGate:
    assert isinstance(model.gate, AuxiliaryGate)
    return model.gate


def method(**given: Any) -> AEFS:
    return AEFS(AEFSParams(**given), None)  # type: ignore[arg-type]


def test_a_row_keeps_the_k_fields_of_the_largest_scores_of_its_small_embeddings(model: CTRModel, rows: Rows) -> None:
    gate, batch = gate_of(model), batch_of(rows)
    weight, norm = gate.scorer.weight.detach(), gate.scorer.norm
    with torch.no_grad():
        norm.running_mean.uniform_(-1, 1, generator=torch.Generator().manual_seed(1))
        x = gate.table.weight[batch.ids.long()] / np.sqrt(1 + 1e-5)  # running statistics of the channels: (0, 1)
        y = (x.flatten(1) @ weight.T - norm.running_mean) / np.sqrt(1 + 1e-5)
        z = gate(torch.zeros(N, FIELDS, D), batch.ids)
    for b in range(N):
        kept = np.argsort(-y[b].numpy(), kind="stable")[:K]
        shares = np.exp(np.maximum(y[b].numpy()[kept], 0))
        wanted = np.zeros(FIELDS)
        wanted[kept] = K * shares / shares.sum()
        np.testing.assert_allclose(z[b], wanted, rtol=1e-5)


def test_the_loss_is_the_sum_of_its_four_terms(model: CTRModel, rows: Rows) -> None:
    gate, batch = gate_of(model), batch_of(rows)
    with torch.no_grad():
        main = model(batch)
        z, x = gate.look(batch.ids)
        small = gate.network((x * z[..., None]).flatten(1))[:, 0]
        e = model.embed(batch)[0]
        both = [F.binary_cross_entropy_with_logits(logits, batch.labels).item() for logits in (main, small)]
        scores = ((small.sigmoid() - main.sigmoid()) ** 2).mean().item()
        lifted = x @ gate.lift.weight.T + gate.lift.bias
        fields = ((z[..., None] * (lifted - e)) ** 2).mean().item()
        found = method(auxiliary=0.5, align_scores=0.3, align_fields=0.7).loss(model, batch).item()
        assert found == pytest.approx(both[0] + 0.5 * both[1] + 0.3 * scores + 0.7 * fields, rel=1e-6)


def test_the_main_model_is_a_target_and_learns_from_its_own_loss_alone(model: CTRModel, rows: Rows) -> None:
    batch = batch_of(rows)
    grads = []
    for loss in (method().loss(model, batch), F.binary_cross_entropy_with_logits(model(batch), batch.labels)):
        model.zero_grad()
        torch.autograd.backward([loss])
        own = [model.table.weight, *model.network_parameters()]
        grads.append([None if param.grad is None else param.grad.clone() for param in own])
    for with_all, alone in zip(*grads, strict=True):
        assert (with_all is None) == (alone is None)
        if with_all is not None and alone is not None:
            torch.testing.assert_close(with_all, alone, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("every", [1, 3])
def test_the_controller_steps_at_its_own_rate_and_interval(make_job: Callable[..., Job], every: int) -> None:
    job = make_job(f"aefs[update_every={every}]")
    ctx = job.context(Clock(job.device))
    made, model = AEFS(job.method.params, job.method.entry), ctx.model()
    model.gate = made.gate(ctx, model.dim)
    how = made.training(ctx, model, job.data.train, job.data.valid)
    assert [step.every for step in how.steps] == [1, 3][: 1 if every == 1 else 2]
    groups = {
        id(param): (n, group.lr) for n, step in enumerate(how.steps) for group in step.groups for param in group.params
    }
    assert groups.keys() == {id(param) for param in model.parameters()}
    controller = {id(param) for param in gate_of(model).scorer.parameters()}
    for key, place in groups.items():
        assert place == ((len(how.steps) - 1, how.plan.lr) if key in controller else (0, ctx.profile.lr))


def test_on_rows_of_their_number_the_controller_has_the_authors_interval_and_rate(make_job: Callable[..., Job]) -> None:
    from methods.aefs import AUTHORS

    job = make_job("aefs")
    ctx = job.context(Clock(job.device))
    ctx.profile = replace(ctx.profile, batch_size=2048)
    plan = gate_plan(ctx, AUTHORS, 36_672_493)
    assert (plan.every, plan.lr) == (10, 1e-3)
