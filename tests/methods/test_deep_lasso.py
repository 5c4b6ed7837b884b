"""Deep Lasso's penalty: its value, its gradient, and what it does to a search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.api import Batch, CTRModel, Rows
from bench.data.prepare.prepare import prepare
from bench.data.store.store import store_folder
from bench.datasets import resolve_dataset
from bench.engine.clock import Clock
from bench.engine.table import EmbeddingTable
from bench.params import searched
from bench.profiles import SMALL
from bench.rows.load import load
from bench.run.cell import run_cell, run_selection
from bench.run.grid import Cell, choose_method
from bench.run.job import Job, resolve_backbone
from methods.deep_lasso import STRENGTH, DeepLassoParams, PenalisedLoss, fields_norms, norms
from methods.parts.slopes import Slopes, slopes

RowsOf = Callable[..., Rows]
PLANTED = "planted[rows=8000,fields=16,main=4,interaction=0,redundant=0,seed=5]"


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


class Fixed:
    """A logistic model of given embeddings and linear weights: logit = Σ w · e + Σ linear."""

    def __init__(self, model: CTRModel, e: Tensor, w: Tensor, linear: Tensor | None) -> None:
        self.arithmetic, self.e, self.linear = model.arithmetic, e, linear

        class Straight(torch.nn.Module):
            def forward(self, e: Tensor, linear: Tensor | None) -> Tensor:
                return (e * w).sum((1, 2)) + (0 if linear is None else linear.sum(1))

        self.backbone = Straight()

    def embed(self, batch: Any) -> tuple[Tensor, Tensor | None]:
        return self.e, self.linear


def straight(rows_of: RowsOf) -> tuple[Slopes, Tensor, Tensor]:
    """Slopes of five rows of two fields, w, and how far the model misses each label."""
    rng = np.random.default_rng(1)
    e, w = torch.from_numpy(rng.normal(size=(5, 2, 2))), torch.from_numpy(rng.normal(size=(2, 2)))
    linear = torch.from_numpy(rng.normal(size=(5, 2)))
    labels = torch.tensor([0.0, 1, 1, 0, 1], dtype=torch.float64)
    model = Fixed(model_of(rows(rows_of), "dnn[mlp=4]"), e, w, linear)
    miss = ((e * w).sum((1, 2)) + linear.sum(1)).sigmoid() - labels
    found = slopes(model, Batch(torch.zeros(5, 2), None, labels))  # type: ignore[arg-type]
    return found, w, miss


def test_slopes_are_rows_own(rows_of: RowsOf) -> None:
    """On a logistic model (p - y) w in an embedding and p - y in a linear weight, for every row."""
    found, w, miss = straight(rows_of)
    assert found.of_linear is not None
    torch.testing.assert_close(found.of_e, miss[:, None, None] * w)
    torch.testing.assert_close(found.of_linear, miss[:, None].expand(5, 2))


def test_norms_are_root_mean_squares_at_unit_spread_of_embedding_and_linear_weight(rows_of: RowsOf) -> None:
    found, w, miss = straight(rows_of)
    assert found.linear is not None
    size = miss.square().mean()
    torch.testing.assert_close(norms(found, "raw"), (size * w.square().sum(1)).sqrt())
    e, linear = found.e.detach().numpy(), found.linear.detach().numpy()
    whole = (w.numpy() ** 2 * e.std(0) ** 2).sum(1) + linear.std(0) ** 2
    torch.testing.assert_close(norms(found, "standardised"), (size * torch.from_numpy(whole)).sqrt())


def test_norms_at_unit_spread_do_not_depend_on_how_long_embeddings_are(rows_of: RowsOf) -> None:
    """Embeddings of one field four times as long, read by weights a quarter as large: the same model."""
    given_rows = rows(rows_of)
    model, batch = model_of(given_rows, "dnn[mlp=8-5]"), batch_of(given_rows)
    before = {by: norms(slopes(model, batch), by) for by in ("standardised", "raw")}
    first, (start, end) = model.backbone.get_submodule("mlp.layers.0"), given_rows.schema.offsets[1:3]
    assert isinstance(first, torch.nn.Linear)
    with torch.no_grad():
        model.table.weight[int(start) : int(end)] *= 4
        first.weight[:, 4:8] /= 4
    after = {by: norms(slopes(model, batch), by) for by in ("standardised", "raw")}
    torch.testing.assert_close(after["standardised"], before["standardised"])
    torch.testing.assert_close(after["raw"], before["raw"] / torch.tensor([1.0, 4, 1], dtype=torch.float64))


def test_spreads_of_embeddings_are_fixed_and_those_of_linear_weights_are_weights(rows_of: RowsOf) -> None:
    """With slopes held, no gradient reaches e, and that of a linear weight is n's in τ."""
    found, _, miss = straight(rows_of)
    assert found.linear is not None
    norm = norms(found, "standardised")
    given: tuple[Tensor | None, ...] = torch.autograd.grad(norm.sum(), [found.e, found.linear], allow_unused=True)
    assert given[0] is None
    linear = found.linear.detach()
    wanted = miss.square().mean() * (linear - linear.mean(0)) / len(linear) / norm.detach()  # d τ² / dw = 2 (w - w̄) / B
    torch.testing.assert_close(given[1], wanted)


@pytest.mark.parametrize("coordinates", ["standardised", "raw"])
@pytest.mark.parametrize("backbone", ["dnn[mlp=8-5]", "xdeepfm[mlp=8-5,cin=4-3]"])
def test_the_gradient_of_the_penalised_loss_is_that_of_finite_differences(
    rows_of: RowsOf, backbone: str, coordinates: Literal["standardised", "raw"]
) -> None:
    """With the spreads of the embeddings held where they were."""
    given_rows = rows(rows_of)
    model, batch = model_of(given_rows, backbone), batch_of(given_rows)
    spread = model.embed(batch)[0].detach().var(0, correction=0)
    PenalisedLoss(0.7, coordinates)(model, batch).backward()  # type: ignore[no-untyped-call]

    def value() -> float:
        found = slopes(model, batch)
        squares = found.of_e.square()
        by_field = (squares if coordinates == "raw" else squares * spread).sum((0, 2)) / len(batch)
        if coordinates == "standardised" and found.linear is not None and found.of_linear is not None:
            by_field = by_field + found.of_linear.square().mean(0) * found.linear.detach().var(0, correction=0)
        plain = F.binary_cross_entropy_with_logits(model(batch), batch.labels)
        return plain.item() + 0.7 * by_field.sqrt().sum().item()

    draw = torch.Generator().manual_seed(5)
    for param in model.parameters():
        way = torch.randn(param.shape, generator=draw, dtype=torch.float64)
        at, sides = param.detach().clone(), []
        for h in (1e-6, -1e-6):
            param.data.copy_(at + h * way)
            sides.append(value())
        param.data.copy_(at)
        given = 0.0 if param.grad is None else float((param.grad * way).sum())
        assert given == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-5, abs=1e-8)
    assert isinstance(model.table, EmbeddingTable)
    assert PenalisedLoss(0.7, coordinates)(model, batch).item() == pytest.approx(value(), rel=1e-9)


@pytest.mark.parametrize(("given", "weight"), [("", STRENGTH["standardised"]), ("[coordinates=raw]", STRENGTH["raw"])])
def test_the_strength_follows_the_coordinates_unless_it_is_given(
    make_job: Callable[..., Job], given: str, weight: float
) -> None:
    told = run_cell(make_job(f"deep-lasso{given}", epochs=1)).notes
    assert told["lambda"] == weight
    own = f"deep-lasso[strength=7{',' + given[1:-1] if given else ''}]"
    flat = run_cell(make_job(own, epochs=1)).notes
    assert flat["lambda"] == 7
    assert flat["penalty_end"] < told["penalty_end"]


def test_scores_leave_the_model_as_it_was_and_follow_what_fields_do(make_job: Callable[..., Job]) -> None:
    job = make_job("deep-lasso", backbone="dnn[mlp=8]")
    ctx = job.context(Clock(job.device))
    model, held = ctx.model().train(), job.data.train.take(torch.arange(64))
    first = model.backbone.get_submodule("mlp.layers.0")
    dim = model.dim
    with torch.no_grad():
        first.weight[:, dim : 2 * dim] = 0  # type: ignore[operator]
    for by in ("raw", "standardised"):
        scores = fields_norms(model, held, 32, by)
        spread = torch.cat([model.embed(batch)[0].detach() for batch in model.view(held).slices(32)]).std(0).norm(dim=1)
        silent = (spread == 0).numpy() if by == "standardised" else np.zeros(len(scores), dtype=bool)  # one value alone
        silent[1] = True
        assert scores[silent] == pytest.approx(1e-6)  # nothing but what stands under the root
        assert (scores[~silent] > 2e-6).all()
    assert model.training
    assert all(param.requires_grad and param.grad is None for param in model.parameters())


@pytest.mark.parametrize("backbone", ["fm", "logistic"])
@pytest.mark.parametrize("coordinates", ["standardised", "raw"])
def test_a_backbone_without_a_tower_runs_too(make_job: Callable[..., Job], backbone: str, coordinates: str) -> None:
    """There linear weights have spreads; without embeddings no raw slope says anything."""
    record = run_cell(make_job(f"deep-lasso[coordinates={coordinates}]", backbone=backbone, epochs=1))
    assert record.status == ("skipped" if (backbone, coordinates) == ("logistic", "raw") else "ok"), record.reason


def test_a_search_finds_the_fields_that_too_strong_a_penalty_on_raw_slopes_hides(tmp_path: Path) -> None:
    card = resolve_dataset(PLANTED)
    prepare(card, None, store_folder(tmp_path, card))
    data, profile = load(store_folder(tmp_path, card), card), replace(SMALL, mlp=(32,), max_epochs=10)
    net, true = (
        resolve_backbone("dnn", profile),
        [(data.roles or {})[name] == "main" for name in data.train.schema.names],
    )

    def found(method: str) -> int:
        choice = choose_method(method)
        cell = Cell(data.label, net.label, choice.label, 0.75, 0)
        scores = run_selection(Job(cell, data, choice, net, profile, torch.device("cpu"), warmed={net.label}))["scores"]
        return sum(true[f] for f in np.argsort(-scores)[:4])

    assert found("deep-lasso") == 4
    assert found("deep-lasso[coordinates=raw,strength=0.05]") < 4


def test_the_searched_interval_is_that_of_standardised_coordinates() -> None:
    space = searched(DeepLassoParams())["strength"]
    assert STRENGTH["standardised"] in space and STRENGTH["raw"] not in space
    assert searched(DeepLassoParams(coordinates="raw")) == {}
