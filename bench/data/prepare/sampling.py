"""Some rows of a table, drawn by a hash of their numbers before they are parsed.

The hash is that of the split (see ``bench.data.store.splits``), so that rows, splits and vocabularies are those that
``run --rows`` takes from the store of the whole table. A share takes the rows whose hash is below it: those of a
smaller share are among them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pyarrow as pa

from bench.data.card.card import DatasetCard
from bench.data.raw.dialect import Chunk, Dialect, RowStarts
from bench.data.raw.parquet import Batch
from bench.data.raw.readers import RawBlock
from bench.data.store.splits import nth_hash, row_hash
from bench.errors import DataError

Part = Chunk | Batch
"""Consecutive rows as they lie in a file."""
_HASHES = 1 << 64


@dataclass(frozen=True)
class Sample:
    """The rows whose hash is at most ``limit``."""

    seed: int
    limit: int

    def places(self, first: int, n_rows: int) -> np.ndarray:
        """Those among ``n_rows`` rows, the first of which has the number ``first``; counted from it, int64 [n]."""
        hashes = row_hash(self.seed, np.arange(first, first + n_rows))
        return np.flatnonzero(hashes <= np.uint64(self.limit))


def sample_of(card: DatasetCard, count: Callable[[], int]) -> Sample | None:
    """What ``card`` draws of its table; None: all of it.

    Args:
        card: the data set.
        count: the rows of the table; asked only where their number decides.
    """
    if card.sample_share is not None:
        return Sample(card.split_seed, max(0, int(Fraction(str(card.sample_share)) * _HASHES) - 1))
    if card.sample_rows is None:
        return None
    n_rows = count()
    if card.sample_rows >= n_rows:
        return Sample(card.split_seed, _HASHES - 1)
    return Sample(card.split_seed, nth_hash(n_rows, card.split_seed, card.sample_rows))


def n_rows_of(part: Part, dialect: Dialect | None) -> int:
    """The rows of a part; of text, by where ``dialect`` ends them."""
    if isinstance(part, Batch):
        return int(part.columns.num_rows)
    if dialect is not None and dialect.newlines_in_values:
        return len(_ends(part, dialect))
    return part.line_ends + (not part.data.endswith(b"\n"))


@dataclass(frozen=True)
class Thinned:
    """Some rows of a part."""

    whole: Part
    rows: Part
    lines: np.ndarray
    """The lines (or rows) of ``whole`` on which they begin, counted from 0, int64 [n]."""

    def parse(self, parse: Callable[[Part], RawBlock]) -> RawBlock:
        """The rows as a block that knows its lines.

        Raises:
            DataError: as ``parse``; a fault among the rows is told as one of the whole part, whose lines count.
        """
        try:
            block = parse(self.rows)
        except DataError:
            parse(self.whole)
            raise
        return replace(block, starts=RowStarts(block.n_rows, self.lines))


def thinned(part: Part, dialect: Dialect | None, places: np.ndarray) -> Thinned:
    """The rows at ``places`` of a part, increasing."""
    if isinstance(part, Batch):
        return Thinned(part, Batch(part.first_row, part.columns.take(pa.array(places))), places)
    ends = _ends(part, dialect)
    starts = np.concatenate([[0], ends[:-1]])
    data = memoryview(part.data)
    rows = b"".join(data[start:end] for start, end in zip(starts[places].tolist(), ends[places].tolist(), strict=True))
    lines = places
    if dialect is not None and dialect.newlines_in_values:
        feeds = np.flatnonzero(np.frombuffer(part.data, dtype=np.uint8) == ord("\n"))
        lines = np.searchsorted(feeds, starts[places])
    return Thinned(part, Chunk(part.member, part.first_line, rows, rows.count(b"\n")), lines)


def _ends(chunk: Chunk, dialect: Dialect | None) -> np.ndarray:
    """Places behind the rows of a chunk, int64 [n]."""
    if dialect is not None and dialect.newlines_in_values:
        ends = dialect.row_ends(chunk.data)
    else:
        ends = np.flatnonzero(np.frombuffer(chunk.data, dtype=np.uint8) == ord("\n")) + 1
    return ends if len(ends) and ends[-1] == len(chunk.data) else np.append(ends, len(chunk.data))
