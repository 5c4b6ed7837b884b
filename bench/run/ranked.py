"""The ranking of a cell alone: what it would select by, without its training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from bench.engine.clock import Clock
from bench.errors import DataError
from bench.records import CellRecord, Status, plain
from bench.run.cell import run_selection
from bench.run.choice import NoRankingError, choose
from bench.run.job import Job, ResolvedCell
from bench.run.selections import SelectionStore, ranking_key

__all__ = ["Ranked", "key_of", "run_ranking", "stored"]


@dataclass(frozen=True)
class Ranked:
    """What came of the selection of a cell."""

    label: str
    """Of the method."""
    status: Status
    scores: list[float | None] | None = None
    """By field [F], higher is kept first; None where there is none, and ``reason`` says why."""
    reason: str | None = None
    traceback: str | None = None

    @classmethod
    def of(cls, record: CellRecord) -> Self:
        """That of a finished cell."""
        return cls(record.label, record.status, record.field_scores, record.reason, record.traceback)

    @classmethod
    def from_dict(cls, values: dict[str, Any], *, source: str) -> Self:
        """Build a ranking from JSON values.

        Raises:
            DataError: they are none of a ranking; the message names ``source``.
        """
        try:
            return cls(**values)
        except TypeError as error:
            raise DataError(f"{source} has no readable ranking ({error}). Run it again.") from error

    def to_dict(self) -> dict[str, Any]:
        """JSON values of all fields."""
        return asdict(self)

    @property
    def text(self) -> str:
        """One line on what came of it, but for its scores."""
        return "ranked" if self.status == "ok" else f"{self.status}: {self.reason}"


def key_of(cell: ResolvedCell) -> str | None:
    """Under which the ranking of ``cell`` is kept for others; None where it needs the cell's own training."""
    return ranking_key(cell.method, cell.identity)


def stored(cell: ResolvedCell, store: SelectionStore) -> Ranked | None:
    """The ranking of ``cell`` that is kept for others; None where there is none, or scores that are none of a ranking.

    Raises:
        StorageError: the file is not readable.
    """
    key = key_of(cell)
    found = None if key is None else store.read(key)
    if found is None:
        return None
    selection, ctx = found[0], cell.context(Clock(cell.device))
    scores = np.asarray(selection.scores)
    if scores.shape != (ctx.schema.n_fields,):
        return None
    try:
        choose(selection, ctx, cell.field_budget, cell.data.field_terms)
    except NoRankingError as nothing:
        return Ranked(cell.cell.method, "skipped", reason=str(nothing))
    except ValueError:  # the cell itself will say what is wrong with them
        return None
    return Ranked(cell.cell.method, "ok", plain(scores))


def run_ranking(job: Job) -> Ranked:
    """Select as the cell would; the ranking is kept in the job's store of shared ones.

    Raises:
        StorageError: a file of the run folder cannot be written, read or trusted.
    """
    found = run_selection(job)
    rest = (found.get(name) for name in ("reason", "traceback"))
    return Ranked(job.cell.method, found["status"], plain(found.get("scores")), *rest)
