"""A field's values moved among rows: its ids, its numbers and its further values together.

Shapes: B rows, F fields, P columns of further values of pooled fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from bench.api import Batch, Rows, Schema

__all__ = ["put_field", "shadows"]


def put_field(into: Batch | Rows, source: Batch | Rows, schema: Schema, field: int, order: Tensor | None) -> None:
    """Overwrite one field of ``into`` in place with that of the rows ``order`` of ``source``; None: as they are."""

    def put(target: Tensor | None, values: Tensor | None, columns: Sequence[int]) -> None:
        if target is not None and values is not None:
            for column in columns:
                target[:, column] = values[:, column] if order is None else values[order, column]

    put(into.ids, source.ids, [field])
    put(into.numeric, source.numeric, [schema.numeric_fields.index(field)] if field in schema.numeric_fields else [])
    put(into.pooled, source.pooled, np.flatnonzero(schema.column_fields[schema.n_fields :] == field).tolist())


def shadows(rows: Rows, generator: torch.Generator) -> Rows:
    """The same rows with every field shuffled by an order of its own: values stay as frequent, and tell nothing."""
    rows = rows.resident()
    numeric = None if rows.numeric is None else rows.numeric.clone()
    pooled = None if rows.pooled is None else rows.pooled.clone()
    moved = replace(rows, ids=rows.ids.clone(), numeric=numeric, pooled=pooled)
    for field in range(rows.schema.n_fields):
        order = torch.randperm(len(rows), generator=generator).to(rows.ids.device)
        put_field(moved, rows, rows.schema, field, order)
    return moved
