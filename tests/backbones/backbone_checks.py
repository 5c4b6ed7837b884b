"""What the tests of backbones share: random weights, random rows, and the comparison with a plain formulation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations, pairwise
from typing import Any

import torch
from torch import Tensor, nn

from backbones.layers import MLP, linears
from bench.engine.backbone import Backbone

KEPT = ([0], [5], [1, 4], [0, 2, 3, 5], list(range(6)))
"""Selections of six fields."""


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def mlp_count(n_inputs: int, hidden: Sequence[int] = (400, 400, 200)) -> int:
    return sum(i * h + h for i, h in pairwise((n_inputs, *hidden))) + hidden[-1] + 1


def randomise(module: nn.Module, seed: int = 0) -> None:
    """All parameters normal, biases too: a zero would hide an error."""
    generator = torch.Generator().manual_seed(seed)
    module.double().eval()
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64) / 2)


def draw(*shape: int, seed: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


def rows_of(backbone: Backbone[Any], n_rows: int = 11) -> tuple[Tensor, Tensor | None]:
    """Embeddings and linear weights as a model hands them over: columns of one table where it has both."""
    if not backbone.uses_linear:
        return draw(n_rows, backbone.n_fields, backbone.dim), None
    rows = draw(n_rows, backbone.n_fields, backbone.dim + 1)
    return rows[..., : backbone.dim], rows[..., backbone.dim]


def plain_mlp(mlp: MLP, x: Tensor) -> Tensor:
    """x [B, n] -> [B]."""
    *hidden, last = linears(mlp.layers)
    for layer in hidden:
        x = (x @ layer.weight.T + layer.bias).clamp_min(0)
    return x @ last.weight[0] + last.bias


def plain_pairs(e: Tensor) -> Tensor:
    """Inner products pair by pair: e [B, F, D] -> [B, P]."""
    pairs = [(e[:, i] * e[:, j]).sum(1) for i, j in combinations(range(e.shape[1]), 2)]
    return torch.stack(pairs, 1) if pairs else e.new_zeros(len(e), 0)


def assert_same(ours: Tensor, plain: Tensor, inputs: Sequence[Tensor]) -> None:
    """Values and gradients with respect to ``inputs`` agree to 1e-10."""
    torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-10)
    mine = torch.autograd.grad(ours.sin().sum(), inputs)
    theirs = torch.autograd.grad(plain.sin().sum(), inputs, allow_unused=True)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, torch.zeros_like(a) if b is None else b, rtol=1e-10, atol=1e-10)


def assert_equals_plain(backbone: Backbone[Any], plain: Callable[[Tensor, Tensor | None], Tensor]) -> None:
    e, linear = rows_of(backbone)
    inputs = [*backbone.parameters(), *([e] if e.numel() else []), *([] if linear is None else [linear])]
    assert_same(backbone(e, linear), plain(e, linear), inputs)


def assert_slices(backbone: Backbone[Any]) -> None:
    """Every selection of six fields equals the full backbone with the other fields zero, also cut in two steps."""
    e, linear = rows_of(backbone)
    for kept in KEPT:
        closed = torch.ones(6, dtype=torch.float64)
        closed[kept] = 0
        opened = 1 - closed
        expected = backbone(e * opened[:, None], None if linear is None else linear * opened)
        cut = None if linear is None else linear[:, kept]
        small = backbone.slice_fields(kept)
        torch.testing.assert_close(small(e[:, kept], cut), expected, rtol=0, atol=1e-10)
        between = sorted({*kept, 3, 5})
        again = backbone.slice_fields(between).slice_fields([between.index(field) for field in kept])
        assert torch.equal(again(e[:, kept], cut), small(e[:, kept], cut)), kept
        mine, theirs = small.state_dict(), again.state_dict()
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)
