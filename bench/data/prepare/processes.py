"""Processes that read, count and encode the blocks of a raw table.

Each parks rows in a file of its own below the folder where the store grows, which all of them can read; they write ids
straight into the files of the store. What is sent to and fro are jobs, distinct values and counts.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.prepare.blocks import CountJob, EncodeJob, count_codes, read_block, slices
from bench.data.prepare.crew import Crew
from bench.data.prepare.parallel import map_ordered
from bench.data.prepare.spill import Parked, Spill
from bench.data.prepare.work import Found, Job, Work
from bench.data.raw.scratch import keep_freed_memory
from bench.data.store.manifest import ArrayFile, RowsPlace
from bench.errors import DataError
from bench.processes import end_with_parent, importing_alike, left_to_parent, starting

_AHEAD = 2
"""Jobs that lie ready beside those under way: a part of a packed file is held in memory until it is read."""


class Processes(Crew):
    """So many processes, which begin with the first job."""

    is_apart = True

    def __init__(self, spill: Spill, pool: Executor, mergers: Executor, workers: int) -> None:
        super().__init__(spill, pool, mergers)
        self._folder = spill.folder.absolute() / "parked"
        self._ahead = _AHEAD + workers
        self._workers = workers
        self._stack = ExitStack()

    def read(self, work: Work, jobs: Iterable[Job]) -> Iterator[list[Found]]:
        self._folder.mkdir()
        self._processes = _Processes(
            self._workers, mp_context=starting(__name__), initializer=_begin, initargs=(work, self._folder, Path.cwd())
        )
        self._stack.callback(self._end)
        yield from self._map(_read, jobs)

    def count(self, jobs: Iterable[CountJob]) -> Iterator[np.ndarray]:
        yield from self._map(_count, jobs)

    def write(self, jobs: Iterable[EncodeJob], files: Sequence[ArrayFile]) -> Iterator[int]:
        placed = ((job, tuple(file.place(job.first_row) for file in files)) for job in jobs)
        taken: list[Future[None]] = []
        try:
            for n_rows in self._map(_write, placed):
                for one in taken:
                    one.result()
                taken = [self.pool.submit(file.take_over, n_rows) for file in files]
                yield n_rows
            for one in taken:
                one.result()
        finally:
            wait(taken)

    def _map(self, work: Callable[[Any], Any], jobs: Iterable[Any]) -> Iterator[Any]:
        try:
            yield from map_ordered(work, jobs, self._processes, self._ahead)
        except BrokenProcessPool:
            raise DataError(
                f"one of {self._workers} worker processes was ended from outside, most likely for lack of memory; end "
                f"other programs, or take fewer of them."
            ) from None

    def _end(self) -> None:
        self._processes.shutdown(cancel_futures=True)
        shutil.rmtree(self._folder)

    def __exit__(self, *error: object) -> None:
        self._stack.close()


class _Processes(ProcessPoolExecutor):
    """Leaves the signals of the terminal to this process, and runs the code that this one runs."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        with left_to_parent(), importing_alike():  # a process may be started here
            return super().submit(fn, *args, **kwargs)


class _Station:
    """What a process works with."""

    def __init__(self, work: Work, folder: Path) -> None:
        self.work = work
        self.name = str(os.getpid())
        self.spill = Spill(folder, self.name)
        self.parked = cache(lambda name: Parked((folder / name).open("rb", buffering=0)))


_stations: list[_Station] = []


def _begin(work: Work, folder: Path, cwd: Path) -> None:
    end_with_parent()
    os.chdir(cwd)
    keep_freed_memory()
    _stations[:] = [_Station(work, folder)]


def _read(job: Job) -> list[Found]:
    (station,) = _stations
    return station.work(job, station.spill, station.name)


def _count(job: CountJob) -> np.ndarray:
    (station,) = _stations
    return count_codes(job, station.parked(job.block.home))


def _write(given: tuple[EncodeJob, tuple[RowsPlace, ...]]) -> int:
    (station,) = _stations
    job, places = given
    block, before = read_block(job, station.parked(job.block.home)), [0] * len(places)
    for some in slices(job):
        for number, (place, array) in enumerate(zip(places, block.rows(some), strict=True)):
            if array.size:
                place.write(array, before[number])
                before[number] += array.nbytes
    return job.block.n_rows
