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

from bench.data.prepare.dictionaries import Dictionary, NumberDictionary
from bench.data.prepare.parallel import map_ordered
from bench.data.prepare.spill import Slot, Spill
from bench.data.raw.fields import FieldBlock
from bench.data.raw.texts import pack
from bench.data.schema import FIRST_VALUE, MISSING, RARE, Field, Kind, Schema

T = TypeVar("T")

_IDS_AT_ONCE = 1 << 16
"""Ids that are put into the order of rows while they stay in the processor's cache."""
_FIELDS_AT_ONCE = 256
"""Fields that are looked up before that."""


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
    numbers: Slot
    """float64 [n · numeric fields]."""
    further: tuple[Slot, ...] = ()
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
        numbers=spill.append(block.numbers.ravel()),
        further=spill.append_all(list(block.further)) if block.further else (),
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
        self._dictionaries: list[Dictionary] = [NumberDictionary(spill) for _ in names]
        self._blocks: list[StoredBlock] = []
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
        totals = [np.zeros(len(dictionary.values) + 1, np.int64) for dictionary in self._dictionaries]

        def count(block: int, start: int) -> list[np.ndarray]:
            train = np.flatnonzero(in_train[start : start + self._blocks[block].n_rows])
            codes = self._spill.read_all(self._blocks[block].codes)
            found = [np.bincount(code.take(train), minlength=1) for code in codes]
            for owner, code in zip(self._owners, self._further(block), strict=True):
                more = np.bincount(code.take(train), minlength=1)
                more[0] = 0  # that a row has no further value does not make one missing
                found[owner] = _sum(found[owner], more)
            return found

        for block, start, counts in self._each_block(count, pool):
            for total, dictionary, found in zip(totals, self._dictionaries, counts, strict=True):
                total[0] += found[0]
                total[1 + dictionary.codes(block)[: len(found) - 1]] += found[1:]
            tick(start + self._blocks[block].n_rows)
        # The one value of a numeric field stands for its number and is kept, however often it is missing.
        needs = [0 if kind == "numeric" else min_count for kind in self.kinds]
        values = [dictionary.values for dictionary in self._dictionaries]
        self.vocabularies = list(pool.map(build_vocabulary, values, totals, needs))
        sizes = [len(vocabulary.counts) for vocabulary in self.vocabularies]
        return Schema(tuple(map(Field, self.names, self.kinds, sizes, self.positions)))

    def _further(self, block: int) -> list[np.ndarray]:
        slots = self._blocks[block].further
        return self._spill.read_all(slots) if slots else []

    def id_blocks(self, offsets: np.ndarray, pool: Executor) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """The encoded rows in file order.

        Yields:
            ids int32 [n, F] with ``offsets`` added, numbers float64 [n, numeric fields], and ids of further values of
            pooled fields, int32 [n, P].
        """

        def encode(block: int, _: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            stored = self._blocks[block]
            codes = self._spill.read_all(stored.codes)
            tables = [self._block_table(block, field) + offset for field, offset in enumerate(starts)]
            numbers = self._spill.read(stored.numbers).reshape(stored.n_rows, -1)
            further = look_up(self._further(block), [tables[owner] for owner in self._owners], stored.n_rows)
            return look_up(codes, tables, stored.n_rows), numbers, further

        starts = offsets[:-1].astype(np.int32)
        for _, _, arrays in self._each_block(encode, pool):
            yield arrays

    def _block_table(self, block: int, field: int) -> np.ndarray:
        """Local id of each code of one block, int32."""
        table = self.vocabularies[field].table
        return np.concatenate([table[:1], table[1 + self._dictionaries[field].codes(block)]])

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


def look_up(codes: list[np.ndarray], tables: list[np.ndarray], n_rows: int) -> np.ndarray:
    """The entry of each field's table, int32, for each of its codes; int32 [n_rows, fields]."""
    ids = np.empty((n_rows, len(codes)), dtype=np.int32)
    by_field = np.empty((min(len(codes), _FIELDS_AT_ONCE), n_rows), dtype=np.int32)
    rows = _IDS_AT_ONCE // _FIELDS_AT_ONCE
    for field in range(0, len(codes), _FIELDS_AT_ONCE):
        some = slice(field, field + _FIELDS_AT_ONCE)
        looked_up = by_field[: len(codes[some])]
        for row, code, table in zip(looked_up, codes[some], tables[some], strict=True):
            np.take(table, code, out=row, mode="clip")  # codes are within the table; to check them would take a copy
        for start in range(0, n_rows, rows):
            ids[start : start + rows, some] = looked_up[:, start : start + rows].T
    return ids
