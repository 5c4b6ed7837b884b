"""What runs on the nodes of a Ray cluster; Ray finds it there by name, so that no code travels."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import chdir, nullcontext
from importlib import metadata
from itertools import accumulate
from pathlib import Path

import numpy as np

from bench.data.prepare.blocks import CountJob, EncodeJob, Rows, count_codes, read_block
from bench.data.prepare.extents import Extent
from bench.data.prepare.reading import WholeFile
from bench.data.prepare.spill import Slot
from bench.data.prepare.work import Found, Job, Work
from bench.errors import DataError

__all__ = ["Heap", "count_part", "encode_part", "read_part", "release"]

_ALIGNED = 8
"""Bytes at whose multiples arrays begin."""


class Heap:
    """Arrays parked in memory, which Ray keeps on the node that made them; a park, and what is read of it."""

    def __init__(self, data: np.ndarray | None = None) -> None:
        """Begin empty, or with what another heap held."""
        self._parts, self._end = [] if data is None else [data], 0

    def append_all(self, arrays: Sequence[np.ndarray]) -> tuple[Slot, ...]:
        """Park arrays together."""
        sizes = [-(-array.nbytes // _ALIGNED) * _ALIGNED for array in arrays]
        starts = list(accumulate(sizes, initial=self._end))
        whole = np.zeros(starts[-1] - self._end, dtype=np.uint8)
        slots = [Slot(start, one.dtype, one.nbytes) for start, one in zip(starts, arrays, strict=False)]
        for slot, array in zip(slots, arrays, strict=True):
            place = slot.offset - self._end
            whole[place : place + slot.n_bytes] = np.ascontiguousarray(array).view(np.uint8)
        self._parts.append(whole)
        self._end = starts[-1]
        return tuple(slots)

    def read_each(self, slots: Sequence[Slot]) -> Iterator[np.ndarray]:
        """The arrays of some slots."""
        data = self.data
        return (data[offset : offset + n_bytes].view(dtype) for offset, dtype, n_bytes in slots)

    @property
    def data(self) -> np.ndarray:
        """All of it, uint8 [bytes]."""
        if len(self._parts) != 1:
            self._parts = [np.concatenate([np.empty(0, np.uint8), *self._parts])]
        return self._parts[0]


def release() -> str:
    """The version of the suite, which must be one on all nodes."""
    try:
        return metadata.version("ctr-field-bench")
    except metadata.PackageNotFoundError:
        return "unknown"


def read_part(work: Work, job: Job, cwd: str, version: str) -> tuple[list[Found], np.ndarray]:
    """What a job finds, and what is parked of it.

    Raises:
        DataError: as ``Work``, or the node has another version of the suite, or does not see the raw file.
    """
    if release() != version:
        raise DataError(
            f"{_node()} of the Ray cluster has version {release()} of ctr-field-bench, not {version}, as here; install "
            f"the same one on all nodes."
        )
    whole = isinstance(job.part, WholeFile)
    for path in _paths(job, Path(cwd)):
        if not path.exists():
            raise DataError(
                f"{path}: {_node()} of the Ray cluster does not see it: raw files must lie under the same path on all "
                f"nodes, as in a shared folder; or take processes of this machine, N instead of ray."
            )
    heap = Heap()
    with chdir(cwd) if whole else nullcontext():
        return work(job, heap, "heap"), heap.data


def _paths(job: Job, cwd: Path) -> list[Path]:
    """What a job opens."""
    if isinstance(job.part, Extent):
        return [job.part.path]
    if not isinstance(job.part, WholeFile):
        return []
    given = job.part.recipe.path
    return [cwd, *(cwd / path for path in ((given,) if isinstance(given, Path) else given))]


def _node() -> str:
    return f"the node {socket.gethostname()}"


def count_part(job: CountJob, data: np.ndarray) -> np.ndarray:
    """``count_codes`` of what ``read_part`` parked."""
    return count_codes(job, Heap(data))


def encode_part(job: EncodeJob, data: np.ndarray) -> Rows:
    """The rows of a block."""
    return read_block(job, Heap(data)).rows(slice(0, job.block.n_rows))
