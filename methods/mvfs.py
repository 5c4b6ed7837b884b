"""MvFS (Lee et al., MvFS: Multi-view Feature Selection for Recommender System, CIKM 2023).

    warm up    the model alone, two epochs
    train      model and gate together on the training loss: M views score the fields of each row, a mixture of them
               is squashed to a factor between 0 and 1 that hardens with T

    c_i = softmax(ReLU(BN(W_i e))),   i = 1..M
    r = σ(V [c_1; ...; c_M] + b),   I = Σ_i r_i c_i
    s_j = (1 + tanh(T (I_j - l))) / 2 = σ(2 T (I_j - l)),   z_j = s_j, or 0 outside the K largest

Shapes: e [B, F, D], s, z, I [B, F], c [B, M, F], r [B, M]; T a scalar buffer. The phases and ``budget=field``:
``methods/parts/per_sample.py``. ``mode=native`` has no prune ratio: at T = 5 and l = 0.1 a factor cannot fall below
σ(-1) = 0.27, so that nothing is ever shut. ``mode=hard`` zeroes all but the K largest factors of each row. Nothing is
removed: the model is served with its views.

Sources: M = 5, l = 0.1, T from 1 to 5 in 4,000 steps, rate 3e-4 at batches of 4,096 and two warm-up epochs come from
the authors' code. Rate and way of T are carried over to the rows at hand by the rule for all gates
(``methods/parts/gate_budget.py``): 4,000 steps are 0.45 of an epoch of theirs (Criteo), and of one here.

Where this differs from the code:

* T moves with training steps alone and is kept with the weights; the code raises it in every forward pass, validation
  included.
* The gate has a rate of its own, since one epoch here has a hundredth of their steps; there one rate trains all.
* Running statistics of batch norm are means over the first ten batches, and exponential means after that.
* The views start from Xavier's draw and are one matrix product; rows are shuffled. No weight decay on the gate.
* A field's linear weight passes through its gate. Backbone, optimiser, batches and patience are the profile's: its MLP
  has no batch norm, theirs has; patience is 2 there.
* Both phases keep their best validated weights, the second not before its first epoch has ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.api import Context, CTRModel, Range, Rows, Search
from methods.parts.bilevel import joint_step
from methods.parts.controllers import FieldScorer, largest
from methods.parts.gate_budget import AuthorsTraining, gate_plan, linear_way, way_in_steps
from methods.parts.per_sample import GatedTraining, PerSampleGate, PerSampleMethod, PerSampleParams

AUTHORS = AuthorsTraining(batch=4096, lr=3e-4)


class ViewsGate(PerSampleGate):
    """MvFS: M scorers, mixed row by row, squashed by a tanh that hardens with T.

    Args:
        n_fields: F.
        dim: D.
        views: M.
        threshold: l.
        kept: K, fields that each row keeps; None: all.
        generator: draws the weights.
    """

    temperature: Tensor

    def __init__(
        self, n_fields: int, dim: int, views: int, threshold: float, kept: int | None, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.views, self.threshold, self.kept = views, threshold, kept
        self.scorer = FieldScorer(n_fields, dim, views, generator)
        self.mix_weight = nn.Parameter(torch.empty(views, views * n_fields))
        nn.init.xavier_normal_(self.mix_weight, generator=generator)
        self.mix_bias = nn.Parameter(torch.zeros(views))
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, e: Tensor, ids: Tensor) -> Tensor:
        s = torch.sigmoid(2 * self.temperature * (self.importance(e, ids) - self.threshold))
        return s if self.kept is None else s * largest(s, self.kept)

    def importance(self, e: Tensor, ids: Tensor) -> Tensor:
        """I [B, F]."""
        y = self.scorer(e).relu().unflatten(1, (self.views, -1))
        c = y.softmax(2)  # [B, M, F]
        r = torch.sigmoid(F.linear(c.flatten(1), self.mix_weight, self.mix_bias))  # [B, M]
        return torch.bmm(r[:, None], c).squeeze(1)


@dataclass(frozen=True)
class MvFSParams(PerSampleParams):
    """Parameters of MvFS; defaults are the authors' unless a line says otherwise."""

    mode: Literal["native", "hard"] = "native"
    """Keep all factors, or the K largest of each row."""
    views: Annotated[int, Range(1)] = 5
    """M, scoring networks."""
    threshold: Annotated[float, Range(0), Search(0.01, 1)] = 0.1
    """l, the score whose factor is a half."""
    temperature_start: Annotated[float, Range(0, open_low=True)] = 1.0
    """T at the first step."""
    temperature_end: Annotated[float, Range(0, open_low=True), Search(1, 50)] = 5.0
    """T from the end of its way on."""
    temperature_steps: Annotated[int, Range(1)] = 4000
    """Steps of that way in the authors' training; here they are as large a share of an epoch."""

    def __post_init__(self) -> None:
        if self.temperature_end < self.temperature_start:
            raise ValueError(
                f"temperature_end={self.temperature_end:g} must be at least "
                f"temperature_start={self.temperature_start:g}; allowed: [{self.temperature_start:g}, inf)"
            )


class MvFS(PerSampleMethod[MvFSParams]):
    """Several scoring networks, mixed and squashed to factors of every row."""

    Params = MvFSParams

    def rows_keep_k(self) -> bool:
        return self.params.mode == "hard"

    def holds_out(self) -> bool:
        return False

    def gate(self, ctx: Context[MvFSParams], dim: int) -> PerSampleGate:
        p = self.params
        kept = ctx.n_keep if p.mode == "hard" else None
        return ViewsGate(ctx.schema.n_fields, dim, p.views, p.threshold, kept, ctx.rng("views"))

    def training(self, ctx: Context[MvFSParams], model: CTRModel, train: Rows, held: Rows) -> GatedTraining:
        p = self.params
        assert isinstance(model.gate, ViewsGate)
        plan = gate_plan(ctx, AUTHORS, len(train), lr=p.gate_lr)
        way = way_in_steps(AUTHORS, p.temperature_steps, plan.steps)
        move = linear_way(model.gate.temperature, p.temperature_start, p.temperature_end, way)
        return GatedTraining(joint_step(ctx, model, plan.lr), plan, move)

    def notes(self, model: CTRModel) -> dict[str, Any]:
        assert isinstance(model.gate, ViewsGate)
        return {"temperature": float(model.gate.temperature)}
