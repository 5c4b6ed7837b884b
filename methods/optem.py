"""OptEm: OptEmbed, Learning Optimal Embedding Table for Click-through Rate Prediction (Lyu et al., CIKM 2022).

    supernet    thresholds t [F];  e'_v = e_v · 1[‖e_v‖₁ - t_f > 0] · 1[coordinate ≤ d], d uniform in 1, ..., D, drawn
                for every row and field;  min of BCE + α Σ_f exp(-t_f), SGD for t (``supernet``, ``straight_through``)
    evolution   embedding sizes d [F] that score the highest AUC under the supernet's weights
    retrain     a fresh model under value mask and sizes, which are written into the table at the end

Budgets, with q_v = ‖e_v‖₁ - t_f: native keeps q > 0 and leaves sizes to the search; exact keeps V·D - floor(τ V D)
embedding scalars, or fewer than D less, every candidate with its own cut on q (``embedding_sizes``); field removes all
but the K fields with the highest score: what one coordinate more of a field adds to a candidate's AUC, by ridge
regression over all candidates of the evolution (``effects``). Chosen here: the best candidates have sizes by lot where
they hardly matter, which ranked a field that decides alone behind fields of noise.

Sources: the paper; its public code for α, the slope, and the sizes of the search. Where things differ here:

* The authors' threshold rate 1e-4 belongs to 18,000 steps an epoch; it is carried over by the rule of
  ``methods/parts/gate_budget.py``, and the supernet is not validated before its first epoch has ended.
* Candidates are scored on at most ``search_rows`` of the selection rows, by default a holdout of train, and a candidate
  that comes twice is scored once. Scored candidates never change; any gene can become any of 1, ..., D; crossover cuts
  at any field.
* A value's mask applies to its linear weight too. The one row of a numeric field, whose norm depends on the row of
  data, is never masked.
* Weights are drawn by seed, so the fresh model starts where the supernet started (the authors' second way);
  ``init=adapted`` continues from the supernet's trained weights.
* L2 is the profile's, as for all methods. Coupled in Adam it shrinks rows that are seldom seen, so that thresholds
  also filter by frequency.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.api import (
    Batch,
    ConfigError,
    Context,
    CTRModel,
    Group,
    Method,
    Range,
    Rows,
    Search,
    Selection,
    Trained,
    stratified_sample,
)
from methods.parts.embedding_sizes import Candidates
from methods.parts.evolution import Breeding, Found, effects, evolve
from methods.parts.gate_budget import READ_FROM, AuthorsTraining, gate_plan
from methods.parts.supernet import Supernet
from methods.parts.value_gates import kept_columns, train_masked

AUTHORS = AuthorsTraining(batch=2048, lr=1e-4)
"""Their code: DeepFM on Criteo."""


@dataclass(frozen=True)
class OptEmParams:
    """Parameters of OptEm."""

    penalty: Annotated[float, Range(0, open_low=True), Search(1e-5, 1e-3)] = 1e-4
    """α (public code, DeepFM on Criteo)."""
    threshold_lr: Annotated[float | None, Range(0, open_low=True), Search(1e-3, 0.1)] = None
    """SGD's rate of the thresholds; none: the authors' 1e-4 at their scale."""
    supernet_epochs: Annotated[int, Range(1)] | None = None
    """Most epochs of the supernet; none: the profile's."""
    generations: Annotated[int, Range(1)] = 10
    """Generations of the evolution. Chosen here (public code: 30): on a few thousand rows more of them cost more than
    the training and fit the noise of the rows that candidates are scored on."""
    mutations: Annotated[int, Range(0)] = 10
    """Mutated candidates a generation (public code)."""
    crossovers: Annotated[int, Range(0)] = 10
    """Crossed candidates a generation (public code)."""
    mutation_rate: Annotated[float, Range(0, 1)] = 0.1
    """Probability that a mutation changes a field's size (public code)."""
    elites: Annotated[int, Range(1)] = 15
    """Best candidates that breed (paper)."""
    search_rows: Annotated[int, Range(2)] = 100_000
    """Most selection rows that candidates are scored on. Chosen here."""
    init: Literal["fresh", "adapted"] = "fresh"
    """Retrain a fresh model, or continue from the supernet's weights."""

    def __post_init__(self) -> None:
        if self.mutations + self.crossovers < 1:
            raise ValueError(
                f"mutations={self.mutations} is out of range for crossovers={self.crossovers}; allowed: [1, inf)."
            )


class OptEm(Method[OptEmParams]):
    """Learned norm thresholds, evolved embedding sizes, retraining under both."""

    Params = OptEmParams

    def skip(self, ctx: Context[OptEmParams]) -> str | None:
        if ctx.dim == 0:
            return "the method chooses embedding sizes, and this backbone has linear weights only"
        return None

    def select(self, ctx: Context[OptEmParams], train: Rows, selection_rows: Rows) -> Selection:
        """Train the supernet on ``train``, stopping by ``selection_rows``; search sizes on a slice of those."""
        params, model = self.params, ctx.model()
        rows = self._slice(ctx, selection_rows)
        gate = Supernet(ctx.schema).to(ctx.device)
        gates = self._train_supernet(ctx, model, gate, train, selection_rows)
        q = gate.importance(model.table.weight[:, : model.dim].detach(), ctx.schema)
        limit = ctx.keeps(len(q) * model.dim) if ctx.budget == "exact" else None
        candidates = Candidates(model, q, limit, rows)
        plan = Breeding(params.generations, params.mutations, params.crossovers, params.mutation_rate, params.elites)
        draw = ctx.rng("evolution")

        def search() -> dict[str, Any]:
            space = (ctx.schema.n_fields, model.dim)
            return asdict(evolve(plan, space, candidates.score, draw, lambda genes: candidates.fill(genes, draw)))

        found = Found(**ctx.stage("evolution", search))
        mask, dims = candidates.mask(found.genes), torch.tensor(found.genes)
        scores = effects(found.tried, model.dim)
        ctx.log(
            thresholds=gate.thresholds.tolist(),
            sizes=list(found.genes),
            candidates=found.evaluated,
            candidate_rows=len(rows),
            candidate_auc=found.score,
            candidate_scalars=candidates.scalars(found.genes),
        )
        start = model if params.init == "adapted" else None
        if ctx.budget == "field":
            return Selection(scores=scores, start=start, gates=gates)
        return Selection(scores=scores, value_mask=mask, dims=dims, start=start, gates=gates)

    def _slice(self, ctx: Context[OptEmParams], rows: Rows) -> Rows:
        """The rows that candidates are scored on.

        Raises:
            ConfigError: they hold one class only, so that no AUC exists.
        """
        if len(rows) > self.params.search_rows:
            draw = ctx.rng("evolution-rows")
            rows = rows.take(stratified_sample(rows.labels, self.params.search_rows, draw))
        if not 0 < rows.positive_rate < 1:
            raise ConfigError(
                f"optem: the {len(rows)} rows that candidates are scored on hold one class: use more rows."
            )
        return rows

    def _train_supernet(
        self, ctx: Context[OptEmParams], model: CTRModel, gate: Supernet, train: Rows, valid: Rows
    ) -> dict[str, float]:
        """Train weights and thresholds, keep the best on ``valid``, take the gate off; say how far thresholds went."""
        params, profile = self.params, ctx.profile
        epochs = profile.max_epochs if params.supernet_epochs is None else params.supernet_epochs
        plan = gate_plan(ctx, AUTHORS, len(train), lr=params.threshold_lr, bounded=False)
        norm = float(model.table.weight[:, : model.dim].detach().abs().sum(1).mean())

        def loss(model: CTRModel, batch: Batch) -> Tensor:
            bce = F.binary_cross_entropy_with_logits(model(batch), batch.labels)
            return bce + params.penalty * torch.exp(-gate.thresholds).sum()

        step = ctx.step(model, loss=loss, name="supernet")
        step.groups = [*step.groups, Group([gate.thresholds], plan.lr, optimizer="sgd")]
        model.gate = gate
        how: dict[str, Any] = {"epochs": epochs, "burn_in": READ_FROM, "by_lookup": True}
        log = ctx.fit(model, train, valid, steps=[step], name="supernet", **how)
        model.gate = None
        travel = float(gate.thresholds.detach().square().mean().sqrt()) / norm
        ctx.log(supernet_epochs=log.epochs, supernet_auc=log.valid_auc, mean_norm=norm)
        return plan.told(log, travel)

    def train(self, ctx: Context[OptEmParams], train: Rows, valid: Rows, selection: Selection) -> Trained:
        """Train under the mask and the sizes, or without the fields that were removed."""
        if selection.value_mask is None:
            return super().train(ctx, train, valid, selection)
        return train_masked(ctx, train, valid, selection)

    def columns(self, model: CTRModel, selection: Selection) -> dict[str, float]:
        return kept_columns(model, selection)
