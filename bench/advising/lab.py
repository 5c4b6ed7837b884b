"""Cells of one data set and backbone in a run folder: trained as ``run`` does, in what time there is, and read back."""

from __future__ import annotations

import itertools
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
from bench.advising.units import Units
from bench.advising.watch import START_S, Watch, work_of
from bench.budget import Budgeted, n_keep
from bench.data.schema import Schema
from bench.data.store.fields import FieldFacts, read_fields
from bench.errors import DataError, storage_error
from bench.files import read_text, write_atomically
from bench.records import CellRecord
from bench.registry import Span
from bench.run import sweep
from bench.run.config import RunConfig
from bench.run.grid import Cell
from bench.run.progress import Reporter
from bench.run.ranked import Ranked, key_of
from bench.run.session import VALID, Plan, Session, resolve
from bench.run.tuning import Tuning
from bench.stats.checks import NotTestable
from bench.stats.difference import Interval, auc_difference

__all__ = ["FOLDER", "Lab", "Trained"]

FOLDER = "advice"
"""Folder of the answer, within the run folder."""
RANKINGS = "rankings"
"""Folder within it of the sets that were trained, as rankings."""
MARGIN = 1.1
"""Times what like cells took that one more is reckoned with."""


@dataclass(frozen=True)
class Trained:
    """The cells of one set of fields, seed by seed."""

    fields: tuple[int, ...]
    """Increasing."""
    records: tuple[CellRecord, ...]

    def mean(self, key: str) -> float:
        """Mean over the seeds of a number of the records."""
        return fmean(float(getattr(record, key) or 0.0) for record in self.records)


@dataclass(frozen=True)
class OpenL2:
    """An L2 that is to be chosen."""

    own: float
    """The profile's."""
    ladder: tuple[float, ...]
    """All that could be tried, increasing."""
    key: str
    """Identity of a trial of the profile's own: data, rows, backbone and settings."""


class Lab:
    """Trains sets of fields, and compares them with all fields."""

    def __init__(self, base: RunConfig, by: Budgeted, limit_s: float, reporter: Reporter) -> None:
        """Resolve the names; nothing is computed.

        Args:
            base: settings of all cells, with the rankers as methods.
            by: what is to be small of what is kept.
            limit_s: seconds from now on after which no further set is begun.
            reporter: is told what happens.

        Raises:
            ConfigError, DataError: as of ``bench.run.session.resolve``.
        """
        self._base, self._end = base, time.monotonic() + limit_s
        self._session = Session(resolve(base))
        self._watch = Watch(reporter, work_of(self._session.cell(next(self._session.plan.cells()))))
        self._scores: dict[tuple[str, str], np.ndarray] = {}
        self.dataset = next(iter(self._session.plan.cards))
        self.baseline = baseline_name()
        facts = self._session.facts(self.dataset)
        self.terms, self.units = facts.field_terms, Units.of(by, facts.field_terms, facts.schema.cardinalities)
        self._used: set[Path] = set()

    @property
    def folder(self) -> Path:
        return self._base.out

    @property
    def rankers(self) -> tuple[str, ...]:
        return self._base.methods

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

    def keep_facts(self) -> None:
        """Measure the fields, if the run folder has nothing of them.

        Raises:
            DataError: a file of the store is missing or was changed.
            StorageError: the run folder cannot be written.
        """
        if not self.facts():
            self._session.verify(self.dataset)
            self._session.keep_fields(self.dataset)

    def facts(self) -> dict[str, FieldFacts]:
        """What the run folder knows of the fields, by name: twins and leaks among it."""
        facts = self._session.facts(self.dataset)
        found = (one for one in read_fields(self._base.out) if one.revision == facts.revision)
        known = next((one for one in found if one.split_rows == facts.split_rows), None)
        return {} if known is None else known.by_name

    def twins(self) -> dict[int, tuple[int, ...]]:
        """By field, those that are one-to-one with it."""
        places = {name: place for place, name in enumerate(self.schema.names)}
        return {places[name]: tuple(places[twin] for twin in one.twins) for name, one in self.facts().items()}

    def cost(self, fields: Sequence[int]) -> float | None:
        """What fields cost together; None where the card names no costs."""
        costs = self.terms.costs
        return sum(costs.get(field, 1.0) for field in fields) if costs else None

    def open_l2(self) -> OpenL2 | None:
        """The L2 that is to be chosen; None where it is given."""
        session = self.session((self.baseline,), 1)
        cell = next(session.plan.cells())
        if session.penalised(cell) is None:
            return None
        own = session.profile(self.dataset).l2
        tuning = session.penalty(cell)
        return OpenL2(own, () if tuning is None else tuning.grid, session.trial(cell, {"l2": own}).hash)

    def try_l2(self, values: Sequence[float]) -> Tuning | None:
        """The trials of some values of L2, of which those that lie in the run folder are not made again."""
        plan = resolve(replace(self._base, methods=(self.baseline,), l2_grid=tuple(values)))
        return sweep.penalise(plan, self._watch, self._over(plan))

    def settle_l2(self, values: Sequence[float]) -> None:
        """Choose the L2 of all cells from these values, or take the only one."""
        if len(values) > 1:
            self._base = replace(self._base, l2_grid=tuple(values))
        else:
            self._base = _at(self._base, values[0])

    def say(self, text: str) -> None:
        """Tell the user which step begins."""
        self._watch.event({"event": "step", "text": text})

    def warn(self, text: str) -> None:
        """Tell the user what may be wrong."""
        self._watch.event({"event": "warning", "text": text})

    def session(self, methods: Sequence[str], seeds: int, l2: float | None = None) -> Session:
        """A session of the baseline's or the rankers' own cells; at ``l2``, if given."""
        base = self._base if l2 is None else _at(self._base, l2)
        return self._over(resolve(replace(base, methods=tuple(methods), seeds=seeds, prune_ratio=self._taus())))

    def whole(self) -> Trained:
        """All fields."""
        plan, fields = resolve(replace(self._base, methods=(self.baseline,))), tuple(range(self.schema.n_fields))
        found = sweep.run(plan, self._watch, self._over(plan))
        self._watch.expect(len(fields), max((record.tt_s or 0.0) + START_S for record in found))
        return Trained(fields, _sound(found))

    def rankings(self, share: float) -> tuple[list[Ranked], list[str]]:
        """What the rankers say, failed ones included, and what there was no time for.

        The first ranker always ranks, the others with one seed as long as there is time, all with a further seed where
        that fits into a share of it.

        Args:
            share: of the time that is left.
        """
        began, room, found = time.monotonic(), share * self.left_s, list[Ranked]()
        for place, ranker in enumerate(self.rankers):
            if found and self.left_s <= 0:
                return found, [f"rankings by {', '.join(self.rankers[place:])}"]
            found += self._ranked((ranker,), 1)
        for seeds in range(2, self._base.seeds + 1):
            spent = time.monotonic() - began
            if spent + MARGIN * spent / (seeds - 1) > room:
                more = f"seeds {seeds} to {self._base.seeds}" if seeds < self._base.seeds else f"seed {seeds}"
                return found, [f"rankings with {more}"]
            found = self._ranked(self.rankers, seeds)
        return found, []

    def unranked(self, l2: float | None = None) -> list[Span]:
        """What the rankings that are not known yet take with one seed, in trainings of the model with all fields."""
        session = self.session(self.rankers, 1, l2)
        found = []
        for cell in session.plan.cells():
            if sweep.known(session, cell) is None:
                choice = session.plan.methods[cell.method]
                low, high = choice.search_cost(self.schema.n_fields)
                least, most = (0.0, 0.0) if key_of(session.cell(cell)) else choice.entry.retrain_cost
                found.append((low + least, high + most))
        return found

    def _ranked(self, rankers: Sequence[str], seeds: int) -> list[Ranked]:
        session = self.session(rankers, seeds)
        return sweep.rank(session.plan, self._watch, session)

    def _taus(self) -> tuple[float, ...]:
        """The rankers' prune ratios, less where the card locks so many fields that they would not fit."""
        n_fields, locked = self.schema.n_fields, len(self.terms.locked)
        fit = [tau if n_keep(tau, n_fields) >= locked else tau_for(locked, n_fields) for tau in self._base.prune_ratio]
        return tuple(dict.fromkeys(fit))

    def keep(self, name: str, order: Sequence[int], k: int) -> Trained | None:
        """The first ``k`` units of an order; None where there is no time for them.

        Args:
            name: of the file that will hold the order, nearly fit for one.
            order: all units, best first.
            k: how many are kept, all locked ones among them.

        Raises:
            DataError: a cell failed.
        """
        names, kept = self.schema.names, self.units.of_fields(order[:k])
        file = self._file(name, "".join(f"{_cell(names[field])}\n" for field in self.units.of_fields(order)))
        plan = resolve(
            replace(
                self._base,
                methods=(f"{ranking_name()}[path={file}]",),
                prune_ratio=(tau_for(len(kept), len(names)),),
            )
        )
        session = self._over(plan)
        pending = sum(session.done(cell) is None for cell in plan.cells())
        if pending * self._watch.cell_s(len(kept)) * MARGIN > self.left_s:
            return None
        self._used.add(file)
        return Trained(tuple(sorted(kept)), _sound(sweep.run(plan, self._watch, session)))

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

    def _file(self, name: str, text: str) -> Path:
        """The file of that content: there already, or new under its name, with a number where another has the name."""
        slug = re.sub(r"[^A-Za-z0-9_.-]+", "_", name)
        there = {file: read_text(file) for file in sorted(self._rankings.glob("*.csv")) if file.stem.startswith(slug)}
        file = next((file for file, content in there.items() if content == text), None)
        if file is None:
            numbered = (f"{slug}{f'-{number}' if number > 1 else ''}.csv" for number in itertools.count(1))
            file = next(self._rankings / name for name in numbered if self._rankings / name not in there)
            with write_atomically(file) as out:
                out.write(text)
        return file

    @property
    def _rankings(self) -> Path:
        return self._base.out / FOLDER / RANKINGS

    def tidy(self) -> None:
        """Remove rankings of which this command has trained no set: there was no time, or earlier ones left them.

        Raises:
            StorageError: the folder cannot be written.
        """
        for file in self._rankings.glob("*.csv"):
            if file not in self._used:
                try:
                    file.unlink(missing_ok=True)
                except OSError as error:
                    raise storage_error(error, file) from error


def _at(base: RunConfig, l2: float) -> RunConfig:
    return replace(base, set=(*base.set, f"l2={l2!r}"))


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
