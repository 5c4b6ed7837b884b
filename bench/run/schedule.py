"""Which cell is computed next, and what is in flight: one thread begins tasks, looks at them, and writes records.

A cell needs its trials first, and what is held to another cell's bytes needs that one. As many tasks are in flight as
the executor has slots; the rankings that cells share, and trials, are computed once, whoever else wants them waits.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from bench.lease import LeaseLost, Owner
from bench.records import CellRecord
from bench.run.claims import Claim, Claims, Done, Work
from bench.run.context import Emit
from bench.run.executors.base import TICK_S, CellTask, Ended, Executor, RankTask, Running, TrialTask
from bench.run.grid import Cell
from bench.run.job import ResolvedCell
from bench.run.progress import Reporter, duration
from bench.run.ranked import Ranked, key_of, stored
from bench.run.session import DONE, VALID
from bench.run.tuning import SEED, Trial, Trials, TrialStore

__all__ = ["Schedule"]

T = TypeVar("T", bound=Trials)

POLL_S = 0.5
"""Seconds between two looks at what other processes are at."""


@dataclass(frozen=True, eq=False)
class _Flight:
    """A task in flight, and what is done once it has ended."""

    cell: Cell
    """That needs it."""
    claim: Claim[Any]
    running: Running[Any]
    landed: Callable[[Done[Any]], None]


class Schedule:
    """Cells of a run, until each has a record of this or of another process."""

    def __init__(self, executor: Executor, claims: Claims, reporter: Reporter) -> None:
        """Nothing is computed yet."""
        self._executor, self._claims, self._reporter = executor, claims, reporter
        self._session = executor.session
        self._left: dict[Cell, None] = {}
        self._records: dict[Cell, CellRecord] = {}
        self._rankings: dict[Cell, Ranked] = {}
        self._flights: list[_Flight] = []
        self._begun: dict[Cell, float] = {}
        self._shown: Cell | None = None
        self._waited_for: set[str] = set()

    def all(self, cells: Iterable[Cell]) -> dict[Cell, CellRecord]:
        """The records of ``cells``."""
        self._until_done(cells, self._cell)
        return self._records

    def rank(self, cells: Iterable[Cell]) -> dict[Cell, Ranked]:
        """The rankings of ``cells``, which others may use too, without their trainings."""
        self._until_done(cells, self._ranking)
        return self._rankings

    def _until_done(self, cells: Iterable[Cell], go_on: Callable[[Cell], Owner | None]) -> None:
        """Let ``go_on`` begin what a cell needs next, until none is left."""
        self._left = dict.fromkeys(cells)
        try:
            while self._left:
                self._look_after(self._begin(go_on))
        finally:
            self._end()

    def penalise(self, cell: Cell) -> None:
        """Make the trials of the L2 of ``cell``, or wait for those of others."""
        try:
            while (owner := self._penalise(cell)) is not None:
                self._look_after({cell: owner})
        finally:
            self._end()

    @property
    def _full(self) -> bool:
        return len(self._flights) >= self._executor.slots

    def _begin(self, go_on: Callable[[Cell], Owner | None]) -> dict[Cell, Owner]:
        """Fill the slots; who is at the cells that cannot begin."""
        busy: dict[Cell, Owner] = {}
        for cell in list(self._left):
            if self._full:
                break
            if (owner := self._held_up(cell, busy)) is None and cell in self._left:
                owner = go_on(cell)
            if owner is not None:
                busy[cell] = owner
        return busy

    def _look_after(self, busy: Mapping[Cell, Owner]) -> None:
        """Until a task ends, a slot is added, or it is time to look at what others are at: it may be free by then."""
        if not self._flights:
            self._wait(busy)
            return
        others = any(owner != self._claims.me for owner in busy.values())
        until, slots = time.monotonic() + POLL_S, self._executor.slots
        while not self._land_all():
            if (others and time.monotonic() > until) or self._executor.slots > slots:
                return
            time.sleep(TICK_S)

    def _land_all(self) -> bool:
        """Whether any task has ended; all are looked at."""
        return sum(self._land(flight) for flight in list(self._flights)) > 0

    def _wait(self, busy: Mapping[Cell, Owner]) -> None:
        others = [owner for owner in busy.values() if owner != self._claims.me]
        for who, count in Counter(map(str, others)).items():
            if who not in self._waited_for:
                self._waited_for.add(who)
                text = f"waiting for another process: {who}, {count} cell{'s' if count > 1 else ''}"
                self._reporter.event({"event": "waiting", "text": text})
        if busy:
            time.sleep(POLL_S)

    def _end(self) -> None:
        """End what is in flight, as after an error or a signal; what has ended by itself is kept."""
        for flight in list(self._flights):
            with suppress(Exception, LeaseLost):
                self._land(flight)
        for flight in self._flights:
            flight.running.stop()
            flight.claim.close()
        self._flights.clear()

    def _land(self, flight: _Flight) -> bool:
        """Write down what came of a task, if it has ended; once, so that what cannot be written is computed again."""
        try:
            result = flight.running.poll()
        except (Exception, LeaseLost) as error:
            self._flights.remove(flight)
            flight.running.stop()
            flight.claim.close()
            if isinstance(error, LeaseLost):
                return True
            raise
        if result is None:
            return False
        self._flights.remove(flight)
        try:
            done = flight.claim.keep(result)
        finally:
            flight.claim.close()
        if done is not None:
            flight.landed(done)
        return True

    def _held_up(self, cell: Cell, busy: Mapping[Cell, Owner]) -> Owner | None:
        """Of what is held to another cell's bytes: who is at that one; a record that stands as that is now is taken."""
        other = self._session.held_to(cell)
        if other is None:
            return None
        for one in (other, replace(other, seed=SEED)):  # the cell itself, and the one that its trials are held to
            if one in self._left:
                return busy.get(one, self._claims.me)
        done = self._session.done(cell)
        if done is not None:
            self._finished(cell, Done(done, here=False))
        return None

    def _cell(self, cell: Cell) -> Owner | None:
        """Begin what ``cell`` needs next; who is at it, this process too. None: it is finished."""
        owner = self._penalise(cell) or self._tune(cell)
        if owner is not None:
            return owner
        resolved, folder = self._session.cell(cell), self._session.folder

        def begin(emit: Emit) -> Running[CellRecord]:
            failed = _failed_trials(resolved)
            return self._executor.begin(CellTask(cell), emit) if failed is None else Ended(failed)

        work = Work(
            file=folder.cell_file(resolved.hash),
            cell=resolved,
            read=lambda: folder.read(resolved.hash),
            write=lambda record: self._write(resolved, record),
        )
        return self._fly(work, cell, begin, partial(self._finished, cell))

    def _ranking(self, cell: Cell) -> Owner | None:
        """Begin the ranking of ``cell``, or what it needs before; as of ``_cell``."""
        owner = self._penalise(cell) or self._tune(cell)
        if owner is not None:
            return owner
        resolved, store = self._session.cell(cell), self._session.selections
        if (known := stored(resolved, store)) is not None:
            self._ranked(cell, Done(known, here=False))
            return None
        work = Work(
            file=store.file(key_of(resolved) or ""),
            cell=resolved,
            read=lambda: stored(resolved, store),
            write=lambda _: self._forget(resolved),  # the computation itself keeps the ranking
        )
        return self._fly(work, cell, partial(self._executor.begin, RankTask(cell)), partial(self._ranked, cell))

    def _fly(
        self,
        work: Work[Any],
        cell: Cell,
        begin: Callable[[Emit], Running[Any]],
        landed: Callable[[Done[Any]], None],
    ) -> Owner | None:
        """Begin ``work``, which ``cell`` needs; who is at it. None: another process has done it."""
        found = self._claims.begin(work)
        if isinstance(found, Owner):
            return found
        if isinstance(found, Done):
            landed(found)
            return None
        self._show(cell)
        try:
            running = begin(found.watched(lambda event: self._reporter.event({**event, "cell": cell})))
        except LeaseLost:
            found.close()
            return self._claims.me
        self._flights.append(_Flight(cell, found, running, landed))
        return self._claims.me

    def _show(self, cell: Cell) -> None:
        """Say that ``cell`` is begun, once for its trials and itself; again where others came between."""
        if cell != self._shown and all(flight.cell != cell for flight in self._flights):
            self._shown = cell
            self._begun.setdefault(cell, time.perf_counter())
            self._reporter.start(cell)

    def _finished(self, cell: Cell, done: Done[CellRecord]) -> None:
        self._records[cell] = done.result
        del self._left[cell]
        now = time.perf_counter()
        took = now - self._begun.pop(cell, now)
        if done.here:
            self._reporter.finish(cell, done.result, took / self._executor.slots)
        else:
            self._reporter.found(cell, done.result)

    def _ranked(self, cell: Cell, done: Done[Ranked]) -> None:
        self._rankings[cell] = done.result
        del self._left[cell]
        took = f" in {duration(time.perf_counter() - self._begun.pop(cell))}" if done.here else ""
        self._reporter.event({"event": "ranking", "cell": cell, "text": f"{cell.title}: {done.result.text}{took}"})

    def _write(self, cell: ResolvedCell, record: CellRecord) -> None:
        if not self._session.predictions.settle(cell.hash, record.predictions):
            text = (
                f"{self._session.folder.predictions}: the predictions of {cell.cell.title} are not there, and not kept"
            )
            self._reporter.event({"event": "warning", "text": text})
            record = replace(record, predictions=None)
        self._session.valid_predictions.settle(cell.hash, (record.predictions or {}).get(VALID))
        self._session.folder.write(record)
        if record.status in DONE:
            self._forget(cell)

    def _forget(self, cell: ResolvedCell) -> None:
        """Remove the inner state of what has ended."""
        checkpoints = self._session.checkpoints(cell)
        if checkpoints is not None:
            shutil.rmtree(checkpoints, ignore_errors=True)

    def _penalise(self, cell: Cell) -> Owner | None:
        """Try what was not yet tried of the L2 of ``cell``, if it is to be chosen; else who is at a trial."""
        session = self._session
        unit = session.penalised(cell)
        if unit is None or session.penalty(cell) is None:
            return None
        return self._try(cell, unit, session.penalties, session.penalty_trials)

    def _tune(self, cell: Cell) -> Owner | None:
        """Make the trials that are left of what is tuned for ``cell``, if anything is; else who is at a trial."""
        session = self._session
        if session.tuning(cell) is None:
            return None
        return self._try(cell, replace(cell, seed=SEED), session.tunings, session.trials)

    def _try(self, cell: Cell, unit: Cell, known: dict[Cell, T], store: TrialStore) -> Owner | None:
        """Make the trials of ``unit`` that are left, before ``cell``; what comes of them joins ``known``."""

        def landed(done: Done[Trial]) -> None:
            known[unit] = known[unit].add(done.result)
            if done.here:
                self._reporter.event({"event": "trial", "text": f"{unit.title}, {done.result.text}"})

        other = None
        while other is None and (asked := known[unit].asked()):
            for one in asked:
                if self._full:
                    return self._claims.me
                key = self._session.trial_key(unit, known[unit], one)
                work = Work(
                    file=store.file(key),
                    cell=self._session.trial(unit, one.values),
                    read=partial(store.read, key),
                    write=partial(store.write, key),
                )
                begin = partial(self._executor.begin, TrialTask(unit, one))
                other = self._fly(work, cell, begin, landed) or other
        return other


def _failed_trials(cell: ResolvedCell) -> CellRecord | None:
    """The record of a cell for which no trial works, and which need not be run; None of another."""
    if cell.tuning is None or (failure := cell.tuning.failure) is None:
        return None
    return replace(cell.record(), **failure)
