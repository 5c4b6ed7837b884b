"""ShuffleGate (Huang et al., 2025, arXiv 2503.09315), for fields.

Title: Scalable Feature Optimization for Recommender Systems via Batch-wise Sensitivity Learning.

    mix         e'_bf = g_f e_bf + (1 - g_f) e_{π_f(b) f},    g = σ(5 θ),    π_f a permutation of the batch's rows
    search      every iteration  weights <- Adam on BCE;  then θ <- Adam on BCE + λ mean(g), on held-out rows
    choose      the K fields with the largest θ; with ``budget=native`` those with g > 1/2, or the largest alone
    retrain     a new model on the kept fields

Shapes: e [B, F, D]; θ, g [F]; λ scalar. A field that is shuffled tells nothing of its row but is as likely as ever, so
that no other weight can make up for a small gate, and a field whose gate closes keeps its scale. No gradient flows into
the other row's embedding. π_f is drawn anew in every step, for every field apart.

Sources: the paper's abstract and the authors' code (github.com/goldenNormal/ShuffleGate): θ from 1 (g = .993), the 5,
Adam at 1e-3 in every iteration on validation rows, batches of 4,096, λ = 0.02 on Criteo (0.005 on Avazu, 0.1 on
MovieLens-1M: they tune it), the search stopped by validation AUC. Where this differs:

* In evaluation the mean embedding over the last training batches stands in the other row's place: what it is on
  average. The authors shuffle there too, so that a row's score follows the lot and the rows that it is scored with.
* Orders of fields are one random order of the rows, moved on by a random number for each field: each is a uniform
  permutation, and two fields of a row come from different rows but for chance 1 / B. Theirs are drawn apart, which
  takes five to seven times as long.
* θ, not g, ranks fields: g rounds to 0 and 1. Steps of θ follow the rule of ``methods/parts/gate_budget.py``.
* θ learns on a holdout of the training split, on which the search is also stopped, not before its first epoch is over;
  ``sel_split=valid`` reproduces the authors. At most ``search_epochs`` are run, as for AutoField (theirs: 100).
* A field's linear weight is mixed with that of the same row as its embedding. Backbone and batches are the profile's.

Another numbering of a field's values changes no score, but for the random start of the embeddings. Of two fields that
tell the same either may be shuffled, not both. The public code of the authors' LeAP (arXiv 2606.01111) is this gate
under this penalty; what that paper adds, a penalty of its own for each field, is in no source found here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.api import Batch, Context, CTRModel, Gate, Method, Range, Rows, Search, Selection, Step
from methods.parts.bilevel import bilevel_steps
from methods.parts.controllers import Running
from methods.parts.gate_budget import READ_FROM, AuthorsTraining, gate_plan

AUTHORS = AuthorsTraining(batch=4096, lr=1e-3)
"""Their code on Criteo, Avazu and AliCCP; batches of 256 on MovieLens-1M."""
START = 1.0
"""θ of every field (the authors' code)."""
SHARPNESS = 5.0
"""Of the sigmoid (the authors' code)."""


def own_orders(rows: int, fields: int, device: torch.device) -> Tensor:
    """A permutation of the rows for each field, int64 [B, F]."""
    order = torch.rand(rows, device=device).argsort()  # randperm cannot be recorded
    ahead = torch.randint(rows, (fields,), device=device)
    return order.repeat(2)[torch.arange(rows, device=device)[:, None] + ahead]


class ShuffledGate(Gate):
    """Mixes a field with itself in another row; in eval mode with its mean over rows."""

    def __init__(self, n_fields: int, dim: int) -> None:
        """Start all but open."""
        super().__init__()
        self.theta = nn.Parameter(torch.full((n_fields,), START))
        self.mean = RunningMean(n_fields, dim)

    def forward(self, e: Tensor, ids: Tensor) -> Tensor:
        return self.values()

    def values(self) -> Tensor:
        """g, [F]."""
        return torch.sigmoid(SHARPNESS * self.theta)

    def instead(self, e: Tensor, linear: Tensor | None, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        if not self.training:
            return self.mean.e, None if linear is None else self.mean.linear
        self.mean.watch(e, linear)
        n_rows, n_fields = e.shape[:2]
        places = own_orders(n_rows, n_fields, e.device) * n_fields + torch.arange(n_fields, device=e.device)
        vectors = e.detach().flatten(0, 1)[places]
        return vectors, None if linear is None else linear.detach().flatten()[places]


class RunningMean(Running):
    """Mean vector of each field over training batches."""

    e: Tensor
    """[F, D]."""
    linear: Tensor
    """Linear weights, [F]."""
    momentum = 0.5  # means of a batch scatter less than embeddings move in ten of them

    def __init__(self, n_fields: int, dim: int) -> None:
        """Start at zero, where embeddings start on average."""
        super().__init__()
        self.register_buffer("e", torch.zeros(n_fields, dim))
        self.register_buffer("linear", torch.zeros(n_fields))

    @torch.no_grad()
    def watch(self, e: Tensor, linear: Tensor | None) -> None:
        """Take in a batch: e [B, F, D] and linear weights [B, F]."""
        moves = [(self.e, e.mean(0))]
        self.follow(*moves, *([] if linear is None else [(self.linear, linear.mean(0))]))


@dataclass(frozen=True)
class ShuffleGateParams:
    """Parameters of ShuffleGate; defaults are the authors' unless a line says otherwise."""

    penalty: Annotated[float, Range(0), Search(2e-3, 0.2)] = 0.02
    """λ, in nats of log loss with all gates open (theirs on Criteo; they tune it for each data set)."""
    search_epochs: Annotated[int, Range(1)] = 8
    """Epochs of the search at most, and never more than the profile's. Chosen here: as for AutoField."""
    update_every: Annotated[int | None, Range(1)] = None
    """Iterations between gate steps; none: every iteration."""
    gate_lr: Annotated[float | None, Range(0, open_low=True), Search(1e-3, 0.1)] = None
    """Adam's rate for θ; none: the authors' 1e-3 at their scale."""


class ShuffleGate(Method[ShuffleGateParams]):
    """Ranks fields by gates that let other rows' values in, then trains anew."""

    Params = ShuffleGateParams

    def uses_tau(self, budget: str) -> bool:
        return budget == "field"

    def select(self, ctx: Context[ShuffleGateParams], train: Rows, selection_rows: Rows) -> Selection:
        p, model = self.params, ctx.model()
        model.gate = gate = ShuffledGate(ctx.schema.n_fields, model.dim).to(ctx.device)
        plan = gate_plan(ctx, AUTHORS, len(train), every=p.update_every, lr=p.gate_lr)
        log = ctx.fit(
            model,
            train,
            selection_rows,
            steps=self._steps(ctx, model, gate, selection_rows, plan.lr, plan.every),
            name="search",
            epochs=min(p.search_epochs, ctx.profile.max_epochs),
            burn_in=READ_FROM,
            by_lookup=True,
        )
        scores = np.asarray(gate.theta.detach().cpu(), dtype=np.float64)
        opened = np.flatnonzero(scores > 0).tolist()
        notes: dict[str, Any] = {
            "search_epochs": log.epochs,
            "search_best_epoch": log.best_epoch,
            "open_fields": len(opened),
        }
        return Selection(
            scores=scores,
            kept=None if ctx.budget == "field" else opened or [int(scores.argmax())],
            gates=plan.told(log, float(scores.std()) / START),
            notes=notes,
        )

    def _steps(
        self, ctx: Context[ShuffleGateParams], model: CTRModel, gate: ShuffledGate, held: Rows, lr: float, every: int
    ) -> list[Step]:
        weights, gates = bilevel_steps(ctx, model, held, lr, every)

        def priced(model: CTRModel, batch: Batch) -> Tensor:
            return gates.loss(model, batch) + self.params.penalty * gate.values().mean()

        return [weights, replace(gates, loss=priced, batch_scale=1)]
