"""Dense Adam over a large table, several steps at a time.

Dense Adam moves all rows in every step: their moments decay, L2 pulls at them. A batch gives a gradient to few of
them, and so a step is mostly one pass over numbers that no cache holds. Here the rows that batches look up, the hot
ones, live in a small copy that takes every step at once. The others wait: after ``WINDOW`` steps they go through the
very same steps, each with a gradient of zero, block after block, and a block stays in the cache for all of them.

Weights and moments are those of one step after the other, bit for bit, with three exceptions that round otherwise: the
norm that clipping takes of a gradient, a table looked up twice in one step, and up to 15 numbers at the end of a table
whose size is no multiple of 16, where PyTorch's kernel takes another way.

Within a window the table itself lags behind, and so does its ``state_dict``. So this is for trainings in which nobody
reads or writes weights and moments of tables but by looking rows up; the table refuses to be read meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from bench.engine.fast.adam import FusedAdam, fused_adam
from bench.engine.fast.gradient import MEND, BufferedRows, RowGradient, RowTable
from bench.engine.fast.scatter import add_rows, number_rows

WINDOW = 8
"""Steps that rows without data wait at most; more save little, for within the cache arithmetic is the limit."""
BLOCK = 1 << 18
"""Numbers of a block, a multiple of 16; it takes four times as many in the cache: weights, two moments, zeros."""
MOST = 8
"""When one row in this many is hot before a window is full, batches differ so much that copying rows to and fro costs
more than it saves: dense updates take over for the rest of the training."""
ROWS_A_LOOKUP = 4
"""Rows of a table for each lookup of a step, at which windows are tried."""
LEAST_NUMBERS = 1 << 21
"""Numbers of a table below which a pass in every step is cheap."""
ALIGN = 16
"""Rows to which parts of the copy are filled up, so that all numbers go through the vector form of the kernel."""


def pays(weight: Tensor, lookups: int) -> bool:
    """Whether a table [V, W] with so many lookups a step may be better updated several steps at a time."""
    return weight.is_cpu and weight.numel() >= LEAST_NUMBERS and ROWS_A_LOOKUP * lookups < len(weight)


class WindowedAdam(FusedAdam):
    """Adam over all parameters, of the tables given through their hot rows, until those are too many.

    ``EmbeddingTable.settle`` makes a table whole.
    """

    def __init__(self, groups: list[dict[str, Any]], tables: Iterable[RowTable], lookups: int) -> None:
        """Take the parameter groups of Adam and tables to update in windows, if a group holds them.

        ``lookups`` are the rows that a step looks up, the same row as often as it is.
        """
        super().__init__(groups)
        own = {id(param) for group in self.param_groups for param in group["params"]}
        self._tables = {id(table.weight): table for table in tables if id(table.weight) in own}
        for table in self._tables.values():
            if table.weight.grad is not None and not table.weight.grad.any():
                table.weight.grad = None
            table.gradient = HotRows(table.weight, self.state_of, lookups)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Update the hot rows of tables, and all other parameters as Adam does.

        Raises:
            RuntimeError: something else than a lookup has a gradient with respect to a table.
        """
        for group in self.param_groups:
            for param in group["params"]:
                table = self._tables.get(id(param))
                held = None if table is None else table.gradient
                if not isinstance(held, HotRows):
                    continue
                if param.grad is not None:
                    raise RuntimeError(f"the gradient of a table does not come from lookups alone; {MEND}")
                held.step(group)
        super().step()


class HotRows:
    """Rows of a table that a window of steps has looked up: weights, gradient and moments, in a copy.

    Attributes:
        weight: weights of hot rows, [at least n, W], by their ``places``.
    """

    def __init__(self, weight: nn.Parameter, state_of: Callable[[Any], dict[str, Tensor]], lookups: int) -> None:
        """Take a table's weights [V, W], what returns the state that Adam has of them, and the lookups of a step."""
        self._table, self._state_of = weight, state_of
        self._version = weight._version
        self._met = False
        """Whether there has been a gradient: Adam takes no step before."""
        self._slots = torch.full((len(weight),), -1, dtype=torch.int32)
        self._parts: list[tuple[int, Tensor]] = []
        """First place and rows of the table, int64, of the cold rows of each lookup."""
        self._end = 0
        self._past: list[tuple[dict[str, Any], Tensor]] = []
        """Settings of Adam, and its step count, at each step of the window."""
        self.weight, self._grad, self._exp_avg, self._exp_avg_sq = (self._space(0) for _ in range(4))
        self._make_room(len(weight) // MOST + lookups)

    @property
    def ahead(self) -> bool:
        """Whether the table lags behind: then weights are to be read here."""
        return bool(self._past or self._parts)

    @torch.no_grad()
    def places(self, ids: Tensor) -> Tensor:
        """Where rows ``ids`` of the table, int32 [n], lie in ``weight``: int32 [n]. Cold ones become hot."""
        places = self._slots.index_select(0, ids)
        cold = (places < 0).nonzero().view(-1)
        if len(cold):
            new = ids.index_select(0, cold)
            rows, _ = number_rows(new, self._slots)
            self._admit(rows.long())
            places.index_copy_(0, cold, self._slots.index_select(0, new))
        return places

    def accumulate(self, places: Tensor, grads: list[tuple[int, Tensor]]) -> None:
        """Add gradients to the rows at ``places`` [n]: pairs of a first column and a gradient [n, columns]."""
        self._met = True
        for column, part in grads:
            add_rows(self._grad, places, column, part)

    @property
    def grad(self) -> Tensor:
        """Gradient of all hot rows; that of all others is zero."""
        return self._grad[: self._end]

    def step(self, group: dict[str, Any]) -> None:
        """One step of Adam with the settings of ``group``."""
        if not self._met:
            return
        self._guard()
        count = self._state_of(self._table)["step"]
        count += 1
        self._past.append(({name: value for name, value in group.items() if name != "params"}, count.clone()))
        self._replay(self._past[-1:], 0, self._end)

    @torch.no_grad()
    def norm(self) -> Tensor:
        """2-norm, a scalar."""
        norm: Tensor = torch.linalg.vector_norm(self.grad)
        return norm

    @torch.no_grad()
    def scale(self, factor: Tensor) -> None:
        """Multiply by ``factor``, a scalar."""
        self.grad.mul_(factor)

    @torch.no_grad()
    def clear(self) -> RowGradient:
        """Zero the gradient; if the window is full, make the table whole. Where no other is worth it, a buffer follows.

        Returns:
            What takes the gradient of the next step.
        """
        self.grad.zero_()
        full, crowded = len(self._past) >= WINDOW, MOST * self._end >= len(self._table)
        if full or crowded:
            self.settle()
        return self if full or not crowded else BufferedRows(self._table)

    @torch.no_grad()
    def settle(self) -> None:
        """Take all rows of the table to the last step, and let none be hot; a gradient not used is lost.

        Raises:
            RuntimeError: something else has written into the table.
        """
        if not self.ahead:
            return
        self._guard()
        past, self._past = self._past, []
        if past:
            zeros = self._table.new_zeros(BLOCK)
            blocks = zip(*(torch.split(whole.view(-1), BLOCK) for whole, _ in self._pairs()), strict=True)
            for weight, exp_avg, exp_avg_sq in blocks:
                for settings, count in past:
                    fused_adam(settings, [weight], [zeros[: len(weight)]], [exp_avg], [exp_avg_sq], [count])
            for start, rows in self._parts:
                for whole, hot in self._pairs():
                    whole.index_copy_(0, rows, hot[start : start + len(rows)])
        for _, rows in self._parts:
            self._slots.index_fill_(0, rows, -1)
        self.grad.zero_()
        self._parts.clear()
        self._end = 0

    def _pairs(self) -> list[tuple[Tensor, Tensor]]:
        """Weights, first and second moments, each of the table [V, W] and of the hot rows [at least n, W]."""
        state = self._state_of(self._table)
        whole = (self._table.detach(), state["exp_avg"], state["exp_avg_sq"])
        return list(zip(whole, (self.weight, self._exp_avg, self._exp_avg_sq), strict=True))

    def _guard(self) -> None:
        """Note the state of the table where a window begins; within one, refuse that others have written to it."""
        if not self.ahead:
            self._version = self._table._version
        elif self._version != self._table._version:
            raise RuntimeError(f"a table was written to while its updates were put off; {MEND}")

    @torch.inference_mode(False)
    @torch.no_grad()
    def _admit(self, rows: Tensor) -> None:
        """Copy distinct ``rows``, int64 [n], none of them hot, and take them through the steps of the window."""
        self._guard()
        start = self._end
        end = start + -(-len(rows) // ALIGN) * ALIGN
        self._make_room(end)
        self._slots.index_copy_(0, rows, torch.arange(start, start + len(rows), dtype=torch.int32))
        for whole, hot in self._pairs():
            torch.index_select(whole, 0, rows, out=hot[start : start + len(rows)])
            hot[start + len(rows) : end].zero_()
        self._grad[start:end].zero_()
        self._replay(self._past, start, end)
        self._parts.append((start, rows))
        self._end = end

    def _make_room(self, end: int) -> None:
        """Let the copy hold ``end`` rows; pages of memory that no row comes to are never taken."""
        if end <= len(self.weight):
            return
        end = max(end, len(self.weight) * 3 // 2)
        for name in ("weight", "_grad", "_exp_avg", "_exp_avg_sq"):
            room = self._space(end)
            room[: self._end] = getattr(self, name)[: self._end]
            setattr(self, name, room)

    def _space(self, rows: int) -> Tensor:
        return torch.empty(rows, self._table.shape[1], dtype=self._table.dtype)

    def _replay(self, past: list[tuple[dict[str, Any], Tensor]], start: int, end: int) -> None:
        """Steps on the hot rows from ``start`` to ``end``."""
        parts = [[one[start:end]] for one in (self.weight, self._grad, self._exp_avg, self._exp_avg_sq)]
        weight, grad, exp_avg, exp_avg_sq = parts
        for settings, count in past:
            fused_adam(settings, weight, grad, exp_avg, exp_avg_sq, [count])
