"""Fields with several values in a row: the mean of the values' vectors is the field's.

    e_f = (1 / n) Σ_j e_{v_j}      v_1, …, v_n the values of the row, n ≥ 1; a row without any has the missing one

A linear weight is pooled as its embedding is.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from bench.data.schema import Schema


class MeanPooling(nn.Module):
    """From the vectors of all columns of ids to those of the fields."""

    places: Tensor
    """Indices of the pooled fields, int64."""
    owners: Tensor
    """The field of each column of further values, int64 [P]."""
    padding: Tensor
    """What stands in each column of further values where there is none, int32 [P]."""

    def __init__(self, schema: Schema, device: torch.device) -> None:
        """Pool the fields of ``schema`` that have several values."""
        super().__init__()
        self.n_fields = schema.n_fields
        sizes = [schema.fields[f].positions - 1 for f in schema.pooled_fields]
        ends = np.cumsum(sizes).tolist()
        self.spans = list(zip(schema.pooled_fields, [0, *ends[:-1]], ends, strict=True))
        """Field, and its first and last (exclusive) column of further values."""
        # Tensors that are copied to the device once, not at every step.
        self.register_buffer("places", torch.tensor(schema.pooled_fields, device=device), persistent=False)
        owners = torch.from_numpy(schema.column_fields[schema.n_fields :]).to(device)
        self.register_buffer("owners", owners, persistent=False)
        self.register_buffer("padding", torch.from_numpy(schema.padding).to(device), persistent=False)

    def columns(self, ids: Tensor, further: Tensor) -> Tensor:
        """All ids to look up, int32 [B, F + P]: in the place of padding a row's first value, which it looks up anyway.

        Otherwise a step would touch the rows of missing values, which nothing in it has.
        """
        return torch.cat([ids, torch.where(further == self.padding, ids[:, self.owners], further)], 1)

    def forward(self, e: Tensor, linear: Tensor | None, further: Tensor) -> tuple[Tensor, Tensor | None]:
        """Pool e [B, F + P, D] and linear [B, F + P], given the ids of further values, int32 [B, P]."""
        there = (further != self.padding).to(e.dtype)  # [B, P]
        counts = [1 + there[:, start:end].sum(1) for _, start, end in self.spans]
        share = 1 / torch.stack(counts, 1)  # [B, pooled fields]
        pooled = self._pool(e, there[..., None], share[..., None])
        return pooled, None if linear is None else self._pool(linear, there, share)

    def _pool(self, values: Tensor, there: Tensor, share: Tensor) -> Tensor:
        first, further = values[:, : self.n_fields], values[:, self.n_fields :] * there
        sums = [first[:, field] + further[:, start:end].sum(1) for field, start, end in self.spans]
        return first.index_copy(1, self.places, torch.stack(sums, 1) * share)
