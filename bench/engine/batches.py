"""Batches of training rows in an order drawn anew for every pass."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from bench.rows.order import Blocks
from bench.rows.rows import Batch, Rows


class Orders:
    """Orders of N rows from a CPU generator, the same on every device, whole or in blocks.

    For a GPU the next order is drawn while the current one is trained on: with tens of millions of rows a draw
    takes seconds. The generator always stands where the last order handed out has left it.
    """

    def __init__(self, n: int, generator: torch.Generator, ahead: bool, blocks: Blocks | None = None) -> None:
        """Draw from ``generator``; ``ahead`` draws in a thread, into locked memory where an order is whole."""
        self._n, self._generator, self._blocks = n, generator, blocks
        self._worker = ThreadPoolExecutor(1) if ahead else None
        self._coming: Future[tuple[Tensor, Tensor]] | None = None

    def next(self) -> Tensor:
        """The next order, on the CPU: int64 [N], int32 if drawn ahead or in blocks."""
        if self._worker is None:
            if self._blocks is not None:
                return self._blocks.draw(self._n, self._generator)
            return torch.randperm(self._n, generator=self._generator)
        coming = self._coming or self._worker.submit(self._draw, self._generator.get_state())
        order, after = coming.result()
        self._generator.set_state(after)
        self._coming = self._worker.submit(self._draw, after)
        return order

    def _draw(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """An order from a copy of the generator in ``state``, and the copy's state after it."""
        copy = torch.Generator()
        copy.set_state(state)
        if self._blocks is not None:
            return self._blocks.draw(self._n, copy), copy.get_state()
        small = self._n < 2**31  # the same numbers in half the memory
        lock = torch.cuda.is_available()
        dtype = torch.int32 if small else torch.int64
        return torch.randperm(self._n, generator=copy, dtype=dtype, pin_memory=lock), copy.get_state()

    def forget(self) -> None:
        """Drop what was drawn ahead: the generator has been set anew."""
        self._coming = None

    def close(self) -> None:
        """Let the thread end, after the order that nobody needs any more."""
        self._coming = None
        if self._worker is not None:
            self._worker.shutdown(wait=False, cancel_futures=True)


class Batches:
    """Endless batches from rows, reshuffled after every pass.

    Attributes:
        order: the order of this pass, on the CPU; empty before the first.
        at: rows of it that are used up.
        size: rows of a full batch.
    """

    def __init__(self, rows: Rows, size: int, generator: torch.Generator, *, rest: bool) -> None:
        """Take ``size`` rows at a time; ``rest`` says whether the last ones of a pass make a smaller batch."""
        self.rows, self.size, self.generator = rows, min(size, len(rows)), generator
        self.order = torch.empty(0, dtype=torch.int64)
        self.at = 0
        self._least = 1 if rest else self.size
        self._orders = Orders(len(rows), generator, rows.device.type == "cuda", rows.blocks)
        self._under_way: Iterator[Batch] | None = None

    def next(self) -> Batch:
        if self.at + self._least > len(self.order):
            self.order, self.at, self._under_way = self._orders.next(), 0, None
        if self._under_way is None:
            self._under_way = self._pass()
        batch = next(self._under_way)
        self.at += len(batch)
        return batch

    def _pass(self) -> Iterator[Batch]:
        """The batches from ``at`` to the end of the pass."""
        starts = range(self.at, len(self.order) - self._least + 1, self.size)
        if self.rows.lies:
            return self.rows.batches(self.order[start : start + self.size] for start in starts)
        order = self.order.to(self.rows.device, non_blocking=True)
        return (self.rows.batch(order[start : start + self.size]) for start in starts)

    def state(self) -> tuple[Tensor, Tensor, int]:
        """State of the generator, ``order`` and ``at``."""
        return self.generator.get_state(), self.order, self.at

    def load(self, state: tuple[Tensor, Tensor, int]) -> None:
        """Go on where ``state`` was taken."""
        drawn, order, at = state
        self.generator.set_state(drawn.cpu())
        self.order, self.at, self._under_way = order.cpu(), at, None
        self._orders.forget()

    def close(self) -> None:
        """Stop whatever is under way."""
        self._under_way = None
        self._orders.close()
