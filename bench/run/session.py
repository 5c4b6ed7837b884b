"""What a run is made of, resolved: its plan, and the session that a process computes cells of it in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from bench import plugins
from bench.data.card.card import DatasetCard
from bench.data.store.fields import keep_fields
from bench.data.store.store import StoreFacts, read_facts, store_folder, verify_store
from bench.datasets import resolve_dataset, with_split
from bench.engine.device import choose_device
from bench.engine.fast.memory import total_memory
from bench.predictions import AUTO_ROWS, Predictions
from bench.profiles import OwnProfile, Profile, resolve_profile
from bench.records import CellRecord, RunFolder
from bench.rows.load import LoadedData, load, place
from bench.rows.residency import table_bytes
from bench.run.best import outcomes
from bench.run.config import RunConfig
from bench.run.context import Emit
from bench.run.grid import Cell, MethodChoice, cells, choose_backbone, choose_method, expand
from bench.run.job import Job, ResolvedCell, resolve_backbone
from bench.run.line import LineStore
from bench.run.match import Match
from bench.run.memory import Residence, residence
from bench.run.refusals import refuse_aliases, refuse_namesakes, refuse_strangers, refuse_unsaid, refuse_unsearchable
from bench.run.selections import SelectionStore
from bench.run.settings import Values
from bench.run.study import Study, study_of
from bench.run.tuning import PENALTIES, SEED, Asked, Trials, TrialStore, Tuning

DONE = ("ok", "skipped")
"""Statuses that are not computed again."""
SELECTIONS = "selections"
"""Folder of the rankings that cells share, within the run folder."""
CHECKPOINTS = "checkpoints"
"""Folder of the inner state of cells, within the run folder."""
LINES = "lines"
"""Folder of the reference lines, within the run folder."""
TRIALS = "trials"
"""Folder of what was tried to choose learning rates, within the run folder."""
PENALTIES_TRIED = "penalties"
"""Folder of what was tried to choose the L2 of a table of one's own, within the run folder."""

VALID = "valid"
"""Folder of predictions of validation rows, within that of predictions; their key in the records' ``predictions``."""
PLUGINS = "plugins"
"""Folder of the plug-ins' files that cells were computed with, within the run folder."""
TIMINGS = "timings"
"""Folder of the repeats of timing passes, within the run folder."""


@dataclass(frozen=True)
class Plan:
    """A run's settings with every name resolved, checked before anything is computed."""

    config: RunConfig
    cards: dict[str, DatasetCard]
    """By the data set's label."""
    methods: dict[str, MethodChoice]
    """By label."""
    backbones: list[str]
    device: torch.device
    baseline: MethodChoice
    """What keeps every field, and chooses the L2 that all methods train with."""

    def cells(self) -> Iterator[Cell]:
        config = self.config
        taus = list(dict.fromkeys(config.prune_ratio))
        return cells(list(self.cards), self.backbones, list(self.methods.values()), taus, config.seeds)


def resolve(config: RunConfig) -> Plan:
    """Resolve every name of a run.

    Raises:
        ConfigError: an unknown name or parameter, a value out of range, a plug-in whose file cannot be used, a device
            that is not there.
        DataError: a data set that is not prepared, damaged, or of another revision.
    """
    plugins.add_files(config.plugin_files)
    config, known = in_full(config), plugins.methods()
    methods = [replace(choose_method(text), budget_by=config.budget_by) for text in config.methods]
    backbones = [choose_backbone(text).label for text in config.backbones]
    cards = [resolve_dataset(with_split(text, config.split)) for text in config.datasets]
    refuse_aliases(methods)
    refuse_strangers(methods)
    refuse_namesakes(cards)
    refuse_unsaid(cards, config.budget_by)
    refuse_unsearchable(config, methods)
    device = choose_device(config.device)
    plan = Plan(
        config,
        {card.spec: card for card in cards},
        {method.label: method for method in methods},
        list(dict.fromkeys(backbones)),
        device,
        choose_method(next(name for name in known.names() if known.entry(name).family == "baseline")),
    )
    for text in plan.backbones:  # bad parameters must not wait for the first cell
        resolve_backbone(text, resolve_profile(config.training, 0, {}, config.profile_changes))
    return plan


def in_full(config: RunConfig) -> RunConfig:
    """The settings with groups of names as the names they stand for now, which a later installation may change."""
    methods, backbones = (
        tuple(expand(texts, known))
        for texts, known in ((config.methods, plugins.methods()), (config.backbones, plugins.backbones()))
    )
    return replace(config, methods=methods, backbones=backbones)


def use_threads(config: RunConfig) -> None:
    """Set the number of CPU threads of this process where the settings name one."""
    if config.threads is not None:
        torch.set_num_threads(config.threads)


@dataclass
class Session:
    """What a process needs to know and to run the cells of a plan: data, run folder, warmed-up backbones, trials."""

    plan: Plan
    own_process: bool = False
    """Whether the process computes one cell alone, so that its peak memory is the cell's."""
    blind: bool = False
    """Whether it only selects, so that test rows need not be kept."""
    warmed: set[str] = field(default_factory=set)
    tunings: dict[Cell, Trials] = field(default_factory=dict)
    """Trials known so far, by the cell of their seed."""
    penalties: dict[Cell, Tuning] = field(default_factory=dict)
    """Those of L2, by the cell of the baseline."""
    _facts: dict[str, StoreFacts] = field(default_factory=dict)
    _residences: dict[str, Residence] = field(default_factory=dict)
    _data: tuple[str, LoadedData] | None = None

    @property
    def folder(self) -> RunFolder:
        return RunFolder(self.plan.config.out)

    def facts(self, label: str) -> StoreFacts:
        """What is known of the data set ``label`` without its rows."""
        if label not in self._facts:
            card, config = self.plan.cards[label], self.plan.config
            self._facts[label] = read_facts(store_folder(config.data_dir, card), card, config.rows)
        return self._facts[label]

    def residence(self, label: str) -> Residence:
        """Where the rows of the data set ``label`` are while its cells run.

        Raises:
            ConfigError: the memory that the settings allow is too small for it.
        """
        if label not in self._residences:
            on_cpu = self.plan.device.type == "cpu"
            self._residences[label] = residence(
                self.facts(label), self.profile(label).dim, self.plan.config.memory, total_memory(), on_cpu
            )
        return self._residences[label]

    def data(self, label: str) -> LoadedData:
        """The data set ``label`` with its rows; only the last one used is kept in memory."""
        if self._data is None or self._data[0] != label:
            self._data = None
            card, config = self.plan.cards[label], self.plan.config
            rest = self.residence(label)
            found = load(store_folder(config.data_dir, card), card, config.rows, rest.blocks, rest.room)
            found = replace(found, warning=rest.warning)
            found = found.without_test() if self.blind else found
            beside = table_bytes(found.schema, self.profile(label).dim)
            self._data = label, place(found, self.plan.device, beside)
        return self._data[1]

    def verify(self, label: str) -> None:
        """Compare the files of the data set ``label`` with their checksums; no rows are kept.

        Raises:
            DataError: one is missing or was changed.
        """
        card = self.plan.cards[label]
        verify_store(store_folder(self.plan.config.data_dir, card), card)

    def keep_fields(self, label: str) -> None:
        """Write the facts of the fields of the data set ``label``, which is verified, into the run folder.

        Raises:
            DataError: a file of its store is missing or cut short.
            StorageError: the run folder cannot be written.
        """
        card, config = self.plan.cards[label], self.plan.config
        keep_fields(self.folder.path, store_folder(config.data_dir, card), card, self.facts(label), config.rows)

    def profile(self, label: str) -> Profile:
        """The training profile of the data set ``label``."""
        config = self.plan.config
        values = self.plan.cards[label].profile_values
        return resolve_profile(config.training, self.facts(label).split_rows["train"], values, config.profile_changes)

    def check_fields(self, labels: Iterable[str]) -> None:
        """Ask the methods whether their parameters fit the fields of the data sets ``labels``.

        Raises:
            ConfigError: those of one do not.
        """
        for label in labels:
            for choice in self.plan.methods.values():
                try:
                    method = choice.make()
                except Exception:  # a plug-in may fail in any way: its cells will say why
                    continue
                for one in (method, *method.inner.values()):
                    one.check_fields(self.facts(label).schema)

    def tuning(self, cell: Cell) -> Trials | None:
        """The trials that the learning rate of ``cell``, or more, is chosen by; None where nothing is tuned.

        Where all were made and none worked, stored trials do not count: the cause may have been mended since.
        """
        if self.plan.config.tune == "none":
            return None
        unit = replace(cell, seed=SEED)
        if self.plan.config.tune == "optuna":
            return self._study(unit)
        if unit not in self.tunings:
            profile = self.profile(cell.dataset)
            none = Tuning(profile.lr_grid, profile.lr)
            self.tunings[unit] = self._stored(self.trials, unit, none)
        return self.tunings[unit]

    def _study(self, unit: Cell) -> Study:
        """The search of ``unit``, as far as it is done, around the L2 that is chosen for it by now."""
        given = outcomes(self.plan.config.tuned).get((unit.dataset, unit.backbone, unit.method, unit.tau))
        cell, known = self._resolved(unit), self.tunings.get(unit)
        none = study_of(cell, self.plan.config.trials, given)
        if isinstance(known, Study) and known.space == none.space:
            return known
        self.tunings[unit] = found = none.resumed(lambda one: self.trials.read(one.key(cell.identity)))
        return found

    def trial_key(self, unit: Cell, trials: Trials, asked: Asked) -> str:
        """Under which the trial is kept that ``trials`` have asked for: what it tries, or in a search its number."""
        if isinstance(trials, Study):
            return trials.key(self._resolved(unit).identity)
        return self.trial(unit, asked.values).hash

    def penalised(self, cell: Cell) -> Cell | None:
        """The cell that chooses the L2 of ``cell``, the baseline's with its data set and backbone.

        None where the L2 is given: by the card of a registered data set, or by name in card, profile or settings.
        """
        card, config = self.plan.cards[cell.dataset], self.plan.config
        own = config.training.values if isinstance(config.training, OwnProfile) else {}
        by_card = self.profile(cell.dataset).name in card.profile_values.get("l2", {})
        if not card.typed or by_card or "l2" in own or "l2" in config.profile_changes:
            return None
        return Cell(cell.dataset, cell.backbone, self.plan.baseline.label, None, SEED)

    def penalty(self, cell: Cell) -> Tuning | None:
        """The trials that the L2 of ``cell`` is chosen by, as far as they are done; None where it is given."""
        unit = self.penalised(cell)
        if unit is None:
            return None
        own, asked = self.profile(cell.dataset).l2, self.plan.config.l2_grid
        grid = tuple(sorted(set(asked or (own, *PENALTIES))))
        if unit not in self.penalties or self.penalties[unit].grid != grid:
            none = Tuning(grid, own, parameter="l2")
            self.penalties[unit] = self._stored(self.penalty_trials, unit, none)
        return self.penalties[unit]

    def _stored(self, store: TrialStore, unit: Cell, none: Tuning) -> Tuning:
        stored = (store.read(self.trial(unit, values).hash) for values in (asked.values for asked in none.asked()))
        found = replace(none, trials=tuple(trial for trial in stored if trial is not None))
        return found if found.missing or found.decided else none

    @property
    def trials(self) -> TrialStore:
        return TrialStore(self.folder.path / TRIALS)

    @property
    def penalty_trials(self) -> TrialStore:
        return TrialStore(self.folder.path / PENALTIES_TRIED)

    @property
    def selections(self) -> SelectionStore:
        return SelectionStore(self.folder.path / SELECTIONS)

    def cell(self, cell: Cell) -> ResolvedCell:
        """``cell`` with the L2 and at the learning rate that are chosen for it, as far as trials are done."""
        found, tuning = self._resolved(cell), self.tuning(cell)
        if tuning is None:
            return found
        return replace(found.assigned(tuning.values), tuning=tuning)

    def done(self, cell: Cell) -> CellRecord | None:
        """The record of ``cell`` where it need not be computed.

        Raises:
            DataError: there is a file in its place that is no readable record.
        """
        found = self.cell(cell)
        if self.plan.config.rerun == "always" or not found.decided:
            return None
        record, other = self.folder.read(found.hash), self.held_to(cell)
        if record is None or record.status not in DONE or self._lacks(record):
            return None
        if other is None or found.match is None:
            return record
        return record if self.done(other) is not None and found.match.set(record) else None

    def _lacks(self, record: CellRecord) -> bool:
        """Whether validation predictions are asked for, and a finished cell has none, or none of test rows."""
        if not self.plan.config.valid_predictions or record.status != "ok":
            return False
        entry = record.predictions or {}
        both = self.predictions.has(record.config_hash, record.predictions)
        return not (both and self.valid_predictions.has(record.config_hash, entry.get(VALID)))

    def trial(self, cell: Cell, values: Values) -> ResolvedCell:
        """What tries ``values`` for ``cell`` and its other seeds; L2 alone is tried before all else is resolved."""
        unit = replace(cell, seed=SEED)
        first = values.keys() == {"l2"}
        found = self._with_profile(unit, self.profile(cell.dataset)) if first else self._resolved(unit)
        return found.assigned(values)

    def held_to(self, cell: Cell) -> Cell | None:
        """The cell whose bytes ``cell`` is held to."""
        return cell.held_to(self.plan.methods.get(cell.method, self.plan.baseline))

    def _match(self, cell: Cell) -> Match | None:
        """What ``cell`` is held to, as far as the other cell has a record."""
        if (other := self.held_to(cell)) is None:
            return None
        found = self.cell(other)
        record, linear = self.folder.read(found.hash), found.backbone.cls.uses_linear
        return Match.with_cell(other.method, found.hash, record, found.decided, linear)

    def _resolved(self, cell: Cell) -> ResolvedCell:
        """``cell`` with what it is held to, and the L2 chosen for it, as far as records and trials are there."""
        found, penalty = self._with_profile(cell, self.profile(cell.dataset)), self.penalty(cell)
        found = replace(found, match=self._match(cell))
        if penalty is None:
            return found
        return replace(found, profile=replace(found.profile, l2=penalty.value), penalty=penalty)

    def _with_profile(self, cell: Cell, profile: Profile) -> ResolvedCell:
        methods = {self.plan.baseline.label: self.plan.baseline} | self.plan.methods
        return ResolvedCell(
            cell=cell,
            data=self.facts(cell.dataset),
            method=methods[cell.method],
            backbone=resolve_backbone(cell.backbone, profile),
            profile=profile,
            device=self.plan.device,
            order=self.residence(cell.dataset).blocks,
        )

    def job(self, cell: ResolvedCell, emit: Emit, checkpoints: Path | None = None) -> Job:
        """``cell`` with its rows, ready to run.

        Args:
            cell: a cell or trial.
            emit: is told what happens.
            checkpoints: folder of its inner state; None: keep none.
        """
        return cell.job(
            self.data(cell.cell.dataset),
            own_process=self.own_process,
            checkpoints=checkpoints,
            shared=self.selections,
            lines=LineStore(self.folder.path / LINES),
            predictions=self.predictions if self.keeps(cell) else None,
            valid_predictions=self.valid_predictions if self.plan.config.valid_predictions else None,
            warmed=self.warmed,
            emit=emit,
        )

    @property
    def predictions(self) -> Predictions:
        return Predictions(self.folder.predictions)

    @property
    def valid_predictions(self) -> Predictions:
        return Predictions(self.folder.predictions / VALID)

    def keeps(self, cell: ResolvedCell) -> bool:
        """Whether the test predictions of ``cell`` are kept."""
        config = self.plan.config
        asked = "always" if config.valid_predictions else config.keep_predictions
        return asked == "always" or (asked == "auto" and cell.data.split_rows["test"] <= AUTO_ROWS)

    def checkpoints(self, cell: ResolvedCell) -> Path | None:
        """Folder of the inner state of ``cell``; None where none is kept."""
        apart = "" if cell.match is None else f".{cell.match.scalars}"  # another number is another computation
        return self.folder.path / CHECKPOINTS / f"{cell.hash[:16]}{apart}" if self.plan.config.checkpoint else None
