"""What the loss says, to first order, of a constant in the place of a field: one backward pass for all fields.

    e'_ij = e_ij + s_ij (t_j - e_ij)        s = 0, not trained; likewise for linear weights
    ∂ℓ_i/∂s_ij = <∂ℓ_i/∂e_ij, t_j - e_ij>   (+ the linear weight's part)

In eval mode the loss ℓ_i of a row depends on that row alone, so the gradient of the summed loss holds every row's own.
With t = 0, c = 1 - s is a mask of ones on the fields, and ∂ℓ_i/∂c_ij = -∂ℓ_i/∂s_ij. Summed over rows that is
sum_v <∂L/∂E_v, E_v> over the field's values: what the table says of its own length.

Of pooled fields the mean of a row's vectors is replaced. Shapes: e [B, F, D], t [F, D], s [B, F].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.api import Batch, CTRModel, Gate, Rows
from methods.parts.slopes import evaluating

__all__ = ["SCORE_BATCH", "Constants", "mean_lookups", "nothing", "probed"]

SCORE_BATCH = 4096
"""Rows that are looked at together."""


@dataclass(frozen=True)
class Constants:
    """One vector a field."""

    e: Tensor
    """Embeddings, [F, D]."""
    linear: Tensor | None
    """Linear weights, [F]; None where the backbone reads none."""


class Probe(Gate):
    """Replaces nothing, and has a gradient that says what replacing would do."""

    shape = "BF"

    def __init__(self, target: Constants) -> None:
        """Look towards ``target``."""
        super().__init__()
        self.target = target
        self.share = torch.zeros(())
        """s of the last batch, [B, F]."""

    def multiply(self, e: Tensor, linear: Tensor | None, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        self.share = s = e.new_zeros(e.shape[:2]).requires_grad_()
        moved = e + s[..., None] * (self.target.e - e)
        if linear is None or self.target.linear is None:
            return moved, linear
        return moved, linear + s * (self.target.linear - linear)


@contextmanager
def probed(model: CTRModel, target: Constants) -> Iterator[Callable[[Batch], Tensor]]:
    """Give the slopes ∂ℓ_i/∂s_ij of a batch, [B, F], of an ungated ``model`` in eval mode; leave it as it was."""
    probe = Probe(target)

    def slopes(batch: Batch) -> Tensor:
        with torch.enable_grad():
            loss = F.binary_cross_entropy_with_logits(model(batch), batch.labels, reduction="sum")
        return torch.autograd.grad(loss, probe.share)[0]

    try:
        model.gate = probe
        with evaluating(model):
            yield slopes
    finally:
        model.gate = None


@torch.no_grad()
def mean_lookups(model: CTRModel, rows: Rows) -> Constants:
    """Mean embedding and linear weight of each field over ``rows``, numbers included; no gate is asked."""
    totals: list[Tensor] = []
    for batch in model.view(rows).slices(SCORE_BATCH):
        found = [part.sum(0, dtype=torch.float64) for part in model.embed(batch) if part is not None]
        totals = found if not totals else [total + part for total, part in zip(totals, found, strict=True)]
    e, *linear = [(total / len(rows)).to(model.table.weight.dtype) for total in totals]
    return Constants(e, linear[0] if linear else None)


def nothing(model: CTRModel) -> Constants:
    """A zero vector a field."""
    e = model.table.weight.new_zeros(model.schema.n_fields, model.dim)
    return Constants(e, e.new_zeros(len(e)) if model.backbone.uses_linear else None)
