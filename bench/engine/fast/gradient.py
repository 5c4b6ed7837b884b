"""The gradient of a table's looked-up rows: what a table, an optimiser and clipping need of it, and its plain form.

PyTorch's own dense gradient of an embedding allocates and clears V × W numbers in every step. Here the backward
pass adds the rows' gradients into one persistent buffer, and clearing, its norm and clipping touch only the rows
that were written. The numbers are those of a dense gradient; only the traffic differs.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from bench.engine.fast.scatter import add_rows, number_rows

MEND = "train with by_lookup=False where a loss, hook, schedule, gate or backbone uses weights of tables itself"
"""The way out for whoever meets updates that were put off."""


def on_cpu(tensor: Tensor) -> bool:
    """Whether a decision may hang on the values of ``tensor``: a device would have to stop, and a graph cannot."""
    return tensor.is_cpu


class RowGradient(Protocol):
    """Where looked-up rows of a table lie while it is trained, and where their gradient goes."""

    @property
    def weight(self) -> Tensor:
        """Weights that lookups read, [at least n, W], by ``places``."""

    @property
    def ahead(self) -> bool:
        """Whether ``weight`` has gone through updates that the table's own values have not."""

    def places(self, ids: Tensor) -> Tensor:
        """Where rows ``ids`` of the table, int32 [n], lie in ``weight``: int32 [n]."""

    def accumulate(self, places: Tensor, grads: list[tuple[int, Tensor]]) -> None:
        """Add gradients to the rows at ``places`` [n]: pairs of a first column and a gradient [n, columns]."""

    def norm(self) -> Tensor | None:
        """2-norm, a scalar; None where there is no gradient."""

    def scale(self, factor: Tensor) -> None:
        """Multiply by ``factor``, a scalar."""

    def clear(self) -> RowGradient:
        """Zero the gradient, and return what takes that of the next step."""

    def settle(self) -> None:
        """Bring the table's own values up to date."""


class RowTable(Protocol):
    """What holds a ``RowGradient``: a table, as optimisers see it."""

    weight: nn.Parameter
    gradient: RowGradient


class BufferedRows:
    """The gradient in a buffer of the table's size, ``weight.grad``, that outlives the step.

    It is taken as dense, and passed over as a whole, on a device, where batches look most rows up, and where
    something else has written into it.
    """

    ahead = False

    def __init__(self, weight: nn.Parameter) -> None:
        """Take a table's weights [V, W]; the buffer is made by the first backward pass."""
        self.weight = weight
        self._touched: list[Tensor] = []
        """Rows of each backward pass since the gradient was cleared."""
        self._rows: Tensor | None = None
        """The distinct ones of them, int64, once they are known."""
        self._sums: Tensor | None = None
        """Their gradient, where it is at hand."""
        self._slots: Tensor | None = None
        self._written: tuple[int, int] | None = None
        """The buffer and its version after the last write from here."""
        self._dense = False
        """Whether any row may hold some gradient: something else has written."""

    def places(self, ids: Tensor) -> Tensor:
        """``ids`` themselves."""
        return ids

    def accumulate(self, places: Tensor, grads: list[tuple[int, Tensor]]) -> None:
        """Add gradients to the rows at ``places`` [n]: pairs of a first column and a gradient [n, columns].

        On a CPU, gradients of fewer lookups than the table has rows are first added up by themselves, within its cache.
        """
        if self.weight.grad is None:
            self.weight.grad = torch.zeros_like(self.weight)
        elif self._foreign():
            self._dense = True
        grad, alone = self.weight.grad, not self._touched and not self._dense
        self._rows = self._sums = None
        if on_cpu(grad) and len(places) < len(grad):
            places, numbers = self._numbered(places)
            rows, sums = places.long(), grad.new_zeros(len(places), grad.shape[1])
            for column, part in grads:
                add_rows(sums, numbers, column, part)
            grad.index_copy_(0, rows, sums if alone else sums.add_(grad.index_select(0, rows)))
            if alone:
                self._rows, self._sums = rows, sums
        else:
            for column, part in grads:
                add_rows(grad, places, column, part)
        self._touched.append(places)
        self._note()

    @torch.no_grad()
    def norm(self) -> Tensor | None:
        """2-norm, a scalar; None where there is no gradient."""
        grad = self.weight.grad
        if grad is None:
            return None
        rows = self._rows_written(grad)
        norm: Tensor = torch.linalg.vector_norm(grad if rows is None else self._of(rows, grad))
        return norm

    @torch.no_grad()
    def scale(self, factor: Tensor) -> None:
        """Multiply by ``factor``, a scalar."""
        grad = self.weight.grad
        if grad is None:
            return
        rows = self._rows_written(grad)
        self._dense |= self._foreign()
        if rows is None:
            grad.mul_(factor)
            self._sums = None
        else:
            grad.index_copy_(0, rows, self._of(rows, grad).mul_(factor))
        self._note()

    @torch.no_grad()
    def clear(self) -> BufferedRows:
        """Zero the gradient, writing only the rows that the last backward passes touched."""
        grad = self.weight.grad
        if grad is not None and (self._dense or self._foreign()):
            grad.zero_()
        elif grad is not None and self._touched:
            if self._rows is not None:
                grad.index_fill_(0, self._rows, 0.0)
            elif self._lookups() >= len(grad):
                grad.zero_()
            else:
                for places in self._touched:
                    grad.index_fill_(0, places.long(), 0.0)
        self._touched.clear()
        self._rows = self._sums = None
        self._dense = False
        self._note()
        return self

    def settle(self) -> None:
        """Nothing to do."""

    def distinct(self) -> tuple[Tensor, Tensor] | None:
        """Distinct rows that hold the gradient, int64 [n], in no set order, and it [n, W]; None: any row may."""
        rows, grad = self._distinct_rows(), self.weight.grad
        return None if rows is None or grad is None else (rows, self._of(rows, grad))

    def _distinct_rows(self) -> Tensor | None:
        if self._dense or self._foreign() or not self._touched:
            return None
        if self._rows is None:
            ids = self._touched[0] if len(self._touched) == 1 else torch.cat(self._touched)
            self._rows = self._numbered(ids)[0].long() if ids.is_cpu else torch.unique(ids).long()
        return self._rows

    def _rows_written(self, grad: Tensor) -> Tensor | None:
        """Distinct rows that hold the gradient; None where a pass over all rows is as good or needed."""
        dense = not on_cpu(grad) or self._lookups() >= len(grad)
        return None if dense else self._distinct_rows()

    def _of(self, rows: Tensor, grad: Tensor) -> Tensor:
        """Gradient of the distinct rows, [n, W]."""
        return grad.index_select(0, rows) if self._sums is None else self._sums

    def _lookups(self) -> int:
        return sum(len(places) for places in self._touched)

    def _numbered(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """``number_rows`` of ids, with scratch space that is kept."""
        if self._slots is None:
            self._slots = torch.empty(len(self.weight), dtype=torch.int32)
        return number_rows(ids, self._slots)

    def _note(self) -> None:
        grad = self.weight.grad
        self._written = None if grad is None else (id(grad), grad._version)

    def _foreign(self) -> bool:
        """Whether something else has written into the gradient, e.g. the backward pass of a penalty on the weights."""
        grad = self.weight.grad
        return grad is not None and (id(grad), grad._version) != self._written
