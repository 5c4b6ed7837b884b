"""A cell in a process of its own: its peak memory is measured, its limit in time is kept, its death survived."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from bench import environment
from bench.errors import ConfigError
from bench.records import CellRecord, Status
from bench.run.conditions import threads_of
from bench.run.context import Emit
from bench.run.executors import count_of
from bench.run.executors.base import R, Running, SeveralAtOnce, Task
from bench.run.executors.child import LAST_WORDS_S, Child, gpus_here
from bench.run.executors.workers import Workers
from bench.run.session import Session


class ProcessExecutor(SeveralAtOnce):
    """Computes every task in a fresh process, ``process:N`` at most N at a time; the run's own loads no rows.

    A child that is killed gives ``oom`` (the kernel's usual reason) and one that outlasts ``timeout_s`` gives
    ``timeout``; neither leaves anything half-written, because only the parent writes records. What the two say to each
    other is JSON text, so that neither can make the other run code. Children share the machine's threads, unless the
    settings say how many each has, and take turns on its GPUs where there are several. A task may have several workers.
    """

    def __init__(self, session: Session) -> None:
        """Share out threads and GPUs.

        Raises:
            ConfigError: a cell is to have more workers than there are GPUs.
        """
        super().__init__(session)
        config = session.plan.config
        self._slots, self._workers = count_of(config.executor_name) or 1, config.workers_per_cell
        processes = self._slots * self._workers
        if processes > 1:
            config = replace(config, threads=threads_of(config))
        self._config = config
        self._gpus = gpus_here(config.device, session.plan.device) if processes > 1 else []
        if session.plan.device.type == "cuda" and self._workers > max(len(self._gpus), 1):
            raise ConfigError(
                f"workers-per-cell={self._workers} on device={config.device} needs a GPU for each worker, and there "
                f"are {len(self._gpus) or 1}; give fewer, or --device cpu."
            )
        self._free = list(range(self._slots))

    @property
    def slots(self) -> int:
        return self._slots

    def begin(self, task: Task[R], emit: Emit) -> Running[R]:
        place = self._free.pop(0)

        def returned(found: dict[str, Any]) -> R:
            return self.returned(task, found, self._slots)

        def ended(status: Status, reason: str) -> R:
            return self._as_it_ran(task.ended(self.session, status, reason))

        gpus = [self._gpu(place * self._workers + rank) for rank in range(self._workers)]
        child: Child | Workers = (
            Child(self._config, task.text, gpus[0], emit)
            if self._workers == 1
            else Workers(self._config, task.text, gpus, emit)
        )
        return _Computing(child, returned, ended, lambda: self._free.append(place))

    def _gpu(self, number: int) -> str | None:
        """The GPU of the process ``number`` of those that are there at once; None: whichever it finds."""
        return self._gpus[number % len(self._gpus)] if self._gpus else None

    def _as_it_ran(self, result: R) -> R:
        """The record of a cell that has none of its own, with the threads and workers that it had."""
        if isinstance(result, CellRecord) and self._config.threads is not None:
            several = {environment.WORKERS: self._workers} if self._workers > 1 else {}
            return replace(result, threads=self._config.threads, host={**(result.host or {}), **several})
        return result


@dataclass
class _Computing(Running[R]):
    """A task in a process of its own."""

    child: Child | Workers
    returned: Callable[[dict[str, Any]], R]
    ended: Callable[[Status, str], R]
    free: Callable[[], None]
    """Gives its place back."""
    done: bool = False

    def poll(self) -> R | None:
        found = self.child.listen()
        if found is None:
            return None
        self._leave(LAST_WORDS_S)
        return self.returned(found) if isinstance(found, dict) else self.ended(*found)

    def stop(self) -> None:
        self._leave(0.0)

    def _leave(self, patience_s: float) -> None:
        if not self.done:
            self.done = True
            self.child.stop(patience_s)
            self.free()
