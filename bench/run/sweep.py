"""A run: the grid of cells, what is already done, trials of learning rates, one record written after another.

Several commands may work on one run folder: each takes the cells that no other is at, and waits for the last ones.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

from bench import environment
from bench.files import write_atomically
from bench.lease import SUFFIX, Leases
from bench.records import CellRecord
from bench.run.best import BEST, table_text
from bench.run.claims import Claims
from bench.run.config import to_toml
from bench.run.executors import choose_executor
from bench.run.executors.base import Executor
from bench.run.grid import Cell
from bench.run.progress import Reporter
from bench.run.ranked import Ranked, key_of, stored
from bench.run.schedule import Schedule
from bench.run.session import (
    CHECKPOINTS,
    LINES,
    PENALTIES_TRIED,
    PLUGINS,
    SELECTIONS,
    TIMINGS,
    TRIALS,
    Plan,
    Session,
    use_threads,
)
from bench.run.study import Study
from bench.run.tuning import SEED, Tuning


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
    session = Session(plan) if session is None else session
    grid = list(plan.cells())
    with _at_work(session) as (executor, leases, claims):
        records = {cell: done for cell in grid if (done := session.done(cell)) is not None}
        used = dict.fromkeys(cell.dataset for cell in grid if cell not in records)
        _check(session, executor, used)
        _begin(session, claims, leases)
        for label in used:
            session.keep_fields(label)
        records = {cell: _as_the_card_says(session, record) for cell, record in records.items()}
        reporter.plan(len(grid), len(records))
        _tell_of_lacking(session, records.values(), reporter)
        records |= Schedule(executor, claims, reporter).all([cell for cell in grid if cell not in records])
        _keep_chosen(session, grid)
    return [records[cell] for cell in grid]


def _keep_chosen(session: Session, grid: Iterable[Cell]) -> None:
    """Write settings with what the searches of all cells have chosen into the run folder.

    Raises:
        StorageError: the folder cannot be written.
    """
    units = dict.fromkeys(replace(cell, seed=SEED) for cell in grid)
    found = [(unit, tuning.outcome) for unit in units if isinstance(tuning := session.tuning(unit), Study)]
    tables = [one.table((unit.dataset, unit.backbone, unit.method, unit.tau)) for unit, one in found if one is not None]
    if tables:
        config = replace(session.plan.config, tuned=table_text(tables, BEST))
        with write_atomically(session.folder.path / BEST) as file:
            file.write(to_toml(config, "What trials have chosen: `run --config` of this file repeats it without them."))


def rank(plan: Plan, reporter: Reporter, session: Session) -> list[Ranked]:
    """The rankings of every cell of a plan; a cell is trained only where its ranking takes that.

    Args:
        plan: whose methods give fields scores.
        reporter: is told of rankings and cells.
        session: of the same plan.

    Raises:
        ConfigError, StorageError, DataError: as of ``run``.
    """
    grid = list(plan.cells())
    with _at_work(session) as (executor, leases, claims):
        found = {cell: one for cell in grid if (one := known(session, cell)) is not None}
        left = [cell for cell in grid if cell not in found]
        _check(session, executor, dict.fromkeys(cell.dataset for cell in left))
        _begin(session, claims, leases)
        schedule = Schedule(executor, claims, reporter)
        alone = [cell for cell in left if key_of(session.cell(cell)) is not None]
        found |= schedule.rank(alone)
        if trained := [cell for cell in left if cell not in found]:
            reporter.plan(len(trained), 0)
            found |= {cell: Ranked.of(record) for cell, record in schedule.all(trained).items()}
    return [found[cell] for cell in grid]


def known(session: Session, cell: Cell) -> Ranked | None:
    """The ranking of ``cell`` that the run folder has."""
    if (record := session.done(cell)) is not None:
        return Ranked.of(record)
    found = session.cell(cell)
    return stored(found, session.selections) if found.decided else None


def penalise(plan: Plan, reporter: Reporter, session: Session) -> Tuning | None:
    """Make the trials of the L2 that the first cell of a plan waits for, and no cell; None where it is given.

    Args:
        plan: of which the first cell's data set and backbone count.
        reporter: is told of the trials.
        session: of the same plan.

    Raises:
        ConfigError, StorageError, DataError: as of ``run``.
    """
    cell = next(plan.cells())
    with _at_work(session) as (executor, leases, claims):
        executor.check(cell.dataset)
        _begin(session, claims, leases)
        Schedule(executor, claims, reporter).penalise(cell)
    return session.penalty(cell)


@contextmanager
def _at_work(session: Session) -> Iterator[tuple[Executor, Leases, Claims]]:
    """What a command computes with; the claims look at the folder before any record of it is read."""
    config = session.plan.config
    use_threads(config)
    executor: Executor = choose_executor(config.executor_name)(session)
    with closing(executor), Leases() as leases:
        yield executor, leases, Claims(session, leases)


def _check(session: Session, executor: Executor, used: dict[str, None]) -> None:
    """Make sure, before anything is written, that tasks on the data sets can be computed; the first is then at hand.

    Raises:
        ConfigError, DataError: they cannot.
    """
    session.check_fields(used)
    for label in reversed(used):
        executor.check(label)


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
