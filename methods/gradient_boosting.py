"""Gradient boosting as a field selector: fields ranked by the log loss that the trees lose when a field is shuffled.

Friedman, Greedy Function Approximation: A Gradient Boosting Machine, Annals of Statistics 29, 2001; the trees are
scikit-learn's, on histograms. Their columns are the out-of-fold click rates of ``methods/parts/target_encoding.py``,
one a field and for a pooled field the mean over its values; numeric fields give their numbers.

    score_f = mean over ``repeats`` of  L(rows with column f shuffled) - L(rows)     L: log loss of the selection rows

Growing stops early on a tenth of the training rows, so that neither trees nor their number have seen the selection
rows. ``xgboost`` ranks trees of the same kind by what they gain on the training rows. Fields that say the same share
what they say: each loses little as long as the other is there. A field that no tree splits on scores 0, and one below
0 is worth less than that. Of one number a field no tree learns what two fields tell only together.

Deviations: the paper measures importance by what splits gain, which scikit-learn's trees do not keep; at most
``max_rows`` rows. The clock is looked at before all trees and between shuffles: growing cannot be interrupted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from bench.api import Context, Method, Range, Rows, Search, Selection
from methods.parts import shallow, trees


@dataclass(frozen=True)
class GradientBoostingParams:
    """Values without a source are chosen here, and were not tuned."""

    max_rows: Annotated[int, Range(100)] = 1_000_000
    """Training rows at most."""
    max_selection_rows: Annotated[int, Range(100)] = 50_000
    """Rows at most that are shuffled."""
    time_budget_s: Annotated[float, Range(0, open_low=True)] = 600.0
    """Seconds after which the selection is given up."""
    folds: Annotated[int, Range(2, 100)] = 5
    """Folds of the target encoding."""
    rounds: Annotated[int, Range(1)] = 300
    """Trees at most."""
    eta: Annotated[float, Range(0, 1, open_low=True), Search(0.01, 1)] = 0.1
    """Shrinkage of a tree (scikit-learn's default)."""
    leaves: Annotated[int, Range(2)] = 31
    """Leaves of a tree at most (scikit-learn's default)."""
    leaf_rows: Annotated[int, Range(1)] = 50
    """Rows of a leaf at least."""
    patience: Annotated[int, Range(1)] = 10
    """Rounds without a gain in log loss before growing stops (scikit-learn's default)."""
    repeats: Annotated[int, Range(1)] = 3
    """Shuffles of a field."""


class GradientBoosting(Method[GradientBoostingParams]):
    """Ranks fields by what boosted trees owe to them."""

    Params = GradientBoostingParams

    def skip(self, ctx: Context[GradientBoostingParams]) -> str | None:
        """What takes a second to import is loaded here, before the clock of the selection runs."""
        import sklearn.ensemble  # noqa: F401, PLC0415

        return None

    def select(self, ctx: Context[GradientBoostingParams], train: Rows, selection_rows: Rows) -> Selection:
        from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415 - slow to import

        p, deadline = self.params, shallow.Deadline(self.params.time_budget_s)
        coded = trees.code(ctx, train, selection_rows, p.max_rows, p.max_selection_rows, p.folds)
        seen, hint = len(coded.labels), trees.too_few(coded)
        if hint:
            return Selection(scores=np.zeros(ctx.schema.n_fields), hint=hint, rows_seen=seen, notes=coded.notes)
        deadline.check("the trees")
        model = HistGradientBoostingClassifier(
            learning_rate=p.eta,
            max_iter=p.rounds,
            max_leaf_nodes=p.leaves,
            min_samples_leaf=p.leaf_rows,
            early_stopping=True,
            n_iter_no_change=p.patience,
            random_state=shallow.draw_number(ctx.rng("trees")),
        ).fit(coded.matrix, coded.labels)
        columns = range(ctx.schema.n_fields)
        scores = trees.importance(ctx, coded, model.decision_function, columns, p.repeats, deadline)
        notes = coded.notes | {"rounds": int(model.n_iter_)}
        hint = None if scores.any() else trees.no_split(coded, p.leaf_rows)
        return Selection(scores=scores, hint=hint, rows_seen=seen, notes=notes)
