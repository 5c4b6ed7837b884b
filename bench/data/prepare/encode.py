"""Values -> ids, in three steps: provisional codes, counts over the train rows, final ids.

While the text is read every block codes its values by a dictionary of its own; the blocks' dictionaries are
merged into one a field. When the split is known, values are counted over the train rows, and those that occur
often enough get the ids 2, 3, … in the order of the values, so that ids depend neither on blocks nor on threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from bench.data.prepare.dictionaries import Dictionary, NumberDictionary, waiting_values
from bench.data.prepare.parallel import map_ordered
from bench.data.prepare.spill import Slot, Spill
from bench.data.prepare.turning import beside
from bench.data.raw.fields import FieldBlock
from bench.data.raw.texts import pack
from bench.data.schema import FIRST_VALUE, MISSING, RARE, Field, Kind, Schema

T = TypeVar("T")

_CELLS_AT_ONCE = 1 << 22
"""Ids that are written at a time: what is larger, the system takes back when it is freed, and clears for the next."""


@dataclass(frozen=True)
class StoredBlock:
    """A block whose rows are in the spill file."""

    n_rows: int
    codes: tuple[Slot, ...]
    """Of each field."""
    values: tuple[pa.Array, ...]
    """Of each field: the values behind its codes, short texts as numbers."""
    parked: tuple[Slot | None, ...]
    """Of each field: its values where they are numbers."""
    numbers: tuple[Slot, ...]
    """Of each numeric field, float64."""
    further: tuple[Slot, ...]
    """Codes of the further values of pooled fields, column by column."""


def store_block(block: FieldBlock, spill: Spill) -> StoredBlock:
    """Park the rows of ``block``."""
    values = tuple(pack(column.values) for column in block.columns)
    numbers = [np.asarray(one) for one in values if pa.types.is_integer(one.type)]
    slots = iter(spill.append_all(numbers))
    return StoredBlock(
        n_rows=len(block.labels),
        codes=spill.append_all([column.codes for column in block.columns]),
        values=values,
        parked=tuple(next(slots) if pa.types.is_integer(one.type) else None for one in values),
        numbers=spill.append_all(block.numbers),
        further=spill.append_all(block.further),
    )


@dataclass(frozen=True)
class Vocabulary:
    """The kept values of one field."""

    values: pa.Array
    """In the order of their ids, which begin at 2."""
    counts: np.ndarray
    """Train rows of each local id, int64 [cardinality]; places 0 and 1 count rare and missing."""
    table: np.ndarray
    """Local id of each provisional code + 1, int32; place 0 is a missing value."""


def build_vocabulary(values: pa.Array, counts: np.ndarray, min_count: int) -> Vocabulary:
    """Choose the values that get an id of their own.

    Args:
        values: distinct values by provisional code; numbers in increasing order.
        counts: train rows of each provisional code + 1, int64 [len(values) + 1]; place 0 counts missing values.
        min_count: train rows that a value needs.
    """
    kept = np.flatnonzero(counts[1:] >= min_count)
    if not pa.types.is_integer(values.type):
        kept = kept[np.asarray(pc.array_sort_indices(values.take(pa.array(kept)))).astype(np.int64)]
    table = np.full(len(values) + 1, RARE, dtype=np.int32)
    table[0] = MISSING
    table[kept + 1] = np.arange(FIRST_VALUE, FIRST_VALUE + len(kept), dtype=np.int32)
    kept_counts = counts[kept + 1]
    n_rare = int(counts[1:].sum() - kept_counts.sum())
    return Vocabulary(values.take(pa.array(kept)), np.concatenate([[n_rare, counts[0]], kept_counts]), table)


@dataclass(frozen=True)
class _Read:
    """A block, read again."""

    codes: list[np.ndarray]
    """Of each field."""
    tables: list[np.ndarray]
    """Of each field: the id of each code, int32."""
    numbers: list[np.ndarray]
    further: list[np.ndarray]
    owners: list[np.ndarray]
    """The tables of the further values."""

    def rows(self, some: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Some rows, as ``Encoder.id_blocks`` yields them."""
        n_rows = some.stop - some.start
        ids = (table.take(codes[some]) for table, codes in zip(self.tables, self.codes, strict=True))
        numbers = (one[some] for one in self.numbers)
        further = (table.take(codes[some]) for table, codes in zip(self.owners, self.further, strict=True))
        return (
            beside(ids, (n_rows, len(self.codes)), np.int32),
            beside(numbers, (n_rows, len(self.numbers)), np.float64),
            beside(further, (n_rows, len(self.further)), np.int32),
        )


class Encoder:
    """All fields of one data set on their way from blocks to ids."""

    def __init__(
        self, names: Sequence[str], kinds: Sequence[Kind], spill: Spill, positions: Sequence[int] | None = None
    ) -> None:
        """Encode the fields ``names``, whose blocks are parked in ``spill``; ``positions`` as in ``Field``."""
        self.names, self.kinds = tuple(names), tuple(kinds)
        self.positions = (1,) * len(self.names) if positions is None else tuple(positions)
        self._owners = [field for field, n in enumerate(self.positions) for _ in range(n - 1)]
        self._spill = spill
        wait = waiting_values(len(names))
        self._dictionaries: list[Dictionary] = [NumberDictionary(spill, wait) for _ in names]
        self._blocks: list[StoredBlock] = []
        self._maps: list[tuple[Slot, ...]] = []
        """Of each block, field by field: provisional code + 1 of each of its codes, int32; 0 is a missing value."""
        self.vocabularies: list[Vocabulary] = []

    def add(self, block: StoredBlock, pool: Executor) -> None:
        """Take in the next block in file order."""
        for field, (values, slot) in enumerate(zip(block.values, block.parked, strict=True)):
            known = self._dictionaries[field]
            if isinstance(known, NumberDictionary) and not pa.types.is_integer(values.type):
                self._dictionaries[field] = known = known.to_texts()
            known.add(values, slot)
        self._blocks.append(replace(block, values=(), parked=()))
        due = [dictionary.merge for dictionary in self._dictionaries if dictionary.is_due]
        list(pool.map(_call, due))

    def fit(self, in_train: np.ndarray, min_count: int, pool: Executor, tick: Callable[[int], None]) -> Schema:
        """Count values over the train rows and build every field's vocabulary.

        Args:
            in_train: bool [N].
            min_count: train rows that a value needs to get an id.
            pool: runs blocks side by side.
            tick: is told the number of rows counted so far.
        """
        list(pool.map(_call, [dictionary.finish for dictionary in self._dictionaries]))
        self._maps = list(pool.map(self._map_codes, range(len(self._blocks))))
        totals = [np.zeros(len(dictionary.values) + 1, np.int64) for dictionary in self._dictionaries]

        read = self._spill.read_each

        def count(block: int, start: int) -> list[np.ndarray]:
            train = np.flatnonzero(in_train[start : start + self._blocks[block].n_rows])
            found = [np.bincount(codes.take(train), minlength=1) for codes in read(self._blocks[block].codes)]
            for owner, codes in zip(self._owners, read(self._blocks[block].further), strict=True):
                more = np.bincount(codes.take(train), minlength=1)
                more[0] = 0  # that a row has no further value does not make one missing
                found[owner] = _sum(found[owner], more)
            return found

        for block, start, counts in self._each_block(count, pool):
            for total, places, found in zip(totals, read(self._maps[block]), counts, strict=True):
                total[places[: len(found)]] += found
            tick(start + self._blocks[block].n_rows)
        # The one value of a numeric field stands for its number and is kept, however often it is missing.
        needs = [0 if kind == "numeric" else min_count for kind in self.kinds]
        values = [dictionary.values for dictionary in self._dictionaries]
        self.vocabularies = list(pool.map(build_vocabulary, values, totals, needs))
        sizes = [len(vocabulary.counts) for vocabulary in self.vocabularies]
        return Schema(tuple(map(Field, self.names, self.kinds, sizes, self.positions)))

    def _map_codes(self, block: int) -> tuple[Slot, ...]:
        return self._spill.append_all([dictionary.table(block) for dictionary in self._dictionaries])

    def id_blocks(self, offsets: np.ndarray, pool: Executor) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """The encoded rows in file order, some of a block at a time.

        Yields:
            ids int32 [n, F] with ``offsets`` added, numbers float64 [n, numeric fields], and ids of further values of
            pooled fields, int32 [n, P].
        """
        starts = offsets[:-1].astype(np.int32)
        size = max(_CELLS_AT_ONCE // max(len(starts), 1), 1)

        def encode(job: tuple[_Read, slice]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            return job[0].rows(job[1])

        jobs = (
            (read, slice(first, min(first + size, stored.n_rows)))
            for block, stored in enumerate(self._blocks)
            for read in (self._read(block, starts),)
            for first in range(0, stored.n_rows, size)
        )
        yield from map_ordered(encode, jobs, pool)

    def _read(self, block: int, starts: np.ndarray) -> _Read:
        stored, read = self._blocks[block], self._spill.read_each
        tables = []
        for places, vocabulary, start in zip(read(self._maps[block]), self.vocabularies, starts, strict=True):
            tables.append(vocabulary.table.take(places))
            tables[-1] += start
        owners = [tables[owner] for owner in self._owners]
        return _Read([*read(stored.codes)], tables, [*read(stored.numbers)], [*read(stored.further)], owners)

    def _each_block(self, work: Callable[[int, int], T], pool: Executor) -> Iterator[tuple[int, int, T]]:
        """``work(block, first row)`` for every block, side by side; block, first row and result in order."""
        ends = np.cumsum([block.n_rows for block in self._blocks]).tolist()
        jobs = list(enumerate([0, *ends[:-1]]))
        for (block, start), result in zip(jobs, map_ordered(lambda job: work(*job), jobs, pool), strict=True):
            yield block, start, result


def _call(work: Callable[[], None]) -> None:
    work()


def _sum(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The sum of two arrays of counts, of which the shorter one counts 0 beyond its end."""
    total = np.zeros(max(len(one), len(other)), dtype=one.dtype)
    total[: len(one)] += one
    total[: len(other)] += other
    return total
