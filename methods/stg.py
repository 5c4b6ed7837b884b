"""STG: Feature Selection using Stochastic Gates (Yamada et al., ICML 2020, arXiv 1810.04247), for fields.

    gate        z_f = clip(μ_f + σ ε_f, 0, 1),   ε_f ~ N(0, 1), one draw a field and batch
    search      min over weights and μ of  BCE + R,   with P(z_f > 0) = Φ(μ_f / σ) and c their mean over the fields
                R = λ (c - κ) + φ (c - κ)²,  κ = 1 - τ, λ and φ ascending from 0      (default)
                R = λ c                                                              (penalty=λ)
    retrain     a new model on the K fields with the largest μ

Shapes: μ, z, ε [F]; λ, φ scalars. A gate multiplies a field's embedding and its linear weight. It stands where
Light-FMP's hard concrete gate does, with Gaussian noise instead of logistic noise in a sigmoid.

Sources: σ = 0.5 and the start μ = 0.5 are the paper's. Their code takes the mean of Φ where the paper has the sum, and
λ = 0.1; it starts μ with a spread of 0.01, and never stops early. Where things differ here:

* The paper tunes λ until as many gates stay as are wanted. Here two multipliers hold the mean of P(z > 0) at the share
  that is kept, as in Light-FMP (``methods/parts/hard_concrete.py``); a ranking then belongs to its τ.
* The paper's inputs are numbers of one scale. An embedding can grow where its gate shrinks; L2 on the table works
  against that, where the profile has it.
* All μ start equal. Their rate, and that of the multipliers, is the largest of ``methods/parts/gate_budget.py``: their
  data are too far from these for a rate of theirs to be carried over.
* The search is validated on a holdout of the training split without noise, z = clip(μ, 0, 1), not before its first
  epoch is over; the decision is that of the best epoch. Weights and gates learn on the same rows, as in the paper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.api import Axis, Batch, Context, CTRModel, Gate, Group, Method, Range, Rows, Search, Selection
from methods.parts.gate_budget import READ_FROM, largest_plan
from methods.parts.hard_concrete import Lagrangian

START = 0.5
"""μ of every field (paper): half open, where noise passes both ends alike."""


class GaussianGate(Gate):
    """A clipped normal variable a field; in eval mode the noise is left out."""

    def __init__(self, n_fields: int, sigma: float) -> None:
        """Start half open."""
        super().__init__()
        self.mu = nn.Parameter(torch.full((n_fields,), START))
        self.sigma = sigma

    def forward(self, e: Tensor, ids: Tensor) -> Tensor:
        z: Tensor = self.mu
        if self.training:
            z = z + self.sigma * torch.randn(z.shape, device=e.device, dtype=e.dtype)
        return z.clamp(0.0, 1.0)

    def open_probability(self) -> Tensor:
        """P(z > 0) = Φ(μ / σ), [F]."""
        return 0.5 * (1 + torch.erf(self.mu / (self.sigma * math.sqrt(2))))


@dataclass(frozen=True)
class STGParams:
    """Parameters of STG."""

    sigma: Annotated[float, Range(0, open_low=True), Search(0.05, 5)] = 0.5
    """Standard deviation σ of the noise (paper)."""
    penalty: Annotated[float | None, Range(0)] = None
    """λ, fixed, times the mean of P(z > 0) (their code: 0.1); none: multipliers hold that mean at the share kept."""
    search_epochs: Annotated[int, Range(1)] = 8
    """Epochs of the search at most, and never more than the profile's. Chosen here: as for AutoField."""
    gate_lr: Annotated[float | None, Range(0, open_low=True), Search(1e-3, 0.1)] = None
    """Adam's rate for μ and the multipliers; none: the largest of ``methods/parts/gate_budget.py``."""


class STG(Method[STGParams]):
    """Ranks fields by gates with Gaussian noise, then trains anew."""

    Params = STGParams

    def depends_on(self) -> frozenset[Axis]:
        return self.info.depends_on - (frozenset() if self.params.penalty is None else {"tau"})

    def uses_tau(self, budget: str) -> bool:
        return budget == "field" or self.params.penalty is None

    def select(self, ctx: Context[STGParams], train: Rows, selection_rows: Rows) -> Selection:
        p, model = self.params, ctx.model()
        gate = GaussianGate(ctx.schema.n_fields, p.sigma).to(ctx.device)
        model.gate = gate
        plan = largest_plan(ctx, len(train), p.gate_lr)
        lagrangian = Lagrangian(1 - ctx.tau, ctx.device)

        def loss(model: CTRModel, batch: Batch) -> Tensor:
            fit = F.binary_cross_entropy_with_logits(model(batch), batch.labels)
            share = gate.open_probability().mean()
            price: Tensor = lagrangian(share) if p.penalty is None else p.penalty * share
            return fit + price

        step = ctx.step(model)
        groups = [*step.groups, Group([gate.mu], plan.lr)]
        if p.penalty is None:
            groups.append(Group(list(lagrangian.parameters()), plan.lr, maximize=True))
        log = ctx.fit(
            model,
            train,
            selection_rows,
            steps=[replace(step, groups=groups, loss=loss)],
            name="search",
            epochs=min(p.search_epochs, ctx.profile.max_epochs),
            burn_in=READ_FROM,
            by_lookup=True,
        )
        scores = np.asarray(gate.mu.detach().cpu(), dtype=np.float64)
        notes: dict[str, Any] = {
            "search_epochs": log.epochs,
            "search_best_epoch": log.best_epoch,
            "open_share": float(gate.open_probability().detach().mean()),
        }
        if p.penalty is None:
            notes |= {"lambda": lagrangian.linear.item(), "phi": lagrangian.quadratic.item()}
        own_choice = np.flatnonzero(scores > 0).tolist() or [int(scores.argmax())]
        return Selection(
            scores=scores,
            kept=None if ctx.budget == "field" else own_choice,
            gates=plan.told(log, float(scores.std()) / p.sigma),
            notes=notes,
        )
