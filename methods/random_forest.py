"""Random forest as a field selector: fields ranked by the log loss that the forest loses when a field is shuffled.

Breiman, Random Forests, Machine Learning 45, 2001; the forest is scikit-learn's. Its columns are the out-of-fold click
rates of ``methods/parts/target_encoding.py``, one a field and for a pooled field the mean over its values; numeric
fields give their numbers.

    score_f = mean over ``repeats`` of  L(rows with column f shuffled) - L(rows)     L: log loss of the selection rows

Fields that say the same share what they say: each loses little as long as the other is there. A field that no tree
splits on scores 0, and one below 0 is worth less than that. Of one number a field no tree learns what two fields tell
only together.

``importance=impurity`` is what is published, of the same forest: the impurity that a field's splits take away on the
training rows (the public ERASE benchmark ranks by it, of 10 unbounded trees on codes taken for numbers). It favours
fields of many values, which offer more splits to choose from, also where they say nothing.

Deviations: leaves of 50 rows and trees of at most ``depth`` levels, and at most 200,000 rows, for the time it takes:
scikit-learn sorts the rows at every node, and a million rows would take more than five times as long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import torch

from bench.api import Context, Method, Only, Range, Rows, Selection
from methods.parts import shallow, trees

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier

_AT_ONCE = 10
"""Trees between two looks at the clock."""
_SURE = 1e-6
"""Least distance of a probability from 0 and 1."""


@dataclass(frozen=True)
class RandomForestParams:
    """Values without a source are chosen here, and were not tuned."""

    importance: Literal["permutation", "impurity"] = "permutation"
    """Log loss lost on shuffled selection rows; or, as published, impurity taken away on training rows."""
    max_rows: Annotated[int, Range(100)] = 200_000
    """Training rows at most."""
    max_selection_rows: Annotated[int, Range(100), Only(importance="permutation")] = 50_000
    """Rows at most that are shuffled."""
    time_budget_s: Annotated[float, Range(0, open_low=True)] = 600.0
    """Seconds after which the selection is given up."""
    folds: Annotated[int, Range(2, 100)] = 5
    """Folds of the target encoding."""
    trees: Annotated[int, Range(1)] = 100
    """Trees (scikit-learn's default)."""
    depth: Annotated[int, Range(1, 64)] = 12
    """Levels of a tree at most."""
    leaf_rows: Annotated[int, Range(1)] = 50
    """Rows of a leaf at least."""
    repeats: Annotated[int, Range(1), Only(importance="permutation")] = 3
    """Shuffles of a field."""


class RandomForest(Method[RandomForestParams]):
    """Ranks fields by what a forest of deep trees owes to them."""

    Params = RandomForestParams

    def skip(self, ctx: Context[RandomForestParams]) -> str | None:
        """What takes a second to import is loaded here, before the clock of the selection runs."""
        import sklearn.ensemble  # noqa: F401, PLC0415

        return None

    def select(self, ctx: Context[RandomForestParams], train: Rows, selection_rows: Rows) -> Selection:
        p, deadline = self.params, shallow.Deadline(self.params.time_budget_s)
        coded = trees.code(ctx, train, selection_rows, p.max_rows, p.max_selection_rows, p.folds)
        seen, hint = len(coded.labels), trees.too_few(coded)
        if hint:
            return Selection(scores=np.zeros(ctx.schema.n_fields), hint=hint, rows_seen=seen, notes=coded.notes)
        forest = self._grow(ctx, coded, deadline)
        impurity = np.asarray(forest.feature_importances_, dtype=np.float64)
        scores = impurity
        if p.importance == "permutation":
            used = np.flatnonzero(impurity).tolist()
            forest.n_jobs = 1  # threads would add up the trees in any order, and so to other last bits
            scores = trees.importance(ctx, coded, lambda rows: _logits(forest, rows), used, p.repeats, deadline)
        hint = None if impurity.any() else trees.no_split(coded, p.leaf_rows)
        return Selection(scores=scores, hint=hint, rows_seen=seen, notes=coded.notes)

    def _grow(
        self, ctx: Context[RandomForestParams], coded: trees.Coded, deadline: shallow.Deadline
    ) -> RandomForestClassifier:
        from sklearn.ensemble import RandomForestClassifier as Forest  # noqa: PLC0415 - slow to import

        p, seed = self.params, shallow.draw_number(ctx.rng("trees"))
        shape = {"max_depth": p.depth, "min_samples_leaf": p.leaf_rows}
        forest = Forest(**shape, warm_start=True, random_state=seed, n_jobs=torch.get_num_threads())
        for count in (*range(_AT_ONCE, p.trees, _AT_ONCE), p.trees):
            deadline.check(f"tree {count}")
            forest.set_params(n_estimators=count).fit(coded.matrix, coded.labels)
        return forest


def _logits(forest: RandomForestClassifier, rows: np.ndarray) -> np.ndarray:
    share = np.clip(forest.predict_proba(rows)[:, 1], _SURE, 1 - _SURE)
    return np.asarray(np.log(share) - np.log1p(-share))
