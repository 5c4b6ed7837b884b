"""Dense Adam over a large table, several steps at a time.

Dense Adam moves all rows in every step: their moments decay, L2 pulls at them. A batch gives a gradient to few of
them, and so a step is mostly one pass over numbers that no cache holds. Here the rows that batches look up, the hot
ones, live in a small copy that takes every step at once. The others wait: after ``WINDOW`` steps they go through the
very same steps, each with a gradient of zero, block after block, and a block stays in the cache for all of them.

Weights and moments are those of one step after the other, bit for bit, but for up to 15 numbers at the end of a table
whose size is no multiple of 16: PyTorch's kernel rounds the end of a tensor in another way.

Within a window the table itself lags behind, so this is for trainings in which nobody reads it but by looking rows up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from bench.engine.adam import FusedAdam, fused_adam
from bench.engine.scatter import add_rows, number_rows
from bench.engine.table import EmbeddingTable

WINDOW = 8
"""Steps that rows without data wait at most; more save little, for within the cache arithmetic is the limit."""
BLOCK = 1 << 18
"""Numbers of a block; it takes four times as many in the cache: weights, two moments, zeros."""
MOST = 4
"""A window ends when one row in this many is hot: then the copy takes as much memory as a gradient of the table."""
LEAST_NUMBERS = 1 << 21
"""Numbers of a table below which a pass in every step is cheap."""
ALIGN = 16
"""Rows to which parts of the copy are filled up, so that all numbers go through the vector form of the kernel."""


def pays(weight: Tensor, lookups: int) -> bool:
    """Whether a table [V, W] with so many lookups a step is better updated several steps at a time."""
    return weight.is_cpu and weight.numel() >= LEAST_NUMBERS and MOST * lookups < len(weight)


class WindowedAdam(FusedAdam):
    """Adam over all parameters, of the tables given through their hot rows; ``settle`` makes the tables whole."""

    def __init__(self, groups: list[dict[str, Any]], tables: Iterable[EmbeddingTable], lookups: int) -> None:
        """Take the parameter groups of Adam and tables to update in windows, if a group holds them.

        ``lookups`` are the rows that a step looks up, the same row as often as it is.
        """
        super().__init__(groups)
        own = {id(param) for group in self.param_groups for param in group["params"]}
        self._tables = {id(table.weight): table for table in tables if id(table.weight) in own}
        for table in self._tables.values():
            table.hot = HotRows(table.weight, self.state_of, lookups)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Update the hot rows of tables, and all other parameters as Adam does.

        Raises:
            RuntimeError: something else than a look at rows has a gradient with respect to a table.
        """
        for group in self.param_groups:
            for param in group["params"]:
                table = self._tables.get(id(param))
                if table is None or table.hot is None:
                    continue
                if param.grad is not None:
                    raise RuntimeError("a gate or backbone reads the weights of a table other than by looking rows up")
                table.hot.step(group)
        super().step()


class HotRows:
    """Rows of a table that a window of steps has looked up: weights, gradient and moments, in a copy.

    Attributes:
        weight: weights of hot rows, [at least n, W], by their ``places``.
    """

    def __init__(self, weight: Tensor, state_of: Callable[[Any], dict[str, Tensor]], lookups: int) -> None:
        """Take a table's weights [V, W], what returns the state that Adam has of them, and the lookups of a step."""
        self._table, self._state_of = weight, state_of
        self._slots = torch.full((len(weight),), -1, dtype=torch.int32)
        self._parts: list[tuple[int, Tensor]] = []
        """First place and rows of the table, int64, of what each look has added."""
        self._end = 0
        self._past: list[tuple[dict[str, Any], Tensor]] = []
        """Settings of Adam, and its count, at each step of the window."""
        self.weight, self._grad, self._exp_avg, self._exp_avg_sq = (self._space(0) for _ in range(4))
        self._make_room(len(weight) // MOST + lookups)

    @property
    def begun(self) -> bool:
        """Whether there are hot rows: then weights are to be read here."""
        return bool(self._parts)

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
        for column, part in grads:
            add_rows(self._grad, places, column, part)

    @property
    def grad(self) -> Tensor:
        """Gradient of all hot rows; that of all others is zero."""
        return self._grad[: self._end]

    def step(self, group: dict[str, Any]) -> None:
        """One step of Adam with the settings of ``group``."""
        count = self._state_of(self._table)["step"]
        count += 1
        self._past.append(({name: value for name, value in group.items() if name != "params"}, count.clone()))
        self._replay(self._past[-1:], 0, self._end)

    def clear(self) -> None:
        """Zero the gradient; if the window is full, make the table whole."""
        self.grad.zero_()
        if len(self._past) >= WINDOW or MOST * self._end >= len(self._table):
            self.settle()

    @torch.no_grad()
    def settle(self) -> None:
        """Take all rows of the table to the last step, and let none be hot; a gradient not used is lost."""
        if self._past:
            state = self._state_of(self._table)
            whole = (self._table.detach(), state["exp_avg"], state["exp_avg_sq"])
            zeros = self._table.new_zeros(BLOCK)
            blocks = zip(*(torch.split(one.view(-1), BLOCK) for one in whole), strict=True)
            for weight, exp_avg, exp_avg_sq in blocks:
                for settings, count in self._past:
                    fused_adam(settings, [weight], [zeros[: len(weight)]], [exp_avg], [exp_avg_sq], [count])
            for start, rows in self._parts:
                for one, hot in zip(whole, (self.weight, self._exp_avg, self._exp_avg_sq), strict=True):
                    one.index_copy_(0, rows, hot[start : start + len(rows)])
        for _, rows in self._parts:
            self._slots.index_fill_(0, rows, -1)
        self.grad.zero_()
        self._past.clear()
        self._parts.clear()
        self._end = 0

    def _admit(self, rows: Tensor) -> None:
        """Copy distinct ``rows``, int64 [n], none of them hot, and take them through the steps of the window."""
        start = self._end
        end = start + -(-len(rows) // ALIGN) * ALIGN
        self._make_room(end)
        self._slots.index_copy_(0, rows, torch.arange(start, start + len(rows), dtype=torch.int32))
        state = self._state_of(self._table)
        whole = (self._table.detach(), state["exp_avg"], state["exp_avg_sq"])
        for one, hot in zip(whole, (self.weight, self._exp_avg, self._exp_avg_sq), strict=True):
            torch.index_select(one, 0, rows, out=hot[start : start + len(rows)])
            hot[start + len(rows) : end].zero_()
        self._grad[start:end].zero_()
        self._replay(self._past, start, end)
        self._parts.append((start, rows))
        self._end = end

    def _make_room(self, end: int) -> None:
        """Let the copy hold ``end`` rows; pages of memory that no row comes to are never taken."""
        if end <= len(self.weight):
            return
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
