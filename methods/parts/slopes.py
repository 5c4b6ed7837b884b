"""Gradients of the loss in the embeddings of a batch, which a penalty may run backward through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.api import Batch, CTRModel

__all__ = ["ROOT", "Slopes", "evaluating", "slopes"]

ROOT = 1e-12
"""Added under roots, whose slope is not finite at zero."""


@dataclass(frozen=True)
class Slopes:
    """Of a batch: where rows stand, and the slopes of their own losses there."""

    loss: Tensor
    """Mean log loss, a scalar."""
    e: Tensor
    """Embeddings, [B, F, D]."""
    linear: Tensor | None
    """Linear weights, [B, F]."""
    of_e: Tensor
    """s, [B, F, D]."""
    of_linear: Tensor | None
    """t, [B, F]."""


def slopes(model: CTRModel, batch: Batch, differentiable: bool = False) -> Slopes:
    """Loss and slopes of a batch."""
    e, linear = model.embed(batch)
    places = [e] if linear is None else [e, linear]
    for place in places:
        if not place.requires_grad:
            place.requires_grad_()
    logits = model.arithmetic.score(model.backbone.forward, e, linear)  # compiled, it could not be differentiated twice
    loss = F.binary_cross_entropy_with_logits(logits, batch.labels)
    found = torch.autograd.grad(
        loss, places, create_graph=differentiable, allow_unused=True, materialize_grads=True
    )  # a backbone of linear weights reads no embeddings
    of_e, *of_linear = [slope * len(batch) for slope in found]
    return Slopes(loss, e, linear, of_e, of_linear[0] if of_linear else None)


@contextmanager
def evaluating(model: CTRModel) -> Iterator[None]:
    """No dropout, and no gradients of weights; the model is left as it was."""
    was_training, trained = model.training, [param for param in model.parameters() if param.requires_grad]
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        model.train(was_training)
        for param in trained:
            param.requires_grad_(True)
