"""Memory that is used again: what is large and freed goes back to the system, which clears it before it is had anew."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import cache

import numpy as np

_KEPT_BYTES = 31 << 20
"""Just below what the C library of Linux takes for too large to be kept in any case."""


def keep_freed_memory() -> None:
    """Have arrays up to ``_KEPT_BYTES`` lie in memory that stays with the process when they are freed.

    The C library of Linux learns that from the first large one that it sees freed; this one is never written to.
    """
    np.empty(_KEPT_BYTES, dtype=np.uint8)


class Scratch(threading.local):
    """An array that each thread has for itself."""

    def __init__(self) -> None:
        self._held = np.empty(0, dtype=np.uint8)

    def __reduce__(self) -> tuple[Callable[[], Scratch], tuple[()]]:
        """Sent to another process it is the one that this has for all that were sent."""
        return _received, ()

    def array(self, shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
        """An array of any content, which holds until the thread asks for the next."""
        n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        if len(self._held) < n_bytes:
            self._held = np.empty(0, dtype=np.uint8)  # let go of before there is another
            self._held = np.empty(n_bytes, dtype=np.uint8)
        return self._held[:n_bytes].view(dtype).reshape(shape)


@cache
def _received() -> Scratch:
    return Scratch()
