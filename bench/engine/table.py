"""The fused embedding table, with a gradient buffer that outlives the step.

PyTorch's own dense gradient of an embedding allocates and clears V × W numbers in every step. Here the backward
pass adds the rows' gradients into one persistent buffer, and clearing, its norm and clipping touch only the rows
that were written. The numbers are those of a dense gradient; only the traffic differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bench.engine.scatter import add_rows, number_rows

if TYPE_CHECKING:
    from bench.engine.windowed import HotRows

MEND = "train with by_lookup=False where a loss, hook, schedule, gate or backbone uses weights of tables itself"
"""The way out for whoever meets updates that were put off."""


def at_hand(tensor: Tensor) -> bool:
    """Whether a decision may hang on the values of ``tensor``: a device would have to stop, and a graph cannot."""
    return tensor.is_cpu


class EmbeddingTable(nn.Module):
    """One table for all fields: [V, W], W = D or D + 1 when the last column holds the linear weights.

    Attributes:
        weight: the values; reading them raises a RuntimeError while updates of rows are put off (``hot``).
    """

    weight: nn.Parameter

    def __init__(self, weight: Tensor) -> None:
        """Take ``weight`` [V, W] as the table's values."""
        super().__init__()
        self.weight = nn.Parameter(weight.contiguous())
        self.hot: HotRows | None = None
        """Rows in use, while updates of the others wait: lookups read these, and gradients go to them."""
        self._touched: list[Tensor] = []
        self._rows: Tensor | None = None
        self._sums: Tensor | None = None
        self._slots: Tensor | None = None
        self._written: tuple[int, int] | None = None
        self._whole = False

    def __getattr__(self, name: str) -> Any:
        if name == "weight":
            self._refuse_lag()
        return super().__getattr__(name)

    def _save_to_state_dict(self, *given: Any) -> None:
        self._refuse_lag()
        super()._save_to_state_dict(*given)

    def _refuse_lag(self) -> None:
        hot = self.__dict__.get("hot")
        if hot is not None and hot.begun:
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

        Both are contiguous, and their gradients go into the buffer without being joined first.
        """
        return self._gather(ids, dim)

    def _gather(self, ids: Tensor, dim: int) -> tuple[Tensor, Tensor | None]:
        flat, weight = ids.reshape(-1), self.parameter
        if torch.is_grad_enabled() and weight.requires_grad:
            parts: tuple[Tensor, ...] = _Gather.apply(weight, flat, self, dim)  # type: ignore[no-untyped-call]
        elif self.hot is not None and self.hot.begun:
            places = self.hot.places(flat)  # before the weights are taken: it may find new room for them
            parts = _gather_parts(self.hot.weight, places, dim)
        else:
            parts = _gather_parts(weight, flat, dim)
        e = parts[0].view(*ids.shape, dim)
        return e, parts[1].view(ids.shape) if len(parts) > 1 else None

    def accumulate(self, flat: Tensor, grads: list[tuple[int, Tensor]]) -> None:
        """Add gradients to the rows ``flat`` [n]: pairs of a first column and a gradient [n, columns].

        On a CPU, gradients of fewer lookups than the table has rows are first added up by themselves, within its cache.
        """
        if self.weight.grad is None:
            self.weight.grad = torch.zeros_like(self.weight)
        elif self._foreign():
            self._whole = True
        grad, alone = self.weight.grad, not self._touched and not self._whole
        self._rows = self._sums = None
        if at_hand(grad) and len(flat) < len(grad):
            flat, places = self._numbered(flat)
            rows, sums = flat.long(), grad.new_zeros(len(flat), grad.shape[1])
            for column, part in grads:
                add_rows(sums, places, column, part)
            grad.index_copy_(0, rows, sums if alone else sums.add_(grad.index_select(0, rows)))
            if alone:
                self._rows, self._sums = rows, sums
        else:
            for column, part in grads:
                add_rows(grad, flat, column, part)
        self._touched.append(flat)
        self._note()

    def _note(self) -> None:
        grad = self.weight.grad
        self._written = None if grad is None else (id(grad), grad._version)

    def _foreign(self) -> bool:
        """Whether something else has written into the gradient, e.g. the backward pass of a penalty on the weights."""
        grad = self.weight.grad
        return grad is not None and (id(grad), grad._version) != self._written

    def _rows_written(self, grad: Tensor) -> Tensor | None:
        """Distinct rows that hold the gradient, int64; None where a pass over all rows is as good or needed."""
        count = sum(len(flat) for flat in self._touched)
        dense = not at_hand(grad) or count >= len(grad) or not count
        return None if dense else self.distinct_rows()

    def distinct_rows(self) -> Tensor | None:
        """Distinct rows that hold the gradient, int64 [n], in no set order; None where any row may hold some."""
        if self._whole or self._foreign() or not self._touched:
            return None
        if self._rows is None:
            ids = self._touched[0] if len(self._touched) == 1 else torch.cat(self._touched)
            self._rows = self._numbered(ids)[0].long() if ids.is_cpu else torch.unique(ids).long()
        return self._rows

    def _numbered(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """``number_rows`` of ids, with scratch space that is kept."""
        if self._slots is None:
            self._slots = torch.empty(len(self.weight), dtype=torch.int32)
        return number_rows(ids, self._slots)

    def distinct_gradient(self) -> tuple[Tensor, Tensor] | None:
        """``distinct_rows`` and their gradient [n, W]; None where any row may hold some."""
        rows, grad = self.distinct_rows(), self.weight.grad
        if rows is None or grad is None:
            return None
        return rows, grad.index_select(0, rows) if self._sums is None else self._sums

    @torch.no_grad()
    def grad_norm(self) -> Tensor | None:
        """2-norm of the gradient, a scalar; None where there is no gradient."""
        grad = self.weight.grad if self.hot is None else self.hot.grad
        if grad is None:
            return None
        rows = None if self.hot is not None else self._rows_written(grad)
        written = grad
        if rows is not None:
            written = grad.index_select(0, rows) if self._sums is None else self._sums
        norm: Tensor = torch.linalg.vector_norm(written)
        return norm

    @torch.no_grad()
    def scale_grad(self, factor: Tensor) -> None:
        """Multiply the gradient by ``factor``, a scalar."""
        if self.hot is not None:
            self.hot.grad.mul_(factor)
            return
        grad = self.weight.grad
        if grad is None:
            return
        rows = self._rows_written(grad)
        self._whole |= self._foreign()
        if rows is None:
            grad.mul_(factor)
            self._sums = None
        else:
            written = grad.index_select(0, rows) if self._sums is None else self._sums
            grad.index_copy_(0, rows, written.mul_(factor))
        self._note()

    @torch.no_grad()
    def clear_grad(self) -> None:
        """Zero the gradient, writing only the rows that the last backward passes touched."""
        if self.hot is not None:
            if not self.hot.clear():
                self.hot = None
            return
        grad = self.weight.grad
        if grad is not None and (self._whole or self._foreign()):
            grad.zero_()
        elif grad is not None and self._touched:
            if self._rows is not None:
                grad.index_fill_(0, self._rows, 0.0)
            elif sum(len(flat) for flat in self._touched) >= len(grad):
                grad.zero_()
            else:
                for flat in self._touched:
                    grad.index_fill_(0, flat.long(), 0.0)
        self._touched.clear()
        self._rows = self._sums = None
        self._whole = False
        self._note()

    def settle(self) -> None:
        """Bring rows whose updates were put off up to date."""
        if self.hot is not None:
            self.hot.settle()

    def release(self) -> None:
        """Free what only training needs: the gradient buffer, the rows in use."""
        hot, self.hot = self.hot, None
        self.weight.grad = self._slots = None
        self.clear_grad()
        if hot is not None:
            hot.settle()


def _gather_parts(weight: Tensor, flat: Tensor, dim: int) -> tuple[Tensor, ...]:
    """Rows ``flat`` of the table, [n, dim], and the column after those, [n], if there is one."""
    rows = weight[:, :dim].index_select(0, flat)
    return (rows,) if dim == weight.shape[1] else (rows, weight[:, dim].index_select(0, flat))


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, flat: Tensor, table: EmbeddingTable, dim: int) -> tuple[Tensor, ...]:
        held: EmbeddingTable | HotRows = table
        if table.hot is not None:
            flat, held = table.hot.places(flat), table.hot
        ctx.save_for_backward(flat)
        ctx.set_materialize_grads(False)
        ctx.held, ctx.dim = held, dim
        return _gather_parts(held.weight, flat, dim)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[None, None, None, None]:
        (flat,) = ctx.saved_tensors
        starts = (0, ctx.dim)
        given = [(start, grad) for start, grad in zip(starts, grads, strict=False) if grad is not None]
        ctx.held.accumulate(flat, [(start, grad.reshape(len(flat), -1)) for start, grad in given if grad.numel()])
        return None, None, None, None
