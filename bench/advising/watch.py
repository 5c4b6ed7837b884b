"""What trainings take: noted as they end, and reckoned for other numbers of fields."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import cache
from statistics import fmean
from typing import Any

from bench.engine.footprint import footprint
from bench.records import CellRecord
from bench.run.grid import Cell
from bench.run.job import ResolvedCell
from bench.run.progress import Reporter

__all__ = ["START_S", "Watch", "work_of"]

START_S = 1.0
"""Seconds of a cell beside its training, reckoned for every number of fields."""
_ROWS = 64
"""Of the batch that operations are counted with."""


class Watch:
    """Passes on what happens in a run, and notes what trainings take."""

    def __init__(self, reporter: Reporter, work: Callable[[int], float | None]) -> None:
        """Nothing has been trained yet.

        Args:
            reporter: is told what happens.
            work: of a training by its number of fields, in any unit; None where it is not known.
        """
        self._reporter, self._work = reporter, work
        self._seconds: dict[int, list[float]] = defaultdict(list)
        """Of the trainings that this command has computed, by the number of fields."""

    def expect(self, n_fields: int, seconds: float) -> None:
        """Take ``seconds`` for a training with ``n_fields``, as long as this command has computed none."""
        if n_fields not in self._seconds:
            self._seconds[n_fields] = [seconds]

    def cell_s(self, n_fields: int) -> float:
        """About what a training with ``n_fields`` takes, in seconds, by those with the next larger number."""
        near = min(count for count in self._seconds if count >= n_fields)
        training = max(fmean(self._seconds[near]) - START_S, 0.0)
        work, of_near = self._work(n_fields), self._work(near)
        return START_S + training * (1.0 if work is None or of_near is None else work / of_near)

    def plan(self, total: int, done: int) -> None:
        self._reporter.plan(total, done)

    def start(self, cell: Cell) -> None:
        self._reporter.start(cell)

    def event(self, event: dict[str, Any]) -> None:
        self._reporter.event(event)

    def finish(self, cell: Cell, record: CellRecord, seconds: float) -> None:
        kept = record.field_names if record.kept_fields is None else record.kept_fields
        self._seconds[len(kept)].append(max(seconds - (record.pt_s or 0.0), 0.0))
        self._reporter.finish(cell, record, seconds)

    def found(self, cell: Cell, record: CellRecord) -> None:
        self._reporter.found(cell, record)


def work_of(cell: ResolvedCell) -> Callable[[int], float | None]:
    """Operations of the backbone of ``cell`` for a row, by the number of fields; None where they cannot be reckoned."""

    @cache
    def work(n_fields: int) -> float | None:
        if cell.backbone.error is not None:
            return None
        try:
            found = footprint(cell.backbone.cls, n_fields, cell.profile.dim, cell.backbone.params, _ROWS)
        except Exception:  # a plug-in may fail in any way, and need not run without numbers
            return None
        return max(found.flops_per_row, 1.0)

    return work
