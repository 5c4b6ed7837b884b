"""Masks over single embedding scalars: how many stay, which, and how some are exchanged while the table is trained.

    K = V·D - ⌊τ·V·D⌋           active scalars, at every step; those of another row with ``budget=match:LABEL``
    ρ(t) = ρ₁ + (ρ₀ - ρ₁) (1 + cos(π t / T)) / 2          share that is exchanged at step t = Δ, 2Δ, ... < T
    k = ⌊ρ(t) K⌋                at most the active ones that are no newcomers, and the inactive ones with a gradient
    drop                        the k smallest |w| of active scalars that did not come at the last exchange
    grow                        the k largest |g| of scalars that were inactive before, each with g ≠ 0

Both sides start at zero with fresh moments. A linear weight is never masked. Shapes: mask, w, g [V, D].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.api import Context, CTRModel, GradientSums, Rows, Selection, Trained

LAST = 0.75
"""Share of the longest training after which the mask stays (RigL, Evci et al., ICML 2020)."""


def budget(ctx: Context[Any]) -> int:
    """K, embedding scalars that stay."""
    return ctx.keeps(ctx.schema.vocabulary_rows * ctx.dim)


def no_scalars(ctx: Context[Any]) -> str | None:
    """Why there is nothing to mask."""
    return None if ctx.dim else "the method drops embedding scalars, and this backbone has linear weights only"


def largest(values: Tensor, k: int) -> Tensor:
    """Places of the k largest of ``values`` [n], ties to the lower place: exactly k, increasing, int64."""
    if k == 0:
        return torch.zeros(0, dtype=torch.int64, device=values.device)
    bound = values.kthvalue(len(values) - k + 1).values
    chosen = values > bound
    ties = (values == bound).nonzero().view(-1)
    chosen[ties[: k - int(chosen.sum())]] = True
    return chosen.nonzero().view(-1)


def largest_mask(values: Tensor, k: int) -> Tensor:
    """The k largest of ``values`` [V, D], ties to the lower row, then column: bool [V, D]."""
    flat = torch.zeros(values.numel(), dtype=torch.bool, device=values.device)
    return flat.index_fill_(0, largest(values.reshape(-1), k), True).view(values.shape)


def uniform_mask(ctx: Context[Any]) -> Tensor:
    """K scalars by lot, bool [V, D]; those of a larger prune ratio are among those of a smaller one."""
    shape = (ctx.schema.vocabulary_rows, ctx.dim)
    chosen = torch.randperm(shape[0] * shape[1], generator=ctx.rng("mask"))[: budget(ctx)]
    return torch.zeros(shape[0] * shape[1], dtype=torch.bool).index_fill_(0, chosen, True).view(shape)


@dataclass(frozen=True)
class Moves:
    """When how much of the mask is exchanged."""

    every: int
    """Δ, steps."""
    end: int
    """T, steps; the mask stays from there on."""
    first: float
    """ρ₀."""
    last: float
    """ρ₁."""

    def due(self, step: int) -> bool:
        """Whether the mask moves after the step ``step``, counted from one."""
        return step % self.every == 0 and step < self.end

    def share(self, step: int) -> float:
        """ρ."""
        return self.last + 0.5 * (self.first - self.last) * (1 + math.cos(math.pi * step / self.end))


class Growth(nn.Module):
    """Gathers gradients of inactive scalars: by itself those of the one step before an exchange, of all rows."""

    lasting: bool = False
    """Whether every step between two exchanges counts."""

    def __init__(self, sums: GradientSums) -> None:
        """Gather into ``sums``."""
        super().__init__()
        self.sums = sums

    def moved(self) -> None:
        """The mask has moved: begin anew."""
        self.sums.clear()


class Exchange(nn.Module):
    """Moves the mask of a model's table between steps. As the mask's observer it is part of the training's state."""

    newcomers: Tensor

    def __init__(self, model: CTRModel, moves: Moves, growth: Growth, grace: bool) -> None:
        """Act on the masked table of ``model``; ``grace`` spares newcomers at the next exchange."""
        super().__init__()
        assert model.table.mask is not None
        self._table, self._mask = [model.table], [model.table.mask]  # lists: they are no modules of this one
        self._moves, self.growth, self._grace = moves, growth, grace
        self._now = {"step": 0}  # a dictionary, for a plain number of a module must not change under a graph
        self.register_buffer("newcomers", torch.zeros_like(model.table.mask.active))

    def see(self, ids: Tensor, whole: Tensor, cut: Tensor) -> None:
        """Gather gradients of a step, as long as the mask moves; a graph captured meanwhile goes on, to no effect."""
        if self._now["step"] < self._moves.end:
            self.growth.sums.see(ids, whole, cut)

    def begin(self, iteration: int, planned: int) -> None:
        """Note the step that comes: the schedule of a fit."""
        step = self._now["step"] = iteration + 1
        self.growth.sums.listen(step < self._moves.end and (self.growth.lasting or self._moves.due(step)))

    @torch.no_grad()
    def after(self, optimizer: torch.optim.Optimizer) -> None:
        """Move the mask if it is time."""
        if self._moves.due(self._now["step"]):
            (mask,) = self._mask
            with mask.moving():
                self._move(optimizer)
                self.growth.moved()

    def _move(self, optimizer: torch.optim.Optimizer) -> None:
        (table,), (mask,) = self._table, self._mask
        table.settle()
        weight, active = table.weight, mask.active.view(-1)
        may_go = active & ~self.newcomers.view(-1) if self._grace else active
        old = may_go.nonzero().view(-1)
        sizes = weight[:, : mask.dim].abs().reshape(-1).index_select(0, old)
        new, pull = self._candidates(active)
        if not bool((sizes.sum() + pull.sum()).isfinite()):  # none is negative; to look at each takes longer
            return  # the next validation says what has gone wrong
        k = min(int(self._moves.share(self._now["step"]) * int(active.count_nonzero())), len(old), len(new))
        drop, grow = old[largest(-sizes, k)], new[largest(pull, k)]
        mask.exchange(drop, grow, weight, optimizer)
        self.newcomers.view(-1).zero_().index_fill_(0, grow, True)

    def _candidates(self, active: Tensor) -> tuple[Tensor, Tensor]:
        """Flat places of inactive scalars with a gradient, int64 [n], and its size, [n]."""
        sums = self.growth.sums
        dim = sums.sums.shape[1]
        found = sums.sums if sums.rows is None else sums.sums[: len(sums.rows)]
        size = found.abs()
        there = active.view(-1, dim) if sums.rows is None else active.view(-1, dim).index_select(0, sums.rows)
        rows, columns = ((size > 0) & ~there).nonzero(as_tuple=True)
        places = (rows if sums.rows is None else sums.rows.index_select(0, rows)) * dim + columns
        return places, size[rows, columns]


def masked_model(ctx: Context[Any], selection: Selection) -> CTRModel:
    """The model that training starts from, under the mask of the selection."""
    mask = selection.weight_mask
    assert mask is not None

    def surgery() -> CTRModel:
        model = ctx.model() if selection.start is None else selection.start
        model.table.mask_weights(mask)
        return model

    model = ctx.surgery(surgery)
    selection.start = None
    return model


def train_moving(
    ctx: Context[Any],
    data: tuple[Rows, Rows],
    model: CTRModel,
    moves: Moves,
    growth: Growth,
    grace: bool,
) -> Trained:
    """Train a masked model on ``data``, training and validation rows, while its mask moves.

    Nothing is validated before the mask stays, so that the weights that are kept have been trained under theirs.
    """
    train, valid = data
    assert model.table.mask is not None
    exchange = Exchange(model, moves, growth, grace)
    model.table.mask.observer = exchange
    step = ctx.step(model, after=exchange.after)
    burn_in = moves.end / max(1, -(-len(train) // ctx.profile.batch_size))
    log = ctx.fit(
        model, train, valid, steps=[step], schedule=exchange.begin, name="train", by_lookup=True, burn_in=burn_in
    )
    model.table.mask.observer = None
    return Trained(model, log)
