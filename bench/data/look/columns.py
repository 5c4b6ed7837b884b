"""What the rows looked at say of each column: its distinct values and how often each occurs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from bench.data.look.sample import Sample
from bench.data.raw.arrow_texts import texts
from bench.data.raw.multi import combinations, is_list
from bench.data.raw.row_numbers import numbered
from bench.data.raw.texts import as_texts, parse_numbers, parse_whole

MARKERS = (
    *("", "NULL", "null", "Null", "\\N", "(null)", "NA", "N/A", "n/a", "#N/A", "<NA>", "nan", "NaN", "NAN"),
    *("None", "none", "nil", "NaT"),
)
"""Texts that stand for a missing value wherever they are met."""
SOFT_MARKERS = (
    *("-", "--", "?", ".", "na", "missing", "Missing", "unknown", "Unknown", "#NULL!", "NONE"),
    *("0000-00-00", "0000-00-00 00:00:00"),
)
"""Texts that stand for one in a column whose other values are all numbers, or all times."""
NUMBER_MARKERS = (-1, -9, -99, -999, -9999, 999999, -2147483648)
"""Numbers that often stand for one, which no look can tell."""


@dataclass(frozen=True)
class Values:
    """One column of the rows looked at."""

    name: str
    codes: np.ndarray
    """int32 [n], -1 where Parquet has no value."""
    texts: pa.Array | None
    """Distinct values, large strings [V]; None of floats that are too many to be written down."""
    floats: np.ndarray | None = None
    """Distinct values of a column of floats, float64 [V]."""
    items: pa.Array | None = None
    """Of a column of lists: the values of all rows' lists, large strings."""
    counts_up: bool = False
    """Whether its values number the rows."""

    @cached_property
    def counts(self) -> np.ndarray:
        """Rows of each distinct value, int64 [V]."""
        n_values = len(self.texts) if self.texts is not None else len(self.floats) if self.floats is not None else 0
        return np.bincount(self.codes + 1, minlength=n_values + 1)[1:]

    def without(self, markers: Sequence[str]) -> Present:
        """The values that are none of ``markers``."""
        if self.texts is None:
            return Present(None, self.floats, self.counts, np.arange(len(self.counts)), len(self.codes))
        kept = ~np.asarray(pc.is_in(self.texts, value_set=pa.array(list(markers), pa.large_string())))
        places = np.flatnonzero(kept & (self.counts > 0))
        floats = None if self.floats is None else self.floats[places]
        return Present(self.texts.take(pa.array(places)), floats, self.counts[places], places, len(self.codes))

    def present_codes(self, markers: Sequence[str]) -> np.ndarray:
        """Codes of the rows from 1 on, 0 where the value is missing, int32 [n]."""
        codes = self.codes + 1
        if self.texts is None:
            return codes
        gone = np.asarray(pc.is_in(self.texts, value_set=pa.array(list(markers), pa.large_string())))
        return np.asarray(np.where(np.append(False, gone)[codes], 0, codes))


@dataclass(frozen=True)
class Present:
    """The distinct values of a column that are not missing."""

    texts: pa.Array | None
    floats: np.ndarray | None
    counts: np.ndarray
    """Rows of each, int64 [P]."""
    places: np.ndarray
    """Where each stands among the values of the column, int64 [P]."""
    n_rows: int
    """The missing ones included."""

    @property
    def distinct(self) -> int:
        return len(self.counts)

    @property
    def rows(self) -> int:
        """With a value."""
        return int(self.counts.sum())

    @property
    def missing(self) -> float:
        """Share of the rows without one."""
        return 1 - self.rows / self.n_rows

    @property
    def is_unique(self) -> bool:
        """Whether next to no value comes twice."""
        return self.rows >= FEWEST_UNIQUE and self.distinct >= UNIQUE * self.rows

    def numbers(self, decimal: str) -> np.ndarray | None:
        """The values as numbers, float64 [V]; None where one is none."""
        if self.floats is not None:
            return self.floats
        found = None if self.texts is None or not self.distinct else parse_numbers(self.texts, decimal)
        return None if found is None else np.asarray(found)

    def whole(self, decimal: str) -> np.ndarray | None:
        """The values as whole numbers, int64 [V]; None where one is none."""
        if self.texts is None:
            return None
        found = parse_whole(self.texts, decimal) if self.distinct else None
        return None if found is None else np.asarray(found)


UNIQUE = 0.999
"""Distinct values for each row from which on a column is an id of the rows."""
FEWEST_UNIQUE = 20
"""Rows by which that is judged."""
_WRITTEN = 20_000
"""Distinct floats that are written down as texts."""


def read_columns(sample: Sample) -> list[Values]:
    """All columns that can be read, in the order of the table."""
    counting = _counting(sample)
    found = []
    for column in sample.layout.columns:
        if column.role == "ignore":
            continue
        if column.role == "numeric":
            values = _floats(column.name, sample)
        elif column.multi:
            values = _lists(column.name, sample)
        else:
            values = _texts(column.name, sample, column.name in counting)
        found.append(values)
    return found


def _counting(sample: Sample) -> set[str]:
    """Columns that number the rows of every block."""
    names = [set(numbered(block, sample.layout)) for block in sample.blocks if block.n_rows >= FEWEST_UNIQUE]
    first = sample.layout.columns[0]
    others = set.intersection(*names) if names else set()
    return others | ({first.name} if first.role == "label" and _first_counts(sample) else set())


def _first_counts(sample: Sample) -> bool:
    """``numbered`` of the column that is read in the place of a label."""
    name = sample.layout.columns[0].name
    for block in sample.blocks:
        column = block.columns[name]
        numbers = parse_whole(as_texts(column.values)) if len(column.values) == block.n_rows else None
        if numbers is None or block.n_rows < FEWEST_UNIQUE:
            return False
        if (np.diff(np.asarray(numbers)[column.codes.astype(np.int64) - 1]) != 1).any():
            return False
    return True


def _texts(name: str, sample: Sample, counts_up: bool) -> Values:
    parts = []
    for block in sample.blocks:
        column = block.columns[name]
        codes = column.codes.astype(np.int32) - 1
        parts.append(pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), _large(as_texts(column.values))))
    codes, values = _joined(parts)
    return Values(name, codes, values, counts_up=counts_up)


def _large(values: pa.Array) -> pa.Array:
    return values.cast(pa.large_string())


def _joined(parts: list[pa.DictionaryArray]) -> tuple[np.ndarray, pa.Array]:
    """Codes of all parts by one dictionary, -1 for null, and its values."""
    whole = pa.chunked_array(parts).unify_dictionaries().combine_chunks()
    array = whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
    return np.asarray(array.indices.fill_null(-1)).astype(np.int32), array.dictionary


def _floats(name: str, sample: Sample) -> Values:
    numbers = pa.chunked_array([block.numbers[name] for block in sample.blocks]).combine_chunks()
    array = numbers.chunk(0) if isinstance(numbers, pa.ChunkedArray) else numbers
    encoded = pc.if_else(pc.is_nan(array), pa.scalar(None, pa.float64()), array).dictionary_encode()
    values = encoded.dictionary
    written = texts(values) if len(values) <= _WRITTEN else None
    codes = np.asarray(encoded.indices.fill_null(-1)).astype(np.int32)
    return Values(name, codes, written, floats=np.asarray(values))


def _lists(name: str, sample: Sample) -> Values:
    columns = [block.columns[name].values for block in sample.blocks]
    lists = [one.cast(pa.large_list(pa.large_string())) for one in columns if is_list(one.type)]
    parts = [combinations(one, "", ("",)).dictionary_encode() for one in lists]
    codes, values = _joined(parts)
    items = pa.chunked_array([one.flatten() for one in lists]).combine_chunks()
    return Values(name, codes, values, items=items)


def seen_markers(columns: Sequence[Values]) -> tuple[str, ...]:
    """Those of ``MARKERS`` that are a value of any column, in their order."""
    seen: set[str] = set()
    wanted = pa.array(MARKERS, pa.large_string())
    for column in columns:
        if column.texts is not None and column.items is None:
            seen |= set(column.texts.filter(pc.is_in(column.texts, value_set=wanted)).to_pylist())
    return tuple(marker for marker in MARKERS if marker in seen or not marker)
