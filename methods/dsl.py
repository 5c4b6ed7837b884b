"""DSL: Dynamic Sparse Learning for efficient recommendation (Wang et al., WSDM 2024, arXiv 2402.02855), reconstructed.

A sparse embedding table is trained from scratch. Now and then the smallest active scalars go and as many inactive ones
with the largest gradients come, fewer and fewer of them; the budget is exact and constant (``weight_sparsity`` has the
equations).

    select   K = V·D - ⌊τ·V·D⌋ scalars by lot, without replacement; nothing is trained
    train    BCE, the mask moving in the first epochs; g of an exchange is the gradient of its step's batch

The prune ratio τ is a share of embedding scalars; all fields stay, and so do linear weights and network.

Sources: the abstract, and what the authors' public code does for LightGCN, NeuMF and MultVAE: ρ₀ = 0.5, ρ₁ = 0.005,
the cosine, |w| and |g|, newcomers at zero. The paper's text was not at hand. Where things differ here:

* In that code the first mask is drawn scalar by scalar, so that K varies; a cut at a threshold drops more than asked
  where scalars tie; what was just dropped may come back at once; and moments of dropped scalars live on. All four are
  faults and are not kept. Gradient and update cost a batch's rows, not the table.
* An exchange lets come only scalars with a gradient, and drops as many. A batch of clicks looks up few values, and by
  the code the rest would be ties: rows by their numbers, without any data. So ρ is an upper bound here.
* Newcomers are spared at the next exchange (chosen here): they begin at zero and would be the first to go.
* The code's cosine runs over its whole planned training. Early stopping leaves few epochs of the most that a profile
  allows, so the mask moves in ``mask_epochs`` and at most three quarters of them (RigL), and nothing is validated
  before it stays. Its interval is 100 to 3,000 steps; here it is a share of an epoch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

from bench.api import Context, CTRModel, GradientSums, Method, Range, Rows, Search, Selection, Trained
from methods.parts.weight_sparsity import LAST, Growth, Moves, masked_model, no_scalars, train_moving, uniform_mask


@dataclass(frozen=True)
class DSLParams:
    """Parameters of DSL."""

    first_share: Annotated[float, Range(0, 1), Search(0.05, 1)] = 0.5
    """ρ₀, share of the active scalars that is exchanged at first, at most (public code)."""
    last_share: Annotated[float, Range(0, 1)] = 0.005
    """ρ₁, that share at the end (public code)."""
    mask_epochs: Annotated[float, Range(0)] = 2.0
    """Epochs in which the mask moves, at most three quarters of the profile's. Chosen here: deep models on Avazu are at
    their best after one or two (BARS)."""
    updates_per_epoch: Annotated[float, Range(0, open_low=True), Search(0.8, 80)] = 8.0
    """Exchanges in an epoch. Chosen here: on Criteo one in a thousand steps of 4,096 rows."""
    update_every: Annotated[int | None, Range(1)] = None
    """Steps from one exchange to the next, in place of ``updates_per_epoch`` (public code: 100 to 3,000)."""
    grace: bool = True
    """Spare scalars at the first exchange after they have come. Chosen here."""

    def moves(self, steps: int, epochs: int) -> Moves:
        """When the mask moves in a training of at most ``epochs`` epochs of ``steps`` steps."""
        every = self.update_every or max(1, round(steps / self.updates_per_epoch))
        end = math.floor(min(self.mask_epochs, LAST * epochs) * steps)
        return Moves(every, end, self.first_share, self.last_share)


class DSL(Method[DSLParams]):
    """Trains a sparse table whose smallest scalars make room for those with the largest gradients."""

    Params = DSLParams

    def skip(self, ctx: Context[DSLParams]) -> str | None:
        return no_scalars(ctx)

    def select(self, ctx: Context[DSLParams], train: Rows, selection_rows: Rows) -> Selection:
        """Draw the first mask; no rows are looked at."""
        return Selection(weight_mask=uniform_mask(ctx), rows_seen=0)

    def growth(self, ctx: Context[Any], model: CTRModel, train: Rows) -> Growth:
        """What gathers gradients of inactive scalars while the masked ``model`` is trained."""
        assert model.table.mask is not None
        return Growth(GradientSums(model.table.mask, model.table.weight.detach()))

    def train(self, ctx: Context[DSLParams], train: Rows, valid: Rows, selection: Selection) -> Trained:
        """Train a fresh model under the mask and let it move."""
        model = masked_model(ctx, selection)
        moves = self.params.moves(-(-len(train) // ctx.profile.batch_size), ctx.profile.max_epochs)
        return train_moving(ctx, (train, valid), model, moves, self.growth(ctx, model, train), self.params.grace)
