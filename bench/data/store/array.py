"""Arrays of a store that are read where they lie, some rows at a time.

They are not mapped: pages of a mapped file count as memory of the process for as long as the system leaves them there,
and a file that is cut short while it is mapped ends the process.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import FileIO
from itertools import pairwise
from pathlib import Path

import numpy as np

from bench.data.store.manifest import read_array
from bench.errors import DataError, storage_error

__all__ = ["BUFFER_BYTES", "StoredArray"]

BUFFER_BYTES = 4 << 20
"""What is read at once, at most, unless a single row is larger."""
_GAP_BYTES = 16 << 10
"""Bytes that are rather read than skipped."""


class StoredArray:
    """An ``.npy`` file of N rows; each reader opens it for itself, so that threads may read at once.

    Attributes:
        columns: numbers in a row.
        dtype: of them.
    """

    def __init__(self, path: Path) -> None:
        """Look at the file's header.

        Raises:
            DataError: it is no array of numbers, or is cut short.
        """
        mapped = read_array(path, in_memory=False)
        assert isinstance(mapped, np.memmap)
        self.path, self.dtype = path, mapped.dtype
        self.columns = int(mapped.shape[1])
        self._start = int(mapped.offset)
        self.row_bytes = self.columns * self.dtype.itemsize

    def take(self, rows: np.ndarray) -> np.ndarray:
        """The rows of these numbers (not falling), [n, columns].

        Raises:
            DataError: the file ends before one of them.
        """
        taken = np.empty((len(rows), self.columns), dtype=self.dtype)
        for start, part in self.parts(rows):
            taken[start : start + len(part)] = part
        return taken

    def parts(self, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """The same, some at a time: how many came before, and the next ones, to be used before more are asked for.

        Raises:
            DataError: as of ``take``.
        """
        room = max(1, BUFFER_BYTES // self.row_bytes)
        buffer = np.empty((min(room, _span(rows)), self.columns), dtype=self.dtype)
        try:
            with self.path.open("rb", buffering=0) as file:
                for start, stop in self._runs(rows, room):
                    first = int(rows[start])
                    run = buffer[: int(rows[stop - 1]) + 1 - first]
                    self._read(file, first, run)
                    yield start, run.take(rows[start:stop] - first, axis=0)
        except OSError as error:
            raise storage_error(error, self.path) from error

    def _runs(self, rows: np.ndarray, room: int) -> Iterator[tuple[int, int]]:
        """Where in ``rows`` those begin and end that are read at once: with no large gaps, and within ``room`` rows."""
        gap = max(1, _GAP_BYTES // self.row_bytes)
        cuts = np.flatnonzero(np.diff(rows) > gap) + 1
        for begin, end in pairwise([0, *cuts.tolist(), len(rows)]):
            start = begin
            while start < end:
                near = rows[start:end][:room]
                stop = start + int(np.searchsorted(near, near[0] + room))
                yield start, stop
                start = stop

    def _read(self, file: FileIO, first: int, run: np.ndarray) -> None:
        """Fill ``run`` with the rows from ``first`` on."""
        file.seek(self._start + first * self.row_bytes)
        left = run.data.cast("B")
        while left:
            got = file.readinto(left)
            if not got:
                row = first + (run.nbytes - len(left)) // self.row_bytes + 1
                raise DataError(f"{self.path}: is cut short: row {row:,} is not there; prepare the data anew.")
            left = left[got:]


def _span(rows: np.ndarray) -> int:
    return int(rows[-1]) + 1 - int(rows[0]) if len(rows) else 0
