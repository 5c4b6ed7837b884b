"""Arrays parked in one temporary file, so that memory does not grow with the rows."""

from __future__ import annotations

import itertools
import os
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np


@dataclass(frozen=True)
class Slot:
    """Where an array lies."""

    offset: int
    dtype: np.dtype[np.generic]
    size: int

    @property
    def n_bytes(self) -> int:
        return self.size * self.dtype.itemsize


_ALIGNED = 8
"""Bytes at whose multiples arrays begin."""


class Spill:
    """An append-only file of arrays; safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        """Make a nameless file in ``folder``: it is gone when closed, or when its process dies."""
        self.folder = folder
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed at exit
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
        if len(arrays) == 1:
            self._write(np.ascontiguousarray(arrays[0]).view(np.uint8), first)
        else:
            whole = np.zeros(starts[-1], dtype=np.uint8)
            for array, start in zip(arrays, starts, strict=False):
                whole[start : start + array.nbytes] = np.ascontiguousarray(array).view(np.uint8)
            self._write(whole, first)
        slots = zip(arrays, starts, strict=False)
        return tuple(Slot(first + start, array.dtype, array.size) for array, start in slots)

    def _write(self, data: np.ndarray, offset: int) -> None:
        view, written = data.data, 0
        while written < len(data):
            written += os.pwrite(self._file.fileno(), view[written:], offset + written)

    def read(self, slot: Slot) -> np.ndarray:
        """The array of ``slot``."""
        return self._read(slot.offset, slot.n_bytes).view(slot.dtype)

    def read_all(self, slots: Sequence[Slot]) -> list[np.ndarray]:
        """The arrays of slots that were written by one ``append_all``, one behind another."""
        first = slots[0].offset
        whole = self._read(first, slots[-1].offset + slots[-1].n_bytes - first)
        places = [(slot.offset - first, slot) for slot in slots]
        return [whole[start : start + slot.n_bytes].view(slot.dtype) for start, slot in places]

    def _read(self, offset: int, n_bytes: int) -> np.ndarray:
        data = np.empty(n_bytes, dtype=np.uint8)
        view, done = data.data, 0
        while done < n_bytes:
            done += os.preadv(self._file.fileno(), [view[done:]], offset + done)
        return data
