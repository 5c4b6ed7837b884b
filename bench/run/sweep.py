"""A run: the grid of cells, what is already done, trials of learning rates, one record written after another."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace

from bench import environment
from bench.errors import ConfigError
from bench.files import write_atomically
from bench.records import CellRecord
from bench.run.config import to_toml
from bench.run.executors import choose_executor
from bench.run.executors.base import CellTask, Executor, TrialTask
from bench.run.grid import Cell
from bench.run.job import ResolvedCell
from bench.run.progress import Reporter
from bench.run.session import CHECKPOINTS, LINES, SELECTIONS, TRIALS, Plan, Session, use_threads
from bench.run.tuning import SEED

DONE = ("ok", "skipped")
"""Statuses that are not computed again."""


def run(plan: Plan, reporter: Reporter) -> list[CellRecord]:
    """Compute every cell that has no result yet and return the records of the whole grid.

    A failing cell becomes a record and never stops the others. Rows are read only for cells that are computed.

    Raises:
        ConfigError: the run folder cannot be written, or the executor is unknown.
        DataError: a data set cannot be opened, or a record of the folder cannot be read.
    """
    use_threads(plan.config)
    session = Session(plan)
    executor: Executor = choose_executor(plan.config.executor_name)(session)
    grid = list(plan.cells())
    records = _finished(session, grid)
    used = dict.fromkeys(cell.dataset for cell in grid if cell not in records)
    for label in reversed(used):  # before anything is written; the first one is then at hand
        executor.check(label)
    _begin(session)
    records = {cell: _retitled(session, record) for cell, record in records.items()}
    reporter.plan(len(grid), len(records))
    for cell in grid:
        if cell not in records:
            records[cell] = _compute(executor, cell, reporter)
    return [records[cell] for cell in grid]


def _finished(session: Session, grid: Sequence[Cell]) -> dict[Cell, CellRecord]:
    """The cells of ``grid`` that need not be computed."""
    records = {}
    for cell in grid:
        resolved = session.cell(cell)
        known = resolved.tuning is None or resolved.tuning.decided
        done = session.folder.read(resolved.hash) if known else None
        if done is not None and done.status in DONE and session.plan.config.rerun == "missing":
            records[cell] = done
    return records


def _begin(session: Session) -> None:
    """Write the settings into the run folder; what cells share is forgotten where all are computed again.

    Raises:
        ConfigError: the folder cannot be written.
    """
    config = session.plan.config
    if config.rerun == "always":
        for name in (SELECTIONS, CHECKPOINTS, TRIALS, LINES):
            shutil.rmtree(session.folder.path / name, ignore_errors=True)
        session.tunings.clear()
    try:
        with write_atomically(session.folder.config_file) as file:
            file.write(to_toml(config, f"Last command: {environment.command()}"))
    except OSError as error:
        raise ConfigError(f"{config.out}: cannot be written ({error.strerror}); choose another --out.") from None


def _retitled(session: Session, record: CellRecord) -> CellRecord:
    """A finished record under the title that its data set's card has now."""
    title = session.plan.cards[record.dataset].own_title
    if record.dataset_title == title:
        return record
    found = replace(record, dataset_title=title)
    session.folder.write(found)
    return found


def _compute(executor: Executor, cell: Cell, reporter: Reporter) -> CellRecord:
    session = executor.session
    reporter.start(cell)
    start = time.perf_counter()
    _tune(executor, cell, reporter)
    resolved = session.cell(cell)
    record = _failed_trials(resolved) or executor.submit(CellTask(cell), reporter.event)
    session.folder.write(record)
    checkpoints = session.checkpoints(resolved)
    if checkpoints is not None and record.status in DONE:
        shutil.rmtree(checkpoints, ignore_errors=True)
    reporter.finish(cell, record, time.perf_counter() - start)
    return record


def _tune(executor: Executor, cell: Cell, reporter: Reporter) -> None:
    """Try the learning rates that were not yet tried for ``cell``, if rates are tuned."""
    session, unit = executor.session, replace(cell, seed=SEED)
    tuning = session.tuning(cell)
    if tuning is None:
        return
    for lr in tuning.missing:
        trial = executor.submit(TrialTask(cell, lr), reporter.event)
        session.trials.write(session.trial(cell, lr).hash, trial)
        tuning = session.tunings[unit] = tuning.add(trial)
        reporter.event({"event": "trial", "text": f"{unit.title}, {trial.text}"})


def _failed_trials(cell: ResolvedCell) -> CellRecord | None:
    """The record of a cell for which no learning rate works, and which need not be run; None of another."""
    if cell.tuning is None or (failure := cell.tuning.failure) is None:
        return None
    return replace(cell.record(), **failure)
