"""Deep Lasso's penalty: its value, its gradient, and λ."""

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
from bench.engine.table import EmbeddingTable
from bench.profiles import SMALL
from bench.run.cell import run_cell
from bench.run.grid import choose_method
from bench.run.job import Job, resolve_backbone
from methods.deep_lasso import DeepLasso, PenalisedLoss, norms
from methods.parts.slopes import slopes

RowsOf = Callable[..., Rows]


def rows(rows_of: RowsOf, n: int = 12) -> Rows:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (n, 3))
    found = rows_of(codes, np.full(3, 4), rng.random(n) < 0.5)
    return found


def batch_of(rows: Rows) -> Batch:
    batch = next(rows.slices(len(rows)))
    return Batch(batch.ids, batch.numeric, batch.labels.double(), batch.pooled)


def model_of(rows: Rows, backbone: str) -> CTRModel:
    choice = resolve_backbone(backbone, SMALL)
    draw = torch.Generator().manual_seed(4)
    net = choice.cls(3, 4, choice.params).double()
    for param in net.parameters():
        param.data.copy_(torch.randn(param.shape, generator=draw) * 0.4)
    width = 4 + net.uses_linear
    weight = torch.randn(rows.schema.vocabulary_rows, width, generator=draw, dtype=torch.float64)
    return CTRModel(rows.schema, weight, net).eval()  # without dropout, which would differ from call to call


def test_slopes_are_rows_own_and_norms_their_root_mean_square(rows_of: RowsOf) -> None:
    """On a logistic model of two coordinates, ℓ' (w) = (p - y) w for every row."""
    rng = np.random.default_rng(1)
    e = torch.from_numpy(rng.normal(size=(5, 2, 2))).requires_grad_()
    w = torch.from_numpy(rng.normal(size=(2, 2)))
    labels = torch.tensor([0.0, 1, 1, 0, 1], dtype=torch.float64)

    class Straight(torch.nn.Module):
        def forward(self, e: Tensor, linear: Tensor | None) -> Tensor:
            return (e * w).sum((1, 2))

    class Fixed:
        backbone = Straight()
        arithmetic = model_of(rows(rows_of), "dnn[mlp=4]").arithmetic

        def embed(self, batch: Any) -> tuple[Tensor, None]:
            return e, None

    _, _, slope = slopes(Fixed(), Batch(torch.zeros(5, 2), None, labels))  # type: ignore[arg-type]
    miss = (e.detach() * w).sum((1, 2)).sigmoid() - labels
    torch.testing.assert_close(slope, miss[:, None, None] * w)
    torch.testing.assert_close(norms(slope), miss.square().mean().sqrt() * w.norm(dim=1))


@pytest.mark.parametrize("backbone", ["dnn[mlp=8-5]", "xdeepfm[mlp=8-5,cin=4-3]"])
def test_the_gradient_of_the_penalised_loss_is_that_of_finite_differences(rows_of: RowsOf, backbone: str) -> None:
    given_rows = rows(rows_of)
    model, batch = model_of(given_rows, backbone), batch_of(given_rows)
    loss = PenalisedLoss(torch.tensor(0.7, dtype=torch.float64))
    loss(model, batch).backward()  # type: ignore[no-untyped-call]
    draw = torch.Generator().manual_seed(5)
    for param in model.parameters():
        way = torch.randn(param.shape, generator=draw, dtype=torch.float64)
        at, sides = param.detach().clone(), []
        for h in (1e-6, -1e-6):
            param.data.copy_(at + h * way)
            sides.append(loss(model, batch).item())
        param.data.copy_(at)
        given = 0.0 if param.grad is None else float((param.grad * way).sum())
        assert given == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-5, abs=1e-8)
    assert isinstance(model.table, EmbeddingTable)
    plain = F.binary_cross_entropy_with_logits(model(batch), batch.labels)
    _, _, slope = slopes(model, batch)
    assert loss(model, batch).item() == pytest.approx(plain.item() + 0.7 * norms(slope).sum().item())


def test_the_weight_makes_the_penalty_a_share_of_the_loss_before_the_first_step(make_job: Callable[..., Job]) -> None:
    notes = {text: run_cell(make_job(f"deep-lasso[strength={text}]", epochs=1)).notes for text in ("0.1", "5")}
    for text, told in notes.items():
        assert told["lambda"] * told["penalty_start"] == pytest.approx(float(text) * told["loss_start"], rel=1e-5)
    assert notes["0.1"]["loss_start"] == notes["5"]["loss_start"]  # the same batch of the same model


def test_scores_leave_the_model_as_it_was_and_follow_what_fields_do(make_job: Callable[..., Job]) -> None:
    job = make_job("deep-lasso", backbone="dnn[mlp=8]")
    ctx = job.context(Clock(job.device))
    model, held = ctx.model().train(), job.data.train.take(torch.arange(64))
    first = model.backbone.get_submodule("mlp.layers.0")
    dim = model.dim
    with torch.no_grad():
        first.weight[:, dim : 2 * dim] = 0  # type: ignore[operator]
    choice = choose_method("deep-lasso")
    for by in ("slope", "standardised"):
        scores = DeepLasso(choice.params, choice.entry)._scores(model, held, 32, by)
        spread = torch.cat([model.embed(batch)[0].detach() for batch in model.view(held).slices(32)]).std(0).norm(dim=1)
        silent = (spread == 0).numpy() if by == "standardised" else np.zeros(len(scores), dtype=bool)  # one value alone
        silent[1] = True
        assert scores[silent] == pytest.approx(1e-6)  # nothing but what stands under the root
        assert (scores[~silent] > 2e-6).all()
    assert model.training
    assert all(param.requires_grad and param.grad is None for param in model.parameters())


@pytest.mark.parametrize(
    ("backbone", "why"), [("fm", "gradients of embeddings start near zero"), ("logistic", "linear weights only")]
)
def test_a_backbone_whose_slopes_have_no_scale_is_skipped(
    make_job: Callable[..., Job], backbone: str, why: str
) -> None:
    record = run_cell(make_job("deep-lasso", backbone=backbone))
    assert record.status == "skipped"
    assert why in str(record.reason)
