"""Who reads parts, counts their values and writes their ids: threads of this process, unless others are asked for.

Whoever it is, results come in the order of the jobs, and each job gives the same: the store does not depend on it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, wait
from dataclasses import replace

import numpy as np

from bench.data.prepare.blocks import CountJob, EncodeJob, ReadBlock, Rows, count_codes, read_block, slices
from bench.data.prepare.extents import Extent
from bench.data.prepare.parallel import map_ordered
from bench.data.prepare.spill import Spill
from bench.data.prepare.work import Found, Job, Work
from bench.data.store.manifest import ArrayFile
from bench.errors import DataError


class Crew:
    """Threads, which share the memory of this process; a context manager."""

    is_apart = False
    """Whether parts are read in other processes: these open plain files for themselves."""

    def __init__(self, spill: Spill, pool: Executor, mergers: Executor) -> None:
        """Park rows in ``spill``.

        Args:
            spill: takes the rows.
            pool: the threads, which write files in any case.
            mergers: threads that merge vocabularies, while those of ``pool`` read on.
        """
        self.spill, self.pool, self.mergers = spill, pool, mergers

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *error: object) -> None:
        """Let go of those who work, whatever they are at."""

    def read(self, work: Work, jobs: Iterable[Job]) -> Iterator[list[Found]]:
        """What each job finds."""
        return map_ordered(lambda job: work(job, self.spill), jobs, self.pool)

    def count(self, jobs: Iterable[CountJob]) -> Iterator[np.ndarray]:
        """What ``count_codes`` finds in every block."""
        return map_ordered(lambda job: count_codes(job, self.spill), jobs, self.pool)

    def write(self, jobs: Iterable[EncodeJob], files: Sequence[ArrayFile]) -> Iterator[int]:
        """Write all rows to the files of ids, numbers and further ids; the rows of each part that is under way."""
        parts = ((read, some) for job in jobs for read in (read_block(job, self.spill),) for some in slices(job))
        return write_behind(map_ordered(_rows, parts, self.pool), files, self.pool)


def in_order(crew: Crew, work: Work, jobs: Iterable[Job], read_on: Callable[[int], None]) -> Iterator[Found]:
    """What the parts hold, and on which lines of their files.

    Args:
        crew: reads them.
        work: what is done with each.
        jobs: the parts.
        read_on: is told how far a plain file is read that others read.

    Raises:
        DataError: as ``Work``.
    """
    begun: deque[Job | None] = deque()
    lines: Counter[int] = Counter()
    try:
        for several in crew.read(work, _noted(jobs, begun)):
            job = begun.popleft()
            if job is not None:
                read_on(job.part.end)
            for found in several:
                yield found if job is None else found.moved(lines[found.place])
                lines[found.place] += found.seen.line_ends
    except DataError:
        if begun and (job := begun[0]) is not None:
            # Nobody but this process knows on which line the part begins.
            work(replace(job, part=job.part.load(lines[job.place])), crew.spill)
        raise


def _noted(jobs: Iterable[Job], begun: deque[Job | None]) -> Iterator[Job]:
    """The jobs; those that know their lines are not kept, since their parts are large."""
    for job in jobs:
        begun.append(job if isinstance(job.part, Extent) else None)
        yield job


def _rows(given: tuple[ReadBlock, slice]) -> Rows:
    return given[0].rows(given[1])


def write_behind(parts: Iterable[Rows], files: Sequence[ArrayFile], pool: Executor) -> Iterator[int]:
    """Write ``parts`` one after another, all files at once, while the next part is made; the rows of each."""
    writing: list[Future[None]] = []
    try:
        for arrays in parts:
            for write in writing:
                write.result()
            writing = [pool.submit(file.write, one) for file, one in zip(files, arrays, strict=True) if one.size]
            yield len(arrays[0])
        for write in writing:
            write.result()
    finally:
        wait(writing)
