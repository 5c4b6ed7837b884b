"""Columns to rows and back, a part at a time that stays in the processor's cache."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

_COLUMNS_AT_ONCE, _ROWS_AT_ONCE = 256, 256
"""What of columns is put into the order of rows at a time."""
_GATHERED_ROWS = 4096
"""What of rows is put into the order of a few columns at a time."""


def beside(columns: Iterable[np.ndarray], shape: tuple[int, int], dtype: type[np.generic]) -> np.ndarray:
    """Columns [n] as an array [n, columns], of ``shape``: many are turned at a time, and row after row of them."""
    n_rows, n_columns = shape
    rows = np.empty(shape, dtype)
    held = np.empty((min(n_columns, _COLUMNS_AT_ONCE), n_rows), dtype)
    waiting = iter(columns)
    for first in range(0, n_columns, _COLUMNS_AT_ONCE):
        some = held[: n_columns - first]
        for place, column in zip(some, waiting, strict=False):
            place[:] = column
        for row in range(0, n_rows, _ROWS_AT_ONCE):
            rows[row : row + _ROWS_AT_ONCE, first : first + len(some)] = some[:, row : row + _ROWS_AT_ONCE].T
    return rows


def turned(rows: np.ndarray, columns: range) -> np.ndarray:
    """Some neighbouring columns of ``rows`` [n, columns] as an array [columns, n]; of a single one, a view."""
    some = rows[:, columns.start : columns.stop]
    if len(columns) == 1:
        return some.T
    found = np.empty(some.shape[::-1], rows.dtype)
    for row in range(0, len(rows), _GATHERED_ROWS):
        found[:, row : row + _GATHERED_ROWS] = some[row : row + _GATHERED_ROWS].T
    return found
