"""What every statistic asks of its numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["NotTestable", "matrix", "vector"]


class NotTestable(ValueError):
    """The numbers at hand do not allow this statistic; the message says why, fit for a note under a table."""


def vector(values: ArrayLike, what: str, at_least: int = 1) -> np.ndarray:
    """``values`` as float64 [n].

    Raises:
        NotTestable: not one-dimensional, fewer than ``at_least``, or one that is missing or infinite.
    """
    return _checked(values, what, 1, at_least)


def matrix(values: ArrayLike, what: str, at_least: int = 1) -> np.ndarray:
    """``values`` as float64 [n, k]; refused as in ``vector``, by rows."""
    return _checked(values, what, 2, at_least)


def _checked(values: ArrayLike, what: str, n_dims: int, at_least: int) -> np.ndarray:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != n_dims:
        raise NotTestable(f"{what}: {numbers.ndim} dimensions where {n_dims} are needed")
    if len(numbers) < at_least or numbers.size == 0:
        raise NotTestable(f"{what}: {len(numbers)} of at least {at_least}")
    lacking = int((~np.isfinite(numbers)).sum())
    if lacking:
        raise NotTestable(f"{what}: {lacking} of {numbers.size} numbers are missing or not finite")
    return numbers
