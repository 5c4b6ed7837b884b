"""One block of rows whose codes are parked: what is counted of it, and its rows as ids; the same wherever it lies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from bench.data.prepare.spill import Slot
from bench.data.prepare.turning import beside
from bench.data.raw.fields import FieldBlock
from bench.data.raw.texts import pack

_CELLS_AT_ONCE = 1 << 22
"""Ids that are written at a time: what is larger, the system takes back when it is freed, and clears for the next."""

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Ids int32 [n, F], numbers float64 [n, numeric fields], and ids of further values of pooled fields int32 [n, P]."""


class Park(Protocol):
    """Where arrays are parked."""

    def append_all(self, arrays: Sequence[np.ndarray]) -> tuple[Slot, ...]:
        """Park arrays together."""


class Held(Protocol):
    """Arrays that were parked."""

    def read_each(self, slots: Sequence[Slot]) -> Iterator[np.ndarray]:
        """The arrays of slots that were parked together."""


@dataclass(frozen=True)
class StoredBlock:
    """A block whose rows are parked."""

    n_rows: int
    codes: tuple[Slot, ...]
    """Of each field."""
    values: tuple[pa.Array, ...]
    """Of each field: the values behind its codes, short texts as numbers."""
    parked: tuple[Slot | None, ...]
    """Of each field: its values where they are numbers; nothing: they are not parked yet."""
    numbers: tuple[Slot, ...]
    """Of each numeric field, float64."""
    further: tuple[Slot, ...]
    """Codes of the further values of pooled fields, column by column."""
    home: str = ""
    """The file in which another process parked them."""


def store_block(block: FieldBlock, park: Park, home: str | None = None) -> StoredBlock:
    """Park the rows of ``block``; ``home`` is given where the values behind the codes go to another process."""
    values = tuple(pack(column.values) for column in block.columns)
    return StoredBlock(
        n_rows=len(block.labels),
        parked=park_values(values, park) if home is None else (),
        codes=park.append_all([column.codes for column in block.columns]),
        values=values,
        numbers=park.append_all(block.numbers),
        further=park.append_all(block.further),
        home=home or "",
    )


def park_values(values: Sequence[pa.Array], park: Park) -> tuple[Slot | None, ...]:
    """Park the values of fields that are numbers."""
    slots = iter(park.append_all([np.asarray(one) for one in values if pa.types.is_integer(one.type)]))
    return tuple(next(slots) if pa.types.is_integer(one.type) else None for one in values)


@dataclass(frozen=True)
class CountJob:
    """Counting the values of a block over its train rows."""

    number: int
    """Of the block."""
    block: StoredBlock
    in_train: np.ndarray
    """Bool [rows of the block]."""
    sizes: np.ndarray
    """Codes of each field, the missing value's with them."""
    owners: Sequence[int]
    """Of each column of further values, the field whose dictionary it has."""


def count_codes(job: CountJob, held: Held) -> np.ndarray:
    """The train rows of each of the block's codes, field behind field, int64 [sum of sizes]."""
    train = np.flatnonzero(job.in_train)
    found = np.zeros(job.sizes.sum(), np.int64)
    counts = np.split(found, np.cumsum(job.sizes)[:-1])
    for count, codes in zip(counts, held.read_each(job.block.codes), strict=True):
        one = np.bincount(codes.take(train))
        count[: len(one)] = one
    for owner, codes in zip(job.owners, held.read_each(job.block.further), strict=True):
        more = np.bincount(codes.take(train), minlength=1)
        counts[owner][1 : len(more)] += more[1:]  # that a row has no further value does not make one missing
    return found


@dataclass(frozen=True)
class EncodeJob:
    """Turning the codes of a block into ids."""

    number: int
    """Of the block."""
    block: StoredBlock
    first_row: int
    tables: list[np.ndarray]
    """Of each field: the id of each code, int32."""
    owners: Sequence[int]
    """As in ``CountJob``."""


@dataclass(frozen=True)
class ReadBlock:
    """A block, read again."""

    codes: list[np.ndarray]
    """Of each field."""
    tables: list[np.ndarray]
    """Of each field: the id of each code, int32."""
    numbers: list[np.ndarray]
    further: list[np.ndarray]
    owners: list[np.ndarray]
    """The tables of the further values."""

    def rows(self, some: slice) -> Rows:
        """Some rows."""
        n_rows = some.stop - some.start
        ids = (table.take(codes[some]) for table, codes in zip(self.tables, self.codes, strict=True))
        numbers = (one[some] for one in self.numbers)
        further = (table.take(codes[some]) for table, codes in zip(self.owners, self.further, strict=True))
        return (
            beside(ids, (n_rows, len(self.codes)), np.int32),
            beside(numbers, (n_rows, len(self.numbers)), np.float64),
            beside(further, (n_rows, len(self.further)), np.int32),
        )


def read_block(job: EncodeJob, held: Held) -> ReadBlock:
    """The parked rows of a block beside its tables."""
    stored, read = job.block, held.read_each
    owners = [job.tables[owner] for owner in job.owners]
    return ReadBlock([*read(stored.codes)], job.tables, [*read(stored.numbers)], [*read(stored.further)], owners)


def slices(job: EncodeJob) -> Iterable[slice]:
    """The rows of a block, some at a time."""
    size, n_rows = max(_CELLS_AT_ONCE // max(len(job.tables), 1), 1), job.block.n_rows
    return (slice(first, min(first + size, n_rows)) for first in range(0, n_rows, size))
