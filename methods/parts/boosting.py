"""What the selectors share that grow trees with XGBoost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from bench.api import Rows
from methods.parts.shallow import Deadline

if TYPE_CHECKING:
    from xgboost import Booster

__all__ = ["least_weight", "stop_at", "threads_for"]

_ROWS_PER_THREAD = 100_000  # below that, threads wait for each other longer than they work
_NARROW = 256  # columns; of more of them, fewer rows give as much work
_MOST_WEIGHT, _LEAVES = 50.0, 20


def least_weight(rows: Rows) -> float:
    """The least sum of p(1 - p) in a leaf: 50, or a twentieth of that of all rows where growing begins."""
    rate = rows.positive_rate
    return min(_MOST_WEIGHT, len(rows) * rate * (1 - rate) / _LEAVES)


def threads_for(n_rows: int, n_columns: int) -> int:
    """Threads that are worth their while."""
    return min(torch.get_num_threads(), 1 + n_rows * max(n_columns, _NARROW) // (_ROWS_PER_THREAD * _NARROW))


def stop_at(deadline: Deadline) -> Any:
    """A callback that gives up between two trees when the time is spent."""
    import xgboost  # noqa: PLC0415

    class Watch(xgboost.callback.TrainingCallback):
        def after_iteration(self, model: Booster, epoch: int, evals_log: Any) -> bool:
            deadline.check(f"tree {epoch + 1}")
            return False

    return Watch()
