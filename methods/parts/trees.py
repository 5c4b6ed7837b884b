"""What the selectors by scikit-learn's trees share: target codes as columns, and importance on rows not fitted on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.api import Context, Rows
from methods.parts import shallow
from methods.parts.target_encoding import encode

__all__ = ["Coded", "code", "importance", "no_split", "too_few"]


@dataclass(frozen=True)
class Coded:
    """Rows as ``methods/parts/target_encoding.py`` makes them: one column a field."""

    matrix: np.ndarray
    """Codes of the training rows, out of fold, float32 [N, F]."""
    labels: np.ndarray
    """Float32 [N]."""
    held: np.ndarray
    """Codes of the selection rows, float32 [M, F]."""
    held_labels: np.ndarray
    """Float32 [M]."""

    @property
    def notes(self) -> dict[str, Any]:
        """For the record."""
        return {"rows": len(self.labels), "selection_rows": len(self.held_labels)}


def code(ctx: Context[Any], train: Rows, selection_rows: Rows, max_rows: int, max_held: int, folds: int) -> Coded:
    """At most ``max_rows`` training rows and ``max_held`` selection rows, encoded."""
    rows = shallow.bound_rows(train, max_rows, ctx.rng("rows"))
    held = shallow.bound_rows(selection_rows, max_held, ctx.rng("selection rows"))
    matrix, held_matrix = encode(rows, held, folds, shallow.draw_number(ctx.rng("folds")))
    return Coded(matrix, shallow.labels_of(rows), held_matrix, shallow.labels_of(held))


def too_few(coded: Coded) -> str | None:
    """Why no tree can tell the classes apart."""
    n, positive = len(coded.labels), int(coded.labels.sum())
    if min(positive, n - positive) > 1:
        return None
    return f"{positive:,} of {n:,} rows are positive, and two of each class are needed; give more rows"


def importance(
    ctx: Context[Any],
    coded: Coded,
    margin: Callable[[np.ndarray], np.ndarray],
    columns: Sequence[int],
    repeats: int,
    deadline: shallow.Deadline,
) -> np.ndarray:
    """Log loss lost on the selection rows when a field is shuffled, mean over ``repeats``, float64 [F].

    ``margin`` maps rows to logits; fields that are not among ``columns`` get 0.
    """

    def timed(matrix: np.ndarray) -> np.ndarray:
        deadline.check("a shuffled field")
        return margin(matrix)

    generator = ctx.rng("permutation")
    losses = shallow.permutation_importance(timed, coded.held, coded.held_labels, columns, repeats, generator)
    return np.asarray(losses.mean(axis=0))


def no_split(coded: Coded, leaf: int) -> str:
    """Why all scores are 0, and what would help."""
    n, positive = len(coded.labels), int(coded.labels.sum())
    return (
        f"no tree found a split with leaf_rows={leaf} on {n:,} rows, {positive:,} positive; lower it or give more rows"
    )
