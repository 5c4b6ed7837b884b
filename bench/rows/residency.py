"""Where rows lie: on the device that trains, or in main memory when they do not fit beside what training needs."""

from __future__ import annotations

import torch

from bench.data.schema import Schema
from bench.rows.rows import Rows

TABLE_COPIES = 5
"""Weights, gradient, two moments of Adam, and the best weights."""
MARGIN = 2 << 30
"""Bytes left for activations, sorting of predictions, and the library itself."""


def free_bytes(device: torch.device) -> int | None:
    """Bytes that tensors may still take on ``device``; None for main memory, which rows are in anyway."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def fits(needed: int, device: torch.device) -> bool:
    """Whether ``needed`` bytes and the margin are free on ``device``."""
    free = free_bytes(device)
    return free is None or needed + MARGIN <= free


def table_bytes(schema: Schema, dim: int) -> int:
    """Bytes of the widest table that is trained on ``schema``, float32, with all copies that training keeps."""
    return TABLE_COPIES * schema.vocabulary_rows * (dim + 1) * 4


def settle(rows: Rows, beside: int = 0) -> Rows:
    """Paged rows moved to their device if they fit there now, ``beside`` bytes left over; other rows as they are."""
    if rows.on_disk or rows.goes_to is None or not fits(rows.n_bytes + beside, rows.goes_to):
        return rows
    return rows.to(rows.goes_to)
