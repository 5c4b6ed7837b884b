"""A run: the grid of cells, what is already done, trials of learning rates, one record written after another.

Several commands may work on one run folder: each takes the cells that no other is at, and waits for the last ones.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from bench import environment
from bench.files import write_atomically
from bench.lease import SUFFIX, Leases, Owner
from bench.records import CellRecord
from bench.run.claims import Claims, Work
from bench.run.config import to_toml
from bench.run.context import Emit
from bench.run.executors import choose_executor
from bench.run.executors.base import CellTask, Executor, TrialTask
from bench.run.grid import Cell
from bench.run.job import ResolvedCell
from bench.run.progress import Reporter
from bench.run.session import (
    CHECKPOINTS,
    DONE,
    LINES,
    PENALTIES_TRIED,
    PLUGINS,
    SELECTIONS,
    TIMINGS,
    TRIALS,
    VALID,
    Plan,
    Session,
    use_threads,
)
from bench.run.tuning import SEED, Trial, TrialStore, Tuning

POLL_S = 0.5
"""Seconds between two looks at what other processes are at."""


def run(plan: Plan, reporter: Reporter, session: Session | None = None) -> list[CellRecord]:
    """Compute every cell that has no result yet and return the records of the whole grid.

    A failing cell becomes a record and never stops the others. Rows are read only for cells that are computed.

    Args:
        plan: what to compute.
        reporter: is told what happens.
        session: of the same plan, where its rows are to serve further plans.

    Raises:
        ConfigError: the executor is unknown.
        StorageError: a file of the run folder cannot be written, read or trusted.
        DataError: a data set cannot be opened, or a record of the folder cannot be read.
    """
    use_threads(plan.config)
    session = Session(plan) if session is None else session
    executor: Executor = choose_executor(plan.config.executor_name)(session)
    grid = list(plan.cells())
    with Leases() as leases:
        claims = Claims(session, leases)  # looks at the folder before the records are read
        records = {cell: done for cell in grid if (done := session.done(cell)) is not None}
        used = dict.fromkeys(cell.dataset for cell in grid if cell not in records)
        session.check_fields(used)
        for label in reversed(used):  # before anything is written; the first one is then at hand
            executor.check(label)
        _begin(session, claims, leases)
        for label in used:
            session.keep_fields(label)
        records = {cell: _as_the_card_says(session, record) for cell, record in records.items()}
        reporter.plan(len(grid), len(records))
        _tell_of_lacking(session, records.values(), reporter)
        records |= _Sweep(executor, claims, reporter).all([cell for cell in grid if cell not in records])
    return [records[cell] for cell in grid]


def penalise(plan: Plan, reporter: Reporter, session: Session) -> Tuning | None:
    """Make the trials of the L2 that the first cell of a plan waits for, and no cell; None where it is given.

    Args:
        plan: of which the first cell's data set and backbone count.
        reporter: is told of the trials.
        session: of the same plan.

    Raises:
        ConfigError, StorageError, DataError: as of ``run``.
    """
    use_threads(plan.config)
    executor: Executor = choose_executor(plan.config.executor_name)(session)
    cell = next(plan.cells())
    with Leases() as leases:
        claims = Claims(session, leases)
        executor.check(cell.dataset)
        _begin(session, claims, leases)
        _Sweep(executor, claims, reporter).penalise(cell)
    return session.penalty(cell)


def _begin(session: Session, claims: Claims, leases: Leases) -> None:
    """Write settings and plug-ins into the run folder; what cells share is forgotten where all are computed again.

    Raises:
        StorageError: the folder cannot be written.
    """
    config, folder = session.plan.config, session.folder
    if config.rerun == "always":
        _forget(session, leases)
    with write_atomically(folder.config_file) as file:
        file.write(to_toml(config, f"Last command: {environment.command()}"))
    for plugin in config.plugin_files:
        with write_atomically(folder.path / PLUGINS / f"{plugin.stem_and_sum}.py", "wb") as kept:
            kept.write(plugin.text.encode())
    claims.clear()


def _forget(session: Session, leases: Leases) -> None:
    """Remove what cells share, and their inner state where no other process is at them."""
    folder = session.folder
    for name in (SELECTIONS, TRIALS, PENALTIES_TRIED, LINES, TIMINGS):
        for file in (folder.path / name).glob("*.json"):
            file.unlink(missing_ok=True)
    for kept in (folder.path / CHECKPOINTS).glob("*"):
        if leases.is_free(folder.cells / f"{kept.name.partition('.')[0]}{SUFFIX}"):
            shutil.rmtree(kept, ignore_errors=True)
    session.tunings.clear()
    session.penalties.clear()


def _as_the_card_says(session: Session, record: CellRecord) -> CellRecord:
    """A finished record under the title that its data set's card has now, and with its terms, which decided nothing."""
    facts = session.facts(record.dataset)
    terms = facts.field_terms.described(facts.names) or None
    if (record.dataset_title, record.field_terms) == (facts.title, terms):
        return record
    found = replace(record, dataset_title=facts.title, field_terms=terms)
    session.folder.write(found)
    return found


def _tell_of_lacking(session: Session, records: Iterable[CellRecord], reporter: Reporter) -> None:
    """Say that finished cells have no predictions where all are to have some; their results stand as they are."""
    kept = session.predictions
    lacking = [r for r in records if r.status == "ok" and not kept.has(r.config_hash, r.predictions)]
    if session.plan.config.keep_predictions == "always" and lacking:
        what = f"{len(lacking)} finished cells have" if len(lacking) > 1 else "a finished cell has"
        text = f"{what} no predictions here, and none are made now; --rerun always computes all cells again, with them"
        reporter.event({"event": "warning", "text": text})


class _Sweep:
    """One pass over the cells after another, until each has a record of this or of another process."""

    def __init__(self, executor: Executor, claims: Claims, reporter: Reporter) -> None:
        """Nothing is computed yet."""
        self._executor, self._claims, self._reporter = executor, claims, reporter
        self._session = executor.session
        self._shown: Cell | None = None
        self._waited_for: set[str] = set()

    def all(self, cells: Sequence[Cell]) -> dict[Cell, CellRecord]:
        """The records of ``cells``."""
        records: dict[Cell, CellRecord] = {}
        left = list(cells)
        while left:
            busy: dict[Cell, Owner] = {}
            for cell in left:
                found = self._held_up(cell, busy) or self._compute(cell)
                if isinstance(found, Owner):
                    busy[cell] = found
                else:
                    records[cell] = found
            if len(busy) == len(left):
                self._wait(busy)
            left = list(busy)
        return records

    def penalise(self, cell: Cell) -> None:
        """Make the trials of the L2 of ``cell``, or wait for those of others."""
        while (owner := self._penalise(cell)) is not None:
            self._wait({cell: owner})

    def _held_up(self, cell: Cell, busy: Mapping[Cell, Owner]) -> Owner | CellRecord | None:
        """Of what is held to another cell's bytes: who is at that one, or the record that stands as that one is now."""
        other = self._session.held_to(cell)
        if other is None:
            return None
        at_trials = replace(other, seed=SEED)
        if (owner := busy.get(other) or busy.get(at_trials)) is not None:
            return owner
        done = self._session.done(cell)
        if done is not None:
            self._reporter.found(cell, done)
        return done

    def _wait(self, busy: dict[Cell, Owner]) -> None:
        for who, count in Counter(str(owner) for owner in busy.values()).items():
            if who not in self._waited_for:
                self._waited_for.add(who)
                text = f"waiting for another process: {who}, {count} cell{'s' if count > 1 else ''}"
                self._reporter.event({"event": "waiting", "text": text})
        time.sleep(POLL_S)

    def _compute(self, cell: Cell) -> CellRecord | Owner:
        start = time.perf_counter()
        at_trials = self._penalise(cell) or self._tune(cell)
        if at_trials is not None:
            return at_trials
        resolved = self._session.cell(cell)

        def compute(emit: Emit) -> CellRecord:
            self._show(cell)
            return _failed_trials(resolved) or self._executor.submit(CellTask(cell), emit)

        folder = self._session.folder
        work = Work(
            file=folder.cell_file(resolved.hash),
            cell=resolved,
            read=lambda: folder.read(resolved.hash),
            compute=compute,
            write=lambda record: self._write(resolved, record),
        )
        found = self._claims.once(work, self._reporter.event)
        if isinstance(found, Owner):
            return found
        if found.here:
            self._reporter.finish(cell, found.result, time.perf_counter() - start)
        else:
            self._reporter.found(cell, found.result)
        return found.result

    def _show(self, cell: Cell) -> None:
        """Say that ``cell`` is begun, once for its trials and itself."""
        if self._shown != cell:
            self._shown = cell
            self._reporter.start(cell)

    def _write(self, cell: ResolvedCell, record: CellRecord) -> None:
        if not self._session.predictions.settle(cell.hash, record.predictions):
            text = (
                f"{self._session.folder.predictions}: the predictions of {cell.cell.title} are not there, and not kept"
            )
            self._reporter.event({"event": "warning", "text": text})
            record = replace(record, predictions=None)
        self._session.valid_predictions.settle(cell.hash, (record.predictions or {}).get(VALID))
        self._session.folder.write(record)
        checkpoints = self._session.checkpoints(cell)
        if checkpoints is not None and record.status in DONE:
            shutil.rmtree(checkpoints, ignore_errors=True)

    def _penalise(self, cell: Cell) -> Owner | None:
        """Try what was not yet tried of the L2 of ``cell``, if it is to be chosen; else who is at a trial."""
        session = self._session
        unit, tuning = session.penalised(cell), session.penalty(cell)
        if unit is None or tuning is None:
            return None
        return self._try(cell, unit, tuning, session.penalties, session.penalty_trials)

    def _tune(self, cell: Cell) -> Owner | None:
        """Try the learning rates that were not yet tried for ``cell``, if rates are tuned; else who is at a trial."""
        session, tuning = self._session, self._session.tuning(cell)
        if tuning is None:
            return None
        return self._try(cell, replace(cell, seed=SEED), tuning, session.tunings, session.trials)

    def _try(
        self, cell: Cell, unit: Cell, tuning: Tuning, known: dict[Cell, Tuning], store: TrialStore
    ) -> Owner | None:
        """Try the missing values of ``tuning`` with ``unit``, before ``cell``; results join ``known``."""
        other = None
        for value in tuning.missing:
            found = self._claims.once(self._trial(cell, unit, tuning.parameter, value, store), self._reporter.event)
            if isinstance(found, Owner):
                other = found
                continue
            known[unit] = known[unit].add(found.result)
            if found.here:
                self._reporter.event({"event": "trial", "text": f"{unit.title}, {found.result.text}"})
        return other

    def _trial(self, cell: Cell, unit: Cell, parameter: str, value: float, store: TrialStore) -> Work[Trial]:
        resolved = self._session.trial(unit, parameter, value)

        def compute(emit: Emit) -> Trial:
            self._show(cell)
            return self._executor.submit(TrialTask(unit, parameter, value), emit)

        return Work(
            file=store.file(resolved.hash),
            cell=resolved,
            read=lambda: store.read(resolved.hash),
            compute=compute,
            write=lambda trial: store.write(resolved.hash, trial),
        )


def _failed_trials(cell: ResolvedCell) -> CellRecord | None:
    """The record of a cell for which no learning rate works, and which need not be run; None of another."""
    if cell.tuning is None or (failure := cell.tuning.failure) is None:
        return None
    return replace(cell.record(), **failure)
