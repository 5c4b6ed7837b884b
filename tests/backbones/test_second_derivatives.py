"""A penalty on gradients of embeddings: every backbone's backward pass can itself be differentiated."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones import products
from bench.api import Backbone, linear
from bench.engine.backbone import draw_layers
from bench.engine.fast.linear import full_precision
from bench.profiles import SMALL
from bench.run.job import resolve_backbone

NAMES = [
    "dnn",
    "xdeepfm",
    "xdeepfm[activation=relu,split=false,cin=6-5-4]",
    "deepfm",
    "wide-deep",
    "pnn[product=both]",
    "dcnv2[rank=3]",
    "fm",
]
B, D = 7, 4


def build(name: str, n_fields: int) -> Backbone[Any]:
    choice = resolve_backbone(name, SMALL)
    net = choice.cls(n_fields, D, choice.params).double().eval()  # nothing is dropped out
    draw_layers(net, test="second derivatives")
    for param in net.parameters():
        param.data.mul_(0.5).add_(0.03)  # no bias of zero: relu has no slope there
    return net


def loss_and_slopes(net: nn.Module, e: Tensor, weights: Tensor | None) -> Tensor:
    """Log loss plus the norms, over rows and coordinates, of its gradient in each field's embeddings."""
    labels = (torch.arange(len(e)) % 2).to(e.dtype)
    loss = F.binary_cross_entropy_with_logits(net(e, weights), labels)
    (slope,) = torch.autograd.grad(loss, e, create_graph=True)
    return loss + slope.square().sum((0, 2)).sqrt().sum()


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_no_rows_have_slopes_of_zero_in_all_weights(name: str, twice: bool) -> None:
    """Of a batch with fewer rows than workers of the cell, some workers have none: their part of the sums is zero."""
    net = build(name, 5)
    e = torch.zeros(0, 5, D, dtype=torch.float64, requires_grad=True)
    weights = torch.zeros(0, 5, dtype=torch.float64) if net.uses_linear else None
    total = net(e, weights).sum()
    if twice:
        (slope,) = torch.autograd.grad(total, e, create_graph=True)
        total = total + slope.square().sum()
    total.backward()
    assert e.grad is not None and e.grad.shape == e.shape
    for param in net.parameters():
        assert param.grad is not None and torch.equal(param.grad, torch.zeros_like(param))


@pytest.mark.parametrize("n_fields", [5, 6])
@pytest.mark.parametrize("name", NAMES)
def test_gradient_of_a_penalty_on_slopes_is_that_of_finite_differences(name: str, n_fields: int) -> None:
    draw = torch.Generator().manual_seed(1)
    net = build(name, n_fields)
    e = torch.randn(B, n_fields, D, generator=draw, dtype=torch.float64).requires_grad_()
    weights = torch.randn(B, n_fields, generator=draw, dtype=torch.float64) if net.uses_linear else None
    loss_and_slopes(net, e, weights).backward()  # type: ignore[no-untyped-call]
    for param in [e, *net.parameters()]:
        way = torch.randn(param.shape, generator=draw, dtype=torch.float64)
        at = param.detach().clone()
        sides = []
        for h in (1e-6, -1e-6):
            param.data.copy_(at + h * way)
            sides.append(float(loss_and_slopes(net, e, weights).detach()))
        param.data.copy_(at)
        given = 0.0 if param.grad is None else float((param.grad * way).sum())
        assert given == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-4, abs=1e-7)


@pytest.mark.skipif(not full_precision(), reason="torch's own layers are used without oneDNN's exact products")
def test_fast_layers_give_torchs_second_derivatives_where_the_output_is_spent() -> None:
    draw = torch.Generator().manual_seed(2)
    first, last = nn.Linear(20, 30), nn.Linear(30, 1)
    x = torch.randn(80, 20, generator=draw).requires_grad_()  # rows enough for the fast form
    grads = []
    for fast in (True, False):
        h = linear(first, x, relu=True, spent=True) if fast else F.linear(x, first.weight, first.bias).relu()
        y = last(h).squeeze(1).square()
        (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        grads.append(torch.autograd.grad(y.sum() + slope.square().sum(), [x, *first.parameters(), *last.parameters()]))
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_first_pass_for_embeddings_makes_no_gradients_of_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    made = products._differentiable

    def watched(*args: object) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        asked.append(made(*args))  # type: ignore[arg-type]
        return asked[-1]

    monkeypatch.setattr(products, "_differentiable", watched)
    net, e = build("xdeepfm", 5), torch.ones(B, 5, D, dtype=torch.float64, requires_grad=True)
    torch.autograd.grad(net(e, e.sum(2)).sum(), e, create_graph=True)
    assert [of_weight for _, _, of_weight in asked] == [None]
    (plain,) = [grads[1] for grads in asked]
    assert plain is not None
