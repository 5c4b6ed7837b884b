"""What methods with a gate that differs from row to row have in common.

    warm up    the model alone for some epochs; its best validated weights stay
    train      model and gate, from those weights; the gate remains part of the model that is evaluated

Nothing can be removed from such a model, so ``select`` decides nothing, and both phases are continued training. Field
scores are means over the selection rows: of the gate, or of how often a field is among the K that a row keeps.
With ``budget=field`` both phases run in ``select`` on its rows, the K fields of the largest scores are kept, and an
ungated model of those alone is trained from scratch.

Shapes: gate z [B, F], scores [F].
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from bench.api import Context, CTRModel, FitLog, Gate, Method, Range, Rows, Search, Selection, Step, Trained
from methods.parts.controllers import largest, without_statistics
from methods.parts.gate_budget import READ_FROM, GatePlan

__all__ = ["GatedTraining", "PerSampleGate", "PerSampleMethod", "PerSampleParams", "mean_gate", "moved_places"]

ROWS_AT_ONCE = 16_384


@dataclass(frozen=True)
class PerSampleParams:
    """Settings that these methods share."""

    warmup_epochs: Annotated[int, Range(0)] = 2
    """Epochs of the model alone, at most (the authors' code)."""
    gate_lr: Annotated[float | None, Range(0, open_low=True), Search(1e-3, 0.1)] = None
    """Adam's rate for the gate; none: the authors', carried over to these rows (``methods/parts/gate_budget.py``)."""


P = TypeVar("P", bound=PerSampleParams)


class PerSampleGate(Gate):
    """A gate that weighs the fields of every row."""

    shape = "BF"
    per_sample = True

    def importance(self, e: Tensor, ids: Tensor) -> Tensor:
        """What orders the fields of rows of embeddings e [B, F, D] and ids [B, F], without noise: [B, F]."""
        raise NotImplementedError


@dataclass(frozen=True)
class GatedTraining:
    """How model and gate are trained; neither steps nor schedule use weights of tables but by looking rows up."""

    steps: list[Step]
    plan: GatePlan
    schedule: Callable[[int, int], None] | None = None
    """Moves buffers of the gate."""


class PerSampleMethod(Method[P]):
    """Base of such methods; a subclass says what its gate is and how it is trained."""

    def rows_keep_k(self) -> bool:
        """Whether every row keeps K fields, so that the prune ratio has a meaning without ``budget=field``."""
        raise NotImplementedError

    def holds_out(self) -> bool:
        """Whether gates learn on selection rows, which the weights must then not see."""
        raise NotImplementedError

    def gate(self, ctx: Context[P], dim: int) -> PerSampleGate:
        """A gate over all fields with embeddings of size ``dim``, on the CPU."""
        raise NotImplementedError

    def training(self, ctx: Context[P], model: CTRModel, train: Rows, held: Rows) -> GatedTraining:
        """How the gated ``model`` is trained on ``train``; ``held`` are the selection rows."""
        raise NotImplementedError

    def uses_tau(self, budget: str) -> bool:
        return budget == "field" or self.rows_keep_k()

    def skip(self, ctx: Context[P]) -> str | None:
        if ctx.dim == 0:
            return "the gate reads embeddings, and this backbone has linear weights only"
        return None

    def select(self, ctx: Context[P], train: Rows, selection_rows: Rows) -> Selection:
        if ctx.budget == "field":
            searched = self._fit(ctx, train, selection_rows, selection_rows, "search")
            assert searched.log is not None
            return Selection(scores=searched.scores, gates=searched.log.gates)
        seen = selection_rows.index if self.holds_out() else None
        return Selection(gate_rows=selection_rows, used_rows=seen)

    def train(self, ctx: Context[P], train: Rows, valid: Rows, selection: Selection) -> Trained:
        if selection.gate_rows is None:
            return super().train(ctx, train, valid, selection)
        return self._fit(ctx, train, valid, selection.gate_rows, "train")

    def _fit(self, ctx: Context[P], train: Rows, valid: Rows, held: Rows, name: str) -> Trained:
        """Both phases and the field scores."""
        p, model = self.params, ctx.model()
        warm: FitLog | None = None
        if p.warmup_epochs:
            warm = ctx.fit(model, train, valid, name="warmup", epochs=p.warmup_epochs)
        model.gate = self.gate(ctx, model.dim).to(ctx.device)
        first = copy.deepcopy(model.gate)
        how = self.training(ctx, model, train, held)
        log: FitLog = ctx.fit(
            model,
            train,
            valid,
            steps=how.steps,
            schedule=how.schedule,
            name=name,
            burn_in=READ_FROM,
            by_lookup=True,
        )
        log.warmup_s = None if warm is None else warm.total_s
        means = mean_gate(model, held, opened=self.rows_keep_k())
        n_fields = ctx.schema.n_fields
        k = ctx.n_keep if self.rows_keep_k() else n_fields // 2
        moved = moved_places(model, first, held, k)
        log.gates = how.plan.told(log, moved / (1 - k / n_fields) if k < n_fields else math.inf)
        ctx.log(gated_epochs=log.epochs, gated_best_epoch=log.best_epoch, gate_moved=moved, **self.notes(model))
        return Trained(model, log, means)

    def notes(self, model: CTRModel) -> dict[str, Any]:
        """Diagnostics of the trained gate."""
        return {}


@torch.inference_mode()
def mean_gate(model: CTRModel, rows: Rows, opened: bool) -> np.ndarray:
    """Mean factor of each field over ``rows``, float64 [F]; with ``opened``, its share of rows with a factor > 0."""
    assert model.gate is not None
    was_training = model.training
    model.eval()
    total = torch.zeros(model.schema.n_fields, dtype=torch.float64, device=rows.device)
    for batch in model.view(rows).slices(ROWS_AT_ONCE):
        z = model.gate(model.embed(batch)[0], batch.ids)
        total += (z > 0 if opened else z).sum(0, dtype=torch.float64)
    model.train(was_training)
    return np.asarray((total / len(rows)).cpu().numpy())


@torch.inference_mode()
def moved_places(model: CTRModel, first: PerSampleGate, rows: Rows, k: int) -> float:
    """Share of the ``k`` places of every row's largest factors that the gate's start, ``first``, would give to others.

    Both read the embeddings of ``model`` and normalise by the rows themselves, since the start has no statistics.
    """
    assert isinstance(model.gate, PerSampleGate)
    if not k:
        return 0.0
    now = copy.deepcopy(model.gate)
    other = torch.zeros((), dtype=torch.float64, device=rows.device)
    for batch in model.view(rows).slices(ROWS_AT_ONCE):
        e = model.embed(batch)[0]
        with without_statistics(now), without_statistics(first):
            places, before = (largest(gate.train().importance(e, batch.ids), k) for gate in (now, first))
        other += (places & ~before).sum(dtype=torch.float64)
    return float(other) / (k * len(rows))
