"""SHARK: A Lightweight Model Compression Approach for Large-scale Recommender Systems (Zhang et al., CIKM 2023).

arXiv 2308.09395. The first of its two parts, which removes fields; the second one rounds embeddings row by row.

    train      a model of all fields, to its end
    score      to first order, what the loss ℓ_i of a row changes where a field's embedding is replaced by its mean
               ē_j over the scored rows:  δ_ij = <∂ℓ_i/∂e_ij, ē_j - e_ij>
               mean over rows of |δ_ij|;  with signed=true of δ_ij: the loss that a permutation of the field would
               cost, were it linear
    retrain    a new model on the K fields with the highest scores;  with finetune=true the trained model goes on,
               without the others, which leave their mean embedding behind

One backward pass of a batch's summed loss gives all ∂ℓ_i/∂e_ij (``methods/parts/replacement.py``).

With ``finetune`` nothing jumps: a dropped field is what its score asked about, ē_j, taken over the training rows, and
not zero. Where a backbone reads embeddings through a first linear layer alone, that is a shift of its bias, W_j ē_j. A
backbone that multiplies fields with each other (FM, DeepFM, xDeepFM, PNN, DCN) would need new weights for those that
stay: such cells are skipped. They could go on with zeros, but that is another method: ``lpfs``.

Sources: the paper's abstract and public code of others (github.com/Jia-py/ERASE), which has |δ| and retrains; neither
names a setting. Where this differs:

* Rows are scored on the holdout, at most 200,000 (chosen here); that code reads all validation rows, one by one.
* All fields are ranked at once. The authors drop fields in rounds with training in between, as far as is known here.
* A field's linear weight is replaced by its mean, too.

|δ| rewards fields of many values whose embeddings lie far apart, whether the loss is right to listen to them or not;
signed values of one field cancel. First order says little of rows that the model is sure of; fields that say the same
share their score. Another numbering of a field's values changes no score, but for the random start of the embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from bench.api import Axis, Context, CTRModel, Method, Range, Rows, Selection, Trained, stratified_sample
from methods.parts.replacement import SCORE_BATCH, mean_lookups, probed


@dataclass(frozen=True)
class SHARKParams:
    """Parameters of SHARK."""

    signed: bool = False
    """Mean change of the loss with its sign, in place of its size row by row."""
    finetune: bool = False
    """Train the cut model on, dropped fields at their mean, in place of a new one."""
    score_rows: Annotated[int, Range(1)] = 200_000
    """Most selection rows that are scored. Chosen here."""


class SHARK(Method[SHARKParams]):
    """Ranks fields of a trained model by what the loss says, to first order, of their mean in their place."""

    Params = SHARKParams

    def depends_on(self) -> frozenset[Axis]:
        """A trained model is handed to one cell, whose ranking then serves no other."""
        further: frozenset[Axis] = frozenset({"tau"}) if self.params.finetune else frozenset()
        return super().depends_on() | further

    def skip(self, ctx: Context[SHARKParams]) -> str | None:
        if self.params.finetune and not ctx.layers(1).absorbs:
            return (
                "finetune=true leaves dropped fields at their mean, and this backbone has no bias that could hold "
                "it: it multiplies fields with each other. Leave finetune out, or take a backbone that does not"
            )
        return None

    def select(self, ctx: Context[SHARKParams], train: Rows, selection_rows: Rows) -> Selection:
        """Train on ``train``, stop and score by ``selection_rows``."""
        model, rows = ctx.model(), selection_rows
        ctx.fit(model, train, selection_rows, name="search")
        if len(rows) > self.params.score_rows:
            rows = rows.take(stratified_sample(rows.labels, self.params.score_rows, ctx.rng("shark-rows")))
        scores = ctx.stage("slopes", lambda: changes(model, rows, self.params.signed))
        return Selection(
            scores=np.asarray(scores.cpu()),
            start=model if self.params.finetune else None,
            notes={"scored_rows": len(rows)},
        )

    def train(self, ctx: Context[SHARKParams], train: Rows, valid: Rows, selection: Selection) -> Trained:
        """Train anew, or go on with the dropped fields at their mean over ``train``."""
        if selection.start is None:
            return super().train(ctx, train, valid, selection)
        start = selection.start
        kept = selection.kept_fields(ctx.schema.n_fields)
        model = ctx.surgery(lambda: cut_to_means(start, kept, train))
        selection.start = None
        return Trained(model, ctx.fit(model, train, valid, name="train"))


def cut_to_means(model: CTRModel, kept: list[int], rows: Rows) -> CTRModel:
    """The model without the other fields, which stand at their mean over ``rows``."""
    means = mean_lookups(model, rows)
    return model.prune(kept, rest=(means.e, means.linear))


def changes(model: CTRModel, rows: Rows, signed: bool) -> Tensor:
    """Mean change of the loss, or of its size row by row, for every field; float64 [F]."""
    total = torch.zeros(model.schema.n_fields, dtype=torch.float64, device=rows.device)
    with probed(model, mean_lookups(model, rows)) as slopes:
        for batch in model.view(rows).slices(SCORE_BATCH):
            change = slopes(batch)
            total += (change if signed else change.abs()).sum(0, dtype=torch.float64)
    return total / len(rows)
