"""Lasso as a field selector: fields ranked by the penalty at which they enter a linear model.

Tibshirani, Regression Shrinkage and Selection via the Lasso, JRSS B 1996. The paper reproduced here names the method
and gives no settings. Variants:

    published    the call of the public ERASE benchmark: least squares on the 0/1 label, penalty 1e-3, codes taken for
                 numbers and not scaled; |coefficient|. Another order of the codes gives another ranking, and a
                 coefficient is the smaller the more codes a field has.
    sound        logistic loss on the standardised codes of ``methods/parts/target_encoding.py``, one column a field.
    group        logistic loss on one weight a value, the weights of a field entering together (Meier, van de Geer and
                 Bühlmann, JRSS B 2008): the lasso for categorical fields, without any encoding.

Of a pooled field ``sound`` reads the mean of its values' codes; the other variants, which read one, are skipped.
``sound`` and ``group`` follow the path of ``methods/parts/penalised.py`` from the penalty that closes every field
down; a field that enters earlier ranks higher. No number of fields to keep has a part in it: one ranking serves every
prune ratio.

Deviations: at most ``max_rows`` rows, where the public code takes all; codes come from the train split alone. In
``group`` values are not hashed but have a weight each, those of fewer than ``min_count`` rows share one, and the
weights are scaled by the root of a value's share of the rows.

Shapes: N rows, F fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from bench.api import Context, Method, Only, Range, Rows, Search, Selection
from methods.parts import shallow
from methods.parts.penalised import Column, Path, Values, group_path, l1_path
from methods.parts.target_encoding import standard_design

_STEPS = {"sound": 40, "group": 30}
_SMALLEST = {"sound": 1e-3, "group": 1e-2}


@dataclass(frozen=True)
class LassoParams:
    """Values without a source are chosen here, and were not tuned."""

    variant: Literal["published", "sound", "group"] = "sound"
    """How codes become columns."""
    max_rows: Annotated[int, Range(100)] = 1_000_000
    """Training rows at most."""
    time_budget_s: Annotated[float, Range(0, open_low=True)] = 600.0
    """Seconds after which the selection is given up."""
    alpha: Annotated[float, Range(0, open_low=True), Search(1e-4, 1e-2), Only(variant="published")] = 1e-3
    """Penalty of ``published`` (ERASE)."""
    folds: Annotated[int, Range(2, 100), Only(variant="sound")] = 5
    """Folds of the target encoding of ``sound``."""
    steps: Annotated[int | None, Range(2, 1000), Only(variant=("sound", "group"))] = None
    """Penalties of the path; none: 40 for sound, 30 for group."""
    smallest: Annotated[float | None, Range(0, 1, open_low=True, open_high=True), Only(variant=("sound", "group"))] = (
        None
    )
    """Last penalty of the path as a share of the first; none: 1e-3 for sound, 1e-2 for group."""
    min_count: Annotated[int, Range(1), Only(variant="group")] = 20
    """Values of fewer rows share a weight in ``group``: alone they say less than they cost."""


class Lasso(Method[LassoParams]):
    """Ranks fields by the order in which a penalty lets them in."""

    Params = LassoParams

    def skip(self, ctx: Context[LassoParams]) -> str | None:
        """What takes a second to import is loaded here, before the clock of the selection runs."""
        variant = self.params.variant
        if variant == "published":
            import sklearn.linear_model  # noqa: F401, PLC0415
        return None if variant == "sound" else shallow.refuse_pooled(ctx.schema, f"variant={variant}")

    def select(self, ctx: Context[LassoParams], train: Rows, selection_rows: Rows) -> Selection:
        """Rank on ``train``; ``selection_rows`` are not looked at."""
        deadline = shallow.Deadline(self.params.time_budget_s)
        rows = shallow.bound_rows(train, self.params.max_rows, ctx.rng("rows"))
        if self.params.variant == "published":
            scores = self._published(rows)
            deadline.check("the fit")
            hint = None if scores.any() else f"every coefficient is 0 at alpha={self.params.alpha:g}; lower it"
            return Selection(scores=scores, hint=hint, rows_seen=len(rows), notes={"rows": len(rows)})
        path = self._sound(ctx, rows, deadline) if self.params.variant == "sound" else self._group(rows, deadline)
        notes = {"rows": len(rows), "first_penalty": float(path.penalties[0])}
        notes["fields_at_the_end"] = int((path.sizes[-1] > 0).sum())
        scores = path.scores()
        hint = None if scores.any() else f"none enters on {len(rows):,} rows; give more"
        return Selection(scores=scores, hint=hint, rows_seen=len(rows), notes=notes)

    def _published(self, rows: Rows) -> np.ndarray:
        from sklearn.linear_model import Lasso as LeastSquares  # noqa: PLC0415 - slow to import

        model = LeastSquares(alpha=self.params.alpha, max_iter=1000, tol=1e-4, precompute=True)
        model.fit(shallow.code_matrix(rows).astype(np.float64), shallow.labels_of(rows))
        return np.abs(np.asarray(model.coef_, dtype=np.float64))

    def _sound(self, ctx: Context[LassoParams], rows: Rows, deadline: shallow.Deadline) -> Path:
        design = standard_design(rows, self.params.folds, shallow.draw_number(ctx.rng("folds")))
        return l1_path(design, shallow.labels_of(rows), *self._grid(), deadline.check)

    def _group(self, rows: Rows, deadline: shallow.Deadline) -> Path:
        merged = rows.merge_rare(self.params.min_count) if self.params.min_count > 1 else rows
        codes, numbers = shallow.local_codes(merged), shallow.standardise(shallow.code_matrix(rows))
        groups = [
            Column(numbers[:, f]) if field.kind == "numeric" else Values(codes[:, f], field.cardinality)
            for f, field in enumerate(rows.schema.fields)
        ]
        return group_path(groups, shallow.labels_of(rows), *self._grid(), deadline.check)

    def _grid(self) -> tuple[int, float]:
        variant = self.params.variant
        return self.params.steps or _STEPS[variant], self.params.smallest or _SMALLEST[variant]
