"""Gates on single values, one number a row of the fused table, and training under the masks they end in.

    annealed   z_v = σ(t g_v) / σ(w0)      t is a buffer that the schedule raises; 1 at the start, where g_v = w0, t = 1
    fixed      z_v = c · m_v               m_v in {0, 1}; with sizes d_f only the first d_f coordinates pass

Of a field with several values in a row each is gated before they are pooled, so that a dropped value is a zero vector
in the mean, and a mask written into the table gives the same.

Shapes: g, z by value [V]; looked up by a batch's ids [B, F]; with sizes [B, F, D].
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from bench.api import Context, CTRModel, EmbeddingTable, Gate, Rows, Schema, Selection, Trained
from methods.parts.straight_through import sigmoid

_COUNTED_IDS = 1 << 24
"""Ids that are counted at once."""


class AnnealedGate(Gate):
    """A sigmoid gate a value, with a temperature."""

    shape = "BF"
    by_value = True

    def __init__(self, n_values: int, init: float) -> None:
        """Open all gates: g = ``init`` (w0), a table of one column so that its gradient has a buffer of its own."""
        super().__init__()
        self.logits = EmbeddingTable(torch.full((n_values, 1), init))
        self.temperature: Tensor
        self.register_buffer("temperature", torch.ones(()))
        self.scale = open_scale(init)

    def forward(self, e: Tensor, ids: Tensor) -> Tensor:
        return sigmoid(self.logits(ids).squeeze(-1) * self.temperature) * self.scale

    def open_sum(self) -> Tensor:
        """Σ σ(t g_v) over all values, scalar; its gradient reaches the values outside the batch too."""
        return sigmoid(self.logits.weight * self.temperature).sum()


def open_scale(init: float) -> float:
    """1 / σ(w0): what a gate that is fully open multiplies by."""
    return 1 + math.exp(-init)


class ValueMask(Gate):
    """A fixed factor a value."""

    shape: ClassVar[Literal["F", "BF", "FD", "BFD"]] = "BF"
    by_value = True

    def __init__(self, factors: Tensor) -> None:
        """Multiply by ``factors`` [V]."""
        super().__init__()
        self.factors: Tensor
        self.register_buffer("factors", factors, persistent=False)

    def forward(self, e: Tensor, ids: Tensor) -> Tensor:
        return self.factors.index_select(0, ids.reshape(-1)).view(ids.shape)


class ValueSizeMask(ValueMask):
    """A fixed factor a value and an embedding size a field."""

    shape = "BFD"

    def __init__(self, factors: Tensor, sizes: Tensor, dim: int) -> None:
        """Let the first ``sizes`` of ``dim`` coordinates pass, by column of ids, multiplied by ``factors`` [V]."""
        super().__init__(factors)
        self.inside: Tensor
        inside = torch.arange(dim, device=factors.device) < sizes.to(factors.device)[:, None]
        self.register_buffer("inside", inside.to(factors.dtype), persistent=False)  # [F, D]

    def forward(self, e: Tensor, ids: Tensor) -> Tensor:
        return super().forward(e, ids)[..., None] * self.inside


def train_masked(ctx: Context[Any], train: Rows, valid: Rows, selection: Selection, scale: float = 1.0) -> Trained:
    """Train under a fixed mask, ``scale`` times 1 for kept values, and write the mask into the table at the end.

    Starts from ``selection.start`` or a fresh model; the returned model has no gate and runs as the plain one does.
    """
    assert selection.value_mask is not None
    factors = selection.value_mask.to(ctx.device, torch.float32) * scale

    def surgery() -> CTRModel:
        model = ctx.model() if selection.start is None else selection.start
        columns = torch.from_numpy(model.schema.column_fields)
        sizes = None if selection.dims is None else selection.dims.cpu()[columns]
        model.gate = ValueMask(factors) if sizes is None else ValueSizeMask(factors, sizes, model.dim)
        return model

    model = ctx.surgery(surgery)
    selection.start = None
    log = ctx.fit(model, train, valid, name="train")
    return Trained(model.fold(factors, selection.dims), log)


def field_of_values(schema: Schema, device: torch.device) -> Tensor:
    """The field that each row of the fused table belongs to, int64 [V]."""
    sizes = torch.as_tensor(schema.cardinalities, device=device)
    return torch.arange(schema.n_fields, device=device).repeat_interleave(sizes)


def frequencies(rows: Rows) -> Tensor:
    """How often each value occurs in ``rows``, float64 [V]."""
    size = rows.schema.vocabulary_rows
    total = torch.zeros(size, dtype=torch.int64, device=rows.device)
    padding = torch.from_numpy(rows.schema.padding).to(rows.device)
    for batch in rows.slices(max(1, _COUNTED_IDS // len(rows.schema.column_fields))):
        total += torch.bincount(batch.ids.flatten(), minlength=size)
        if batch.pooled is not None:
            total += torch.bincount(batch.pooled[batch.pooled != padding], minlength=size)
    return total.double()


def field_means(schema: Schema, values: Tensor, weights: Tensor) -> np.ndarray:
    """Mean of ``values`` [V] over each field's values, weighted by ``weights`` [V]; float64 [F]."""
    fields = field_of_values(schema, values.device)
    zero = torch.zeros(schema.n_fields, dtype=torch.float64, device=values.device)
    total = zero.index_add(0, fields, weights)
    mean = zero.index_add(0, fields, values.double() * weights) / total
    return np.asarray(mean.cpu())


def kept_columns(model: CTRModel, selection: Selection) -> dict[str, float]:
    """What a value mask leaves of the table, for the record; nothing where fields were removed instead.

    Bytes: a float32 for every kept embedding scalar and, where the backbone has them, linear weight of a kept value,
    and one bit a value to say which are kept.
    """
    mask = selection.value_mask
    if mask is None:
        return {}
    schema = model.schema
    fields = field_of_values(schema, mask.device)
    by_field = torch.zeros(schema.n_fields, dtype=torch.int64, device=mask.device).index_add(0, fields, mask.long())
    sizes = torch.full_like(by_field, model.dim) if selection.dims is None else selection.dims.to(mask.device)
    values, scalars = int(mask.sum()), int((by_field * sizes).sum())
    linear = values if model.backbone.uses_linear else 0
    return {
        "kept_values": float(values),
        "kept_value_share": values / len(mask),
        "kept_scalars": float(scalars),
        "kept_scalar_share": scalars / (len(mask) * model.dim) if model.dim else math.nan,
        "kept_field_share": float((by_field > 0).double().mean()),
        "kept_bytes": float(4 * (scalars + linear) + math.ceil(len(mask) / 8)),
    }
