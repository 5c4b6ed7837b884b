"""PCA as a field selector: fields ranked by their part in the principal components.

Pearson, Philosophical Magazine 1901. The paper reproduced here names the method and gives no settings. Variants:

    published    codes taken for numbers and not scaled; |loading| on the first component. The field with the most
                 codes is nearly all of that component, whatever it means.
    sound        standardised columns: the codes of ``methods/parts/target_encoding.py``, or with
                 ``supervised=false`` the logarithm of how often a value occurs. q is the fewest components that reach
                 the share ``explained`` of the variance; a field's score is its communality, sum over c <= q of
                 λ_c v_fc².

PCA is not a relevance method: it asks which fields vary together, not which ones tell about the label. A field of noise
that varies alone is a component of its own, and what ranks low is redundant or constant. Its row is here because the
paper has it.

Deviations: at most ``max_rows`` rows, where the public code takes all; codes come from the train split alone.
Shapes: N rows, F fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from bench.api import Context, Method, Only, Range, Rows, Selection
from methods.parts import shallow
from methods.parts.target_encoding import standard_codes

_DECIMALS = 6  # columns are float32: where all components are counted, a communality is 1 but for rounding


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
    explained: Annotated[float, Range(0, 1, open_low=True), Only(variant="sound")] = 0.9
    """Share of the variance that the counted components of ``sound`` reach."""


class PCA(Method[PCAParams]):
    """Ranks fields by their loadings."""

    Params = PCAParams

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
        share = np.cumsum(values) / max(float(values.sum()), np.finfo(float).tiny)
        count = min(int(np.searchsorted(share, self.params.explained)) + 1, len(values))
        scores = np.round(vectors[:, :count] ** 2 @ values[:count], _DECIMALS)
        notes = {"rows": len(rows), "components": count}
        every = f"explained={self.params.explained:g} takes every component, and so every field whole; lower it"
        hint = every if values[0] > 0 else f"no column varies on {len(rows):,} rows; give more"
        return Selection(scores=scores, hint=hint, rows_seen=len(rows), notes=notes)

    def _matrix(self, ctx: Context[PCAParams], rows: Rows) -> np.ndarray:
        if self.params.variant == "published":
            return shallow.code_matrix(rows)
        if not self.params.supervised:
            return shallow.standardise(shallow.frequency_matrix(rows))
        return standard_codes(rows, self.params.folds, shallow.draw_number(ctx.rng("folds")))


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
