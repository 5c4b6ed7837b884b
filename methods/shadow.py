"""Shadow: fields that boosted trees prefer to the best of shuffled copies of all fields, round after round.

Kursa and Rudnicki, Feature Selection with the Boruta Package, Journal of Statistical Software 2010, with boosted trees
(Chen and Guestrin, KDD 2016) in the place of random forests. In each of R rounds every field gets a shadow, its own
values shuffled among the rows, and one model is grown on the 2F columns:

    hit_f    share of rounds in which the importance of field f is above that of every shadow
    score_f  hit_f, and less than the worth of one round more by which fields of equal hits are told apart:
             (f's mean share of the importance of all fields) / (R + 1)
    selected fields whose hits a coin would reach with P(X >= R hit_f), X ~ Binomial(R, 1/2), at most ``level`` after
             Holm's correction for F fields

It alone of the rankings here says how many fields matter: ``budget=native`` keeps those that are selected, or the best
one where none is. What the coin stands for is luck of the rounds, not of the rows: a field that happens to go with the
labels of these very rows wins in every round. Of sixteen fields of pure noise on 1,200 rows, 2 of 12 runs selected one:
1 % of the fields, and one run in six. A second seed draws other shadows and not other rows.

    sound        trees on the codes of ``methods/parts/target_encoding.py``, of shadows too; sum of gains
    categorical  trees that split sets of codes; the log loss lost on shuffled selection rows

Departures from Boruta. Rounds are a fixed number and no field leaves before the last; the correction is Holm's over
fields; of a forest's Z scores there are none. Trees are grown in a fixed number, with the settings of
``methods/xgboost.py``. At most ``max_rows`` rows, because R models are grown. Shapes: N rows, M selection rows, F
fields.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch

from bench.api import Context, Method, Only, Range, Rows, Search, Selection, holm
from methods.parts import boosting, shallow
from methods.parts.shuffling import shadows
from methods.parts.target_encoding import standard_codes

if TYPE_CHECKING:
    from xgboost import Booster


@dataclass(frozen=True)
class ShadowParams:
    """Values without a source are chosen here, and were not tuned."""

    variant: Literal["sound", "categorical"] = "sound"
    """How codes become columns, and what importance is."""
    rounds: Annotated[int, Range(1, 1000)] = 20
    """R, models with shadows of their own (Boruta: up to 100)."""
    level: Annotated[float, Range(0, 1, open_low=True, open_high=True)] = 0.05
    """Of the test behind ``selected``."""
    trees: Annotated[int, Range(1)] = 30
    """Trees of a round."""
    max_rows: Annotated[int, Range(100)] = 100_000
    """Training rows at most."""
    max_selection_rows: Annotated[int, Range(100), Only(variant="categorical")] = 20_000
    """Rows at most on which columns are shuffled."""
    time_budget_s: Annotated[float, Range(0, open_low=True)] = 600.0
    """Seconds after which the selection is given up."""
    folds: Annotated[int, Range(2, 100), Only(variant="sound")] = 5
    """Folds of the target encoding."""
    categories: Annotated[int, Range(2, 65_536), Only(variant="categorical")] = 4096
    """Most frequent values of a field that get a category each."""
    depth: Annotated[int, Range(1, 16)] = 6
    """Depth of a tree (XGBoost's default)."""
    eta: Annotated[float, Range(0, 1, open_low=True), Search(0.01, 1)] = 0.1
    """Shrinkage of a tree."""


class Shadow(Method[ShadowParams]):
    """Ranks fields by how often they beat every shuffled copy."""

    Params = ShadowParams

    def uses_tau(self, budget: str) -> bool:
        return budget == "field"

    def skip(self, ctx: Context[ShadowParams]) -> str | None:
        try:
            import scipy.stats  # noqa: F401, PLC0415 - loaded here, before the clock of the selection runs
            import xgboost  # noqa: F401, PLC0415
        except ImportError:
            return "xgboost is not installed: pip install xgboost"
        p, n_fields = self.params, ctx.schema.n_fields
        least = math.ceil(math.log2(n_fields / p.level))
        if ctx.budget == "native" and p.rounds < least:
            won = f"{p.rounds} rounds, all won, are no more than luck for one of {n_fields} fields"
            return f"{won}: give rounds={least}"
        variant = p.variant
        return None if variant == "sound" else shallow.refuse_pooled(ctx.schema, f"variant={variant}")

    def select(self, ctx: Context[ShadowParams], train: Rows, selection_rows: Rows) -> Selection:
        p, deadline = self.params, shallow.Deadline(self.params.time_budget_s)
        rows = shallow.bound_rows(train, p.max_rows, ctx.rng("rows"))
        held = shallow.bound_rows(selection_rows, p.max_selection_rows, ctx.rng("selection rows"))
        rounds = _Rounds(p, rows, held, ctx.rng("rounds"), deadline)
        importances = np.stack([rounds.importances() for _ in range(p.rounds)])  # [R, 2F]
        hits, scores = scored(importances)
        chosen = np.flatnonzero(selected(hits, p.rounds, p.level)).tolist()
        names = ctx.schema.names
        return Selection(
            scores=scores,
            kept=None if ctx.budget == "field" else chosen or [int(scores.argmax())],
            rows_seen=len(rows),
            hint=f"no tree found a split on {len(rows):,} rows; give more",
            notes={"hits": hits.tolist(), "selected_fields": [names[f] for f in chosen], "shadow_rounds": p.rounds},
        )


class _Rounds:
    """Models on fields and shadows, one after the other."""

    def __init__(
        self, p: ShadowParams, rows: Rows, held: Rows, draw: torch.Generator, deadline: shallow.Deadline
    ) -> None:
        """Encode the fields themselves, which stay as they are."""
        self.p, self.rows, self.held, self.draw, self.deadline = p, rows, held, draw, deadline
        self.salt = shallow.draw_number(draw)
        self.labels, self.own = shallow.labels_of(rows), self._matrices(rows, held)

    def _matrices(self, rows: Rows, held: Rows) -> tuple[np.ndarray, np.ndarray]:
        if self.p.variant == "sound":
            codes = standard_codes(rows, self.p.folds, self.salt)
            return codes, codes[:0]
        return shallow.category_matrix(rows, held, self.p.categories)

    def importances(self) -> np.ndarray:
        """Of the fields, then of their shadows, in one more model; float64 [2F]."""
        self.deadline.check("the shadows of a round")
        cast = self._matrices(shadows(self.rows, self.draw), shadows(self.held, self.draw))
        matrix, held = (np.concatenate(pair, axis=1) for pair in zip(self.own, cast, strict=True))
        booster = self._grow(matrix)
        found = booster.get_score(importance_type="total_gain")
        used = [int(name[1:]) for name in found]
        if self.p.variant == "categorical":
            margin, labels = partial(booster.inplace_predict, predict_type="margin"), shallow.labels_of(self.held)
            return np.asarray(shallow.permutation_importance(margin, held, labels, used, 1, self.draw)[0])
        gains = np.zeros(matrix.shape[1])
        gains[used] = list(found.values())
        return gains

    def _grow(self, matrix: np.ndarray) -> Booster:
        import xgboost  # noqa: PLC0415

        p, threads = self.p, boosting.threads_for(*matrix.shape)
        layout: dict[str, Any] = {"nthread": threads}
        if p.variant == "categorical":
            kinds = ["float" if field.kind == "numeric" else "c" for field in self.rows.schema.fields]
            layout |= {"feature_types": kinds * 2, "enable_categorical": True}
        data = xgboost.QuantileDMatrix(matrix, self.labels, **layout)
        options = {"objective": "binary:logistic", "tree_method": "hist", "device": "cpu", "nthread": threads}
        options |= {"max_depth": p.depth, "eta": p.eta, "min_child_weight": boosting.least_weight(self.rows)}
        options |= {"subsample": 0.8, "colsample_bytree": 0.8, "seed": shallow.draw_number(self.draw)}
        return xgboost.train(options, data, p.trees, callbacks=[boosting.stop_at(self.deadline)], verbose_eval=False)


def scored(importances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rounds that each field has won, int64 [F], and its score, float64 [F].

    Args:
        importances: of the fields, then of their shadows, round by round, [R, 2F].
    """
    rounds, n_fields = len(importances), importances.shape[1] // 2
    own, best_shadow = importances[:, :n_fields], importances[:, n_fields:].max(axis=1, keepdims=True)
    hits = (own > best_shadow).sum(axis=0)
    mean = np.maximum(own.mean(axis=0), 0.0)
    share = mean / max(float(mean.sum()), np.finfo(float).tiny)
    return hits, hits / rounds + share / (rounds + 1)


def selected(hits: np.ndarray, rounds: int, level: float) -> np.ndarray:
    """The fields that have won more rounds than a coin would, bool [F], by Holm's rule."""
    from scipy.stats import binom  # noqa: PLC0415 - slow to import

    return np.asarray(holm(binom.sf(hits - 1, rounds, 0.5)) <= level)
