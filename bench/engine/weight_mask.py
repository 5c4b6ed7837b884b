"""A mask over single scalars of an embedding table: what is not active is zero and gets no gradient.

The mask acts where gradients of looked-up rows are added up, so that a step costs the rows of its batch and not the
table. A scalar whose value, moments and gradient are zero stays zero under Adam and SGD, whatever the L2 that goes
through the gradient; nothing need be multiplied by the mask after a step. Whatever wants the gradient of inactive
scalars, as methods do that let some of them grow, sees it before it is cut.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn

from bench.engine.clock import now
from bench.engine.fast.gradient import on_cpu
from bench.engine.fast.scatter import add_rows


class Observer(Protocol):
    """What looks at gradients of a masked table; on a GPU it runs within a graph, so it changes tensors in place."""

    def see(self, ids: Tensor, whole: Tensor, cut: Tensor) -> None:
        """Take gradients of the rows ``ids``, int32 [n] with repeats: ``whole`` and ``cut`` by the mask, [n, D]."""


class WeightMask(nn.Module):
    """Which scalars of a table's embeddings there are.

    Attributes:
        active: bool [V, D].
        observer: sees gradients before they are cut; None: nobody.
        spent: how often the mask was moved (``updates``), seconds of that (``mask_update_s``) and, on a CPU, of cutting
            gradients (``mask_apply_s``). Checkpoints hold it.
    """

    active: Tensor

    def __init__(self, active: Tensor) -> None:
        """Take ``active`` as it is."""
        super().__init__()
        self.register_buffer("active", active)
        self.observer: Observer | None = None
        # A dictionary, for plain numbers that a module holds must not change under a graph.
        self.spent: dict[str, float] = {"updates": 0, "mask_update_s": 0.0}
        if on_cpu(active):
            self.spent["mask_apply_s"] = 0.0

    @property
    def dim(self) -> int:
        """D."""
        return self.active.shape[1]

    def cut(self, weight: Tensor) -> None:
        """Zero what is not active in the first D columns of ``weight`` [V, W], in place."""
        weight[:, : self.dim].masked_fill_(~self.active, 0.0)

    def of_gradient(self, ids: Tensor, grad: Tensor) -> Tensor:
        """The gradient ``grad`` [n, at least D] of rows ``ids``, int32 [n], without that of inactive scalars."""
        start = time.perf_counter()
        whole = grad[:, : self.dim]
        cut = whole * self.active.index_select(0, ids)
        if self.observer is not None:
            self.observer.see(ids, whole, cut)
        if on_cpu(grad):
            self.spent["mask_apply_s"] += time.perf_counter() - start
        return cut if grad.shape[1] == self.dim else torch.cat([cut, grad[:, self.dim :]], dim=1)

    @contextmanager
    def moving(self) -> Iterator[None]:
        """Around a change of the mask: its seconds are added up."""
        device = self.active.device
        start = now(device)
        yield
        self.spent["mask_update_s"] += now(device) - start
        self.spent["updates"] += 1

    @torch.no_grad()
    def exchange(self, drop: Tensor, grow: Tensor, weight: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Let scalars go and others come, as many of them, at zero and with the moments of a fresh start.

        Args:
            drop: places of active scalars in the flat mask, distinct, int64 [k].
            grow: places of inactive ones, int64 [k].
            weight: the table's values [V, W], brought up to date before.
            optimizer: what trains it.
        """
        if len(drop) != len(grow):
            raise ValueError(f"{len(drop)} scalars go and {len(grow)} come: the number of active ones is fixed")
        flat = self.active.view(-1)
        flat.index_fill_(0, drop, False)
        flat.index_fill_(0, grow, True)
        both, width = torch.cat([drop, grow]), weight.shape[1]
        places = both.div(self.dim, rounding_mode="floor") * width + both % self.dim
        moments = (one for one in optimizer.state.get(weight, {}).values() if one.shape == weight.shape)
        for tensor in (weight, *moments):
            tensor.view(-1).index_fill_(0, places, 0.0)


class GradientSums(nn.Module):
    """Adds up what a masked table's rows, or a few of them, would get as gradient: an ``Observer``.

    Attributes:
        sums: [n, D] and, where a few rows are watched, one row more that takes what belongs to none of them.
        rows: the n rows that are watched, int64; None: all.
        squares: by row of the table, sums of squares of the gradients that the mask lets pass, [V]; None: not wanted.
    """

    sums: Tensor
    opened: Tensor
    rows: Tensor | None
    places: Tensor | None
    squares: Tensor | None

    def __init__(self, mask: WeightMask, weight: Tensor, watched: int | None = None, lasting: bool = False) -> None:
        """Make room for sums of ``watched`` rows, or all, of a table ``weight``; nothing is added until ``listen``.

        ``lasting`` sums are part of the state of a training: they are wanted over several steps.
        """
        super().__init__()
        rows, dim = mask.active.shape
        n = rows if watched is None else watched + 1
        self.register_buffer("sums", weight.new_zeros(n, dim), persistent=lasting)
        self.register_buffer("opened", weight.new_zeros(()), persistent=False)
        few = None if watched is None else torch.arange(watched, device=weight.device)
        places = None if few is None else torch.full((rows,), watched or 0, dtype=torch.int32, device=weight.device)
        self.register_buffer("rows", few)
        self.register_buffer("places", places)
        self.register_buffer("squares", None if few is None else weight.new_zeros(rows))

    def listen(self, now: bool) -> None:
        """Add the gradients of coming steps, or leave them."""
        self.opened.fill_(float(now))

    def clear(self) -> None:
        """Begin anew."""
        self.sums.zero_()
        if self.squares is not None:
            self.squares.zero_()

    def watch(self, rows: Tensor) -> None:
        """Watch other ``rows``, int64 [n], as many as before; sums begin anew."""
        assert self.rows is not None
        assert self.places is not None
        self.rows.copy_(rows)
        self.places.fill_(len(rows))
        self.places.index_copy_(0, self.rows, torch.arange(len(rows), dtype=torch.int32, device=rows.device))
        self.clear()

    def see(self, ids: Tensor, whole: Tensor, cut: Tensor) -> None:
        """Add the gradients of the rows that are watched."""
        if self.squares is not None:
            self.squares.index_add_(0, ids, cut.square().sum(1))
        places = ids if self.places is None else self.places.index_select(0, ids)
        if not on_cpu(whole):
            add_rows(self.sums, places, 0, whole * self.opened)
            return
        if not bool(self.opened):
            return
        if self.rows is not None:
            near = (places < len(self.rows)).nonzero().view(-1)
            places, whole = places.index_select(0, near), whole.index_select(0, near)
        add_rows(self.sums, places, 0, whole)
