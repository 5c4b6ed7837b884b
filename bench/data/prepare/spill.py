"""Arrays parked in one temporary file, so that memory does not grow with the rows."""

from __future__ import annotations

import itertools
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple

import numpy as np


class Slot(NamedTuple):
    """Where an array lies; a tuple, since wide tables have very many."""

    offset: int
    dtype: np.dtype[Any]
    n_bytes: int


_ALIGNED = 8
"""Bytes at whose multiples arrays begin."""
_WRITTEN_BYTES, _READ_BYTES = 1 << 20, 1 << 20
"""Bytes of small arrays that are written and read at once: few enough to stay in the processor's cache."""


class Parked:
    """A file of arrays, to be read; safe to use from several threads."""

    def __init__(self, file: IO[bytes]) -> None:
        """Read what lies in ``file``, which is without a buffer."""
        self._file = file

    def read(self, slot: Slot) -> np.ndarray:
        """The array of ``slot``."""
        return self._read(slot.offset, slot.n_bytes).view(slot.dtype)

    def read_each(self, slots: Sequence[Slot]) -> Iterator[np.ndarray]:
        """The arrays of slots that were written by one ``append_all``, some of them read at a time."""
        last = slots[-1].offset + slots[-1].n_bytes if slots else 0
        whole, first, end = np.empty(0, dtype=np.uint8), 0, 0
        for offset, dtype, n_bytes in slots:
            if offset + n_bytes > end:
                first, end = offset, min(offset + max(n_bytes, _READ_BYTES), last)
                whole = self._read(first, end - first)
            yield whole[offset - first : offset - first + n_bytes].view(dtype)

    def _read(self, offset: int, n_bytes: int) -> np.ndarray:
        data = np.empty(n_bytes, dtype=np.uint8)
        view, done = data.data, 0
        while done < n_bytes:
            done += os.preadv(self._file.fileno(), [view[done:]], offset + done)
        return data


class Spill(Parked):
    """An append-only file of arrays; safe to use from several threads."""

    def __init__(self, folder: Path, name: str | None = None) -> None:
        """Make a file in ``folder``, which others can read by its ``name``; a nameless one is gone when closed."""
        self.folder = folder
        if name is None:
            super().__init__(tempfile.TemporaryFile(dir=folder, buffering=0))  # noqa: SIM115 - closed at exit
        else:
            super().__init__((folder / name).open("x+b", buffering=0))
        self._end = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Spill:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, array: np.ndarray) -> Slot:
        """Write a one-dimensional array."""
        return self.append_all([array])[0]

    def append_all(self, arrays: Sequence[np.ndarray]) -> tuple[Slot, ...]:
        """Write one-dimensional arrays one behind another, in few calls of the system however many they are."""
        sizes = [-(-array.nbytes // _ALIGNED) * _ALIGNED for array in arrays]
        starts = [0, *itertools.accumulate(sizes)]
        with self._lock:
            first, self._end = self._end, self._end + starts[-1]
        waiting: list[memoryview | bytes] = []
        offset = n_waiting = 0
        for array, size in zip(arrays, sizes, strict=True):
            waiting.append(np.ascontiguousarray(array).view(np.uint8).data)
            if size > array.nbytes:
                waiting.append(bytes(size - array.nbytes))
            n_waiting += size
            if n_waiting >= _WRITTEN_BYTES:
                self._write(waiting, first + offset)
                waiting, offset, n_waiting = [], offset + n_waiting, 0
        self._write(waiting, first + offset)
        return tuple(
            Slot(first + start, array.dtype, array.nbytes) for array, start in zip(arrays, starts, strict=False)
        )

    def _write(self, parts: Sequence[memoryview | bytes], offset: int) -> None:
        view, written = memoryview(parts[0] if len(parts) == 1 else b"".join(parts)), 0
        while written < len(view):
            written += os.pwrite(self._file.fileno(), view[written:], offset + written)
