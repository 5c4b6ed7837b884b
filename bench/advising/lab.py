"""Cells of one data set and backbone in a run folder: trained as ``run`` does, in what time there is, and read back."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from bench.advising.config import baseline_name, ranking_name
from bench.advising.search import tau_for
from bench.data.schema import Schema
from bench.data.store.fields import read_fields
from bench.errors import DataError
from bench.files import read_text, write_atomically
from bench.records import CellRecord
from bench.run import sweep
from bench.run.config import RunConfig
from bench.run.grid import Cell
from bench.run.progress import Reporter
from bench.run.session import VALID, Plan, Session, resolve
from bench.stats.checks import NotTestable
from bench.stats.difference import Interval, auc_difference

__all__ = ["FOLDER", "Lab", "Trained"]

FOLDER = "advice"
"""Folder of rankings and answer, within the run folder."""
MARGIN = 1.1
"""Times the mean of cells so far that one more is reckoned with."""
_START_S = 1.0
"""Seconds of a cell beside its training, where none was computed by this command."""


@dataclass(frozen=True)
class Trained:
    """The cells of one set of fields, seed by seed."""

    fields: tuple[int, ...]
    """Increasing."""
    records: tuple[CellRecord, ...]

    def mean(self, key: str) -> float:
        """Mean over the seeds of a number of the records."""
        return fmean(float(getattr(record, key) or 0.0) for record in self.records)


class Lab:
    """Trains sets of fields, and compares them with all fields."""

    def __init__(self, base: RunConfig, limit_s: float, reporter: Reporter) -> None:
        """Resolve the names; nothing is computed.

        Args:
            base: settings of all cells, with the rankers as methods.
            limit_s: seconds from now on after which no further set is begun.
            reporter: is told what happens.

        Raises:
            ConfigError, DataError: as of ``bench.run.session.resolve``.
        """
        self._base, self._end = base, time.monotonic() + limit_s
        self._watch = _Watch(reporter)
        self._session = Session(resolve(base))
        self._scores: dict[tuple[str, str], np.ndarray] = {}
        self.dataset = next(iter(self._session.plan.cards))
        self.baseline = baseline_name()

    @property
    def schema(self) -> Schema:
        return self._session.facts(self.dataset).schema

    @property
    def left_s(self) -> float:
        """Seconds that are left."""
        return max(0.0, self._end - time.monotonic())

    @property
    def rows(self) -> dict[str, int]:
        """Rows by split."""
        return self._session.facts(self.dataset).split_rows

    def twins(self) -> dict[str, tuple[str, ...]]:
        """Of each field, those that are one-to-one with it, as far as the run folder's facts say."""
        facts = self._session.facts(self.dataset)
        found = (one for one in read_fields(self._base.out) if one.revision == facts.revision)
        known = next((one for one in found if one.split_rows == facts.split_rows), None)
        return {} if known is None else {name: field.twins for name, field in known.by_name.items()}

    def say(self, text: str) -> None:
        """Tell the user which step begins."""
        self._watch.event({"event": "step", "text": text})

    def required(self) -> Session:
        """A session of the cells without which there is no advice: all fields, and the rankers."""
        return self._over(resolve(replace(self._base, methods=(self.baseline, *self._base.methods))))

    def whole(self) -> Trained:
        """All fields."""
        return Trained(tuple(range(self.schema.n_fields)), _sound(self._run((self.baseline,), self._base.prune_ratio)))

    def rankings(self) -> list[CellRecord]:
        """The rankers' own cells, failed ones included."""
        return self._run(self._base.methods, self._base.prune_ratio)

    def keep(self, name: str, order: Sequence[int], k: int) -> Trained | None:
        """The first ``k`` fields of an order; None where there is no time for them.

        Args:
            name: of the file that will hold the order, nearly fit for one.
            order: all fields, best first.
            k: how many are kept.

        Raises:
            DataError: a cell failed.
        """
        names = self.schema.names
        file = self._file(name, "".join(f"{_cell(names[field])}\n" for field in order))
        plan = resolve(
            replace(
                self._base,
                methods=(f"{ranking_name()}[path={file}]",),
                prune_ratio=(tau_for(k, len(names)),),
            )
        )
        session = self._over(plan)
        pending = sum(session.done(cell) is None for cell in plan.cells())
        if pending * self._watch.cell_s * MARGIN > self.left_s:
            return None
        return Trained(tuple(sorted(order[:k])), _sound(sweep.run(plan, self._watch, session)))

    def interval(self, ours: Trained, other: Trained, split: str = "test") -> Interval:
        """How far ``ours`` is above ``other`` in AUC, on the test rows or those of validation.

        Raises:
            DataError: predictions cannot be read, or the split has fewer than two rows of a class.
        """
        scores = [[self._logits(record, split) for record in one.records] for one in (ours, other)]
        return self._compared(scores[0], scores[1], ours.records[0], split)

    def above_chance(self, ours: Trained, split: str = "test") -> Interval:
        """How far the AUC of ``ours`` is above 0.5; arguments and errors as of ``interval``."""
        scores = [self._logits(record, split) for record in ours.records]
        return self._compared(scores, [np.zeros_like(one) for one in scores], ours.records[0], split)

    def _compared(
        self, ours: Sequence[np.ndarray], other: Sequence[np.ndarray], record: CellRecord, split: str
    ) -> Interval:
        try:
            return auc_difference(ours, other, self._labels(record, split))
        except NotTestable as error:
            raise DataError(f"{self.dataset}, {split} rows: {error}. Give more rows, or leave out --rows.") from None

    def _store(self, record: CellRecord, split: str) -> tuple[Any, dict[str, Any]]:
        entry = record.predictions or {}
        if split == VALID:
            return self._session.valid_predictions, entry[VALID]
        return self._session.predictions, entry

    def _logits(self, record: CellRecord, split: str) -> np.ndarray:
        key = (record.config_hash, split)
        if key not in self._scores:
            store, entry = self._store(record, split)
            found = store.logits(record.config_hash, entry)
            if not record.is_baseline:  # the only ones that are read again and again
                return np.asarray(found)
            self._scores[key] = found
        return self._scores[key]

    def _labels(self, record: CellRecord, split: str) -> np.ndarray:
        store, entry = self._store(record, split)
        return np.asarray(store.labels(entry))

    def _over(self, plan: Plan) -> Session:
        """A session of another plan of the same data, with what those before it have read."""
        self._session = replace(self._session, plan=plan)
        return self._session

    def _run(self, methods: Sequence[str], taus: Sequence[float]) -> list[CellRecord]:
        plan = resolve(replace(self._base, methods=tuple(methods), prune_ratio=tuple(taus)))
        found = sweep.run(plan, self._watch, self._over(plan))
        if not self._watch.cell_s:
            self._watch.cell_s = max((record.tt_s or 0.0) + _START_S for record in found)
        return found

    def _file(self, name: str, text: str) -> Path:
        """A file of that content: under its name, or under one with a number where another content has the name."""
        slug, number = re.sub(r"[^A-Za-z0-9_.-]+", "_", name), 1
        while True:
            file = self._base.out / FOLDER / f"{slug}{f'-{number}' if number > 1 else ''}.csv"
            there = read_text(file)
            if there == text:
                return file
            if there is None:
                with write_atomically(file) as out:
                    out.write(text)
                return file
            number += 1


def _cell(name: str) -> str:
    """A field's name as a CSV file takes it."""
    quote = '"'
    return f'"{name.replace(quote, quote * 2)}"' if re.search(r'[",\r\n]|^\s|\s$', name) else name


def _sound(records: Sequence[CellRecord]) -> tuple[CellRecord, ...]:
    """The records, seed by seed.

    Raises:
        DataError: one has no result.
    """
    for record in records:
        if record.status != "ok":
            title = Cell(record.dataset, record.backbone, record.label, record.tau, record.seed).title
            raise DataError(
                f"{title}: {record.status}: {record.reason} (cells/{record.config_hash[:16]}.json). "
                "There is no advice without it: mend that, and repeat the command."
            )
    return tuple(sorted(records, key=lambda record: record.seed))


class _Watch:
    """Passes on what happens, and notes what cells take."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._seconds: list[float] = []
        self.cell_s = 0.0
        """Mean seconds of the trainings that this command has computed; 0 before the first."""

    def plan(self, total: int, done: int) -> None:
        self._reporter.plan(total, done)

    def start(self, cell: Cell) -> None:
        self._reporter.start(cell)

    def event(self, event: dict[str, Any]) -> None:
        self._reporter.event(event)

    def finish(self, cell: Cell, record: CellRecord, seconds: float) -> None:
        self._seconds.append(max(seconds - (record.pt_s or 0.0), 0.0))
        self.cell_s = fmean(self._seconds)
        self._reporter.finish(cell, record, seconds)

    def found(self, cell: Cell, record: CellRecord) -> None:
        self._reporter.found(cell, record)
