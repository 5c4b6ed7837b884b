"""SFS: Single-shot Feature Selection for Multi-task Recommendations (Wang et al., SIGIR 2023), with a single task.

    warm-up    all fields, less than or as much as one epoch
    score      a mask c of ones on the fields, e'_j = c_j e_j:  s_j = mean over batches b of |∂L_b/∂c_j|,
               L_b the mean log loss of a batch;  with per_sample=true  s_j = mean over rows i of |∂ℓ_i/∂c_j|
    retrain    a new model on the K fields with the largest s / Σ s

c is not trained, and the model is in eval mode. Since ∂L/∂c_j = sum_v <∂L/∂E_v, E_v> over the values v of field j
(``methods/parts/replacement.py``), s_j vanishes where the table has come to rest on the rows it is asked on: a model
that was trained to its end says nothing, and one that was not trained at all (embeddings by lot) neither. On rows it
has not seen a trained model says which fields it knows by heart. So the warm-up is short, and training rows are scored.

A step of one batch moves s_j by the batch's own noise, too: s is never below what a field of noise has, about one over
the square root of a batch's rows. ``per_sample`` takes the absolute value before rows can cancel: it measures how much
the model uses a field, right or wrong.

Sources: the paper's abstract (one forward and backward pass for the importance), and public code of others
(github.com/Jia-py/ERASE) for 100 batches of 4096. Where this differs:

* That code trains to the end and scores on validation rows; the authors' own stops after the first of its batches and
  keeps one field less. How long the authors train before they score is not known here. The warm-up is chosen here, with
  its reason above.
* Batches of 4096 whatever the profile's, each row at most once: fewer batches where there are fewer rows.
* The linear weight of a field is masked with its embedding. Multi-task relations of fields are left out.

Another numbering of a field's values changes no score, but for the random start of the embeddings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from bench.api import Context, CTRModel, Method, Range, Rows, Selection
from methods.parts.replacement import SCORE_BATCH, nothing, probed

WARMUP_STEPS = 900
"""A tenth of an epoch of Criteo in batches of 4096. Chosen here: on less data as many steps, at most one epoch."""


@dataclass(frozen=True)
class SFSParams:
    """Parameters of SFS."""

    per_sample: bool = False
    """Absolute values row by row, in place of batch by batch."""
    warmup_epochs: Annotated[float | None, Range(0, 20, open_low=True)] = None
    """Epochs before scoring; none: 900 steps, at most one epoch. Chosen here."""
    batches: Annotated[int, Range(1)] = 100
    """Batches of 4096 training rows that are scored, at most (public code of others, ERASE)."""


class SFS(Method[SFSParams]):
    """Ranks fields by the gradient of a mask of ones on a hardly trained model, then trains anew."""

    Params = SFSParams

    def select(self, ctx: Context[SFSParams], train: Rows, selection_rows: Rows) -> Selection:
        """Warm up and score on ``train``; ``selection_rows`` are not looked at."""
        params, draw = self.params, ctx.rng("sfs-rows")
        steps = math.ceil(len(train) / ctx.profile.batch_size)
        epochs = min(1.0, WARMUP_STEPS / steps) if params.warmup_epochs is None else params.warmup_epochs
        passes = math.ceil(epochs)
        warm = torch.randperm(len(train), generator=draw)[: max(1, round(len(train) * epochs / passes))]
        scored = torch.randperm(len(train), generator=draw)[: params.batches * SCORE_BATCH]
        model = ctx.model()
        ctx.fit(model, train.take(warm), name="warmup", epochs=passes)
        found = ctx.stage("slopes", lambda: sensitivity(model, train.take(scored), params.per_sample))
        return Selection(
            scores=np.asarray(found.cpu()),
            rows_seen=len(np.union1d(warm.numpy(), scored.numpy())),
            notes={"warmup_epochs": epochs, "scored_rows": len(scored)},
            hint="the warm-up may be too short for the loss to say anything of a field: raise warmup_epochs",
        )


def sensitivity(model: CTRModel, rows: Rows, per_sample: bool) -> Tensor:
    """The scores s of the fields, which add up to 1 unless all are 0; float64 [F]."""
    total = torch.zeros(model.schema.n_fields, dtype=torch.float64, device=rows.device)
    with probed(model, nothing(model)) as slopes:
        for batch in model.view(rows).slices(SCORE_BATCH):
            slope = slopes(batch).double()
            total += slope.abs().sum(0) if per_sample else slope.mean(0).abs()
    return total / total.sum().clamp_min(torch.finfo(total.dtype).tiny)
