"""What the selectors share that grow trees with XGBoost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bench.api import Rows
from methods.parts.shallow import Deadline

if TYPE_CHECKING:
    from xgboost import Booster, DMatrix

__all__ = ["bins_for", "in_ranges", "least_weight", "quantiles", "stop_at", "threads_for"]

_NARROW = 256  # columns up to which all is as XGBoost has it
_BINS, _FEWER_BINS = 256, 64
_ROWS_PER_THREAD = 100_000  # of up to 256 columns; below that, threads wait for each other longer than they work
_MOST_WEIGHT, _LEAVES = 50.0, 20


def least_weight(rows: Rows) -> float:
    """The least sum of p(1 - p) in a leaf: 50, or a twentieth of that of all rows where growing begins."""
    rate = rows.positive_rate
    return min(_MOST_WEIGHT, len(rows) * rate * (1 - rate) / _LEAVES)


def threads_for(n_rows: int, n_columns: int) -> int:
    """Threads that are worth their while."""
    return min(torch.get_num_threads(), 1 + n_rows * max(n_columns, _NARROW) // (_ROWS_PER_THREAD * _NARROW))


def bins_for(n_columns: int) -> int:
    """Ranges that the values of a column fall into: XGBoost's 256, or 64 in tables of more than 256 columns."""
    return _BINS if n_columns <= _NARROW else _FEWER_BINS


def in_ranges(matrix: np.ndarray, labels: np.ndarray, **layout: Any) -> DMatrix:
    """Numbers [N, F] as trees take them, in ``bins_for(F)`` ranges; ``layout`` is passed on to XGBoost.

    XGBoost finds ranges with a sketch of about a megabyte a column. Of many columns they are found here, exactly, and
    handed over as the rows of a small table.
    """
    import xgboost  # noqa: PLC0415

    bins = bins_for(matrix.shape[1])
    layout |= {"max_bin": bins}
    if bins == _BINS:
        return xgboost.QuantileDMatrix(matrix, labels, **layout)
    return xgboost.QuantileDMatrix(
        matrix, labels, ref=xgboost.QuantileDMatrix(quantiles(matrix, bins), **layout), **layout
    )


def quantiles(matrix: np.ndarray, bins: int) -> np.ndarray:
    """Where ranges of a column begin, float32 [bins, F], column-major.

    Every value of a column that has no more than ``bins``, the last one repeated; else values at even distances in the
    order of the rows by value.
    """
    n, f = matrix.shape
    begins = np.empty((bins, f), dtype=np.float32, order="F")
    even = np.linspace(0, n - 1, bins).round().astype(np.int64)
    for column in range(f):
        ordered = np.sort(matrix[:, column])
        values = ordered[np.flatnonzero(np.diff(ordered, prepend=-np.inf))]
        few = len(values) <= bins
        begins[:, column] = values[np.minimum(np.arange(bins), len(values) - 1)] if few else ordered[even]
    return begins


def stop_at(deadline: Deadline) -> Any:
    """A callback that gives up between two trees when the time is spent."""
    import xgboost  # noqa: PLC0415

    class Watch(xgboost.callback.TrainingCallback):
        def after_iteration(self, model: Booster, epoch: int, evals_log: Any) -> bool:
            deadline.check(f"tree {epoch + 1}")
            return False

    return Watch()
