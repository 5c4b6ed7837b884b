"""Permutation importance of a deep reference model: the log loss it gains when a field's values are shuffled.

Fisher, Rudin and Dominici, All Models are Wrong, but Many are Useful, JMLR 2019 (arXiv:1801.01489), after Breiman,
Random Forests, Machine Learning 2001. The model with all fields is trained once, as No Selection is, and then

    score_f = mean over R orders of (1 / N) sum over held-out batches of [L(batch, f shuffled) - L(batch)]

with L the summed log loss of a batch, in evaluation mode. What is shuffled is the field's column of ids, with its
numbers and further values, among the rows of a batch. The standard error of the mean over the R orders is in the
notes: the luck of orders alone, not that of rows or of the training, which only other seeds show.

Fields that tell the same share what they are worth: of two copies each looks dispensable, or half of what it is. The
scores are those of one trained model, and another seed gives another model. A score within some
standard errors of 0 is no evidence either way, and one beyond them may be luck of the rows; a negative one is noise.

Departures. The reference model is the cell's own backbone. The held-out rows are those that stopped its training early,
which touches all fields alike. Of more than ``max_rows`` of them some are drawn.
Shapes: B rows of a batch, N held-out rows, F fields.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from bench.api import Batch, Context, CTRModel, Method, Range, Rows, Selection
from methods.parts.shallow import bound_rows
from methods.parts.shuffling import put_field

_BATCH = 16_384


@dataclass(frozen=True)
class PermutationParams:
    """Values without a source are chosen here."""

    repeats: Annotated[int, Range(1, 1000)] = 3
    """R, orders that every field is shuffled by."""
    max_rows: Annotated[int, Range(100)] = 200_000
    """Held-out rows at most."""


class Permutation(Method[PermutationParams]):
    """Ranks fields by what a trained model loses without their order."""

    Params = PermutationParams

    def select(self, ctx: Context[PermutationParams], train: Rows, selection_rows: Rows) -> Selection:
        model = ctx.model()
        log = ctx.fit(model, train, selection_rows, name="reference-model")
        held = bound_rows(selection_rows, self.params.max_rows, ctx.rng("rows"))
        order = ctx.rng("permutation")
        lost = ctx.stage("permute", lambda: losses(model, held, self.params.repeats, order))
        error = lost.std(dim=0) / self.params.repeats**0.5 if self.params.repeats > 1 else None
        notes = {
            "reference_epochs": log.epochs,
            "reference_valid_auc": log.valid_auc,
            "permuted_rows": len(held),
            "standard_error": None if error is None else error.tolist(),
        }
        scores = np.asarray(lost.mean(dim=0))
        return Selection(scores=scores, hint="the model reads no field; train it longer", notes=notes)


@torch.inference_mode()
def losses(model: CTRModel, rows: Rows, repeats: int, generator: torch.Generator) -> torch.Tensor:
    """Mean log loss that ``model`` gains by each shuffle, float64 [repeats, F] on the CPU.

    Args:
        model: over all fields of ``rows``.
        rows: those it is evaluated on.
        repeats: orders that are drawn for each batch; every field is shuffled once by each of them.
        generator: draws the orders.
    """
    model.eval()
    gained = torch.zeros(repeats, rows.schema.n_fields, dtype=torch.float64, device=rows.device)
    for batch in model.view(rows).slices(_BATCH):
        base, changed = _loss(model, batch), _copy(batch)
        for repeat in range(repeats):
            order = torch.randperm(len(batch), generator=generator).to(rows.device)
            for field in range(rows.schema.n_fields):
                put_field(changed, batch, rows.schema, field, order)
                gained[repeat, field] += _loss(model, changed) - base
                put_field(changed, batch, rows.schema, field, None)
    return gained.cpu() / len(rows)


def _copy(batch: Batch) -> Batch:
    numeric = None if batch.numeric is None else batch.numeric.clone()
    pooled = None if batch.pooled is None else batch.pooled.clone()
    return replace(batch, ids=batch.ids.clone(), numeric=numeric, pooled=pooled)


def _loss(model: CTRModel, batch: Batch) -> torch.Tensor:
    """Summed log loss, float64."""
    return binary_cross_entropy_with_logits(model(batch).double(), batch.labels.double(), reduction="sum")
