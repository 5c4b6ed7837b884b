"""What the selectors by scikit-learn's trees share: target codes as columns, and importance on rows not fitted on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.api import Context, Rows
from methods.parts import shallow
from methods.parts.target_encoding import encode, fold_numbers

__all__ = ["Coded", "code", "importance", "no_split", "too_few"]

_ROUNDING = 1e-9  # a column of float32 numbers that differ at all differs by more


@dataclass(frozen=True)
class Coded:
    """Rows as ``methods/parts/target_encoding.py`` makes them, one column a field, with equal means in all folds."""

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
    salt = shallow.draw_number(ctx.rng("folds"))
    matrix, held_matrix = encode(rows, held, folds, salt)
    _level(matrix, rows, fold_numbers(rows.index.numpy(), folds, salt))
    return Coded(matrix, shallow.labels_of(rows), held_matrix, shallow.labels_of(held))


def _level(matrix: np.ndarray, rows: Rows, fold: np.ndarray) -> None:
    """Give the codes of a field the same mean in every fold, in place.

    The mean of the others' click rates runs against a fold's own: trees would tell folds apart by any field, also by a
    constant one, and so learn labels of the training rows.
    """
    counts = np.maximum(np.bincount(fold), 1)
    for f, field in enumerate(rows.schema.fields):
        if field.kind != "numeric":
            column = matrix[:, f].astype(np.float64)
            apart = column - (np.bincount(fold, column) / counts)[fold]
            apart[np.abs(apart) <= _ROUNDING * np.abs(column).max(initial=0.0)] = 0.0
            matrix[:, f] = column.mean() + apart


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
