"""A cell with everything resolved: data, method, backbone, profile, device; its identity, and what it needs to run."""

from __future__ import annotations

import traceback
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

import torch

from bench import environment, plugins
from bench.budget import Budget, n_keep
from bench.data.store.store import StoreFacts
from bench.engine.backbone import Backbone
from bench.engine.clock import Clock
from bench.identity import config_hash
from bench.method import NoParams
from bench.params import fill, parse_spec
from bench.predictions import Predictions
from bench.profiles import Profile, profile_dict
from bench.records import CellRecord
from bench.registry import FILE_SUM, Version
from bench.rows.load import LoadedData
from bench.rows.order import Blocks
from bench.run.context import BackboneChoice, CellContext, Emit, silent
from bench.run.grid import Cell, MethodChoice
from bench.run.line import LineStore
from bench.run.match import Match
from bench.run.selections import FIELD_TERMS, MATCH, SelectionStore
from bench.run.settings import PARAMS, Values
from bench.run.tuning import Trials, Tuning

PROTOCOL = 1
"""Part of every cell's identity; goes up when a rule of measurement changes."""


@dataclass(frozen=True)
class ResolvedCell:
    """A cell with every name resolved. It has an identity and a record to begin with, and no rows in memory."""

    cell: Cell
    data: StoreFacts
    method: MethodChoice
    backbone: BackboneChoice
    profile: Profile
    device: torch.device
    tuning: Trials | None = None
    """The trials that chose its learning rate, and what else is tuned; None: these are its own."""
    penalty: Tuning | None = None
    """The trials that chose its L2."""
    match: Match | None = None
    """The cell that it is held to the bytes of; None: its budget is its own."""
    order: Blocks | None = None
    """In what order trainings read rows that do not fit in memory; None: they fit."""

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides the result, and nothing of where it is computed."""
        tuned = {} if self.tuning is None else {"tuning": self.tuning.identity()}
        terms = self._deciding_terms()
        return {
            "protocol": PROTOCOL,
            "dataset": self.cell.dataset,
            "dataset_revision": self.data.revision,
            "split_rows": self.data.split_rows,
            "backbone": self.backbone.name,
            "backbone_params": asdict(self.backbone.params),
            "method": self.method.name,
            "params": self.method.params_dict(identity=True),
            "budget": self.method.budget,
            "sel_split": self.method.sel_split,
            "profile": profile_dict(self.profile),
            "tau": self.cell.tau,
            "seed": self.cell.seed,
            **({FIELD_TERMS: terms} if terms else {}),
            **({MATCH: self.match.config_hash} if self.match is not None else {}),
            **({} if self.order is None else {"order": self.order_told}),
            **({"members": members} if (members := self.method.members_identity()) else {}),
            **tuned,
            **{f"{part}_code": told[FILE_SUM] for part, told in self.plugins.items() if FILE_SUM in told},
        }

    def _deciding_terms(self) -> dict[str, Any]:
        """What a field budget counts and what the card says of fields, as far as it decides which of them stay."""
        method = self.method
        if method.entry.granularity == "none":
            return {}
        found = self.data.field_terms.described(self.data.names)
        if method.rule != "cost":
            found.pop("costs", None)
        return found | ({"by": method.rule} if method.rule != method.budget and method.matches is None else {})

    @property
    def field_budget(self) -> Budget:
        """What the kept fields may take, where the method has a field budget."""
        tau = 0.0 if self.cell.tau is None else self.cell.tau
        terms, cardinalities = self.data.field_terms, self.data.schema.cardinalities
        if self.match is not None:
            return Budget.within(self.match.share, self.match.label, tau, terms, cardinalities)
        return Budget.of(self.method.budget_by, tau, terms, cardinalities)

    @property
    def plugins(self) -> dict[str, Version]:
        """What code stands behind method and backbone where it is not the project's own."""
        found = {
            "method": plugins.methods().version(self.method.name),
            "backbone": plugins.backbones().version(self.backbone.name),
        }
        return {part: version for part, version in found.items() if version}

    @property
    def order_told(self) -> dict[str, Any] | None:
        """What identity and record say of the order of rows; None where all are shuffled with each other."""
        return None if self.order is None else self.order.described()

    @property
    def decided(self) -> bool:
        """Whether the trials that its settings are chosen by are done, so that it has an identity.

        Where every L2 has failed, the cell runs with the profile's own, to fail with its own reason.
        """
        known = self.match is None or self.match.decided
        own = (self.penalty is None or not self.penalty.missing) and (self.tuning is None or self.tuning.decided)
        return known and own

    @property
    def hash(self) -> str:
        """sha256 of the identity: the name of the cell's record."""
        return config_hash(self.identity)

    def record(self) -> CellRecord:
        """The record before the cell has run: what it is and where it runs."""
        method, tuning = self.method, self.tuning
        return CellRecord(
            dataset=self.cell.dataset,
            dataset_title=self.data.title,
            dataset_revision=self.data.revision,
            split_rows=self.data.split_rows,
            positives=self.data.positives,
            vocabulary_rows=self.data.schema.vocabulary_rows,
            order=self.order_told,
            backbone=self.backbone.label,
            backbone_params=asdict(self.backbone.params),
            method=method.name,
            method_title=method.entry.title,
            method_order=method.order(),
            label=method.label,
            family=method.entry.family,
            is_baseline=method.entry.family == "baseline",
            params=method.params_dict() | {"sel_split": method.sel_split},
            profile=profile_dict(self.profile) | ({} if tuning is None else tuning.in_profile()) | self._set(),
            tuning=None if tuning is None else tuning.to_dict(),
            tune_s=None if tuning is None else tuning.seconds,
            penalty=None if self.penalty is None else self.penalty.to_dict(),
            plugins=self.plugins or None,
            budget=method.rule,
            match=None if self.match is None else self.match.recorded(),
            field_terms=self.data.field_terms.described(self.data.names) or None,
            tau=self.cell.tau,
            seed=self.cell.seed,
            status="failed",
            config_hash=self.hash,
            protocol=PROTOCOL,
            recorded=environment.today(),
            git=environment.git_commit(),
            host=environment.host(),
            device=self.device.type,
            threads=torch.get_num_threads(),
            versions=environment.versions(),
            command=environment.command(),
        )

    def _set(self) -> dict[str, Any]:
        """What the run set itself: of the rate and the grid that it may be tuned over, the one that decides."""
        idle = "lr_grid" if self.tuning is None else self.tuning.idle
        found = {key: value for key, value in self.profile.set_apart.items() if key != idle}
        return {"set": found} if found else {}

    def context(self, clock: Clock) -> CellContext[Any]:
        """The context that the cell's method sees; nobody is told what happens in it."""
        return self._context(clock, silent, None)

    def _context(self, clock: Clock, emit: Emit, checkpoints: Path | None) -> CellContext[Any]:
        schema = self.data.schema
        tau = 0.0 if self.cell.tau is None else self.cell.tau
        return CellContext(
            dataset=self.cell.dataset,
            schema=schema,
            backbone=self.backbone,
            profile=self.profile,
            params=self.method.params,
            tau=tau,
            n_keep=n_keep(tau, schema.n_fields),
            budget=self.method.budget,
            seed=self.cell.seed,
            device=self.device,
            clock=clock,
            emit=emit,
            checkpoints=checkpoints,
            members={one.text: one.method for one in self.method.members},
            share=None if self.match is None else self.match.share,
        )

    def assigned(self, values: Values) -> Self:
        """The cell with other values of some settings; where its method refuses them, it fails with the reason."""
        own = {name.removeprefix(PARAMS): value for name, value in values.items() if name.startswith(PARAMS)}
        changes: dict[str, Any] = {name: value for name, value in values.items() if not name.startswith(PARAMS)}
        method = self.method
        try:
            method = replace(method, params=replace(method.params, **own)) if own else method
        except ValueError:
            method = replace(method, error=traceback.format_exc())
        return replace(self, profile=replace(self.profile, **changes), method=method)

    def job(self, data: LoadedData, **more: Any) -> Job:
        """The cell ready to run on ``data``, whose facts it was resolved by; ``more`` are fields that ``Job`` adds."""
        own = {item.name: getattr(self, item.name) for item in fields(ResolvedCell)}
        return Job(**own | {"data": data} | more)


@dataclass(frozen=True)
class Job(ResolvedCell):
    """A cell ready to run."""

    data: LoadedData
    own_process: bool = False
    """Whether the process runs this cell alone, so that its peak memory is the cell's."""
    checkpoints: Path | None = None
    """Folder to keep the cell's inner state in; None: keep none."""
    shared: SelectionStore | None = None
    lines: LineStore | None = None
    """Where reference lines are kept; None: none is fitted."""
    predictions: Predictions | None = None
    """Where its test predictions are kept; None: they are not."""
    valid_predictions: Predictions | None = None
    """Where those of its validation rows are kept."""
    warmed: set[str] = field(default_factory=set)
    """Backbones that this process has warmed up; shared by the jobs of a process."""
    emit: Emit = silent
    timed_once: bool = False
    """Whether one pass is enough for the inference time, where it will not be reported."""

    def record(self) -> CellRecord:
        """The record before the cell has run, and how long its rows took to read."""
        return replace(super().record(), io_s=self.data.io_s)

    def context(self, clock: Clock) -> CellContext[Any]:
        """The context that the cell's method sees."""
        return self._context(clock, self.emit, self.checkpoints)


def resolve_backbone(text: str, profile: Profile) -> BackboneChoice:
    """The backbone of a cell with its parameters: the profile's, then those in brackets.

    Raises:
        ConfigError: an unknown parameter or a value that is not allowed.
    """
    spec = parse_spec(text)
    plugins.backbones().entry(spec.name)
    try:
        cls = plugins.backbones().load(spec.name)
        base = cls.defaults(profile)
        known = cls.Params
    except Exception:  # a plug-in may fail in any way; only its own cells may suffer
        return BackboneChoice(spec.name, spec.label, Backbone, NoParams(), traceback.format_exc())
    return BackboneChoice(spec.name, spec.label, cls, fill(known, spec.given, spec.name, base=base))
