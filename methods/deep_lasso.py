"""Deep Lasso: a group lasso on gradients of the inputs, for fields.

Cherepanova et al., A Performance-Driven Benchmark for Feature Selection in Tabular Deep Learning, NeurIPS 2023,
arXiv 2311.05877.

    slopes      s_{i,f} = ∂ℓ_i / ∂e_{i,f},  the gradient of row i's own loss in the embedding of its value of f
    norms       n_f = sqrt(Σ_i |s_{i,f}|² / B)
    search      min over all weights of  BCE + λ Σ_f n_f;  its gradient runs backward through the backward pass
    score       n_f on held-out rows, without dropout, mean over batches, in standardised coordinates
    retrain     a new model on the K fields with the largest scores

Shapes: e, s [B, F, D]; n [F]. A field's slopes are those of its embedding alone, not of its linear weight.

Sources: the paper and its public code, which weighs loss and penalty as 1 - w and w, with w tuned for each data set,
and adds 1e-8 under the root. Where this differs:

* λ is ``strength`` times the loss over the penalty, both on a first batch before the first step: slopes have no scale
  that one number would fit on every backbone. Where they start near zero with the embeddings (``fm``) there is no such
  λ, and the cell is skipped; so it is where there are no embeddings (``logistic``).
* Norms are roots of means of rows' squares, where the code has sums of a batch that the loss has divided by its
  size: λ and scores do not change with the batch. 1e-12 is added under the root.
* The paper's inputs are standardised numbers; embeddings have lengths of their own, and one that never moves, of a
  field that is constant or of values seen once, has slopes all the same. So fields are ranked by slopes in standardised
  coordinates, s_{i,f,d} times the standard deviation of e_{i,f,d} over rows; ``score=slope`` ranks by s itself. The
  penalty is on s: in standardised coordinates it would start near zero with the embeddings. An embedding that is
  twice as long with weights half as large has half the slopes, so the penalty may lengthen embeddings where it should
  flatten the model; L2 on the table is what stands against that.
* The search stops by the profile's patience on a holdout of the training split; the decision is that of the best epoch.

A step costs about 2.1 plain ones on ``dnn`` and 1.7 on ``xdeepfm`` (Criteo's shape, one thread of a CPU). The backbone
is never compiled in it: what ``torch.compile`` makes cannot be differentiated twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor

from bench.api import Backbone, Batch, Context, CTRModel, Method, Range, Rows, Selection, stratified_sample
from methods.parts.slopes import ROOT, evaluating, slopes

VANISHING = 1e-2
"""Slopes at embeddings of 1e-4, as a share of those at 1, that have no scale of their own."""


def norms(slope: Tensor) -> Tensor:
    """Roots of the means over rows of |s|²: slopes [B, F, D] -> [F]."""
    return (slope.square().sum((0, 2)) / len(slope) + ROOT).sqrt()


class PenalisedLoss:
    """Log loss and the norms of the slopes, times λ."""

    def __init__(self, weight: Tensor) -> None:
        """Take λ, a scalar."""
        self.weight = weight

    def __call__(self, model: CTRModel, batch: Batch) -> Tensor:
        loss, _, slope = slopes(model, batch, differentiable=True)
        return loss + self.weight * norms(slope).sum()


def _slopes_vanish(backbone: Backbone[Any], device: torch.device) -> bool:
    """Whether embeddings near zero have slopes near zero: those of products do, those of a tower do not."""
    draw = torch.Generator().manual_seed(0)
    unit = torch.randn(8, backbone.n_fields, backbone.dim, generator=draw).to(device)
    sizes = []
    for length in (1.0, 1e-4):
        e = (unit * length).requires_grad_()
        logits = backbone.eval().forward(e, e.new_zeros(e.shape[:2]))
        sizes.append(float(torch.autograd.grad(logits.sum(), e)[0].norm()))
    return sizes[1] < VANISHING * sizes[0]


@dataclass(frozen=True)
class DeepLassoParams:
    """Parameters of Deep Lasso."""

    strength: Annotated[float, Range(0)] = 0.1
    """λ as a multiple of the loss over the penalty before the first step. The authors tune; chosen here of 0.01, 0.1
    and 1 on ``planted[rows=30000,fields=32,seed=7]``, one seed, which no table shows."""
    score: Literal["standardised", "slope"] = "standardised"
    """Coordinates of the slopes that fields are ranked by: embeddings at unit spread, as the paper's inputs are, or as
    they are."""


class DeepLasso(Method[DeepLassoParams]):
    """Trains under a penalty on the gradients of embeddings, and ranks fields by these gradients."""

    Params = DeepLassoParams

    def skip(self, ctx: Context[DeepLassoParams]) -> str | None:
        if not ctx.dim:
            return "the penalty is on gradients of embeddings, and this backbone has linear weights only"
        if _slopes_vanish(ctx.model().backbone, ctx.device):
            return "gradients of embeddings start near zero on this backbone, so that the penalty has no scale"
        return None

    def select(self, ctx: Context[DeepLassoParams], train: Rows, selection_rows: Rows) -> Selection:
        model = ctx.model()
        start = self._start(ctx, model, train)
        step = ctx.step(model, loss=PenalisedLoss(start["lambda"]))
        log = ctx.fit(model, train, selection_rows, steps=[step], name="search", by_lookup=True)
        found = {
            by: self._scores(model, selection_rows, ctx.profile.batch_size, by) for by in ("standardised", "slope")
        }
        notes: dict[str, Any] = {
            "search_epochs": log.epochs,
            "search_best_epoch": log.best_epoch,
            **{name: float(value) for name, value in start.items()},
            "penalty_end": float(found["slope"].sum()),
        }
        return Selection(scores=found[self.params.score], notes=notes)

    def _start(self, ctx: Context[DeepLassoParams], model: CTRModel, train: Rows) -> dict[str, Tensor]:
        """Loss and penalty of a first batch, and what follows from them: λ."""
        n = min(len(train), ctx.profile.batch_size)
        first = train.take(stratified_sample(train.labels, n, ctx.rng("first-batch")))
        with evaluating(model):
            loss, _, slope = slopes(model, next(model.view(first).slices(n)))
        penalty = norms(slope).sum()
        weight = self.params.strength * loss.detach() / penalty
        return {"lambda": weight, "loss_start": loss.detach(), "penalty_start": penalty}

    def _scores(self, model: CTRModel, rows: Rows, batch_size: int, by: str) -> np.ndarray:
        """Norms by field on ``rows``, mean over batches, [F]."""
        sums = []
        with evaluating(model):
            for batch in model.view(rows).slices(batch_size):
                _, e, slope = slopes(model, batch)
                if by == "standardised":
                    slope = slope * e.detach().std(0, correction=0)
                sums.append(norms(slope).double())
        return np.asarray(torch.stack(sums).mean(0).cpu())
