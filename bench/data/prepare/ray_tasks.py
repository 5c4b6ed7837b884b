"""Tasks of a Ray cluster that read, count and encode the blocks of a raw table.

What they park stays in the memory of the node that read it, which Ray moves to the node's disk where it must, and makes
anew where a node is lost. Values, counts and rows come here, where they are merged and written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray import exceptions

from bench.cluster import join, nodes
from bench.data.prepare.blocks import CountJob, EncodeJob
from bench.data.prepare.crew import Crew, write_behind
from bench.data.prepare.ray_node import count_part, encode_part, read_part, release
from bench.data.prepare.spill import Spill
from bench.data.prepare.work import Found, Job, Work
from bench.data.prepare.workers import Workers
from bench.data.store.manifest import ArrayFile
from bench.errors import DataError, UserError

__all__ = ["RayTasks"]


class RayTasks(Crew):
    """As many tasks at a time as the cluster has cores, or as are asked for; a lost node's begin anew on another."""

    is_apart = True

    def __init__(self, spill: Spill, pool: Executor, mergers: Executor, workers: Workers) -> None:
        """Join the cluster.

        Raises:
            ConfigError: there is none at the address.
        """
        super().__init__(spill, pool, mergers)
        self._ours = not ray.is_initialized()
        if self._ours:
            join(workers.address)
        cores = sum(int(node["Resources"].get("CPU", 0)) for node in nodes() if node["Alive"])
        self._most = workers.count or max(cores, 1) + 1  # where none is asked for, one lies ready
        self._parked: list[Any] = []
        """Of each block: what holds its rows."""
        self._flying: deque[Any] = deque()
        """What was begun and not fetched."""

    def read(self, work: Work, jobs: Iterable[Job]) -> Iterator[list[Found]]:
        sent, cwd, version = ray.put(work), str(Path.cwd()), release()
        task: Any = ray.remote(num_returns=2)(read_part)
        homes: deque[Any] = deque()

        def start(job: Job) -> Any:
            found, parked = task.remote(sent, job, cwd, version)
            homes.append(parked)
            return found

        for found in self._map(start, jobs):
            self._parked += [homes.popleft()] * len(found)
            yield found

    def count(self, jobs: Iterable[CountJob]) -> Iterator[np.ndarray]:
        task = ray.remote(count_part)
        return self._map(lambda job: task.remote(job, self._parked[job.number]), jobs)

    def write(self, jobs: Iterable[EncodeJob], files: Sequence[ArrayFile]) -> Iterator[int]:
        task = ray.remote(encode_part)
        rows = self._map(lambda job: task.remote(job, self._parked[job.number]), jobs)
        return write_behind(rows, files, self.pool)

    def _map(self, start: Callable[[Any], Any], jobs: Iterable[Any]) -> Iterator[Any]:
        """What comes of each job, in their order."""
        for job in jobs:
            if len(self._flying) >= self._most:
                yield _result(self._flying.popleft())
            self._flying.append(start(job))
        while self._flying:
            yield _result(self._flying.popleft())

    def __exit__(self, *error: object) -> None:
        for coming in self._flying:  # here, and not where they were begun: that may be left when Ray is gone
            with suppress(exceptions.RayError, ValueError):
                ray.cancel(coming)
        self._flying.clear()
        self._parked.clear()
        if self._ours:
            ray.shutdown()


def _result(coming: Any) -> Any:
    """What a task gives.

    Raises:
        UserError: the task's own.
        DataError: it could not be begun, or not be begun anew.
    """
    try:
        return ray.get(coming)
    except exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, UserError | OSError | MemoryError):
            raise cause from None
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(
            f"a node of the Ray cluster cannot read raw data: {lines[-1].strip()}. Install the same version of "
            f"ctr-field-bench and of its plug-ins there."
        ) from None
    except exceptions.RayError as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(f"a task of the Ray cluster was lost ({lines[0]}); repeat the command.") from None
