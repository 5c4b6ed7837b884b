"""Training a model together with hard concrete field gates on a few rows: the first phase of Light-FMP.

Also the source of the weights that the control ``random-k[carry_over=true]`` continues from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.api import Batch, ConfigError, Context, CTRModel, Group, Range, Rows, Search, Step, stratified_sample
from methods.parts.hard_concrete import HardConcreteGate, Lagrangian

SUBSET_CAP = 0.1
"""The subset holds at most this share of the training rows."""


@dataclass(frozen=True)
class PretrainParams:
    """Settings of the gated pretraining."""

    pretrain_rows: Annotated[int, Range(10)] = 2000
    """Rows of the pretraining subset D_S (paper, Table 1); at most 10 % of the training rows."""
    pretrain_share: Annotated[float, Range(0, 0.5, open_low=True)] | None = None
    """Subset as a share of the training rows, in place of ``pretrain_rows`` (paper, Figure 2d)."""
    pretrain_min_count: Annotated[int, Range(1)] = 1
    """Values seen fewer times in the subset share the field's rare embedding while pretraining; 1 keeps all."""
    pretrain_epochs: Annotated[int, Range(1)] = 20
    """Passes over the subset. Chosen here: the paper gives none."""
    pretrain_batch: Annotated[int, Range(1)] = 128
    """Rows a step. Chosen here: the paper gives none."""
    pretrain_lr: Annotated[float, Range(0, open_low=True), Search(1e-5, 3e-3)] = 3e-4
    """Adam's rate for the model (the largest of the paper's grid). Searched from that grid's least."""
    gate_lr: Annotated[float, Range(0, open_low=True), Search(0.01, 1)] = 0.1
    """Adam's rate for a, λ and φ. Chosen here: at the model's rate the gates hardly leave their random start."""
    gate_init: Literal["logit", "alpha"] = "logit"
    """What is drawn from the normal distribution: a = log α, or α itself (cut off below 0.05)."""
    init_mean: float = 0.5
    """Mean of that distribution (paper, section 2.3)."""
    init_std: Annotated[float, Range(0)] = 0.25
    """Its standard deviation: the paper's 0.0625 read as a variance."""
    beta: Annotated[float, Range(0, open_low=True), Search(0.1, 1)] = 0.83
    """Temperature β (paper, section 2.3). Searched below 1, where draws go to 0 or 1."""
    zeta: Annotated[float, Range(1, open_low=True)] = 1.1
    """Upper stretch ζ (paper, section 2.3)."""
    gamma: Annotated[float, Range(None, 0, open_high=True)] = -0.1
    """Lower stretch γ (paper, section 2.3)."""
    noise: Literal["batch", "sample"] = "batch"
    """A field's draw of u serves a step's whole batch (paper, Algorithm 1), or every row has its own."""
    constraint: Literal["sampled", "expected"] = "sampled"
    """Mean that is held at the target: of the drawn gates (paper, equation 4) or of their P(z > 0)."""
    target: Literal["kept", "pruned"] = "kept"
    """Target of that mean: the share of kept fields 1 - τ, or τ as equation 4 prints it."""
    rank_share: Annotated[float, Range(0, 1, open_low=True)] = 0.2
    """Last share of the steps over which a is averaged for the ranking."""
    clamp: Annotated[float, Range(1, open_low=True)] = 100.0
    """α stays within [1 / clamp, clamp] after every step."""


@dataclass(frozen=True)
class Pretrained:
    """What the gated pretraining leaves behind."""

    model: CTRModel
    """All fields, ungated, weights as trained."""
    rows: Rows
    """The subset D_S as drawn from the training rows."""
    log_alpha: Tensor
    """Averaged gate parameters ā, [F], CPU."""
    gate_values: Tensor
    """Noise-free gates at ā, [F]."""
    gates: dict[str, float]
    """``Selection.gates``; travel is the standard deviation over fields of a's way, in those of its start."""
    notes: dict[str, Any]


class _Average:
    """Clamps a after every step and averages it over the last steps.

    The running sum is a buffer of the gate, so that a training resumed from a checkpoint goes on with it.
    """

    def __init__(self, gate: HardConcreteGate, steps: int, params: PretrainParams) -> None:
        self.gate, self.bound = gate, math.log(params.clamp)
        self.last = max(1, round(params.rank_share * steps))
        self.first, self.iteration = steps - self.last, 0
        self.total = torch.zeros_like(gate.log_alpha, requires_grad=False)
        gate.register_buffer("log_alpha_sum", self.total)

    def schedule(self, iteration: int, planned: int) -> None:
        self.iteration = iteration

    @torch.no_grad()
    def __call__(self, optimizer: torch.optim.Optimizer) -> None:
        self.gate.log_alpha.clamp_(-self.bound, self.bound)
        if self.iteration >= self.first:
            self.total += self.gate.log_alpha

    def mean(self) -> Tensor:
        return (self.total / self.last).cpu()


def pretrain(ctx: Context[Any], params: PretrainParams, train: Rows) -> Pretrained:
    """Train the full model and its gates on a stratified subset of ``train``."""
    return pretrain_on(ctx, params, draw_subset(ctx, params, train))


def pretrain_on(ctx: Context[Any], params: PretrainParams, subset: Rows) -> Pretrained:
    """Train the full model and its gates on ``subset``, which is drawn already.

    Only the table rows that the subset touches are trained, in a compact table: without weight decay the others
    would not move, and the cost follows the subset instead of the vocabulary.
    """
    rows = subset.merge_rare(params.pretrain_min_count) if params.pretrain_min_count > 1 else subset
    full = ctx.model()
    gate = HardConcreteGate(
        initial_log_alpha(ctx, params).to(ctx.device), params.beta, params.zeta, params.gamma, params.noise
    )
    first = gate.log_alpha.detach().clone()
    full.gate = gate
    restricted = full.restrict(rows)
    kappa = 1 - ctx.tau if params.target == "kept" else ctx.tau
    lagrangian = Lagrangian(kappa, ctx.device)

    steps = params.pretrain_epochs * math.ceil(len(rows) / params.pretrain_batch)
    average = _Average(gate, steps, params)
    step = Step(
        groups=[
            Group([restricted.model.table.weight, *full.network_parameters()], params.pretrain_lr),
            Group([gate.log_alpha], params.gate_lr),
            Group(list(lagrangian.parameters()), params.gate_lr, maximize=True),
        ],
        loss=partial(_loss, gate, lagrangian, params.constraint == "sampled"),
        name="pretrain",
        after=average,
    )
    ctx.fit(
        restricted.model,
        restricted.rows,
        steps=[step],
        schedule=average.schedule,
        name="pretrain",
        epochs=params.pretrain_epochs,
        batch_size=params.pretrain_batch,
        clip_norm=None,
        lr_decay=None,
        by_lookup=True,
    )
    model = restricted.write_back()
    model.gate = None
    log_alpha = average.mean()
    with torch.no_grad():
        gate.log_alpha.copy_(log_alpha)
        values = gate.deterministic().cpu()
    notes = {
        "lambda": lagrangian.linear.item(),
        "phi": lagrangian.quadratic.item(),
        "kappa": kappa,
        "mean_z": float(values.mean()),
        "init_correlation": correlation(first.cpu(), log_alpha),
        "pretrain_steps": steps,
    }
    moved = float((log_alpha - first.cpu()).std(correction=0))
    gates = {"steps": steps, "every": 1, "lr": params.gate_lr, "rows": len(subset)}
    gates["travel"] = moved / params.init_std if params.init_std else math.inf
    return Pretrained(model, subset, log_alpha, values, gates, notes)


def _loss(gate: HardConcreteGate, lagrangian: Lagrangian, sampled: bool, model: CTRModel, batch: Batch) -> Tensor:
    """Log loss, and the price of a mean gate off its target: of the drawn gates, or of their P(z > 0)."""
    bce = F.binary_cross_entropy_with_logits(model(batch), batch.labels)
    mean = gate.sampled_mean if sampled else gate.open_probability().mean()
    penalty: Tensor = lagrangian(mean)
    return bce + penalty


def draw_subset(ctx: Context[Any], params: PretrainParams, train: Rows, most: float = SUBSET_CAP) -> Rows:
    """The stratified pretraining subset D_S, ``pretrain_rows`` of them or the share ``most`` of ``train``.

    Raises:
        ConfigError: the training rows are too few to draw one.
    """
    cap = math.floor(most * len(train))
    n = min(params.pretrain_rows, cap)
    if params.pretrain_share is not None:
        n = math.floor(params.pretrain_share * len(train))
    if n < 2:
        raise ConfigError(f"pretraining subset of {n} rows from {len(train)} training rows: use more rows.")
    return train.take(stratified_sample(train.labels, n, ctx.rng("pretrain-subset")))


def initial_log_alpha(ctx: Context[Any], params: PretrainParams) -> Tensor:
    """Random start of a, [F], CPU."""
    draw = torch.randn(ctx.schema.n_fields, generator=ctx.rng("gate-init"))
    values = params.init_mean + params.init_std * draw
    return values if params.gate_init == "logit" else values.clamp_min(0.05).log()


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson correlation; NaN where either side is constant."""
    if len(a) < 2 or any(bool(side.min() == side.max()) for side in (a, b)):  # std of equal numbers may round above 0
        return math.nan
    return float(np.corrcoef(a.numpy(), b.numpy())[0, 1])
