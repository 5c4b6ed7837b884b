"""OptFS: Optimizing Feature Set for Click-Through Rate Prediction (Lyu et al., WWW 2023).

    search    gates g [V], one a value; e'_v = e_v · σ(t g_v) / σ(w0);  min over weights and gates of
              BCE + λ Σ_v σ(t g_v);  t = F^(e / (S - 1)) in epoch e = 0, ..., S - 1
    choose    native: values with g_v > 0;  exact: the V - floor(τ V) values with the largest g;  field: below
    rewind    the weights go back to those at the start of epoch R; the gates are fixed
    retrain   e'_v = e_v / σ(w0) for kept values, 0 for the others; the factors are written into the table at the end

A field's score is the share of training rows whose value of it has g > 0 (between fields of one share the larger
mean gate comes first), whatever the budget; ``budget=field`` keeps all values of the K fields it leaves.

Sources: the paper; its public code for S, R, F (the settings of DeepFM on Criteo), w0 and the scale 1 / σ(w0). For
DeepFM on Avazu that code has S = 5, R = 3, F = 5000 and λ = 2e-9:
``search_epochs=5,rewind_epoch=3,final_temperature=5000,value_price=0.065``. Where things differ here:

* The authors' λ = 5e-9 and gate rate (the model's, 3e-4) belong to 37 million rows and 130,000 steps: in a few hundred
  steps no gate could reach zero, whatever λ. Here λ is a price in nats of training log loss that a kept value has to
  earn, divided by the number of rows (5e-9 · 36.7e6 = 0.183 nats), and the gate rate follows the rule of
  ``methods/parts/gate_budget.py``. ``penalty=5e-9`` and ``gate_lr=3e-4`` give the authors' numbers.
* A gate multiplies the value's linear weight too. Every layer is rewound. Search looks at no validation rows.
* Adam works number by number, so one optimiser with two groups is the authors' two; L2 on the table alone.
* The slope of σ is σ(x) σ(-x) and does not round to zero at large t g.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.api import Batch, Context, CTRModel, Group, Method, Only, Range, Rows, Search, Selection, Trained
from methods.parts.gate_budget import AuthorsTraining, gate_plan
from methods.parts.value_gates import AnnealedGate, field_means, frequencies, kept_columns, open_scale, train_masked

AUTHORS = AuthorsTraining(batch=4096, lr=3e-4)
"""Their code: DeepFM on Criteo."""


@dataclass(frozen=True)
class OptFSParams:
    """Parameters of OptFS."""

    search_epochs: Annotated[int, Range(2)] = 15
    """S, epochs of the search; all of them are run (public code, DeepFM on Criteo)."""
    rewind_epoch: Annotated[int, Range(0)] = 1
    """R, epoch whose first weights retraining starts from; below S (public code, DeepFM on Criteo)."""
    final_temperature: Annotated[float, Range(1), Search(20, 2000)] = 200.0
    """F, temperature of the last epoch (public code, DeepFM on Criteo)."""
    gate_init: Annotated[float, Range(0, open_low=True)] = 0.5
    """w0, initial g (public code)."""
    value_price: Annotated[float, Range(0), Search(0.0183, 1.83), Only(penalty=None)] = 0.183
    """Nats of training log loss that a kept value has to earn: the authors' λ times their rows."""
    penalty: Annotated[float, Range(0)] | None = None
    """λ itself, in place of ``value_price`` over the number of training rows (public code: 5e-9)."""
    gate_lr: Annotated[float | None, Range(0, open_low=True), Search(1e-3, 0.1)] = None
    """Rate of the gates; none: the authors' 3e-4 at their scale."""
    start: Literal["rewound", "searched", "fresh"] = "rewound"
    """Weights that retraining starts from: of epoch R, of the end of the search, or new ones."""

    def __post_init__(self) -> None:
        if self.rewind_epoch >= self.search_epochs:
            raise ValueError(
                f"rewind_epoch={self.rewind_epoch} is out of range for search_epochs={self.search_epochs}; "
                f"allowed: [0, {self.search_epochs - 1}]."
            )


class Snapshot(nn.Module):
    """A copy of a model's weights, as buffers: a training that is resumed still has them."""

    def __init__(self, model: CTRModel) -> None:
        """Copy the weights as they are now."""
        super().__init__()
        self._live: list[Tensor] = [model.table.weight, *model.backbone.parameters(), *model.backbone.buffers()]
        for number, tensor in enumerate(self._live):
            self.register_buffer(f"copy{number}", tensor.detach().clone())

    @torch.no_grad()
    def take(self) -> None:
        """Copy the weights as they are now."""
        for tensor, copy in zip(self._live, self.buffers(), strict=True):
            copy.copy_(tensor)

    @torch.no_grad()
    def restore(self) -> None:
        """Put the copied weights back into the model."""
        for tensor, copy in zip(self._live, self.buffers(), strict=True):
            tensor.copy_(copy)


class OptFS(Method[OptFSParams]):
    """Annealed gates on values; rewound weights are retrained under the fixed mask."""

    Params = OptFSParams

    def select(self, ctx: Context[OptFSParams], train: Rows, selection_rows: Rows) -> Selection:
        """Search on ``train``; ``selection_rows`` are not looked at."""
        params, model = self.params, ctx.model()
        gate = AnnealedGate(ctx.schema.vocabulary_rows, params.gate_init).to(ctx.device)
        snapshot = Snapshot(model)
        gate.add_module("snapshot", snapshot)  # so that checkpoints hold it
        model.gate = gate
        penalty = params.value_price / len(train) if params.penalty is None else params.penalty
        plan = gate_plan(ctx, AUTHORS, len(train), lr=params.gate_lr)

        def loss(model: CTRModel, batch: Batch) -> Tensor:
            return F.binary_cross_entropy_with_logits(model(batch), batch.labels) + penalty * gate.open_sum()

        def schedule(iteration: int, planned: int) -> None:
            epoch, at = divmod(iteration, planned // params.search_epochs)
            if at == 0:
                gate.temperature.fill_(params.final_temperature ** (epoch / (params.search_epochs - 1)))
                if epoch == params.rewind_epoch:
                    snapshot.take()

        step = ctx.step(model, loss=loss, name="search")
        step.groups = [*step.groups, Group([gate.logits.weight], plan.lr)]
        log = ctx.fit(model, train, steps=[step], schedule=schedule, name="search", epochs=params.search_epochs)
        model.gate = None
        if params.start == "rewound":
            snapshot.restore()
        g = gate.logits.weight.detach().squeeze(1)
        travel = float((g / params.gate_init - 1).square().mean().sqrt())
        ctx.log(penalty=penalty)
        start = None if params.start == "fresh" else model
        selection = self._choose(ctx, g, frequencies(train))
        return replace(selection, start=start, rows_seen=len(train), gates=plan.told(log, travel))

    def _choose(self, ctx: Context[OptFSParams], g: Tensor, counts: Tensor) -> Selection:
        """Masks and scores from the gates [V] and how often each value occurs [V]."""
        is_open = g > 0
        ctx.log(open_share=float(is_open.double().mean()), mean_gate=float(g.mean()))
        share, gates = field_means(ctx.schema, is_open, counts), field_means(ctx.schema, g, counts)
        below_one_row = 0.5 / (1 + np.exp(-np.clip(gates, -30, 30))) / float(counts.sum() / ctx.schema.n_fields)
        mask: Tensor | None = is_open
        if ctx.budget == "exact":
            order = torch.argsort(g, descending=True, stable=True)
            mask = torch.zeros_like(is_open).index_fill(0, order[: ctx.keeps(len(g))], True)
        elif ctx.budget == "field":
            mask = None
        return Selection(scores=share + below_one_row, value_mask=mask)

    def train(self, ctx: Context[OptFSParams], train: Rows, valid: Rows, selection: Selection) -> Trained:
        """Retrain the searched model under its mask, or without the fields that were removed."""
        if selection.value_mask is None:
            return super().train(ctx, train, valid, selection)
        return train_masked(ctx, train, valid, selection, open_scale(self.params.gate_init))

    def columns(self, model: CTRModel, selection: Selection) -> dict[str, float]:
        return kept_columns(model, selection)
