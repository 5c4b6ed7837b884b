"""Cells in the process of the run, which loads each data set once."""

from __future__ import annotations

from bench.run.context import Emit
from bench.run.executors.base import Executor, R, Task


class InlineExecutor(Executor):
    """Computes tasks where it is called."""

    def check(self, dataset: str) -> None:
        self.session.data(dataset)

    def submit(self, task: Task[R], emit: Emit) -> R:
        return task.compute(self.session, emit)
