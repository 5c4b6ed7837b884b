"""FairFS: Addressing Deep Feature Selection Biases for Recommender System (Wang et al., WWW 2026, arXiv 2602.20001).

    baseline    ē_i = mean over fields of e_{i,f}
    search      min over all weights of  BCE + φ sqrt(Σ_i s_i² / B),   s_i = Σ_f <∂ℓ_i/∂e_{i,f}, e_{i,f} - ē_i>,
                ℓ_i the loss of row i alone; the penalty's gradient runs backward through the backward pass
    anchors     e^j_i = e_i - (j / n) (e_i - ē_i),   j = 0 .. n
    score       on held-out rows: |mean over rows of a_{i,f}|, mean over batches,
                a_{i,f} = Σ_j <∂ℓ_i/∂e_{i,f} at e^j_i, e_{i,f} - ē_i> / (n + 1)
    retrain     a new model on the K fields with the largest scores

Shapes: e [B, F, D]; ē [B, D]; s [B]; a [B, F]. a is an integrated gradient: summed over fields it comes to
ℓ_i(e) - ℓ_i(ē), what the row's values change in its loss against a row whose fields are all alike, in nats. The
baseline of a row is near its embeddings, where zero may be far from all that the network has learned on.

Sources: the paper's abstract and the authors' code (github.com/xqwustc/FairFS): baseline, penalty, n = 5 (Criteo),
validation batches of 10,000 rows for scores. Their penalty sums gradients of the mean loss, so that its weight k
belongs to a batch: φ = k / sqrt(B). k = 10 for DCN on Criteo is 0.1; they choose k from 0.01 to 100 for each model
and data set. Where this differs:

* The paper's formula, as comments in the code quote it, is about fields' importances; the code sums over fields and
  takes the norm over rows. This is what the code does; the paper's text was not at hand.
* φ does not change with the batch. 1e-12 is added under the root. Optimiser, stop and clipping are the profile's; the
  search is stopped, and fields are scored, on a holdout of the training split.
* Linear weights of fields belong to neither penalty nor scores (as in their Wide & Deep's scores).

Lengths of embeddings and of first-layer weights may change against each other without changing a score. Another
numbering of a field's values changes none, but for the random start. Where there are no embeddings (``logistic``) the
cell is skipped. The backbone is never compiled in a search.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.api import Batch, Context, CTRModel, Method, Range, Rows, Search, Selection
from methods.parts.slopes import ROOT, evaluating, slopes

SCORE_BATCH = 10_000
"""Held-out rows whose mean is taken before its size (the authors' batch)."""


def from_baseline(e: Tensor) -> Tensor:
    """Embeddings less their baseline, e - ē, [B, F, D]."""
    return e - e.mean(1, keepdim=True)


def row_effect(model: CTRModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Mean log loss, and the root mean square of s, both differentiable."""
    found = slopes(model, batch, differentiable=True)
    effect = (found.of_e * from_baseline(found.e)).sum((1, 2))
    return found.loss, (effect.square().mean() + ROOT).sqrt()


def attributions(model: CTRModel, batch: Batch, anchors: int) -> Tensor:
    """The parts a of a model whose weights have no gradients, [B, F]."""
    e, linear = model.embed(batch)
    away, total = from_baseline(e), e.new_zeros(e.shape[:2])
    for j in range(anchors + 1):
        point = (e - away * (j / anchors)).requires_grad_()
        logits = model.arithmetic.score(model.backbone.forward, point, linear)
        loss = F.binary_cross_entropy_with_logits(logits, batch.labels, reduction="sum")
        total += (torch.autograd.grad(loss, point)[0] * away).sum(2)
    return total / (anchors + 1)


@dataclass(frozen=True)
class FairFSParams:
    """Parameters of FairFS; defaults are the authors' on Criteo."""

    penalty: Annotated[float, Range(0), Search(1e-4, 1)] = 0.1
    """φ (theirs for DCN; 1e-4 for DeepFM and Wide & Deep)."""
    anchors: Annotated[int, Range(1)] = 5
    """n, steps from a row's embeddings to its baseline."""


class FairFS(Method[FairFSParams]):
    """Trains under a penalty on what values change in a row's loss, and ranks fields by their part of it."""

    Params = FairFSParams

    def skip(self, ctx: Context[FairFSParams]) -> str | None:
        return None if ctx.dim else "importances are of embeddings, and this backbone has linear weights only"

    def select(self, ctx: Context[FairFSParams], train: Rows, selection_rows: Rows) -> Selection:
        model, penalty = ctx.model(), self.params.penalty

        def loss(model: CTRModel, batch: Batch) -> Tensor:
            fit, size = row_effect(model, batch)
            return fit + penalty * size

        log = ctx.fit(model, train, selection_rows, steps=[ctx.step(model, loss=loss)], name="search", by_lookup=True)
        notes: dict[str, Any] = {"search_epochs": log.epochs, "search_best_epoch": log.best_epoch}
        return Selection(scores=self._scores(model, selection_rows), notes=notes)

    def _scores(self, model: CTRModel, rows: Rows) -> np.ndarray:
        """Mean over batches, weighed by their rows, of |mean over rows of a|, float64 [F]."""
        total = torch.zeros(model.schema.n_fields, dtype=torch.float64, device=rows.device)
        with evaluating(model):
            for batch in model.view(rows).slices(SCORE_BATCH):
                total += attributions(model, batch, self.params.anchors).sum(0, dtype=torch.float64).abs()
        return np.asarray((total / len(rows)).cpu())
