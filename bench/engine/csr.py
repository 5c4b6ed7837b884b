"""A masked table without its zeros: active scalars row after row, looked up as the table is and to the same numbers.

    dense      4 · V · D bytes
    CSR        (4 + c) · n + 4 · (V + 1)      n active scalars, their columns (c = 1 up to D = 256, else 2), row ends
    bitmask    4 · n + V · ⌈D / 8⌉ + 4 · (V + 1)

Linear weights are never masked: 4 · V bytes more in each.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bench.engine.table import EmbeddingTable

_FLOAT = _POINTER = 4
_WIDE_POINTER = 8
_ROWS = 1 << 18
"""Rows at a time that are brought into this form: their places in 64 bits take more than the values."""


def encoded_bytes(scalars: int, rows: int, dim: int, linear: bool) -> dict[str, int]:
    """Bytes of a table [V, D] with so many active ``scalars`` (and a linear weight a row), by encoding."""
    beside = _FLOAT * rows if linear else 0
    ends = (rows + 1) * (_POINTER if scalars < 2**31 else _WIDE_POINTER)
    return {
        "dense_bytes": _FLOAT * rows * dim + beside,
        "csr_bytes": scalars * (_FLOAT + _column_bytes(dim)) + ends + beside,
        "bitmask_bytes": _FLOAT * scalars + rows * math.ceil(dim / 8) + ends + beside,
    }


def _column_bytes(dim: int) -> int:
    return 1 if dim <= 2**8 else 2


class CsrTable(nn.Module):
    """The table in CSR; it takes the place of an ``EmbeddingTable`` in a model that only scores.

    Attributes:
        weight: active scalars, and one zero more, [n + 1].
    """

    weight: Tensor
    columns: Tensor
    starts: Tensor
    linear: Tensor | None

    def __init__(self, table: EmbeddingTable) -> None:
        """Take the active scalars of a masked table."""
        super().__init__()
        if table.mask is None:
            raise ValueError("the table has no mask: nothing of it is known to be zero")
        weight, active = table.weight.detach(), table.mask.active
        self.dim = active.shape[1]
        number = torch.arange(self.dim, device=weight.device)
        number = number.to(torch.uint8 if _column_bytes(self.dim) == 1 else torch.int16)
        values, columns = [], []
        for part, there in zip(torch.split(weight, _ROWS), torch.split(active, _ROWS), strict=True):
            values.append(part[:, : self.dim].masked_select(there))
            columns.append(number.expand_as(there).masked_select(there))
        self.register_buffer("weight", torch.cat([*values, weight.new_zeros(1)]))
        self.register_buffer("columns", torch.cat([*columns, number.new_zeros(1)]))
        ends = active.sum(1).cumsum(0)
        narrow = len(self.weight) <= 2**31
        starts = torch.cat([ends.new_zeros(1), ends])
        self.register_buffer("starts", starts.to(torch.int32 if narrow else torch.int64))
        self.register_buffer("linear", weight[:, self.dim].clone() if weight.shape[1] > self.dim else None)

    def split(self, ids: Tensor, dim: int) -> tuple[Tensor, Tensor | None]:
        """As ``EmbeddingTable.split``: ids int32 [B, F] -> embeddings [B, F, D] and, if there are, linear [B, F]."""
        flat = ids.reshape(-1)
        start = self.starts.index_select(0, flat)
        length = self.starts.index_select(0, flat + 1) - start
        steps = torch.arange(dim, device=ids.device, dtype=start.dtype)
        there = steps < length[:, None]  # [n, D]
        places = (start[:, None] + steps).clamp_(max=len(self.weight) - 1).view(-1)
        values = self.weight.index_select(0, places).view(-1, dim)
        columns = self.columns.index_select(0, places).view(-1, dim).long()
        columns = torch.where(there, columns, dim)  # what a row does not fill goes into a column of its own
        e = values.new_zeros(len(flat), dim + 1).scatter_(1, columns, values)[:, :dim]
        linear = None if self.linear is None else self.linear.index_select(0, flat).view(ids.shape)
        return e.reshape(*ids.shape, dim), linear
