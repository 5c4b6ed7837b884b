"""Values -> ids, in three steps: provisional codes, counts over the train rows, final ids.

While the text is read every block codes its values by a dictionary of its own; the blocks' dictionaries are
merged into one a field. When the split is known, values are counted over the train rows, and those that occur
often enough get the ids 2, 3, … in the order of the values, so that ids depend neither on blocks nor on who reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from bench.data.prepare.blocks import CountJob, EncodeJob, StoredBlock, park_values
from bench.data.prepare.crew import Crew
from bench.data.prepare.dictionaries import Dictionary, NumberDictionary, due, waiting_values
from bench.data.prepare.spill import Slot, Spill
from bench.data.schema import FIRST_VALUE, MISSING, RARE, Field, Kind, Schema
from bench.data.store.manifest import ArrayFile
from bench.errors import DataError

MOST_IDS = 2**31 - 1
"""Rows of the tables of all fields together; ids are int32, and a larger one would be another's without a word."""


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
class CodeMap:
    """What the codes of one block stand for."""

    slot: Slot
    """Field behind field, of each code: the place of its value among those of all fields, missing ones first."""
    sizes: np.ndarray
    """Codes of each field, the missing value's with them."""


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
        self._maps: list[CodeMap] = []
        self.vocabularies: list[Vocabulary] = []

    def add(self, block: StoredBlock, pool: Executor) -> None:
        """Take in the next block in file order; ``pool`` merges values, and is not one that is busy with blocks."""
        parked = block.parked or park_values(block.values, self._spill)
        for field, (values, slot) in enumerate(zip(block.values, parked, strict=True)):
            known = self._dictionaries[field]
            if isinstance(known, NumberDictionary) and not pa.types.is_integer(values.type):
                self._dictionaries[field] = known = known.to_texts()
            known.add(values, slot)
        self._blocks.append(replace(block, values=(), parked=()))
        list(pool.map(_call, [dictionary.merge for dictionary in due(self._dictionaries)]))

    def fit(self, in_train: np.ndarray, min_count: int, crew: Crew, tick: Callable[[int], None]) -> Schema:
        """Count values over the train rows and build every field's vocabulary.

        Args:
            in_train: bool [N].
            min_count: train rows that a value needs to get an id.
            crew: counts blocks side by side.
            tick: is told the number of rows counted so far.

        Raises:
            DataError: the fields have more values than ids can number.
        """
        pool = crew.pool
        list(pool.map(_call, [dictionary.finish for dictionary in self._dictionaries]))
        values = [dictionary.values for dictionary in self._dictionaries]
        starts = np.cumsum([0, *(len(one) + 1 for one in values)])
        self._maps = list(pool.map(partial(self._map_codes, starts), range(len(self._blocks))))
        jobs = (
            CountJob(number, block, in_train[start : start + block.n_rows], self._maps[number].sizes, self._owners)
            for number, start, block in self._each_block()
        )
        # All fields behind one another: what is done for each field of each block must be little.
        totals = np.zeros(starts[-1], np.int64)
        for (number, start, block), counts in zip(self._each_block(), crew.count(jobs), strict=True):
            totals[self._spill.read(self._maps[number].slot)] += counts
            tick(start + block.n_rows)
        # The one value of a numeric field stands for its number and is kept, however often it is missing.
        needs = [0 if kind == "numeric" else min_count for kind in self.kinds]
        self.vocabularies = list(pool.map(build_vocabulary, values, np.split(totals, starts[1:-1]), needs))
        sizes = [len(vocabulary.counts) for vocabulary in self.vocabularies]
        if sum(sizes) > MOST_IDS:
            raise DataError(
                f"the values of all fields take {sum(sizes):,} ids, and 32 bits number {MOST_IDS:,}: let fewer values "
                f"have one of their own, with a larger min_count in the card or in brackets."
            )
        return Schema(tuple(map(Field, self.names, self.kinds, sizes, self.positions)))

    def _map_codes(self, starts: np.ndarray, block: int) -> CodeMap:
        tables = [dictionary.table(block) for dictionary in self._dictionaries]
        sizes = np.array([len(table) for table in tables])
        places = np.concatenate(tables, dtype=np.min_scalar_type(starts[-1]), casting="unsafe")
        places += np.repeat(starts[:-1], sizes).astype(places.dtype)
        return CodeMap(self._spill.append(places), sizes)

    def write(self, offsets: np.ndarray, crew: Crew, files: Sequence[ArrayFile]) -> Iterator[int]:
        """Write the encoded rows in file order, some of a block at a time.

        Args:
            offsets: added to the ids of each field.
            crew: encodes blocks side by side.
            files: of ids, numbers and ids of further values.

        Yields:
            the rows of each part.
        """
        local = [vocabulary.table for vocabulary in self.vocabularies]
        ids = np.concatenate(local)
        ids += np.repeat(offsets[:-1].astype(np.int32), [len(table) for table in local])
        jobs = (
            EncodeJob(number, block, first, self._tables(number, ids), self._owners)
            for number, first, block in self._each_block()
        )
        yield from crew.write(jobs, files)

    def _tables(self, block: int, ids: np.ndarray) -> list[np.ndarray]:
        """Of each field: the id of each of the block's codes; ``ids``: of each provisional code + 1, int32."""
        places = self._maps[block]
        return np.split(ids.take(self._spill.read(places.slot)), np.cumsum(places.sizes)[:-1])

    def _each_block(self) -> Iterator[tuple[int, int, StoredBlock]]:
        """Number, first row, and the block, in file order."""
        first = 0
        for number, block in enumerate(self._blocks):
            yield number, first, block
            first += block.n_rows


def _call(work: Callable[[], None]) -> None:
    work()
