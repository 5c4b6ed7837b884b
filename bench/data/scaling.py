"""Standardising numeric fields by the mean and standard deviation of their train rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_ROWS_AT_ONCE = 1 << 18
"""Fixed, so that sums do not depend on how the rows were read."""
_ROUNDING = 1e-12
"""A deviation below this share of the mean is rounding: the field is constant."""


@dataclass(frozen=True)
class Scaling:
    """One numeric field's standardisation."""

    mean: float
    sd: float
    """1 where the field is constant or always missing."""


def fit_scaling(numbers: np.ndarray, in_train: np.ndarray) -> Scaling:
    """Mean and (population) standard deviation over the train rows, missing ones apart.

    Args:
        numbers: float32 [N], NaN where missing.
        in_train: bool [N].
    """
    count, total, squares = 0, 0.0, 0.0
    for part in _parts(numbers, in_train):
        count += len(part)
        total += float(part.sum())
    mean = total / count if count else 0.0
    for part in _parts(numbers, in_train):
        squares += float(np.square(part - mean).sum())
    sd = float(np.sqrt(squares / count)) if count else 0.0
    return Scaling(mean, sd if sd > _ROUNDING * abs(mean) else 1.0)


def _parts(numbers: np.ndarray, in_train: np.ndarray) -> Iterator[np.ndarray]:
    rows = np.flatnonzero(in_train)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = numbers[rows[start : start + _ROWS_AT_ONCE]].astype(np.float64)
        yield part[~np.isnan(part)]


def standardise(numbers: np.ndarray, scaling: Scaling) -> np.ndarray:
    """The standardised numbers, float32; a missing one becomes 1, the factor of the missing value's own vector."""
    scaled = (numbers.astype(np.float64) - scaling.mean) / scaling.sd
    return np.where(np.isnan(scaled), 1.0, scaled).astype(np.float32)
