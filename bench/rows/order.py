"""In what order a training sees rows that do not fit in memory: blocks by lot, rows by lot within a window of blocks.

    1  positions 0 ... n - 1 form a ring, which is cut from a place by lot on into blocks of neighbours
    2  the blocks come in an order by lot
    3  64 of them in a row are a window, whose rows come in an order by lot

What is left over when the ring is cut joins the last window. So every row comes once a pass, blocks begin elsewhere in
every pass, and the rows of a window are read from 64 places and are all that has to be in memory. Rows that fit in one
window come in the order that rows in memory have.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["BLOCKS", "Blocks", "blocks_of"]

BLOCKS = 64
"""Blocks of a window."""
WINDOW_BYTES = 128 << 20
"""Bytes of a window, at most, where that is between ``FEWEST`` and ``MOST`` rows."""
FEWEST, MOST = 1 << 14, 1 << 20
_INT32 = 1 << 30
"""Rows up to which sums of two positions fit an int32."""


@dataclass(frozen=True)
class Blocks:
    """Such an order: what results depend on, and memory does not."""

    window: int
    """Rows that are shuffled with each other; a multiple of ``BLOCKS``."""

    @property
    def block(self) -> int:
        """Rows that are neighbours in the store."""
        return self.window // BLOCKS

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """An order of ``n`` rows, int64 [n], or int32 where there are several windows and numbers allow it."""
        if n <= self.window:
            return torch.randperm(n, generator=generator)
        dtype = torch.int32 if n < _INT32 else torch.int64
        cut = int(torch.randint(n, (), generator=generator))
        starts = (torch.randperm(n // self.block, generator=generator) * self.block).to(dtype)
        order = torch.empty(n, dtype=dtype)
        inside = torch.arange(self.block, dtype=dtype)
        for first in range(0, len(starts), BLOCKS):
            rows = (starts[first : first + BLOCKS, None] + inside).view(-1)
            if first + BLOCKS >= len(starts):
                rows = torch.cat([rows, torch.arange(len(starts) * self.block, n, dtype=dtype)])
            at = first * self.block
            order[at : at + len(rows)] = rows[torch.randperm(len(rows), generator=generator)]
        return order.add_(cut).remainder_(n)

    def described(self) -> dict[str, int | str]:
        """What a record says of it."""
        return {"order": "blocks", "block": self.block, "window": self.window}


def blocks_of(row_bytes: int) -> Blocks:
    """The order of rows of so many bytes: that of all windows is a power of two, whatever memory there is."""
    most = max(1, WINDOW_BYTES // max(1, row_bytes))
    return Blocks(min(MOST, max(FEWEST, 1 << (most.bit_length() - 1))))
