"""The assembled CTR model, and the only place where one is cut down.

    ids [B, F] --table--> e [B, F, D], linear [B, F] --gate--> e · z, linear · z --backbone--> logits [B]

Of fields with several values in a row there are P columns of ids more, and their vectors are pooled before the gate
(after it, if it gates values): gate and backbone see one vector a field.

A field's linear weight passes through the same gate as its embedding: otherwise a closed gate would still let the
field speak, and the output would jump when the field is removed.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from bench.data.schema import FIRST_VALUE, Schema
from bench.engine.arithmetic import PLAIN, Arithmetic
from bench.engine.backbone import Backbone
from bench.engine.pooling import MeanPooling
from bench.engine.table import EmbeddingTable
from bench.rows.rows import Batch, Rows


class Gate(nn.Module):
    """Scales embeddings: ``forward(e [B, F, D], ids [B, F])`` returns factors z of the declared ``shape``.

    A gate that replaces has an ``instead`` as well: what the factor takes away is filled up with that,

        e · z + instead · (1 - z)

    so that a closed gate leaves a vector that tells nothing of the row, where a gate that multiplies leaves zero.
    """

    shape: ClassVar[Literal["F", "BF", "FD", "BFD"]] = "F"
    """One factor a field [F], a row and field [B, F], a field and embedding coordinate [F, D], or all three
    [B, F, D]: a linear weight then takes the factor of the first coordinate."""
    per_sample: ClassVar[bool] = False
    """Whether the gate differs from row to row; such a model cannot be cut down."""
    by_value: ClassVar[bool] = False
    """Whether a factor belongs to a value. Of fields with several values in a row such a gate is given each value
    before they are pooled: e [B, F + P, D] and ids [B, F + P], whose columns belong to ``Schema.column_fields``."""

    def forward(self, e: Tensor, ids: Tensor) -> Tensor:
        raise NotImplementedError

    def instead(self, e: Tensor, linear: Tensor | None, ids: Tensor) -> tuple[Tensor, Tensor | None] | None:
        """What stands in the place of embeddings e [B, F, D] and linear weights [B, F] (or None); None: zero.

        In training it may be drawn, from the generator that the harness has seeded, and may come from other rows of the
        batch. In evaluation it is what training puts there on average, drawn from nothing and the same whatever rows
        are scored together: a constant of the field, [F, D] and [F], which ``CTRModel.prune`` takes as ``rest``.
        """
        return None

    def multiply(self, e: Tensor, linear: Tensor | None, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the backbone gets of embeddings e [B, F, D] and linear weights [B, F] (or None)."""
        z = self(e, ids)
        wide = z if self.shape in ("FD", "BFD") else z[..., None]
        narrow = None if self.shape == "FD" else z[..., 0] if self.shape == "BFD" else z
        vectors, weights = self.instead(e, linear, ids) or (None, None)
        e = e * wide if vectors is None else torch.lerp(vectors, e, wide)
        if linear is None or narrow is None:
            return e, linear
        return e, linear * narrow if weights is None else torch.lerp(weights, linear, narrow)


class CTRModel(nn.Module):
    """Embedding table, optional gate, backbone.

    Attributes:
        schema: the fields the model takes, in order.
        kept: their indices in the data set's full schema.
        dim: embedding size D.
    """

    numeric_places: Tensor
    """Indices of the numeric fields, int64."""

    def __init__(
        self,
        schema: Schema,
        weight: Tensor,
        backbone: Backbone[Any],
        kept: Sequence[int] | None = None,
        arithmetic: Arithmetic = PLAIN,
    ) -> None:
        """Assemble a model around a table [V, D] or, for a backbone with linear weights, [V, D + 1]."""
        super().__init__()
        self.schema = schema
        self.kept = tuple(range(schema.n_fields)) if kept is None else tuple(kept)
        self.dim = backbone.dim
        self.table = EmbeddingTable(weight)
        self.backbone = backbone
        self.gate: Gate | None = None
        self.arithmetic = arithmetic
        arithmetic.prepare(backbone)
        places = torch.tensor(schema.numeric_fields, dtype=torch.int64, device=weight.device)
        self.register_buffer("numeric_places", places, persistent=False)  # a list would be copied there at every step
        self.pooling = MeanPooling(schema, weight.device) if schema.pooled_fields else None

    def forward(self, batch: Batch) -> Tensor:
        """Score a batch: logits [B]."""
        if self.pooling is not None and self.gate is not None and self.gate.by_value:
            further = _further(batch)
            ids = self.pooling.columns(batch.ids, further)
            e, linear = self.pooling(*self.gate.multiply(*self._look_up(batch, ids), ids), further)
            return self.arithmetic.score(self.backbone, e, linear)
        e, linear = self.embed(batch)
        if self.gate is not None:
            e, linear = self.gate.multiply(e, linear, batch.ids)
        return self.arithmetic.score(self.backbone, e, linear)

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """What a gate gets of a batch: embeddings [B, F, D] and, if the backbone reads them, linear weights [B, F].

        Raises:
            ValueError: the batch lacks the further values of pooled fields.
        """
        if self.pooling is None:
            return self._look_up(batch, batch.ids)
        further = _further(batch)
        e, linear = self.pooling(*self._look_up(batch, self.pooling.columns(batch.ids, further)), further)
        return e, linear

    def _look_up(self, batch: Batch, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """The vectors of ``ids`` [B, C], those of numeric fields times their values: [B, C, D] and [B, C]."""
        e, linear = self.table.split(ids, self.dim)
        if not self.backbone.uses_linear:
            linear = None
        if batch.numeric is not None:
            values = self._values(batch.numeric, ids.shape[1])  # [B, C]
            e = e * values[..., None]
            linear = None if linear is None else linear * values
        return e, linear

    def _values(self, numeric: Tensor, columns: int) -> Tensor:
        """Multipliers of all ``columns``, [B, C]: the value of a numeric field, one elsewhere."""
        values = numeric.new_ones(numeric.shape[0], columns)  # len() would fix it in an export
        return values.index_copy_(1, self.numeric_places, numeric)

    def view(self, rows: Rows) -> Rows:
        """The columns of ``rows`` that this model takes; ``rows`` of this very schema pass through.

        Raises:
            ValueError: the rows belong to another set of fields.
        """
        if rows.schema is self.schema or rows.schema == self.schema:
            return rows
        if self.kept and self.kept[-1] < rows.schema.n_fields and rows.schema.keep(self.kept) == self.schema:
            return rows.keep(self.kept)
        raise ValueError(f"rows with fields {rows.schema.names} do not fit a model of {self.schema.names}")

    @torch.no_grad()
    def prune(
        self, kept: Sequence[int], scale: Tensor | None = None, rest: tuple[Tensor, Tensor | None] | None = None
    ) -> CTRModel:
        """Remove fields physically and return the smaller model; weights are copied, the gate is gone.

        Args:
            kept: indices into this model's fields, increasing.
            scale: factor of each kept field's embeddings and linear weights, [K]; None means 1.
            rest: embeddings [F, D] and linear weights [F] (or None) of which those of removed fields take the place of
                whatever a row has there; None means 0.

        Raises:
            ValueError: ``kept`` is not increasing or names no field of this model, the gate is per sample, or there is
                a ``rest`` that the backbone cannot absorb.
        """
        self._refuse_per_sample("prune")
        if list(kept) != sorted(set(kept) & set(range(self.schema.n_fields))):
            raise ValueError(f"kept={list(kept)} must be increasing indices below {self.schema.n_fields}")
        offsets = self.schema.offsets
        blocks = [self.table.weight[int(offsets[f]) : int(offsets[f + 1])] for f in kept]
        if scale is not None:
            blocks = [block * factor for block, factor in zip(blocks, scale, strict=True)]
        weight = torch.cat(blocks) if blocks else self.table.weight[:0].clone()
        small = CTRModel(
            self.schema.keep(kept),
            weight,
            self._absorbed(kept, rest).slice_fields(kept),
            kept=[self.kept[f] for f in kept],
            arithmetic=self.arithmetic,
        )
        if self.table.mask is not None:
            rows = [torch.arange(int(offsets[f]), int(offsets[f + 1]), device=weight.device) for f in kept]
            small.table.masked_as(self.table, torch.cat(rows) if rows else torch.arange(0, device=weight.device))
        return small.train(self.training)

    def _absorbed(self, kept: Sequence[int], rest: tuple[Tensor, Tensor | None] | None) -> Backbone[Any]:
        """The backbone, or one that has taken in what of ``rest`` belongs to fields other than ``kept``."""
        if rest is None:
            return self.backbone
        if not self.backbone.absorbs:
            raise ValueError("this backbone cannot hold constants in the place of removed fields")
        e, linear = rest
        gone = torch.ones(self.schema.n_fields, dtype=e.dtype, device=e.device)
        gone[list(kept)] = 0
        backbone = copy.deepcopy(self.backbone)
        backbone.absorb(e * gone[:, None], None if linear is None else linear * gone)
        return backbone

    @torch.no_grad()
    def fold(self, value_scale: Tensor | None = None, dims: Tensor | None = None) -> CTRModel:
        """Write a value-level gate into the table and return the ungated model.

        Args:
            value_scale: factor of each value's embedding and linear weight, [V].
            dims: embedding coordinates each field keeps, int64 [F]; the rest become zero.
        """
        self._refuse_per_sample("fold")
        backbone = copy.deepcopy(self.backbone)
        model = CTRModel(self.schema, self.table.weight.clone(), backbone, self.kept, self.arithmetic)
        weight = model.table.weight
        if value_scale is not None:
            weight.mul_(value_scale[:, None])
        if dims is not None:
            sizes = torch.as_tensor(self.schema.cardinalities, device=weight.device)
            limit = dims.to(weight.device).repeat_interleave(sizes)[:, None]  # [V, 1]
            weight[:, : self.dim].mul_(torch.arange(self.dim, device=weight.device) < limit)
        model.table.masked_as(self.table)
        return model.train(self.training)

    def _refuse_per_sample(self, action: str) -> None:
        if self.gate is not None and self.gate.per_sample:
            raise ValueError(f"cannot {action} a model whose gate differs from row to row")

    def network_parameters(self) -> list[nn.Parameter]:
        """Trainable parameters other than the table and the gate."""
        return list(self.backbone.parameters())

    @torch.no_grad()
    def restrict(self, rows: Rows) -> Restricted:
        """A model over only those table rows that occur in ``rows``, sharing this model's backbone.

        Training it equals training this model as long as rows without data do not move (no weight decay); a step
        then costs the size of the subset, not of the vocabulary.
        """
        rows = self.view(rows).resident()
        used = torch.unique(self._used(rows))  # sorted, so the fields stay in blocks
        offsets = torch.as_tensor(self.schema.offsets, device=used.device)
        ends = torch.searchsorted(used.long(), offsets)
        schema = self.schema.resized((ends[1:] - ends[:-1]).tolist())
        weight = self.table.weight[used.long()].clone()
        small = CTRModel(schema, weight, self.backbone, self.kept, self.arithmetic)
        small.table.masked_as(self.table, used.long())
        small.gate = self.gate
        small.train(self.training)
        ids = torch.searchsorted(used, rows.ids, out_int32=True)
        pooled = None if rows.pooled is None else torch.searchsorted(used, rows.pooled, out_int32=True)
        return Restricted(self, small, replace(rows, schema=schema, ids=ids, pooled=pooled), used.long())

    def _used(self, rows: Rows) -> Tensor:
        """The ids of ``rows``, and the reserved ones of pooled fields, without which padding would not be known."""
        if rows.pooled is None:
            return rows.ids
        first = self.schema.offsets[list(self.schema.pooled_fields)]
        reserved = torch.from_numpy(np.concatenate([first + i for i in range(FIRST_VALUE)])).to(rows.ids)
        return torch.cat([rows.ids.flatten(), rows.pooled.flatten(), reserved])


def _further(batch: Batch) -> Tensor:
    if batch.pooled is None:
        raise ValueError("a model of pooled fields needs the further values of a batch, Batch.pooled")
    return batch.pooled


@dataclass(frozen=True)
class Restricted:
    """A model over the table rows that a subset of the data touches."""

    full: CTRModel
    model: CTRModel
    rows: Rows
    used: Tensor
    """Rows of the full table, int64 [n], increasing."""

    @torch.no_grad()
    def write_back(self) -> CTRModel:
        """Copy the trained rows, and what of them is masked by now, into the full table and return the full model."""
        full, part = self.full.table, self.model.table
        full.weight[self.used] = part.weight
        if part.mask is not None:
            mask = full.mask or full.mask_weights(part.mask.active.new_ones(len(full.weight), part.mask.dim))
            mask.active[self.used] = part.mask.active
        return self.full
