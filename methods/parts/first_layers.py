"""Layers of a backbone that read embeddings as they are: weights with a block of columns for every field."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bench.api import Backbone

__all__ = ["field_norms", "first_layers"]

SAME = 1e-4
"""Relative deviation of a layer's input from the embeddings, in float32."""
PROBES = 16
"""Rows looked at, each by itself: a row may leave all units of a small network at zero."""


def first_layers(backbone: Backbone[Any]) -> list[nn.Linear]:
    """Linear layers whose first F · D inputs are the flattened embeddings, in order; other inputs may follow.

    Found by what they learn from one row: the gradient of such a layer's weights is δ xᵀ, with x its input. They must
    read every row so that has a gradient, and one of ``PROBES`` must.
    """
    probe = copy.deepcopy(backbone).eval()
    width = probe.n_fields * probe.dim
    named = [(name, layer) for name, layer in probe.named_modules() if isinstance(layer, nn.Linear)]
    named = [(name, layer) for name, layer in named if layer.in_features >= width > 0]
    if not named:
        return []
    draw = torch.Generator().manual_seed(0)
    device = named[0][1].weight.device
    rows = torch.randn(PROBES, 1, probe.n_fields, probe.dim, generator=draw).to(device)
    seen = [_learned(probe, [layer for _, layer in named], e) for e in rows]
    found = [name for (name, _), grads in zip(named, zip(*seen, strict=True), strict=True) if _reads(grads, rows)]
    return [layer for layer in map(backbone.get_submodule, found) if isinstance(layer, nn.Linear)]


def _learned(probe: Backbone[Any], layers: Sequence[nn.Linear], e: Tensor) -> Sequence[Tensor | None]:
    """Gradients of the layers' weights from one row e [1, F, D]."""
    logit = probe.forward(e, e.new_zeros(e.shape[:2])).sum()
    return torch.autograd.grad(logit, [layer.weight for layer in layers], allow_unused=True)


def _reads(grads: Sequence[Tensor | None], rows: Tensor) -> bool:
    """Whether a weight's gradients are multiples of the embeddings that gave them, [1, F, D] each, and not all zero."""
    shown = [_along(grad, e) for grad, e in zip(grads, rows, strict=True) if grad is not None and bool(grad.any())]
    return bool(shown) and all(shown)


def _along(grad: Tensor, e: Tensor) -> bool:
    x = e.flatten()
    part = grad[:, : len(x)]
    along = torch.outer(part @ x / x.square().sum(), x)
    size = float(along.norm())
    return size > 0 and float((part - along).norm()) < SAME * size


def field_norms(layers: list[nn.Linear], n_fields: int, dim: int) -> Tensor:
    """Norm of the weights that read a field, over all ``layers``, [F]."""
    squares = [blocks(layer, n_fields, dim).square().sum((0, 2)) for layer in layers]
    return torch.stack(squares).sum(0).sqrt()


def blocks(layer: nn.Linear, n_fields: int, dim: int) -> Tensor:
    """The weights that read embeddings, by field: a view [H, F, D]."""
    return layer.weight[:, : n_fields * dim].view(layer.out_features, n_fields, dim)
