"""The contract of a feature-selection method: select, then train; evaluation belongs to the harness."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from bench.registry import Axis, MethodEntry

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from bench.data.schema import Schema
    from bench.engine.backbone import Backbone
    from bench.engine.fit import FitLog, Step
    from bench.engine.model import CTRModel
    from bench.profiles import Profile
    from bench.rows.rows import Rows

T = TypeVar("T")
P = TypeVar("P")


@dataclass(frozen=True)
class NoParams:
    """For methods without parameters."""


@dataclass
class Decision:
    """What is kept.

    Field-level methods give ``scores`` and leave the choice of the K kept fields to the harness, except where a rule
    of their own says how many stay; a method that has no scores leaves both ``scores`` and ``kept`` None and keeps
    every field.
    """

    scores: np.ndarray | None = None
    """Higher = keep; float [F], all finite."""
    kept: Sequence[int] | None = None
    """Kept fields, increasing; filled by the harness from the scores (higher first, ties to the lower index), within
    the budget and on the terms of the data set's card. A method that fills it itself keeps exactly K in a field budget;
    where that counts other things, or the card has terms, its choice counts as a ranking. ``kept_fields`` reads it."""
    value_mask: Tensor | None = None
    """Kept values, bool [V]."""
    dims: Tensor | None = None
    """Embedding coordinates each field keeps, int64 [F]."""
    weight_mask: Tensor | None = None
    """Kept embedding scalars, bool [V, D], at the start of training: ``model.table.mask_weights`` puts it in force,
    and it may move later. Under the budget ``exact`` it has ``ctx.keeps(V·D)``, V·D - ⌊τ·V·D⌋ as a rule, of them, and
    so has the trained model's."""

    def kept_fields(self, n_fields: int) -> list[int]:
        """Kept ones of ``n_fields``, increasing: all where nothing says which."""
        return list(range(n_fields)) if self.kept is None else sorted(int(f) for f in self.kept)


@dataclass
class HandOver:
    """What ``train`` takes up where ``select`` has left it; a selection with any of it belongs to its cell alone."""

    start: CTRModel | None = None
    """The model that training continues from, over all fields and not yet cut; None: a fresh one."""
    scale: Tensor | None = None
    """Factor of each field's embeddings when ``start`` is cut, [F]; None: 1."""
    used_rows: Tensor | None = None
    """Identities (``Rows.index``) of rows that training must not see again, int64 [n]."""
    gate_rows: Rows | None = None
    """Rows that ``train`` may learn or score gates on beside its own: of a method that selects while it trains."""


@dataclass
class Remarks:
    """What the record and the messages say of the decision."""

    notes: dict[str, Any] = field(default_factory=dict)
    """Diagnostics for the record: plain numbers, strings and lists."""
    rows_seen: int | None = None
    """Rows the decision is based on, for the record; None: all that ``select`` was given."""
    gates: dict[str, float] | None = None
    """Of trained gates or controllers: ``steps`` of their own up to the weights that decide, one in ``every``
    iterations at the rate ``lr``, and ``travel``, how far they have gone in units of what they must get past to say
    something: the spread of their start, their noise, or the distance from a decision. A table doubts a row of little
    travel. ``rows`` where they saw a subset of the training rows."""
    pretrain_rows: int | None = None
    """Rows of the subset that a pretraining ran on, for the table of data sets; None: there was none."""
    hint: str | None = None
    """Where all scores may be equal, which ends the cell: why, and what would help; part of the reason shown."""


@dataclass
class Selection(Remarks, HandOver, Decision):
    """What ``select`` returns; for a ranking ``Selection(scores=...)`` is all.

    The parts are base classes, so that a method names the fields it has, whatever their part, and the harness takes a
    part as a whole: a new field belongs to its part everywhere.
    """

    def given(self, part: type[Decision | HandOver | Remarks]) -> dict[str, Any]:
        """The fields of one part that the method has filled, by name."""
        values = {item.name: getattr(self, item.name) for item in fields(part)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass
class Trained:
    """What ``train`` returns: the model to be evaluated, with its best weights in place."""

    model: CTRModel
    log: FitLog | None = None
    scores: np.ndarray | None = None
    """Field scores of methods that have them only now, float [F]."""


class Context(Protocol[P]):
    """All that a method sees of the cell it runs in. The test split is not part of it."""

    schema: Schema
    tau: float
    """Share of the fields to prune."""
    n_keep: int
    """K, the number of fields to keep. Where bytes, cost or groups are budgeted, or groups of fields do not fill K, it
    is what the prune ratio would keep by number, and no more than a guide: the harness makes the choice."""
    budget: str
    profile: Profile
    device: torch.device
    params: P
    seed: int

    @property
    def dim(self) -> int:
        """Embedding size D of the models; 0 where the backbone has linear weights only."""

    def keeps(self, n: int) -> int:
        """How many of ``n`` units of the method's own kind stay under ``budget == "exact"``: n - ⌊τ·n⌋.

        Where the budget is the bytes of another row (``budget=match:LABEL``) with S of V·D scalars, ⌊n·S / (V·D)⌋.
        """

    def rng(self, use: str, *axes: str) -> torch.Generator:
        """A generator on the CPU for one named use, seeded by data set, seed and any of "backbone", "tau"."""

    def model(self, kept: Sequence[int] | None = None) -> CTRModel:
        """A freshly initialised model on all fields, or on ``kept``."""

    def layers(self, n_fields: int) -> Backbone[Any]:
        """A freshly initialised backbone over ``n_fields`` fields, without a table: what ``skip`` may look at."""

    def step(self, model: CTRModel, **changes: Any) -> Step:
        """The profile's training step of ``model``: Adam on the mean log loss, L2 on the table; see ``Step``."""

    def fit(
        self,
        model: CTRModel,
        train: Rows,
        valid: Rows | None = None,
        steps: Sequence[Step] | None = None,
        schedule: Callable[[int, int], None] | None = None,
        **plan: Any,
    ) -> FitLog:
        """Train ``model`` in place; keywords override fields of ``FitPlan``, ``name`` among them."""

    def rank(self, member: str, train: Rows, selection_rows: Rows, draw: int = 0) -> Selection:
        """How one of ``Method.members`` ranks all fields by these rows: its scores [F], finite, and its remarks.

        It runs under the parameters of its text and this cell's seed, as it would in a cell of its own, within a stage
        of the clock that is named after it: its seconds are seconds of this method. Nothing of it is taken from other
        cells, and a model that it has trained is gone.

        Args:
            member: one of the texts that ``members`` returns.
            train: what it learns from.
            selection_rows: what it checks decisions on.
            draw: other random numbers for each number, those of its own cell for 0.
        """

    def stage(self, name: str, fn: Callable[[], T]) -> T:
        """Run ``fn`` as a named stage of the clock; remembered when the cell keeps checkpoints."""

    def surgery(self, fn: Callable[[], CTRModel]) -> CTRModel:
        """Make the model that is trained last, by cutting or anew: a stage whose seconds are recorded as such."""

    def log(self, **notes: Any) -> None:
        """Add diagnostics to the record."""


class Method(Generic[P]):
    """Base of all methods. Shallow methods write ``select`` only."""

    Params: ClassVar[type] = NoParams
    """Frozen dataclass of parameters, each documented with default and source."""
    inner: Mapping[str, Method[Any]] = MappingProxyType({})
    """The methods that ``members`` names, by the same texts; filled by the harness."""

    def __init__(self, params: P, info: MethodEntry) -> None:
        """Keep the resolved parameters and the registry's entry; no work is done here."""
        self.params = params
        self.info = info

    def depends_on(self) -> frozenset[Axis]:
        """Axes that change the scores; override where a parameter adds or removes one."""
        return self.info.depends_on

    def members(self) -> Mapping[str, float]:
        """Other methods that ``select`` ranks fields by, with ``ctx.rank``; override in a method made of others.

        Returns:
            by the text that a command line would name one with, ``name[param=value,...]``, how many rankings of all
            rows it is asked for: what forecasts reckon with.
        """
        return {}

    def axes(self) -> frozenset[Axis]:
        """Axes that change the scores of the method or of one of its members; for the harness."""
        return self.depends_on().union(*(member.axes() for member in self.inner.values()))

    def uses_tau(self, budget: str) -> bool:
        """Whether the prune ratio changes anything under ``budget``; override where a parameter decides."""
        return self.info.uses_tau or budget != "native"

    def check_fields(self, schema: Schema) -> None:
        """Refuse parameters that do not fit the fields of a data set; asked before a run begins.

        Raises:
            ConfigError: the message names parameter, value and mend.
        """

    def skip(self, ctx: Context[P]) -> str | None:
        """A reason why this cell makes no sense, or None; asked before the clock runs.

        What depends on schema, backbone (``ctx.dim``, ``ctx.layers``), device or installed packages is found out here:
        a skipped cell says that method and setting do not fit, a failed one that something broke. Forecasts ask too,
        where there are no rows, and once for all seeds: it builds no model.
        """
        return None

    def select(self, ctx: Context[P], train: Rows, selection_rows: Rows) -> Selection:
        """Decide what to keep.

        Args:
            ctx: the cell's context.
            train: training rows, without those of ``selection_rows``.
            selection_rows: further rows that a decision may be checked on: a holdout of the training split, or
                the validation split where ``sel_split=valid`` asks for the authors' protocol.
        """
        raise NotImplementedError

    def train(self, ctx: Context[P], train: Rows, valid: Rows, selection: Selection) -> Trained:
        """Train the final model; the default cuts ``selection.start``, or builds a fresh model on the kept fields."""
        kept = selection.kept_fields(ctx.schema.n_fields)

        def surgery() -> CTRModel:
            start = selection.start
            if start is None:
                return ctx.model(kept)
            return start.prune(kept, None if selection.scale is None else selection.scale[kept])

        model = ctx.surgery(surgery)
        selection.start = None  # nothing else holds it: its table goes before training begins
        log = ctx.fit(model, train, valid, name="train")
        return Trained(model, log)

    def columns(self, model: CTRModel, selection: Selection) -> dict[str, float]:
        """Extra numbers for the record, by name."""
        return {}
