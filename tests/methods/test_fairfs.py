"""FairFS's penalty and its scores, by hand and against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.api import Batch, CTRModel, Rows
from bench.engine.clock import Clock
from bench.profiles import SMALL
from bench.run.cell import run_cell
from bench.run.job import Job, resolve_backbone
from methods import fairfs
from methods.fairfs import FairFS, attributions, from_baseline, row_effect
from methods.parts.slopes import evaluating

RowsOf = Callable[..., Rows]
N, FIELDS, D = 12, 3, 4


@pytest.fixture
def rows(rows_of: RowsOf) -> Rows:
    rng = np.random.default_rng(0)
    made = rows_of(rng.integers(0, 4, (N, FIELDS)), np.full(FIELDS, 4), rng.random(N) < 0.5)
    return made


def batch_of(rows: Rows) -> Batch:
    batch = next(rows.slices(len(rows)))
    return Batch(batch.ids, batch.numeric, batch.labels.double(), batch.pooled)


def model_of(rows: Rows, backbone: str) -> CTRModel:
    choice = resolve_backbone(backbone, SMALL)
    draw = torch.Generator().manual_seed(4)
    net = choice.cls(FIELDS, D, choice.params).double()
    for param in net.parameters():
        param.data.copy_(torch.randn(param.shape, generator=draw) * 0.15)
    weight = torch.randn(rows.schema.vocabulary_rows, D + net.uses_linear, generator=draw, dtype=torch.float64)
    return CTRModel(rows.schema, weight, net).eval()  # without dropout, which would differ from call to call


def losses(model: CTRModel, e: Tensor, linear: Tensor | None, labels: Tensor) -> Tensor:
    with torch.no_grad():
        return F.binary_cross_entropy_with_logits(model.backbone(e, linear), labels, reduction="none")


def test_the_baseline_is_the_mean_over_a_row_s_fields() -> None:
    e = torch.tensor([[[1.0, 2.0], [3.0, 6.0]], [[0.0, 0.0], [4.0, -2.0]]])
    wanted = [[[-1.0, -2.0], [1.0, 2.0]], [[-2.0, 1.0], [2.0, -1.0]]]
    assert from_baseline(e).tolist() == wanted


@pytest.mark.parametrize("backbone", ["dnn", "xdeepfm"])
def test_a_row_s_effect_is_the_slope_of_its_loss_along_the_way_to_the_baseline(rows: Rows, backbone: str) -> None:
    """ℓ_i at e + t (e - ē) changes with t by s_i."""
    model, batch, t = model_of(rows, backbone), batch_of(rows), 1e-6
    e, linear = model.embed(batch)
    e, linear = e.detach(), None if linear is None else linear.detach()
    far, near = (losses(model, e + sign * t * from_baseline(e), linear, batch.labels) for sign in (1, -1))
    s = (far - near) / (2 * t)
    loss, size = row_effect(model, batch)
    np.testing.assert_allclose(size.item(), s.square().mean().sqrt().item(), rtol=1e-6)
    np.testing.assert_allclose(loss.item(), losses(model, e, linear, batch.labels).mean().item(), rtol=1e-12)


@pytest.mark.parametrize("backbone", ["dnn", "xdeepfm"])
def test_the_penalty_s_gradient_is_that_of_finite_differences(rows: Rows, backbone: str) -> None:
    model, batch = model_of(rows, backbone), batch_of(rows)
    torch.autograd.backward([row_effect(model, batch)[1]])  # the table's gradient comes by its own way
    assert model.table.weight.grad is not None
    for param in model.parameters():
        if param.grad is None:  # of a bias behind the last sum
            continue
        place, flat, values = int(param.grad.abs().argmax()), param.data.view(-1), []
        for step in (1e-6, -1e-6):
            before = flat[place].item()
            flat[place] += step
            values.append(row_effect(model, batch)[1].item())
            flat[place] = before
        slope = (values[0] - values[1]) / 2e-6
        np.testing.assert_allclose(param.grad.flatten()[place].item(), slope, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("backbone", ["dnn", "xdeepfm"])
def test_parts_of_all_fields_add_up_to_what_the_row_s_values_change(rows: Rows, backbone: str) -> None:
    """Slopes at many anchors, those at both ends counted half, come to the integral from the baseline to the row."""
    model, batch, n = model_of(rows, backbone), batch_of(rows), 200
    with evaluating(model):
        a = (attributions(model, batch, n) * (n + 1) - attributions(model, batch, 1)) / n
        e, linear = model.embed(batch)
        whole = losses(model, e, linear, batch.labels) - losses(model, e - from_baseline(e), linear, batch.labels)
    assert a.shape == (N, FIELDS)
    np.testing.assert_allclose(a.sum(1), whole, atol=0.02)  # slopes jump where a unit switches
    assert whole.abs().max() > 1
    assert all(param.requires_grad for param in model.parameters())


def test_with_one_anchor_a_part_is_the_mean_of_the_slopes_at_both_ends(rows: Rows) -> None:
    model, batch, step = model_of(rows, "dnn"), batch_of(rows), 1e-6
    with evaluating(model):
        a = attributions(model, batch, 1)
        e, linear = model.embed(batch)
    for f in range(FIELDS):
        move = torch.zeros_like(e)
        move[:, f] = from_baseline(e)[:, f]
        ends = []
        for end in (e, e - from_baseline(e)):
            far, near = (losses(model, end + sign * step * move, linear, batch.labels) for sign in (1, -1))
            ends.append((far - near) / (2 * step))
        np.testing.assert_allclose(a[:, f], (ends[0] + ends[1]) / 2, atol=1e-7)


def test_scores_are_sizes_of_means_over_batches(
    rows: Rows, make_job: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fairfs, "SCORE_BATCH", 8)
    choice = make_job("fairfs").method
    model, method = model_of(rows, "dnn").float(), FairFS(choice.params, choice.entry)
    with evaluating(model):
        parts = [attributions(model, batch, method.params.anchors) for batch in rows.slices(8)]
    assert [len(part) for part in parts] == [8, 4]
    wanted = (8 * parts[0].mean(0).abs() + 4 * parts[1].mean(0).abs()) / 12
    np.testing.assert_allclose(method._scores(model, rows), wanted, rtol=1e-5)


def test_without_the_penalty_the_search_is_a_plain_training(make_job: Callable[..., Job]) -> None:
    job = make_job("fairfs[penalty=0]")
    ctx = job.context(Clock(job.device))
    train, held = job.data.train, job.data.valid
    plain = ctx.model()
    ctx.fit(plain, train, held, name="search")
    seen = []
    fit = ctx.fit
    ctx.fit = lambda model, *args, **plan: (seen.append(model), fit(model, *args, **plan))[1]
    FairFS(job.method.params, job.method.entry).select(ctx, train, held)
    for one, other in zip(plain.state_dict().values(), seen[0].state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_a_cell_is_skipped_where_there_are_no_embeddings(make_job: Callable[..., Job]) -> None:
    record = run_cell(make_job("fairfs", backbone="logistic"))
    assert record.status == "skipped" and "linear weights only" in (record.reason or "")
