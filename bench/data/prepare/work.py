"""What becomes of one part of a raw table: fields, and codes that are parked; the same in threads and elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench.data.card.card import DatasetCard
from bench.data.prepare.blocks import Park, StoredBlock, store_block
from bench.data.prepare.extents import Extent
from bench.data.prepare.reading import WholeFile, read_parts
from bench.data.prepare.sampling import Thinned
from bench.data.prepare.tables import Tables
from bench.data.raw.fields import FieldBlock, SideTable, make_fields, row_times
from bench.data.raw.markers import number_markers, without_markers
from bench.data.raw.readers import LongRows, RawBlock
from bench.data.raw.row_numbers import numbered
from bench.data.raw.texts import as_texts
from bench.data.store.group_split import UNKNOWN, split_of_values


@dataclass(frozen=True)
class Job:
    """A part to be read."""

    place: int
    """Of its file among all files."""
    parse: Callable[[Any], RawBlock]
    part: Any


@dataclass(frozen=True)
class Seen:
    """What is worth a note in one block."""

    rows: int
    long_rows: LongRows
    numbered: dict[str, int]
    line_ends: int = 0
    """Of an extent, whose first line only those know who have seen all before it."""


@dataclass(frozen=True)
class Found:
    """What a part holds."""

    place: int
    block: FieldBlock
    """Labels, their values and extremes; the rows are parked."""
    decides: np.ndarray | None
    """What decides on the split of each row, where the card says so: times, or splits of groups."""
    stored: StoredBlock
    seen: Seen

    def moved(self, lines: int) -> Found:
        """The same behind so many lines."""
        seen, extremes = self.seen, self.block.extremes
        if seen.long_rows.n_rows:
            seen = replace(seen, long_rows=replace(seen.long_rows, line=seen.long_rows.line + lines))
        further = tuple(tuple(one._replace(line=one.line + lines) for one in column) for column in extremes)
        return replace(self, seen=seen, block=replace(self.block, extremes=further))


class Work:
    """Makes fields of parts; called by several threads, and sent to processes."""

    def __init__(self, card: DatasetCard, tables: Tables, sides: tuple[SideTable, ...]) -> None:
        self._card, self._layout, self._sides = card, tables.layout, sides
        self._markers = number_markers(tables.layout.missing, tables.layout.decimal)
        order = card.order if card.temporal else None
        self._ordered_by = order.column_of(tables.layout, tables.members[0]) if order else None

    def __call__(self, job: Job, park: Park, home: str | None = None) -> list[Found]:
        """Read a part, or all parts of a file, and park the rows; ``home`` as of ``store_block``.

        Raises:
            DataError: a line that cannot be read, or a value that its column cannot hold.
        """
        if not isinstance(job.part, WholeFile):
            return [self._read(job, park, home)]
        with job.part.recipe.open() as source:
            parts = read_parts(source, job.part.tables, job.part.cut)
            return [self._read(Job(job.place, opened.parse, part), park, home) for _, opened, part in parts]

    def _read(self, job: Job, park: Park, home: str | None) -> Found:
        part = job.part.load() if isinstance(job.part, Extent) else job.part
        raw = without_markers(job.parse(part), self._markers)
        block = make_fields(raw, self._layout, self._sides, self._card.merged_buckets)
        decides = group_splits(raw, self._card) if self._card.group else None
        if self._ordered_by is not None:
            decides = row_times(raw, self._ordered_by)
        stored = store_block(block, park, home)
        block = replace(block, columns=[], numbers=(), further=())  # they are parked now
        # of a part of the rows, what lies between two is not known
        whole = not isinstance(part, Thinned)
        counted = (raw.long_rows(), numbered(raw, self._layout)) if whole else (LongRows(), {})
        line_ends = part.line_ends if isinstance(job.part, Extent) else 0
        return Found(job.place, block, decides, stored, Seen(raw.n_rows, *counted, line_ends))


def parse_thinned(thin: Thinned, parse: Callable[[Any], RawBlock]) -> RawBlock:
    """Some rows of a part, which know their lines."""
    return thin.parse(parse)


def group_splits(raw: RawBlock, card: DatasetCard) -> np.ndarray:
    """The split of each row's group, uint8 [n]; ``UNKNOWN`` where the row names none."""
    column = raw.columns[card.group]
    known = split_of_values(map(str, as_texts(column.values).to_pylist()), card.split_seed, card.shares)
    found: np.ndarray = np.concatenate([[np.uint8(UNKNOWN)], known])[column.codes]
    return found
