"""Arrays parked in one temporary file, so that memory does not grow with the rows."""

from __future__ import annotations

import os
import tempfile
import threading
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
        with self._lock:
            slot = Slot(self._end, array.dtype, array.size)
            self._end += array.nbytes
        view = np.ascontiguousarray(array).view(np.uint8).data
        written = 0
        while written < array.nbytes:
            written += os.pwrite(self._file.fileno(), view[written:], slot.offset + written)
        return slot

    def read(self, slot: Slot) -> np.ndarray:
        """The array of ``slot``."""
        array = np.empty(slot.size, dtype=slot.dtype)
        view = array.view(np.uint8).data
        done = 0
        while done < array.nbytes:
            done += os.preadv(self._file.fileno(), [view[done:]], slot.offset + done)
        return array
