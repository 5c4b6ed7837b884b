from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from bench.api import Batch, CTRModel, Field, FitPlan, Group, Rows, Schema, Selection, Step
from bench.engine.clock import Clock
from bench.engine.evaluate import predict
from bench.engine.update import Updates
from bench.run.context import CellContext
from bench.run.job import Job
from methods.parts.value_gates import (
    AnnealedGate,
    ValueMask,
    ValueSizeMask,
    field_means,
    field_of_values,
    frequencies,
    kept_columns,
    open_scale,
    train_masked,
)

MakeJob = Callable[..., Job]

WITH_LINEAR = "deepfm[mlp=8]"


def context(job: Job) -> CellContext[Any]:
    return job.context(Clock(job.device))


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def annealed(g: list[float], t: float, init: float = 0.5) -> AnnealedGate:
    gate = AnnealedGate(len(g), init).double()
    with torch.no_grad():
        gate.logits.weight.copy_(torch.tensor(g, dtype=torch.float64)[:, None])
        gate.temperature.fill_(t)
    return gate


def test_a_new_gate_lets_everything_pass_unchanged() -> None:
    gate = AnnealedGate(5, 0.5)
    z = gate(torch.zeros(2, 3, 4), torch.tensor([[0, 1, 2], [4, 3, 0]], dtype=torch.int32))
    torch.testing.assert_close(z, torch.ones(2, 3))
    assert open_scale(0.5) == pytest.approx(1 / sigma(0.5))


@pytest.mark.parametrize("t", [1.0, 7.3, 200.0])
def test_values_and_slopes_of_the_gate_at_a_temperature(t: float) -> None:
    g, scale = [0.5, -0.2, 0.03, 0.0], 1 / sigma(0.5)
    gate = annealed(g, t)
    ids = torch.tensor([[0, 2], [1, 2]], dtype=torch.int32)  # value 2 twice, value 3 never
    z = gate(torch.zeros(2, 2, 3, dtype=torch.float64), ids)
    expected = [[sigma(t * g[v]) * scale for v in row] for row in ids.tolist()]
    np.testing.assert_allclose(z.detach().numpy(), expected, rtol=1e-12)
    weights = torch.tensor([[1.0, 2.0], [3.0, 5.0]], dtype=torch.float64)
    (z * weights).sum().backward()
    slopes = [t * sigma(t * x) * sigma(-t * x) * scale for x in g]
    counted = [1.0, 3.0, 7.0, 0.0]
    assert gate.logits.weight.grad is not None
    found = gate.logits.weight.grad.squeeze(1).numpy()
    np.testing.assert_allclose(found, np.multiply(slopes, counted), rtol=1e-10)


def test_the_penalty_reaches_every_value_beside_the_gradient_of_the_batch() -> None:
    g, t, price, scale = [0.5, -0.2, 0.03, 0.0], 3.0, 0.7, 1 / sigma(0.5)
    gate = annealed(g, t)
    assert gate.open_sum().item() == pytest.approx(sum(sigma(t * x) for x in g))
    ids = torch.tensor([[1, 2]], dtype=torch.int32)
    for _ in range(2):  # the second time over a buffer that is there already
        z = gate(torch.zeros(1, 2, 1, dtype=torch.float64), ids)
        (z.sum() + price * gate.open_sum()).backward()
        slopes = np.array([t * sigma(t * x) * sigma(-t * x) for x in g])
        assert gate.logits.weight.grad is not None
        found = gate.logits.weight.grad.squeeze(1).numpy()
        np.testing.assert_allclose(found, slopes * (price + scale * np.array([0, 1, 1, 0])), rtol=1e-10)
        gate.logits.clear_grad()
        assert gate.logits.weight.grad.count_nonzero() == 0


def test_nothing_of_the_penalty_is_left_for_the_next_step(make_job: MakeJob) -> None:
    """Gates of absent values follow the penalty alone: plain gradient descent, simulated by hand."""
    job = make_job("no-selection")
    model, rows = context(job).model(), job.data.train
    gate = AnnealedGate(job.data.schema.vocabulary_rows, 0.5)
    model.gate = gate
    price, rate, t = 0.3, 0.5, 2.0
    gate.temperature.fill_(t)

    def loss(model: CTRModel, batch: Batch) -> torch.Tensor:
        return model(batch).mean() + price * gate.open_sum()

    step = Step([Group([gate.logits.weight], rate)], loss, optimizer="sgd")
    updates = Updates(model, [step], FitPlan(epochs=1, batch_size=8))
    seen = torch.zeros(len(gate.logits.weight), dtype=torch.bool)
    expected = 0.5
    for number in range(4):
        batch = rows.batch(torch.arange(number * 8, number * 8 + 8))
        seen[batch.ids.reshape(-1).long()] = True
        updates.run(0, batch, number)
        expected -= rate * price * t * sigma(t * expected) * sigma(-t * expected)
    absent = gate.logits.weight.detach()[~seen]
    assert 0 < len(absent) < len(seen)
    torch.testing.assert_close(absent, torch.full_like(absent, expected))
    updates.finish()


def masks(job: Job) -> tuple[torch.Tensor, torch.Tensor]:
    schema = job.data.schema
    draw = torch.Generator().manual_seed(3)
    factors = (torch.rand(schema.vocabulary_rows, generator=draw) < 0.6).float() * 1.6
    return factors, torch.randint(1, 9, (schema.n_fields,), generator=draw)


@pytest.mark.parametrize("backbone", ["dnn[mlp=8]", WITH_LINEAR])
@pytest.mark.parametrize("sized", [False, True])
def test_a_folded_model_equals_the_gated_one(make_job: MakeJob, backbone: str, sized: bool) -> None:
    job = make_job("no-selection", backbone=backbone)
    model = context(job).model()
    factors, sizes = masks(job)
    model.gate = ValueSizeMask(factors, sizes, model.dim) if sized else ValueMask(factors)
    gated = predict(model, job.data.test)
    folded = model.fold(factors, sizes if sized else None)
    assert folded.gate is None
    assert torch.equal(predict(folded, job.data.test), gated)
    model.gate = None
    assert not torch.allclose(predict(model, job.data.test), gated)


def test_the_factors_of_the_fixed_masks() -> None:
    factors, ids = torch.tensor([0.0, 2.0, 1.0]), torch.tensor([[0, 1], [2, 1]], dtype=torch.int32)
    e = torch.zeros(2, 2, 3)
    assert ValueMask(factors)(e, ids).tolist() == [[0, 2], [1, 2]]
    sized = ValueSizeMask(factors, torch.tensor([1, 3]), 3)(e, ids)
    assert sized.tolist() == [[[0, 0, 0], [2, 2, 2]], [[1, 0, 0], [2, 2, 2]]]


@pytest.mark.parametrize("sized", [False, True])
def test_training_under_a_mask_ends_in_a_table_that_is_zero_outside(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, sized: bool
) -> None:
    job = make_job("no-selection", backbone=WITH_LINEAR)
    ctx = context(job)
    factors, sizes = masks(job)
    mask = factors > 0
    selection = Selection(value_mask=mask, dims=sizes if sized else None)
    gated: list[CTRModel] = []
    original = CellContext.fit

    def fit(ctx: Any, model: CTRModel, *rest: Any, **plan: Any) -> Any:
        gated.append(model)
        return original(ctx, model, *rest, **plan)

    monkeypatch.setattr(CellContext, "fit", fit)
    trained = train_masked(ctx, job.data.train, job.data.valid, selection, 1.6)
    table, raw = trained.model.table.weight.detach(), gated[0].table.weight.detach()
    inside = mask[:, None].expand_as(table).clone()
    if sized:
        limit = sizes[field_of_values(job.data.schema, mask.device)]
        inside[:, :8] &= torch.arange(8) < limit[:, None]
    assert torch.equal(table[~inside], torch.zeros(int((~inside).sum())))
    assert torch.equal(table[inside], raw[inside] * 1.6)
    assert torch.equal(predict(trained.model, job.data.valid), predict(gated[0], job.data.valid))
    assert trained.model.gate is None
    assert trained.log is not None
    assert trained.log.epochs > 0


SCHEMA = Schema((Field("a", "categorical", 3), Field("b", "categorical", 4)))
IDS = torch.tensor([[0, 3], [2, 3], [2, 6], [2, 5]], dtype=torch.int32)
ROWS = Rows(SCHEMA, IDS, None, torch.tensor([0.0, 1, 0, 1]), torch.arange(4))


def test_frequencies_and_field_means_by_hand() -> None:
    counts = frequencies(ROWS)
    assert counts.tolist() == [1, 0, 3, 2, 0, 1, 1]
    assert field_of_values(SCHEMA, counts.device).tolist() == [0, 0, 0, 1, 1, 1, 1]
    values = torch.tensor([1.0, 9.0, 0.0, 0.5, 9.0, 1.0, 0.0])
    assert field_means(SCHEMA, values, counts).tolist() == [1 / 4, (2 * 0.5 + 1) / 4]


@pytest.mark.parametrize(("backbone", "linear"), [("dnn[mlp=8]", 0), (WITH_LINEAR, 1)])
def test_what_is_kept_is_counted(make_job: MakeJob, backbone: str, linear: int) -> None:
    job = make_job("no-selection", backbone=backbone)
    model, schema = context(job).model(), job.data.schema
    v, dim = schema.vocabulary_rows, 8
    mask = torch.zeros(v, dtype=torch.bool)
    mask[[0, 1, int(schema.offsets[2])]] = True  # two values of field 0, one of field 2
    plain = kept_columns(model, Selection(value_mask=mask))
    assert plain["kept_values"] == 3
    assert plain["kept_value_share"] == 3 / v
    assert (plain["kept_scalars"], plain["kept_scalar_share"]) == (3 * dim, 3 / v)
    assert plain["kept_field_share"] == 2 / 8
    assert plain["kept_bytes"] == 4 * 3 * (dim + linear) + math.ceil(v / 8)
    sizes = torch.tensor([5, 8, 1, 8, 8, 8, 8, 8])
    sized = kept_columns(model, Selection(value_mask=mask, dims=sizes))
    assert sized["kept_scalars"] == 2 * 5 + 1
    assert sized["kept_bytes"] == 4 * (11 + 3 * linear) + math.ceil(v / 8)
    assert kept_columns(model, Selection()) == {}
