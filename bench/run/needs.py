"""What a cell of a plan asks of a shared-out machine: memory by arithmetic, time from the forecast."""

from __future__ import annotations

from bench.run.estimate import pace, sizes
from bench.run.forecast import NOISE, PROCESS_S, epochs_of
from bench.run.session import Session

__all__ = ["memory_bytes", "time_s"]

PROCESS_BYTES = 700 * 2**20
"""What a process holds before it reads a row: libraries above all."""
MARGIN = 1.5
"""Over what must fit at least: a machine that is asked for too little ends the cell."""
LEAST_S = 600.0
"""Seconds that are asked for whatever the forecast says."""


def memory_bytes(session: Session) -> dict[tuple[str, str], int]:
    """Bytes that a cell needs in main memory, with all its workers, by data set and backbone; nothing is loaded."""
    found, workers = {}, session.plan.config.workers_per_cell
    for size in sizes(session):
        beside = size.beside[1] if size.beside is not None else 0
        rows = size.data_bytes + (size.model_bytes or 0) + (size.pass_bytes or 0) + beside
        found[size.cell.dataset, size.cell.backbone] = workers * (PROCESS_BYTES + round(MARGIN * rows))
    return found


def time_s(session: Session) -> float:
    """Seconds after which a cell of any kind should have ended: of the dearest method, with as much again.

    Takes a few training steps for each data set and backbone, unless the settings have a limit of their own.
    """
    limit = session.plan.config.timeout_s
    if limit is not None:
        return limit + PROCESS_S[1]
    longest = 0.0
    for size in sizes(session):
        found, profile = pace(session, size), session.profile(size.cell.dataset)
        if found.epoch_s is None:
            continue
        records = session.folder.records() if session.folder.cells.is_dir() else []
        same = [one for one in records if (one.dataset, one.backbone) == (size.cell.dataset, size.cell.backbone)]
        epochs, _ = epochs_of(same, profile)
        training_s = epochs[1] * (found.epoch_s + (found.valid_s or 0.0) / profile.evaluate_every)
        dearest = max(
            choice.search_cost(size.fields)[1] + choice.entry.retrain_cost[1]
            for choice in session.plan.methods.values()
        )
        longest = max(longest, training_s * dearest * NOISE[1])
    return max(2 * longest + PROCESS_S[1], LEAST_S)
