"""The fused embedding table: lookups of rows, whose gradient goes where ``bench.engine.fast.gradient`` says."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bench.engine.fast.gradient import MEND, BufferedRows, RowGradient
from bench.engine.weight_mask import WeightMask


class EmbeddingTable(nn.Module):
    """One table for all fields: [V, W], W = D or D + 1 when the last column holds the linear weights.

    Attributes:
        weight: the values; reading them raises a RuntimeError while updates of rows are put off.
        gradient: takes the gradient of looked-up rows; an optimiser may put another one in its place.
        mask: which scalars of the first D columns are there; None: all of them.
    """

    weight: nn.Parameter
    mask: WeightMask | None

    def __init__(self, weight: Tensor) -> None:
        """Take ``weight`` [V, W] as the table's values."""
        super().__init__()
        self.weight = nn.Parameter(weight.contiguous())
        self.gradient: RowGradient = BufferedRows(self.parameter)
        self.mask = None

    @torch.no_grad()
    def mask_weights(self, active: Tensor) -> WeightMask:
        """Keep only the scalars ``active``, bool [V, D], of the first D columns: others become zero, and stay it.

        They get no gradient, so that no optimiser moves them; a penalty on ``weight`` itself would. The mask is part of
        the table's state: checkpoints and best weights hold it.

        Raises:
            ValueError: the mask does not fit the table.
        """
        if active.dtype != torch.bool or active.ndim != 2 or len(active) != len(self.weight):
            raise ValueError(f"a mask of {active.dtype} {list(active.shape)}; wanted bool [{len(self.weight)}, D]")
        self.mask = WeightMask(active.to(self.weight.device, copy=True))
        self.mask.cut(self.weight)
        return self.mask

    def masked_as(self, other: EmbeddingTable, rows: Tensor | None = None) -> None:
        """Take over the mask of ``other``, from which this table has ``rows``, int64 [n], or all."""
        if other.mask is not None:
            self.mask_weights(other.mask.active if rows is None else other.mask.active[rows])

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
            parts: tuple[Tensor, ...] = _Gather.apply(weight, flat, held, dim, self.mask)  # type: ignore[no-untyped-call]
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
    def forward(
        ctx: Any, weight: Tensor, flat: Tensor, held: RowGradient, dim: int, mask: WeightMask | None
    ) -> tuple[Tensor, ...]:
        places = held.places(flat)
        ctx.save_for_backward(places, flat)
        ctx.set_materialize_grads(False)
        ctx.held, ctx.dim, ctx.mask = held, dim, mask
        return _gather_parts(held.weight, places, dim)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[None, None, None, None, None]:
        places, flat = ctx.saved_tensors
        starts = (0, ctx.dim)
        given = [(start, grad) for start, grad in zip(starts, grads, strict=False) if grad is not None]
        parts = [(start, grad.reshape(len(places), -1)) for start, grad in given if grad.numel()]
        if ctx.mask is not None:
            parts = [(start, ctx.mask.of_gradient(flat, grad) if start == 0 else grad) for start, grad in parts]
        ctx.held.accumulate(places, parts)
        return None, None, None, None, None
