"""The context of one cell: everything a method may use, and nothing of the test split."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from bench.budget import n_keep
from bench.data.schema import Schema
from bench.engine import checkpoint
from bench.engine.arithmetic import Arithmetic, compile_ahead
from bench.engine.backbone import Backbone, draw_layers
from bench.engine.clock import COMPILE, Clock
from bench.engine.crew import current, leads
from bench.engine.evaluate import EVAL_BATCH
from bench.engine.fast import graph
from bench.engine.fit import FitLog, FitPlan, Fitter, Group, Step
from bench.engine.model import CTRModel
from bench.method import Remarks, Selection
from bench.profiles import Profile
from bench.records import plain
from bench.rows.rows import Rows, batch_sizes
from bench.run.grid import MethodChoice
from bench.run.together import select_once
from bench.seeds import generator, seed

_RESULT = "result"
"""Under which a stage's result stands in its file."""
SURGERY = "surgery"
"""Stage of ``CellContext.surgery``."""

T = TypeVar("T")
P = TypeVar("P")

Emit = Callable[[dict[str, Any]], None]
"""Receives progress events: ``{"event": "phase" | "epoch" | "warning", ...}``."""


def silent(event: dict[str, Any]) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True)
class BackboneChoice:
    """A backbone with its parameters resolved."""

    name: str
    label: str
    cls: type[Backbone[Any]]
    params: Any
    error: str | None = None
    """Traceback of a plug-in that could not be imported: its cells fail, the others run."""


class CellContext(Generic[P]):
    """Implements ``bench.method.Context``."""

    on_step: Callable[[int, int], None] | None = None
    """Called as ``on_step(iteration, planned iterations)`` before each iteration of a training, to watch the time; it
    neither reads nor changes the model."""

    def __init__(  # noqa: PLR0913 - one call site, in the cell
        self,
        *,
        dataset: str,
        schema: Schema,
        backbone: BackboneChoice,
        profile: Profile,
        params: P,
        tau: float,
        n_keep: int,
        budget: str,
        seed: int,
        device: torch.device,
        clock: Clock,
        emit: Emit,
        checkpoints: Path | None = None,
        members: Mapping[str, MethodChoice] = MappingProxyType({}),
        share: Fraction | None = None,
    ) -> None:
        """Gather the cell's settings; nothing is built yet."""
        self.schema = schema
        self.profile = profile
        self.params = params
        self.tau = tau
        self.n_keep = n_keep
        self.budget = budget
        self.seed = seed
        self.device = device
        self.notes: dict[str, Any] = {}
        self.resumed = False
        self._dataset = dataset
        self._backbone = backbone
        self._clock = clock
        self._emit = emit
        self._checkpoints = checkpoints
        self._members = members
        self._share = share
        self._uses: Counter[str] = Counter()

    def rng(self, use: str, *axes: str) -> torch.Generator:
        """A CPU generator for one named use, seeded by data set and seed and by the named further axes.

        Raises:
            ValueError: an axis other than "backbone" and "tau".
        """
        known: dict[str, str | float] = {"backbone": self._backbone.label, "tau": self.tau}
        unknown = set(axes) - set(known)
        if unknown:
            raise ValueError(f"rng axes {sorted(unknown)} are unknown; known: {sorted(known)}")
        extra = {axis: known[axis] for axis in axes}
        return generator(dataset=self._dataset, seed=self.seed, use=use, **extra)

    @property
    def matched(self) -> bool:
        """Whether the budget is what another cell keeps."""
        return self._share is not None

    def keeps(self, n: int) -> int:
        """How many of ``n`` units stay, of the kind that the method drops."""
        return n_keep(self.tau, n) if self._share is None else math.floor(self._share * n)

    def model(self, kept: Sequence[int] | None = None) -> CTRModel:
        """A freshly initialised model; its table rows are those of the full model at the same seed."""
        kept = list(range(self.schema.n_fields)) if kept is None else sorted(kept)
        backbone = self.layers(len(kept))
        weight = self._table(backbone.dim, backbone.uses_linear)
        if len(kept) < self.schema.n_fields:
            offsets = self.schema.offsets
            weight = torch.cat([weight[int(offsets[f]) : int(offsets[f + 1])] for f in kept])
        arithmetic = Arithmetic(bf16=self.profile.precision == "bf16", compile=self.profile.compile)
        return CTRModel(self.schema.keep(kept), weight, backbone, kept, arithmetic).to(self.device)

    def layers(self, n_fields: int) -> Backbone[Any]:
        """The backbone over ``n_fields`` fields, freshly initialised, without a table."""
        backbone = self._layers(n_fields)
        draw_layers(backbone, backbone=self._backbone.name, seed=self.seed)
        return backbone

    def _layers(self, n_fields: int) -> Backbone[Any]:
        """The backbone as its constructor leaves it; its own draws do not count and leave no trace."""
        with torch.random.fork_rng(devices=[]):
            return self._backbone.cls(n_fields, self.profile.dim, self._backbone.params)

    @property
    def dim(self) -> int:
        """Embedding size D of the models; 0 where the backbone has linear weights only."""
        return self._layers(1).dim

    def _table(self, dim: int, linear: bool) -> torch.Tensor:
        """Initial table [V, D (+ 1)]; the embeddings are the same with and without linear weights."""
        rows, std = self.schema.vocabulary_rows, self.profile.init_std
        embeddings = torch.randn(rows, dim, generator=self.rng("embeddings")) * std
        if not linear:
            return embeddings
        column = torch.randn(rows, 1, generator=self.rng("linear")) * std
        return torch.cat([embeddings, column], dim=1)

    def step(self, model: CTRModel, **changes: Any) -> Step:
        """The profile's training step; keywords replace fields of ``Step``."""
        profile = self.profile
        groups = [
            Group([model.table.weight], profile.lr, weight_decay=profile.l2),
            Group(model.network_parameters(), profile.lr),
        ]
        return replace(Step(groups), **changes)

    def fit(
        self,
        model: CTRModel,
        train: Rows,
        valid: Rows | None = None,
        steps: Sequence[Step] | None = None,
        schedule: Callable[[int, int], None] | None = None,
        **plan: Any,
    ) -> FitLog:
        """Train ``model`` in place by the profile's plan, keywords replacing fields of ``FitPlan``."""
        full = replace(self._plan(), **plan)

        def on_epoch(entry: dict[str, float]) -> None:
            self._emit({"event": "epoch", "fit": full.name, "epochs": full.epochs, **entry})

        def warn(text: str) -> None:
            self._emit({"event": "warning", "text": text})

        self._emit({"event": "phase", "phase": full.name})
        cuda = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda):
            if model.arithmetic.compile:
                self._compile(model, train, valid, full.batch_size)
            torch.manual_seed(seed(dataset=self._dataset, seed=self.seed, use="noise", fit=full.name))
            fitter = Fitter(
                model,
                train,
                valid,
                steps if steps is not None else [self.step(model)],
                full,
                self.rng("batches"),
                schedule=schedule,
                on_epoch=on_epoch,
                on_step=self.on_step,
                runner=graph.runner(self.device, full, warn) if current() is None else None,
                checkpoint=self._checkpoint(full.name, ".pt"),
            )
            with self._clock.phase(full.name):
                log = fitter.run()
        self.resumed |= log.resumed
        if log.execution:
            self.notes.setdefault("execution", {})[full.name] = log.execution
        return log

    def _compile(self, model: CTRModel, train: Rows, valid: Rows | None, batch_size: int) -> None:
        with self._clock.phase(COMPILE):
            sizes = batch_sizes(len(train), batch_size)
            compile_ahead(model, sizes, set() if valid is None else batch_sizes(len(valid), EVAL_BATCH))

    def _plan(self) -> FitPlan:
        profile = self.profile
        return FitPlan(
            epochs=profile.max_epochs,
            batch_size=profile.batch_size,
            patience=profile.patience,
            evaluate_every=profile.evaluate_every,
            lr_decay=profile.lr_decay,
            clip_norm=profile.clip_norm,
            lazy=profile.optimizer == "lazy-adam",
        )

    def stage(self, name: str, fn: Callable[[], T]) -> T:
        """Run ``fn`` under a phase of the clock.

        With checkpoints its result is kept and reused if it is made of tensors, numbers and texts, in lists, tuples and
        dictionaries; anything else, such as a model, is made anew where the cell goes on.
        """
        file = self._checkpoint(name, ".stage.pt")
        self._emit({"event": "phase", "phase": name})
        with self._clock.phase(name):
            if file is not None and file.exists():
                self.resumed = True
                kept: T = checkpoint.read(file, None, (_RESULT,))[_RESULT]
                return kept
            result = fn()
            if file is not None and leads() and checkpoint.is_plain(result):
                checkpoint.write(file, {_RESULT: result})
            return result

    def inside(self, member: str, draw: int = 0) -> CellContext[Any]:
        """What ``member``, one of the methods that this cell's ranks by, sees of the cell.

        Raises:
            ValueError: the method does not name it among its members.
        """
        choice = self._members.get(member)
        if choice is None:
            raise ValueError(f"ctx.rank({member!r}): members() names {sorted(self._members) or 'none'}; name it there")
        own_seed = seed(dataset=self._dataset, seed=self.seed, use="member", draw=draw) % 2**31 if draw else self.seed
        path = self._clock.path.replace("/", ".")
        inner: CellContext[Any] = CellContext(
            dataset=self._dataset,
            schema=self.schema,
            backbone=self._backbone,
            profile=self.profile,
            params=choice.params,
            tau=self.tau,
            n_keep=self.n_keep,
            budget=choice.budget,
            seed=own_seed,
            device=self.device,
            clock=self._clock,
            emit=self._emit,
            checkpoints=None if self._checkpoints is None else self._checkpoints / f"{path}-{self._uses[path]}",
        )
        inner.on_step = self.on_step
        return inner

    def rank(self, member: str, train: Rows, selection_rows: Rows, draw: int = 0) -> Selection:
        """The scores and remarks of ``member`` on these rows; a stage with stages of its own.

        Raises:
            ValueError: the method does not name it among its members, or it returns no finite scores.
        """

        def ranking() -> dict[str, Any]:
            inner = self.inside(member, draw)
            found = select_once(self._members[member].make(), inner, train, selection_rows)
            scores = None if found.scores is None else np.asarray(found.scores, dtype=np.float64)
            if scores is None or scores.shape != (self.schema.n_fields,) or not np.isfinite(scores).all():
                raise ValueError(f"{member} gave {scores}; wanted a finite score for each field")
            self.resumed |= inner.resumed
            remarks = found.given(Remarks)
            remarks["notes"] = plain({**inner.notes, **found.notes})
            return {"scores": torch.from_numpy(scores.copy()), "remarks": remarks}

        kept = self.stage(member, ranking)
        return Selection(scores=kept["scores"].numpy(), **kept["remarks"])

    def surgery(self, fn: Callable[[], CTRModel]) -> CTRModel:
        """The stage in which the model that is trained last gets its form; ``surgery_s`` of the record."""
        return self.stage(SURGERY, fn)

    def _checkpoint(self, name: str, suffix: str) -> Path | None:
        """File of a fit or stage: told apart by the phases around it and by how often the name came there before."""
        path = f"{self._clock.path}/{name}".strip("/").replace("/", ".")
        self._uses[path] += 1
        return None if self._checkpoints is None else self._checkpoints / f"{path}-{self._uses[path]}{suffix}"

    def log(self, **notes: Any) -> None:
        """Add diagnostics to the record."""
        self.notes.update(notes)
