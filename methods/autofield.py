"""AutoField (Wang et al., AutoField: Automating Feature Selection in Deep Recommender Systems, WWW 2022).

    search    gates p [F] scale the fields; weights learn on training rows, every f-th iteration the gate logits
              A [F, 2] learn on the selection rows (first-order bi-level)
    choose    the K fields with the largest A_keep - A_drop; with ``budget=native`` all above 0, or the
              largest alone
    retrain   a new model on the kept fields

The gates, with a = A_keep - A_drop:

    p = softmax(A)_keep = σ(a)                                                               relaxation=softmax
    p = softmax((log α + g) / T)_keep = σ((a + n) / T),   α = softmax(A), n = g_keep - g_drop    relaxation=gumbel

Two independent Gumbel variables differ by a logistic one, so n = log u - log(1 - u) with u uniform is the noise of
both logits in one draw. Shapes: p, n [F]; one draw of n a batch; T a scalar buffer. The two steps:
``methods/parts/bilevel.py``.

Sources: f = 10, selection batches of twice the size, A = 1/2, T from 1, both learning rates 1e-3, at most 8 search
epochs come from the authors' code. Their code runs a plain softmax without temperature, the paper the Gumbel form:
``relaxation`` names them.

Where this differs from paper or code:

* f, the gates' rate and the way of T are the authors' at their scale, batches of 2048 of Criteo, and carried over to
  other data by the rule of ``methods/parts/gate_budget.py``: T falls in a line from 1 to 0.01 while the gates can go as
  far as theirs in one epoch (the code takes 5e-5 off at every forward pass, which needs 19,800 of them), or in the
  whole search where that is shorter. Nothing is decided on before the first epoch is over. Noise and T belong to
  training: gates are noise-free where the search is validated.
* A learns on a holdout of the training split, on which the search is also stopped; ``sel_split=valid`` reproduces
  the authors. The decision is that of the best validated epoch, as in their code.
* No weight decay on A (the code has 1e-6): the two logits of a field stay mirror images.
* A field's linear weight passes through its gate. Backbone, optimiser and batches are the profile's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from bench.api import Context, Gate, Method, Only, Range, Rows, Search, Selection
from methods.parts.bilevel import bilevel_steps
from methods.parts.gate_budget import READ_FROM, AuthorsTraining, gate_plan, linear_way, way_in_steps

AUTHORS = AuthorsTraining(batch=2048, lr=1e-3, every=10)
"""Their code, the same for Criteo, Avazu and MovieLens-1M."""
ANNEALED_IN = 18_000
"""Iterations of theirs in which T comes to 0.01: 19,800 forward passes, one of eleven of which is a gate step's."""
NOISE = math.pi / math.sqrt(3)
"""Standard deviation of the logistic distribution."""
INITIAL_LOGIT = 0.5
"""Both logits of every field (the authors' code), so that p = 1/2."""
NOISE_EDGE = 1e-6
"""u is clipped to [edge, 1 - edge]."""


class TwoLogitGate(Gate):
    """The probability of keeping a field as its factor; in eval mode, and with softmax always, without noise."""

    temperature: Tensor

    def __init__(self, n_fields: int, relaxation: Literal["gumbel", "softmax"]) -> None:
        """Start undecided, at T = 1."""
        super().__init__()
        self.logits = nn.Parameter(torch.full((n_fields, 2), INITIAL_LOGIT))
        self.register_buffer("temperature", torch.ones(()))
        self.relaxation = relaxation

    def forward(self, e: Tensor, ids: Tensor) -> Tensor:
        a = self.preference()
        if self.relaxation == "softmax":
            return a.sigmoid()
        if self.training:
            u = torch.rand(a.shape, device=a.device, dtype=a.dtype).clamp_(NOISE_EDGE, 1 - NOISE_EDGE)
            a = a + torch.logit(u)
        return torch.sigmoid(a / self.temperature)

    def preference(self) -> Tensor:
        """A_keep - A_drop, [F]: the score of a field."""
        return self.logits[:, 0] - self.logits[:, 1]


@dataclass(frozen=True)
class AutoFieldParams:
    """Parameters of AutoField; defaults are the authors' unless a line says otherwise."""

    relaxation: Literal["gumbel", "softmax"] = "gumbel"
    """Gumbel noise and temperature (paper), or a plain softmax (the authors' code as it runs)."""
    search_epochs: Annotated[int, Range(1)] = 8
    """Epochs of the search at most, and never more than the profile's."""
    update_every: Annotated[int | None, Range(1)] = None
    """f, iterations between gate steps; none: the authors' 10 at their scale."""
    gate_lr: Annotated[float | None, Range(0, open_low=True), Search(1e-3, 0.1)] = None
    """Adam's rate for the gate logits; none: the authors' 1e-3 at their scale."""
    temperature_end: Annotated[float, Range(0, 1, open_low=True), Search(1e-3, 0.1), Only(relaxation="gumbel")] = 0.01
    """T from the end of its way on."""


class AutoField(Method[AutoFieldParams]):
    """Ranks fields by gates searched with alternating steps, then trains anew."""

    Params = AutoFieldParams

    def uses_tau(self, budget: str) -> bool:
        return budget == "field"

    def select(self, ctx: Context[AutoFieldParams], train: Rows, selection_rows: Rows) -> Selection:
        p = self.params
        model = ctx.model()
        gate = TwoLogitGate(ctx.schema.n_fields, p.relaxation).to(ctx.device)
        model.gate = gate
        plan = gate_plan(ctx, AUTHORS, len(train), every=p.update_every, lr=p.gate_lr)
        end = p.temperature_end if p.relaxation == "gumbel" else 1.0
        epochs = min(p.search_epochs, ctx.profile.max_epochs)
        way = min(way_in_steps(AUTHORS, ANNEALED_IN * plan.slower, plan.steps), epochs * plan.steps)
        log = ctx.fit(
            model,
            train,
            selection_rows,
            steps=bilevel_steps(ctx, model, selection_rows, plan.lr, plan.every),
            schedule=linear_way(gate.temperature, 1.0, end, way),
            name="search",
            epochs=epochs,
            burn_in=READ_FROM,
            by_lookup=True,
        )
        scores = np.asarray(gate.preference().detach().cpu(), dtype=np.float64)
        travel = float(scores.std()) / (NOISE if p.relaxation == "gumbel" else 1.0)
        notes: dict[str, Any] = {
            "search_epochs": log.epochs,
            "search_best_epoch": log.best_epoch,
            "temperature": float(gate.temperature),
            "open_fields": int((scores > 0).sum()),
        }
        own_choice = np.flatnonzero(scores > 0).tolist() or [int(scores.argmax())]
        return Selection(
            scores=scores, kept=None if ctx.budget == "field" else own_choice, gates=plan.told(log, travel), notes=notes
        )
