"""Gradients of looked-up rows, added up where the same row was looked up more than once."""

from __future__ import annotations

import torch
from torch import Tensor


def add_rows(total: Tensor, flat: Tensor, column: int, grad: Tensor) -> None:
    """``total[flat, column : column + k] += grad`` [n, k], repeated rows added up in their order.

    On a CPU the numbers are added one by one through places in the flat buffer: same sums, bit for bit, in less
    than half the time of adding rows.
    """
    width = total.shape[1]
    if not total.is_cpu:
        total[:, column : column + grad.shape[1]].index_add_(0, flat, grad)
        return
    base = flat if total.numel() < 2**31 else flat.long()
    columns = torch.arange(column, column + grad.shape[1], dtype=base.dtype)
    places = (base[:, None] * width + columns).view(-1)
    total.view(-1).index_add_(0, places, grad.reshape(-1))


def number_rows(ids: Tensor, slots: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct ids in the order of their last places, and the number of every id among them, int32 [n]; on a CPU.

    On other devices it is not defined which of equal places is written last.

    Args:
        ids: rows of a table, int32 [n].
        slots: scratch space, int32 [V]; whatever it holds at ``ids`` is lost.
    """
    places = torch.arange(len(ids), dtype=torch.int32)
    slots.scatter_(0, ids.long(), places)  # of a row's places the last stays; threads of index_copy_ would race for it
    stays = slots.index_select(0, ids)
    chosen = stays == places
    return ids[chosen], chosen.cumsum(0, dtype=torch.int32).sub_(1).index_select(0, stays)
