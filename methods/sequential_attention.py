"""Sequential Attention for Feature Selection (Yasuda et al., ICLR 2023, arXiv 2209.14881), for fields.

One training in phases, of one model. S holds the fields that have been selected, w [F] are logits:

    mask        m_f = 1 for f in S,    exp(w_f) / Σ_{g not in S} exp(w_g) for the others
    phase       weights and w learn together on m_f e_f; at its end the field with the largest w joins S, and w goes
                back to 0
    ranking     the order of joining, then the others by their last logits

Shapes: w, m [F]. A field's linear weight is multiplied by its mask too. Before the first phase a tenth of the training
runs with m = 1 (their code).

Sources: the paper, and its public code. Where this differs:

* In their code a field joins at the beginning of a phase. The logits have not been trained before the first one, so the
  first field is drawn by lot; here fields join at the end of phases.
* Their inputs are normalised numbers. An embedding can grow where its mask is small; L2 on the table works against
  that, where the profile has it.
* The logits start at 0, there with a spread of 1e-5. Their rate is the largest of ``methods/parts/gate_budget.py``,
  there that of the model, tuned for each data set between 1e-5 and 1. Adam's moments outlive a phase, as there.
* ``phases=all``: F - 1 phases rank all fields, and the ranking serves every prune ratio. ``phases=k``: K phases, as in
  the paper.
* The training is as long as gives each phase ``phase_steps`` steps, within one epoch and ``search_epochs``. Where it
  has fewer steps than phases, those of one step end with it: their fields join in the order of its logits. Nothing is
  validated: stopping early would end the phases early. A field joins on what it adds to S on the training rows, so of
  two equal ones the second comes late; fields of many values can join for rows that the model has learned by heart,
  and a constant one for the bias that it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from bench.api import Axis, Context, Gate, Method, Range, Rows, Search, Selection
from methods.parts.bilevel import joint_step
from methods.parts.gate_budget import largest_plan


class AttentionGate(Gate):
    """1 for fields that have joined, attention weights for the others; 1 for all before the first phase."""

    joined: Tensor
    """bool [F]"""
    order: Tensor
    """Place in the order of joining, int64 [F]; F for those that have not."""
    warming: Tensor
    """bool scalar: whether all fields pass as they are."""
    spread: Tensor
    """Standard deviations of the candidates' logits at the joins, summed up; scalar."""

    def __init__(self, n_fields: int) -> None:
        """Let none have joined."""
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(n_fields))
        self.register_buffer("joined", torch.zeros(n_fields, dtype=torch.bool))
        self.register_buffer("order", torch.full((n_fields,), n_fields))
        self.register_buffer("warming", torch.tensor(True))
        self.register_buffer("spread", torch.zeros(()))

    def forward(self, e: Tensor, ids: Tensor) -> Tensor:
        return self.attention().masked_fill(self.joined | self.warming, 1.0)

    def attention(self) -> Tensor:
        """Softmax over the fields that have not joined, 0 for the others, [F]."""
        return self.logits.masked_fill(self.joined, -torch.inf).softmax(0)

    @torch.no_grad()
    def join(self, place: int, count: int = 1) -> None:
        """Let the ``count`` candidates with the largest logits join from ``place`` on, and begin anew.

        Nothing waits for a device.
        """
        out = self.joined.double()
        mean = (self.logits * (1 - out)).sum() / (len(out) - place)
        self.spread += count * (((self.logits - mean).square() * (1 - out)).sum() / (len(out) - place)).sqrt()
        for after in range(count):
            best = self.logits.masked_fill(self.joined, -torch.inf).argmax(0, keepdim=True)
            self.joined.index_fill_(0, best, True)
            self.order.index_fill_(0, best, place + after)
        self.logits.zero_()

    def scores(self) -> np.ndarray:
        """F - place of those that have joined, and the attention weights of the others, which lie below; [F]."""
        n_fields = len(self.order)
        scores = torch.where(self.joined, (n_fields - self.order).double(), self.attention().detach().double())
        return np.asarray(scores.cpu())


def in_phases(gate: AttentionGate, phases: int, warm_share: float) -> Callable[[int, int], None]:
    """The schedule: all phases but the last end with a join; that of the last is what the ranking does."""

    def due(iteration: int, planned: int) -> int:
        """Phases that have ended before ``iteration``."""
        warm = int(warm_share * planned)
        return max(0, phases * (iteration - warm) // (planned - warm))

    def schedule(iteration: int, planned: int) -> None:
        gate.warming.fill_(iteration < int(warm_share * planned))
        before, now = due(iteration - 1, planned), due(iteration, planned)
        if now > before:  # several where phases are more than steps: new logits would all be equal
            gate.join(before, now - before)

    return schedule


@dataclass(frozen=True)
class SequentialAttentionParams:
    """Parameters of Sequential Attention."""

    phases: Literal["all", "k"] = "all"
    """F - 1 phases, or K (paper). Chosen here: one ranking for all prune ratios."""
    phase_steps: Annotated[int, Range(1)] = 20
    """Steps that a phase should have. Chosen here: twice as many as Adam's mean of gradients looks back."""
    search_epochs: Annotated[int, Range(1)] = 8
    """Epochs of the search at most, and never more than the profile's. Chosen here: as for AutoField."""
    warm_share: Annotated[float, Range(0, 1, open_high=True)] = 0.1
    """Share of the training before the first phase (their code)."""
    gate_lr: Annotated[float | None, Range(0, open_low=True), Search(1e-3, 0.1)] = None
    """Adam's rate for the logits; none: the largest of ``methods/parts/gate_budget.py``."""


class SequentialAttention(Method[SequentialAttentionParams]):
    """Selects fields one after the other within one training, by attention over those that are left."""

    Params = SequentialAttentionParams

    def depends_on(self) -> frozenset[Axis]:
        return self.info.depends_on - (frozenset() if self.params.phases == "k" else {"tau"})

    def select(self, ctx: Context[SequentialAttentionParams], train: Rows, selection_rows: Rows) -> Selection:
        """Train in phases on ``train``; ``selection_rows`` are not looked at."""
        p, model, n_fields = self.params, ctx.model(), ctx.schema.n_fields
        gate = AttentionGate(n_fields).to(ctx.device)
        model.gate = gate
        phases = max(1, min(n_fields - 1, ctx.n_keep if p.phases == "k" else n_fields))
        plan = largest_plan(ctx, len(train), p.gate_lr)
        wanted = math.ceil(phases * p.phase_steps / (1 - p.warm_share) / plan.steps)
        log = ctx.fit(
            model,
            train,
            steps=joint_step(ctx, model, plan.lr),
            schedule=in_phases(gate, phases, p.warm_share),
            name="search",
            epochs=min(wanted, p.search_epochs, ctx.profile.max_epochs),
            by_lookup=True,
        )
        places = gate.order.tolist()
        order = [ctx.schema.names[f] for f in np.argsort(places, kind="stable") if places[f] < n_fields]
        notes: dict[str, Any] = {"search_epochs": log.epochs, "phases": phases, "order": order}
        spread = gate.spread.item() / max(1, len(order)) if order else float(gate.logits.detach().std(correction=0))
        return Selection(
            scores=gate.scores(), rows_seen=len(train), gates=plan.told(log, spread / plan.lr), notes=notes
        )
