"""Columns that number the rows, as the index that pandas writes: they tell rows apart and say nothing of them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from bench.data.card.layout import Column, Layout
from bench.data.raw.columns import LocalColumn
from bench.data.raw.header import is_index_name
from bench.data.raw.readers import RawBlock
from bench.data.raw.texts import as_texts, parse_whole


def numbered(block: RawBlock, layout: Layout) -> dict[str, int]:
    """The columns that seem to count the rows of ``block`` up by one, and where they begin.

    Looked at are the first, the middle and the last row, and, if they fit, whether all values differ.
    """
    found = {}
    for column in layout.columns:
        if column.fields and column.role != "time" and not column.multi:
            first = _first_number(block, column)
            if first is not None:
                found[column.name] = first
    return found


def _first_number(block: RawBlock, column: Column) -> int | None:
    n = block.n_rows
    places = np.array([0, n // 2, n - 1])
    if column.role == "numeric":
        numbers = block.numbers[column.name]
        if not _counts(numbers[0].as_py(), numbers[n - 1].as_py(), n):
            return None  # nearly always: of wide tables little may be done for each column
        looked_at = numbers.take(pa.array(places)).to_numpy(zero_copy_only=False).astype(np.float64)
    else:
        local = block.columns[column.name]
        if len(local.values) != n:
            return None
        looked_at = _numbers_at(local, places)
    steps = looked_at - places
    if not np.isfinite(steps).all() or (steps != steps[0]).any() or steps[0] % 1:
        return None
    if column.role == "numeric" and (numbers.to_numpy(zero_copy_only=False) != steps[0] + np.arange(n)).any():
        return None
    return int(steps[0])


def _counts(first: float | None, last: float | None, n: int) -> bool:
    """Whether the last of ``n`` numbers is as far from the first as their rows are."""
    return first is not None and last is not None and last - (n - 1) == first


def _numbers_at(column: LocalColumn, places: np.ndarray) -> np.ndarray:
    """What the values of three rows say as numbers, float64 [3]; NaN where they say none."""
    codes = column.codes[places].astype(np.int64)
    if not codes.all():
        return np.full(3, np.nan)
    values = column.values.take(codes - 1)
    numbers = values if pa.types.is_int64(values.type) else parse_whole(as_texts(values))
    return np.full(3, np.nan) if numbers is None else np.asarray(numbers).astype(np.float64)


_FEWEST = 10
"""Rows by which a column is judged."""


class Numbered:
    """Columns that have counted the rows of one file so far."""

    def __init__(self) -> None:
        self._first: dict[str, int] | None = None
        self._rows = 0

    def add(self, rows: int, found: dict[str, int]) -> None:
        """Take in a block: its rows, and what ``numbered`` says of it."""
        if self._first is None:
            self._first = dict(found)
        else:
            wanted = self._first.items()
            self._first = {name: first for name, first in wanted if found.get(name) == first + self._rows}
        self._rows += rows

    @property
    def columns(self) -> set[str]:
        """Of a file that is long enough to tell."""
        return set(self._first or ()) if self._rows >= _FEWEST else set()


def index_notes(layout: Layout, files: list[Numbered]) -> list[str]:
    """What to say of the fields that number the rows of every file, or are called so."""
    counting = set.intersection(*(one.columns for one in files))
    notes = []
    for column in layout.columns:
        if not column.fields:
            continue
        why = "numbers the rows" if column.name in counting else ""
        if is_index_name(column.name):
            why = why or "has the name that pandas gives to an index"
        if why:
            notes.append(
                f'column {column.name!r} {why} and says nothing of them; give it the kind "ignore" in the card '
                f"unless it does."
            )
    return notes
