"""The fused embedding table, with a gradient buffer that outlives the step.

PyTorch's own dense gradient of an embedding allocates and clears V × D numbers in every step. Here the backward
pass adds the rows' gradients into one persistent buffer, and clearing touches only the rows that were written.
The numbers are those of a dense gradient; only the traffic differs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class EmbeddingTable(nn.Module):
    """One table for all fields: [V, W], W = D or D + 1 when the last column holds the linear weights."""

    def __init__(self, weight: Tensor) -> None:
        """Take ``weight`` [V, W] as the table's values."""
        super().__init__()
        self.weight = nn.Parameter(weight)
        self._touched: list[Tensor] = []

    def forward(self, ids: Tensor) -> Tensor:
        """Gather rows: ids int32 [B, F] -> [B, F, W]."""
        flat = ids.reshape(-1)
        if torch.is_grad_enabled() and self.weight.requires_grad:
            rows: Tensor = _Gather.apply(self.weight, flat, self)  # type: ignore[no-untyped-call]
        else:
            rows = self.weight.index_select(0, flat)
        return rows.view(*ids.shape, self.weight.shape[1])

    def accumulate(self, flat: Tensor, grad: Tensor) -> None:
        """Add ``grad`` [n, W] to the gradient of rows ``flat`` [n]."""
        if self.weight.grad is None:
            self.weight.grad = torch.zeros_like(self.weight)
        self.weight.grad.index_add_(0, flat, grad)
        self._touched.append(flat)

    def clear_grad(self) -> None:
        """Zero the gradient, writing only the rows that the last backward passes touched."""
        grad = self.weight.grad
        if grad is None:
            self._touched.clear()
            return
        if sum(len(flat) for flat in self._touched) >= len(grad):
            grad.zero_()
        else:
            for flat in self._touched:
                grad.index_fill_(0, flat.long(), 0.0)
        self._touched.clear()

    def release(self) -> None:
        """Free the gradient buffer once training is over."""
        self.weight.grad = None
        self._touched.clear()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, flat: Tensor, table: EmbeddingTable) -> Tensor:
        ctx.save_for_backward(flat)
        ctx.table = table
        return weight.index_select(0, flat)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None, None]:
        (flat,) = ctx.saved_tensors
        ctx.table.accumulate(flat, grads[0])
        return None, None, None
