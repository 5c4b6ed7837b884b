"""Gradients of the loss in the embeddings of a batch, which a penalty may run backward through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.api import Batch, CTRModel

__all__ = ["ROOT", "evaluating", "slopes"]

ROOT = 1e-12
"""Added under roots, whose slope is not finite at zero."""


def slopes(model: CTRModel, batch: Batch, differentiable: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Mean log loss of a batch, embeddings, and rows' own slopes in them [B, F, D]."""
    e, linear = model.embed(batch)
    if not e.requires_grad:
        e.requires_grad_()
    logits = model.arithmetic.score(
        model.backbone.forward, e, linear
    )  # what is compiled cannot be differentiated twice
    loss = F.binary_cross_entropy_with_logits(logits, batch.labels)
    (slope,) = torch.autograd.grad(loss, e, create_graph=differentiable)
    return loss, e, slope * len(batch)


@contextmanager
def evaluating(model: CTRModel) -> Iterator[None]:
    """No dropout, and no gradients of weights."""
    was_training, params = model.training, list(model.parameters())
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        model.train(was_training)
        for param in params:
            param.requires_grad_(True)
