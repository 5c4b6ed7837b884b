"""Deep Lasso: a group lasso on gradients of the inputs, for fields.

Cherepanova et al., A Performance-Driven Benchmark for Feature Selection in Tabular Deep Learning, NeurIPS 2023,
arXiv 2311.05877.

    slopes      s_{i,f} = ∂ℓ_i / ∂e_{i,f},  the gradient of row i's own loss in the embedding of its value of f;
                t_{i,f} = ∂ℓ_i / ∂w_{i,f},  in its linear weight, where the backbone reads one
    spreads     σ_{f,d} and τ_f: standard deviations of e_{i,f,d} and w_{i,f} over the rows of a batch
    norms       n_f = sqrt(Σ_i (Σ_d σ_{f,d}² s_{i,f,d}² + τ_f² t_{i,f}²) / B)
    search      min over all weights of  BCE + λ Σ_f n_f;  its gradient runs backward through the backward pass
    score       n_f on held-out rows, without dropout, mean over batches
    retrain     a new model on the K fields with the largest scores

Shapes: e, s [B, F, D]; w, t [B, F]; σ [F, D]; τ, n [F].

Sources: the paper and its public code, which weighs loss and penalty as 1 - w and w, with w tuned for each data set
between .01 and .5, and adds 1e-8 under the root. Where this differs:

* The paper's inputs are numbers of unit spread; embeddings have lengths of their own, which begin near zero. So slopes
  are taken in standardised coordinates, e / σ, and like the paper's inputs these are fixed: no gradient flows into σ.
  With one the penalty shortens embeddings, and pairs of fields are lost (measured once). ``coordinates=raw`` is the
  literal form: slopes of the embeddings as they are, in penalty and score.
* A linear weight is its own input, w = τ · (w / τ): its weight is τ, and gradients flow into it. ``raw`` leaves it
  out, as the slope in it is the same for all fields.
* Norms are roots of means of rows' squares, where the code has sums of a batch that the loss has divided by its
  size: λ and scores do not change with the batch. Theirs, w / (1 - w) / sqrt(512), would be .0004 to .044. 1e-12 is
  added under the root.
* λ is fixed. The authors tune it by validation, as should be done for data unlike these.
* The search stops by the profile's patience on a holdout of the training split; the decision is that of the best epoch.

What λ does, on data that no table shows: means over ``planted[rows=30000,fields=32,seed=7]`` and
``planted[rows=50000,fields=24,seed=11]``, two seeds each, ``dnn``. AUC of the search on its holdout, and the share of
the ten true fields that the ten highest scores find (by lot .42):

    standardised   λ = 0     .003    .01     .03     .1             raw   λ = .0005   .005    .05
    AUC            .770     .770    .770    .773    .753                  .771     .701    .567
    found          .90      .90     .90     .90     .80                   .93      .50     .40

So the ranking is mostly the trained model's own: the penalty adds a little to its AUC and nothing to what is found, and
at .1 it takes pairs of fields away. Too much of it on raw slopes ends the search before it begins: while embeddings are
short, weights gain next to nothing of the loss and pay in full. All slopes go to zero, and noise is ranked. How much
that is depends on the lengths of embeddings: at a hundredth of ``init_std`` and other L2 and batches, .0005 found .60,
and .03 in standardised coordinates .80, as no penalty did (one seed).

A step costs about two plain ones on ``dnn`` and ``xdeepfm`` (Criteo's shape, one thread of a busy CPU). The backbone
is never compiled in it: what ``torch.compile`` makes cannot be differentiated twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor

from bench.api import Batch, Context, CTRModel, Method, Only, Range, Rows, Search, Selection
from methods.parts.slopes import ROOT, Slopes, evaluating, slopes

STRENGTH = {"standardised": 0.03, "raw": 5e-4}
"""λ by coordinates."""


def variances(x: Tensor) -> Tensor:
    """Over rows; x may have no coordinates, of which ``torch.var`` warns."""
    return (x - x.mean(0)).square().mean(0)


def norms(found: Slopes, coordinates: str) -> Tensor:
    """n, the roots of the means over rows of squared slopes, [F]."""
    squares = found.of_e.square()  # [B, F, D]
    if coordinates == "standardised":
        squares = squares * variances(found.e.detach())
    by_field = squares.sum(2).mean(0)
    if coordinates == "standardised" and found.linear is not None and found.of_linear is not None:
        by_field = by_field + found.of_linear.square().mean(0) * variances(found.linear)
    return (by_field + ROOT).sqrt()


class PenalisedLoss:
    """Log loss and the norms of the slopes, times λ."""

    def __init__(self, weight: float, coordinates: str) -> None:
        """Take λ, and what the slopes are taken in."""
        self.weight, self.coordinates = weight, coordinates

    def __call__(self, model: CTRModel, batch: Batch) -> Tensor:
        found = slopes(model, batch, differentiable=True)
        return found.loss + self.weight * norms(found, self.coordinates).sum()


@dataclass(frozen=True)
class DeepLassoParams:
    """Parameters of Deep Lasso."""

    strength: Annotated[float | None, Range(0), Search(3e-3, 0.3, only=Only(coordinates="standardised"))] = None
    """λ; none: 0.03, with raw coordinates 0.0005. The authors tune; chosen here of .003, .01, .03 and .1 (raw: of
    .0005, .005, .05) by validation AUC on data that no table shows."""
    coordinates: Literal["standardised", "raw"] = "standardised"
    """What slopes are taken in: embeddings at unit spread, as the paper's inputs are, and linear weights; or
    embeddings as they are."""


class DeepLasso(Method[DeepLassoParams]):
    """Trains under a penalty on the gradients of embeddings, and ranks fields by these gradients."""

    Params = DeepLassoParams

    def skip(self, ctx: Context[DeepLassoParams]) -> str | None:
        if self.params.coordinates == "raw" and not ctx.dim:
            return "raw slopes are those of embeddings, and this backbone has linear weights only"
        return None

    def select(self, ctx: Context[DeepLassoParams], train: Rows, selection_rows: Rows) -> Selection:
        coordinates, strength, model = self.params.coordinates, self.params.strength, ctx.model()
        strength = STRENGTH[coordinates] if strength is None else strength
        step = ctx.step(model, loss=PenalisedLoss(strength, coordinates))
        log = ctx.fit(model, train, selection_rows, steps=[step], name="search", by_lookup=True)
        scores = fields_norms(model, selection_rows, ctx.profile.batch_size, coordinates)
        notes: dict[str, Any] = {
            "search_epochs": log.epochs,
            "search_best_epoch": log.best_epoch,
            "search_valid_auc": log.valid_auc,
            "lambda": strength,
            "penalty_end": float(scores.sum()),
        }
        hint = "the penalty may have flattened the model: search_valid_auc would tell, and a smaller strength mend it"
        return Selection(scores=scores, notes=notes, hint=hint)


def fields_norms(model: CTRModel, rows: Rows, batch_size: int, coordinates: str) -> np.ndarray:
    """Norms by field on ``rows``, mean over batches, [F]."""
    with evaluating(model):
        batches = model.view(rows).slices(batch_size)
        found = [norms(slopes(model, batch), coordinates).detach().double() for batch in batches]
    return np.asarray(torch.stack(found).mean(0).cpu())
