"""Tasks, and what an executor has to do with one."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, replace
from typing import Any, Generic, TypeVar

from bench import environment
from bench.records import CellRecord, Status
from bench.run.cell import run_cell
from bench.run.context import Emit
from bench.run.grid import Cell
from bench.run.ranked import Ranked, run_ranking
from bench.run.session import Session
from bench.run.trial import run_trial
from bench.run.tuning import Asked, Trial

R = TypeVar("R", CellRecord, Trial, Ranked)

TICK_S = 0.05
"""Seconds between two looks at tasks in flight."""


class Task(ABC, Generic[R]):
    """Something to compute for a cell: text and numbers, so that it travels; a session knows the rest."""

    cell: Cell
    result: type[R]
    """What comes of it; ``to_dict`` and ``from_dict`` take it across as JSON values."""

    @abstractmethod
    def compute(self, session: Session, emit: Emit) -> R:
        """Load what it needs and compute it here; whatever goes wrong in it becomes a status.

        Raises:
            DataError: the data cannot be used.
            StorageError: a file of the run folder cannot be written, read or trusted.
        """

    @abstractmethod
    def ended(self, session: Session, status: Status, reason: str) -> R:
        """What is written down where the computation ended without a result; needs no rows."""

    @property
    def text(self) -> str:
        """The task as JSON, for a process that knows the plan; ``read_task`` takes it back."""
        return json.dumps({"kind": type(self).__name__, **asdict(self)})  # type: ignore[call-overload]


@dataclass(frozen=True)
class CellTask(Task[CellRecord]):
    """A whole cell."""

    cell: Cell
    result = CellRecord

    def compute(self, session: Session, emit: Emit) -> CellRecord:
        found = session.cell(self.cell)
        return run_cell(session.job(found, emit, session.checkpoints(found)))

    def ended(self, session: Session, status: Status, reason: str) -> CellRecord:
        return replace(session.cell(self.cell).record(), status=status, reason=reason)


@dataclass(frozen=True)
class TimingTask(CellTask):
    """A whole cell once more, for its times: with its own search, and nothing kept of it on the way."""

    def compute(self, session: Session, emit: Emit) -> CellRecord:
        return run_cell(replace(session.job(session.cell(self.cell), emit), shared=None, lines=None, predictions=None))


@dataclass(frozen=True)
class TrialTask(Task[Trial]):
    """The trial of some values of settings, for a cell and others that share it."""

    cell: Cell
    asked: Asked
    result = Trial

    def compute(self, session: Session, emit: Emit) -> Trial:
        return run_trial(session.job(session.trial(self.cell, self.asked.values), emit), self.asked)

    def ended(self, session: Session, status: Status, reason: str) -> Trial:
        return Trial(values=self.asked.values, status=status, reason=reason)


@dataclass(frozen=True)
class RankTask(Task[Ranked]):
    """The ranking of a cell alone, kept where cells look for it."""

    cell: Cell
    result = Ranked

    def compute(self, session: Session, emit: Emit) -> Ranked:
        found = session.cell(self.cell)
        return run_ranking(session.job(found, emit, session.checkpoints(found)))

    def ended(self, session: Session, status: Status, reason: str) -> Ranked:
        return Ranked(self.cell.method, status, reason=reason)


def read_task(text: str) -> Task[Any]:
    """The task whose ``text`` this is."""
    values = json.loads(text)
    tasks: tuple[type[CellTask] | type[TrialTask] | type[RankTask], ...] = (CellTask, TimingTask, TrialTask, RankTask)
    kinds = {kind.__name__: kind for kind in tasks}
    kind = kinds[values.pop("kind")]
    if "asked" in values:
        values["asked"] = Asked.from_dict(values["asked"])
    return kind(**values | {"cell": Cell(**values["cell"])})


class Running(ABC, Generic[R]):
    """A task in flight. Only the thread that began it looks at it."""

    @abstractmethod
    def poll(self) -> R | None:
        """Pass on what has happened meanwhile, without waiting; what came of the task, once it has ended.

        Raises:
            DataError: the data cannot be used.
        """

    @abstractmethod
    def stop(self) -> None:
        """End the task, wherever it is; nothing comes of it. Does nothing to one that has ended."""


@dataclass(frozen=True)
class Ended(Running[R]):
    """A task that has ended where it began."""

    result: R

    def poll(self) -> R:
        return self.result

    def stop(self) -> None:
        """There is nothing to end."""


class Executor(ABC):
    """Where the tasks of a run are computed, one after another; the run writes what comes of them."""

    def __init__(self, session: Session) -> None:
        """Compute tasks of the plan of ``session``, which is that of the run's own process."""
        self.session = session

    @property
    def slots(self) -> int:
        """How many tasks may be in flight at once; it may change while a run lasts."""
        return 1

    def check(self, dataset: str) -> None:
        """Make sure, before anything is written, that tasks on the data set ``dataset`` can be computed.

        Raises:
            DataError: it is damaged, or cannot be used.
        """
        self.session.verify(dataset)

    @abstractmethod
    def submit(self, task: Task[R], emit: Emit) -> R:
        """Have ``task`` computed, wait, and return what comes of it; ``emit`` is told what happens on the way.

        A task that dies, or is stopped after the run's ``timeout_s``, gives ``task.ended``.

        Raises:
            DataError: the data cannot be used.
        """

    def begin(self, task: Task[R], emit: Emit) -> Running[R]:
        """Have ``task`` computed, and do not wait where that can be. At most ``slots`` tasks are in flight.

        Raises:
            DataError: the data cannot be used.
        """
        return Ended(self.submit(task, emit))

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Give back what the executor holds; nothing is in flight any more."""


class SeveralAtOnce(Executor):
    """An executor of more than one slot: it has to say how a task begins, and how many may be in flight."""

    @abstractmethod
    def begin(self, task: Task[R], emit: Emit) -> Running[R]: ...

    def submit(self, task: Task[R], emit: Emit) -> R:
        running = self.begin(task, emit)
        try:
            while (found := running.poll()) is None:
                time.sleep(TICK_S)
        finally:
            running.stop()
        return found

    def returned(self, task: Task[R], found: dict[str, Any], at_once: int) -> R:
        """What another process has computed, as this one writes it down.

        Args:
            task: what was asked for.
            found: its result as JSON values.
            at_once: how many tasks shared the machine, with all slots full.
        """
        if "command" in found:  # a child knows its command line, but not a function by which its parent was called
            found["command"] = environment.command()
        if at_once > 1 and "host" in found:
            found["host"][environment.AT_ONCE] = at_once
        return task.result.from_dict(found, source=task.cell.title)
