"""Rows that stay in the store: batches are read while a model works on those before.

What is in memory of N rows is their labels and numbers, 8 bytes a row. A thread reads the rows of some batches, in the
order of the file, into memory that is used again for the rows after next, and batches are copied out of it. So reading
takes as much memory as two windows (``bench.rows.order``) and a buffer, however many rows there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from bench.data.schema import Schema
from bench.data.store.array import StoredArray
from bench.rows.order import Blocks
from bench.rows.prefetch import AHEAD, Part
from bench.rows.rows import Batch, Rows

__all__ = ["Columns", "StoredRows"]

SMALL_BYTES = 32 << 20
"""What is taken of rows lies in memory if it needs no more than that."""
SLICE_BYTES = 16 << 20
"""What is read ahead of rows that come in their order."""
_FLOAT_BYTES = 4

T = TypeVar("T")
G = TypeVar("G")


@dataclass(frozen=True)
class Columns:
    """Columns of a stored array as training has them."""

    array: StoredArray
    convert: Callable[[np.ndarray], np.ndarray]
    """From what the array has to what training has, for some rows with all of their columns."""
    kept: np.ndarray | None = None
    """Which columns there are, int64; None: all."""
    shift: np.ndarray | None = None
    """Added to ids of the columns that are kept, int32."""

    @property
    def width(self) -> int:
        return self.array.columns if self.kept is None else len(self.kept)

    def keep(self, columns: Sequence[int], shift: np.ndarray | None = None) -> Columns:
        """Some of these columns, ``shift`` added to their ids."""
        chosen = np.asarray(columns, dtype=np.int64)
        before = None if self.shift is None else self.shift[chosen]
        both = shift if before is None else before if shift is None else before + shift
        return replace(self, kept=chosen if self.kept is None else self.kept[chosen], shift=both)

    def read(self, places: np.ndarray, into: np.ndarray) -> None:
        """Fill ``into`` [n, columns] with the rows at ``places``, which do not fall.

        Raises:
            DataError: the file was cut short.
        """
        for start, part in self.array.parts(places):
            found = self.convert(part)
            found = found if self.kept is None else found[:, self.kept]
            into[start : start + len(part)] = found if self.shift is None else found + self.shift


@dataclass(frozen=True)
class _Kept:
    """What a store has of rows, whichever they are."""

    ids: Columns
    numeric: Columns | None
    pooled: Columns | None
    room: int
    """Bytes that rows may take which are asked for at once."""

    @property
    def all(self) -> list[Columns]:
        return [one for one in (self.ids, self.numeric, self.pooled) if one is not None]


class StoredRows(Rows):
    """Rows of a store, with the interface of those in memory.

    Asking for ``ids``, ``numeric`` or ``pooled`` reads them, every time anew. ``dataclasses.replace`` is for rows in
    memory: ``resident()`` makes such ones of these.
    """

    kept: _Kept

    def __init__(
        self,
        schema: Schema,
        kept: _Kept,
        labels: Tensor,
        index: Tensor,
        blocks: Blocks,
        goes_to: torch.device | None = None,
    ) -> None:
        """Nothing is read; ``index`` [N] are places in the store, int32 where these are below 2^31."""
        given = {"schema": schema, "kept": kept, "labels": labels, "index": index, "blocks": blocks, "goes_to": goes_to}
        for name, value in given.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"StoredRows({len(self):,} rows of {self.schema.n_fields} fields)"

    @classmethod
    def of(  # noqa: PLR0913 - one call site, where a store is loaded
        cls,
        schema: Schema,
        ids: Columns,
        numeric: Columns | None,
        pooled: Columns | None,
        labels: Tensor,
        index: Tensor,
        *,
        blocks: Blocks,
        room: int,
    ) -> StoredRows:
        """The rows ``index`` of a store; of them ``room`` bytes may be asked for at once."""
        return cls(schema, _Kept(ids, numeric, pooled, room), labels, index, blocks)

    def _with(self, **changes: Any) -> StoredRows:
        names = ("schema", "kept", "labels", "index", "blocks", "goes_to")
        return StoredRows(**{name: getattr(self, name) for name in names} | changes)

    @property
    def ids(self) -> Tensor:
        return self._all(self.kept.ids)

    @property
    def numeric(self) -> Tensor | None:
        return None if self.kept.numeric is None else self._all(self.kept.numeric)

    @property
    def pooled(self) -> Tensor | None:
        return None if self.kept.pooled is None else self._all(self.kept.pooled)

    @property
    def device(self) -> torch.device:
        return torch.device("cpu") if self.goes_to is None else self.goes_to

    @property
    def lies(self) -> str:
        return "read from the store in blocks"

    @property
    def on_disk(self) -> bool:
        return True

    @property
    def row_bytes(self) -> int:
        """Bytes that a row takes in memory, its number apart."""
        return _FLOAT_BYTES * (1 + sum(one.width for one in self.kept.all))

    @property
    def n_bytes(self) -> int:
        return len(self) * self.row_bytes

    def _all(self, columns: Columns) -> Tensor:
        """All rows of ``columns``, in the order of these rows.

        Raises:
            MemoryError: they take more than may be asked for at once.
        """
        asked = len(self) * columns.width * _FLOAT_BYTES
        if asked > self.kept.room:
            raise MemoryError(
                f"{len(self):,} rows of {columns.width} columns were asked for at once, which take "
                f"{asked / 1e6:,.0f} MB, and {self.kept.room / 1e6:,.0f} MB are left for that: let the method read "
                f"fewer rows (max_rows), use fewer (--rows), or give more memory (--memory)"
            )
        places, ranks = _in_file_order(self.index.numpy())
        found = np.empty((len(places), columns.width), dtype=_dtype(columns))
        columns.read(places, found)
        return torch.from_numpy(found if ranks is None else found[ranks])

    def to(self, device: torch.device) -> Rows:
        return self.resident().to(device)

    def sent_to(self, device: torch.device) -> Rows:
        return self._with(goes_to=None if device.type == "cpu" else device)

    def resident(self) -> Rows:
        """The same rows with their tensors where batches go.

        Raises:
            MemoryError: they take more than may be asked for at once.
        """
        inside = Rows(
            self.schema, self.ids, self.numeric, self.labels, self.index, pooled=self.pooled, blocks=self.blocks
        )  # fmt: skip
        return inside if self.goes_to is None else inside.to(self.goes_to)

    def some(self, n_bytes: int) -> Rows:
        n = min(len(self), max(1, n_bytes // self.row_bytes))
        return self._with(labels=self.labels[:n], index=self.index[:n]).resident()

    def take(self, positions: Tensor) -> Rows:
        taken = self._with(labels=self.labels[positions], index=self.index[positions])
        return taken if taken.n_bytes > min(SMALL_BYTES, self.kept.room) else taken.resident()

    def without(self, index: Tensor) -> Rows:
        gone = np.isin(self.index.numpy(), index.cpu().numpy())
        return self.take(torch.from_numpy(np.flatnonzero(~gone)))

    def keep(self, kept: Sequence[int]) -> Rows:
        schema = self.schema.keep(kept)
        shift = (schema.offsets[:-1] - self.schema.offsets[list(kept)]).astype(np.int32)
        numbers = [self.schema.numeric_fields.index(f) for f in kept if f in self.schema.numeric_fields]
        numeric = self.kept.numeric.keep(numbers) if self.kept.numeric is not None and numbers else None
        pooled = None
        if self.kept.pooled is not None and schema.pooled_fields:
            owners = self.schema.column_fields[self.schema.n_fields :]
            columns = np.flatnonzero(np.isin(owners, list(kept)))
            pooled = self.kept.pooled.keep(columns.tolist(), schema.padding - self.schema.padding[columns])
        ids = self.kept.ids.keep(kept, shift)
        return self._with(schema=schema, kept=_Kept(ids, numeric, pooled, self.kept.room))

    def merge_rare(self, min_count: int) -> Rows:
        return self.resident().merge_rare(min_count)

    def bucketed(self, buckets: int) -> Rows:
        return self if self.kept.numeric is None else self.resident().bucketed(buckets)

    def slices(self, size: int) -> Iterator[Batch]:
        parts = (slice(start, min(start + size, len(self))) for start in range(0, len(self), size))
        return self._read(parts, SLICE_BYTES // self.row_bytes)

    def batches(self, parts: Iterable[Part]) -> Iterator[Batch]:
        assert self.blocks is not None
        return self._read(parts, self.blocks.window)

    def _read(self, parts: Iterable[Part], at_once: int) -> Iterator[Batch]:
        """A batch for each of ``parts``, of which those of ``at_once`` rows are read together, ahead.

        Raises:
            DataError: a file was cut short.
        """
        lanes = deque(_Lane(self) for _ in range(AHEAD))

        def read(group: list[Part]) -> tuple[_Lane, list[Tensor], list[Tensor]]:
            lanes.rotate()
            return (lanes[0], *lanes[0].fill(group))

        for lane, positions, ranks in _ahead(read, _grouped(parts, at_once)):
            for position, rank in zip(positions, ranks, strict=True):
                yield lane.batch(position, rank)


class _Lane:
    """Memory for the rows of some batches, used again once these have been copied out of it."""

    def __init__(self, rows: StoredRows) -> None:
        """Nothing is allocated yet."""
        self._rows = rows
        self._held: list[np.ndarray] = []

    def fill(self, group: Sequence[Part]) -> tuple[list[Tensor], list[Tensor]]:
        """Read the rows of ``group``: for each of its parts their positions among the rows, and their places here."""
        parts = [torch.arange(p.start, p.stop) if isinstance(p, slice) else p.long() for p in group]
        positions = np.concatenate([part.numpy() for part in parts])  # torch.cat would start threads of its own here
        places, ranks = _in_file_order(self._rows.index.numpy()[positions])
        columns = self._rows.kept.all
        if not self._held or len(self._held[0]) < len(places):
            self._held = []  # before the larger ones are there
            self._held = [np.empty((len(places), one.width), dtype=_dtype(one)) for one in columns]
        for one, held in zip(columns, self._held, strict=True):
            one.read(places, held[: len(places)])
        here = torch.arange(len(places)) if ranks is None else torch.from_numpy(ranks)
        sizes = [len(part) for part in parts]
        return parts, list(torch.split(here, sizes))

    def batch(self, positions: Tensor, here: Tensor) -> Batch:
        """The rows at ``positions``, which lie ``here`` in this memory."""
        rows, device = self._rows, self._rows.device
        ids, *rest = (torch.from_numpy(held).index_select(0, here).to(device) for held in self._held)
        numeric = None if rows.kept.numeric is None else rest.pop(0)
        labels = rows.labels.index_select(0, positions).to(device)
        return Batch(ids, numeric, labels, rest.pop(0) if rest else None)


def _dtype(columns: Columns) -> type[np.generic]:
    return np.float32 if columns.array.dtype.kind == "f" else np.int32


def _in_file_order(places: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """``places`` sorted, and where each of them is then, int64 [n]; None where they were in order."""
    if not len(places) or bool((places[1:] >= places[:-1]).all()):
        return places, None
    order = np.argsort(places, kind="stable")
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order))
    return places[order], ranks


def _grouped(parts: Iterable[Part], most: int) -> Iterator[list[Part]]:
    """Neighbouring parts of at most ``most`` rows together; a larger one is alone."""
    group: list[Part] = []
    n = 0
    for part in parts:
        size = part.stop - part.start if isinstance(part, slice) else len(part)
        if group and n + size > most:
            yield group
            group, n = [], 0
        group.append(part)
        n += size
    if group:
        yield group


def _ahead(work: Callable[[G], T], groups: Iterable[G]) -> Iterator[T]:
    """``work`` of each of ``groups``, done in a thread while the consumer is at the one before; errors reach it."""
    waiting: deque[Future[T]] = deque()
    worker = ThreadPoolExecutor(1)
    try:
        for group in groups:
            waiting.append(worker.submit(work, group))
            if len(waiting) == AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for coming in waiting:
            coming.cancel()
        wait(waiting)
        worker.shutdown(wait=False)  # the collector may be the caller, in a thread that holds a lock of threading's
