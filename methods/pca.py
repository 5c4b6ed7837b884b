"""PCA as a field selector: fields ranked by the principal components of their columns.

Pearson, Philosophical Magazine 1901. The paper reproduced here names the method and gives no settings. Variants:

    published    codes taken for numbers and not scaled; |loading| on the first component. The field with the most
                 codes is nearly all of that component, whatever it means.
    sound        method B4 of Jolliffe, Discarding Variables in a Principal Component Analysis. I: Artificial Data,
                 Applied Statistics 21, 1972: each component in turn, the largest variance first, picks the field of
                 the largest |loading| that none before it has picked. The order of picks is the ranking. Two fields
                 that say the same share a component, which picks one of them.

The columns of ``sound`` are the out-of-fold click rates of ``methods/parts/target_encoding.py``, a number counting as
one of ``buckets`` ranges. All are log odds, one unit, so the components are those of their covariance, and a field
whose click rates lie far apart comes early: labels have a part in the columns, and none in what follows. With
``supervised=false`` a column is the logarithm of how often a value occurs, or the number itself; these have no common
unit, so the components are those of their correlations, and the ranking asks which fields vary together, not which
tell about the label.

Of a pooled field ``sound`` reads the mean of its values' codes, or of the logarithms of their frequencies;
``published``, which reads one, is skipped.

Jolliffe has neither click rates nor a ranking: he keeps as many variables as there are components above a variance.
Components without variance pick nothing here; fields that none has picked score 0.

The form was chosen by the validation AUC of a DNN trained anew on half of the fields, three seeds, on MovieLens-100k
and latest-small (30,000 rows each), ``criteo-like[rows=20000]`` and a planted set, none of which is in our tables.
Click rates in log odds were ahead of standardised click rates and of frequencies by .03 or more on average, under B4
and under the communality of the components above the mean variance alike. Between these two the difference was .001
on average; B4 was taken, which has one source and no number of components.

Deviations: at most ``max_rows`` rows, where the public code takes all; codes come from the train split alone.

Shapes: N rows, F fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from bench.api import Context, Method, Only, Range, Rows, Selection
from methods.parts import shallow
from methods.parts.target_encoding import centred_codes

_DECIMALS = 6  # columns are float32: loadings of twins are equal but for rounding
_RULE = {
    True: "Jolliffe's B4 on the covariance of click rates in log odds: labels enter through these columns alone",
    False: "Jolliffe's B4 on the correlations of frequencies and numbers: labels have no part",
}
_NO_VARIANCE = 1e-9  # as a share of the first component's; of rounding, and of codes shrunk to the mean


@dataclass(frozen=True)
class PCAParams:
    """Values without a source are chosen here, and were not tuned."""

    variant: Literal["published", "sound"] = "sound"
    """How codes become columns, and what is made of the components."""
    max_rows: Annotated[int, Range(100)] = 1_000_000
    """Training rows at most."""
    time_budget_s: Annotated[float, Range(0, open_low=True)] = 600.0
    """Seconds after which the selection is given up."""
    supervised: Annotated[bool, Only(variant="sound")] = True
    """Columns of ``sound``: click rates out of fold, or without labels the frequency of a value."""
    folds: Annotated[int, Range(2, 100), Only(variant="sound", supervised=True)] = 5
    """Folds of the target encoding."""
    buckets: Annotated[int, Range(2), Only(variant="sound", supervised=True)] = 16
    """Ranges of a numeric field, whose click rates are its codes."""


class PCA(Method[PCAParams]):
    """Ranks fields by the components that they lead."""

    Params = PCAParams

    def skip(self, ctx: Context[PCAParams]) -> str | None:
        variant = self.params.variant
        return shallow.refuse_pooled(ctx.schema, f"variant={variant}") if variant == "published" else None

    def select(self, ctx: Context[PCAParams], train: Rows, selection_rows: Rows) -> Selection:
        """Rank on ``train``; ``selection_rows`` are not looked at."""
        deadline = shallow.Deadline(self.params.time_budget_s)
        rows = shallow.bound_rows(train, self.params.max_rows, ctx.rng("rows"))
        matrix = self._matrix(ctx, rows)
        deadline.check("the covariance")
        values, vectors = components(covariance(matrix))
        deadline.check("the components")
        if self.params.variant == "published":
            return Selection(scores=np.abs(vectors[:, 0]), rows_seen=len(rows), notes={"rows": len(rows)})
        count = int((values > _NO_VARIANCE * values[0]).sum())
        picks = picked(vectors[:, :count])
        scores = np.zeros(len(values))
        scores[picks] = np.arange(len(values), len(values) - len(picks), -1)
        hint = None if picks else f"no column varies on {len(rows):,} rows; give more"
        notes = {"rows": len(rows), "components": count, "rule": _RULE[self.params.supervised]}
        return Selection(scores=scores, hint=hint, rows_seen=len(rows), notes=notes)

    def _matrix(self, ctx: Context[PCAParams], rows: Rows) -> np.ndarray:
        if self.params.variant == "published":
            return shallow.code_matrix(rows)
        if not self.params.supervised:
            return shallow.standardise(shallow.frequency_matrix(rows))
        draw = shallow.draw_number(ctx.rng("folds"))
        return centred_codes(rows.bucketed(self.params.buckets), self.params.folds, draw)


def picked(vectors: np.ndarray) -> list[int]:
    """B4: the field of the largest |loading| of each component in turn, of loadings [F, C], that is not yet picked."""
    picks: list[int] = []
    for column in np.round(np.abs(vectors), _DECIMALS).T:
        column[picks] = 0.0
        if column.any():
            picks.append(int(np.argmax(column)))
    return picks


def covariance(matrix: np.ndarray) -> np.ndarray:
    """Covariance of the columns of a matrix [N, F], summed in float64 a block of rows at a time; [F, F]."""
    mean = matrix.mean(axis=0, dtype=np.float64)
    total = np.zeros((matrix.shape[1],) * 2)
    for start in range(0, len(matrix), shallow.CHUNK):
        part = matrix[start : start + shallow.CHUNK] - mean
        total += part.T @ part
    return total / max(len(matrix), 1)


def components(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variances [F], decreasing, and unit loadings [F, F], a column each, of a covariance [F, F]."""
    values, vectors = np.linalg.eigh(matrix)
    return np.maximum(values[::-1], 0.0), vectors[:, ::-1]
