"""The fused embedding table: lookups of rows, whose gradient goes where ``bench.engine.fast.gradient`` says."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bench.engine.fast.gradient import MEND, BufferedRows, RowGradient


class EmbeddingTable(nn.Module):
    """One table for all fields: [V, W], W = D or D + 1 when the last column holds the linear weights.

    Attributes:
        weight: the values; reading them raises a RuntimeError while updates of rows are put off.
        gradient: takes the gradient of looked-up rows; an optimiser may put another one in its place.
    """

    weight: nn.Parameter

    def __init__(self, weight: Tensor) -> None:
        """Take ``weight`` [V, W] as the table's values."""
        super().__init__()
        self.weight = nn.Parameter(weight.contiguous())
        self.gradient: RowGradient = BufferedRows(self.parameter)

    def __getattr__(self, name: str) -> Any:
        if name == "weight":
            self._refuse_lag()
        return super().__getattr__(name)

    def _save_to_state_dict(self, *given: Any) -> None:
        self._refuse_lag()
        super()._save_to_state_dict(*given)

    def _refuse_lag(self) -> None:
        if self.gradient.ahead:
            raise RuntimeError(f"the weights of a table are read while updates are put off; {MEND}")

    @property
    def parameter(self) -> nn.Parameter:
        """``weight`` as optimisers hold it, whether or not its values lag behind."""
        weight = self._parameters["weight"]
        assert weight is not None
        return weight

    def forward(self, ids: Tensor) -> Tensor:
        """Gather rows: ids int32 [B, F] -> [B, F, W]."""
        rows, _ = self._gather(ids, self.parameter.shape[1])
        return rows

    def split(self, ids: Tensor, dim: int) -> tuple[Tensor, Tensor | None]:
        """Gather rows: ids int32 [B, F] -> embeddings [B, F, dim] and, if there is a column more, linear [B, F].

        Both are contiguous, and their gradients are added up without being joined first.
        """
        return self._gather(ids, dim)

    def _gather(self, ids: Tensor, dim: int) -> tuple[Tensor, Tensor | None]:
        flat, weight, held = ids.reshape(-1), self.parameter, self.gradient
        if torch.is_grad_enabled() and weight.requires_grad:
            parts: tuple[Tensor, ...] = _Gather.apply(weight, flat, held, dim)  # type: ignore[no-untyped-call]
        elif held.ahead:
            places = held.places(flat)  # before the weights are taken: it may find new room for them
            parts = _gather_parts(held.weight, places, dim)
        else:
            parts = _gather_parts(weight, flat, dim)
        e = parts[0].view(*ids.shape, dim)
        return e, parts[1].view(ids.shape) if len(parts) > 1 else None

    def clear_grad(self) -> None:
        """Zero the gradient."""
        self.gradient = self.gradient.clear()

    def settle(self) -> None:
        """Bring rows whose updates were put off up to date."""
        self.gradient.settle()

    def release(self) -> None:
        """Free what only training needs, and bring all rows up to date."""
        held, self.gradient = self.gradient, BufferedRows(self.parameter)
        self.parameter.grad = None
        held.settle()


def _gather_parts(weight: Tensor, flat: Tensor, dim: int) -> tuple[Tensor, ...]:
    """Rows ``flat`` of the table, [n, dim], and the column after those, [n], if there is one."""
    rows = weight[:, :dim].index_select(0, flat)
    return (rows,) if dim == weight.shape[1] else (rows, weight[:, dim].index_select(0, flat))


class _Gather(torch.autograd.Function):
    """Rows of a table, whose weights [V, W] are named to autograd alone: they are read and written through ``held``."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, flat: Tensor, held: RowGradient, dim: int) -> tuple[Tensor, ...]:
        places = held.places(flat)
        ctx.save_for_backward(places)
        ctx.set_materialize_grads(False)
        ctx.held, ctx.dim = held, dim
        return _gather_parts(held.weight, places, dim)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[None, None, None, None]:
        (places,) = ctx.saved_tensors
        starts = (0, ctx.dim)
        given = [(start, grad) for start, grad in zip(starts, grads, strict=False) if grad is not None]
        ctx.held.accumulate(places, [(start, grad.reshape(len(places), -1)) for start, grad in given if grad.numel()])
        return None, None, None, None
