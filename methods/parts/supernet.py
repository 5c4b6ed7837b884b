"""The gate of a supernet of embedding sizes: values below a learned norm are dropped, and random sizes are tried.

    z_vi = 1[‖e_v‖₁ - t_f > 0] · 1[i ≤ d]      d uniform in 1, ..., D for every row and field; d = D in eval mode

The step passes gradients to the threshold and, through the norm, to the embedding (``straight_through``).
Shapes: t [F], e [B, F, D], z [B, F, D]. The first coordinate always passes, so that a linear weight, which takes
its factor, is dropped with its value and never else.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bench.api import Gate, Schema
from methods.parts.straight_through import unit_step
from methods.parts.value_gates import field_of_values


class Supernet(Gate):
    """Drops values of small norm and, in training, all but the first coordinates, as many as are drawn."""

    shape = "BFD"
    by_value = True

    def __init__(self, schema: Schema) -> None:
        """Thresholds t = 0: every value passes."""
        super().__init__()
        self.thresholds = nn.Parameter(torch.zeros(schema.n_fields))
        self.exempt: Tensor
        exempt = torch.tensor([field.kind == "numeric" for field in schema.fields])
        self.register_buffer("exempt", exempt, persistent=False)
        # Of a pooled field several columns have one threshold and, in a row, one size.
        self.columns: Tensor | None
        columns = torch.from_numpy(schema.column_fields) if schema.pooled_fields else None
        self.register_buffer("columns", columns, persistent=False)

    def forward(self, e: Tensor, ids: Tensor) -> Tensor:
        rows = unit_step(e.abs().sum(-1) - self._by_column(self.thresholds))
        rows = torch.where(self._by_column(self.exempt), torch.ones_like(rows), rows)[..., None]  # [B, F, 1]
        if not self.training:
            return rows.expand_as(e)
        dim = e.shape[-1]
        last = torch.randint(dim, (len(ids), len(self.thresholds), 1), device=e.device)
        return rows * (torch.arange(dim, device=e.device) <= self._by_column(last, dim=1))

    def _by_column(self, of_fields: Tensor, dim: int = 0) -> Tensor:
        return of_fields if self.columns is None else of_fields.index_select(dim, self.columns)

    @torch.no_grad()
    def importance(self, embeddings: Tensor, schema: Schema) -> Tensor:
        """The margins q = ‖e_v‖₁ - t_f of embeddings [V, D], infinite for values that are never dropped; [V]."""
        fields = field_of_values(schema, embeddings.device)
        q = embeddings.abs().sum(1) - self.thresholds[fields]
        return q.masked_fill(self.exempt[fields], math.inf)
