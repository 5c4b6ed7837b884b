"""One cell under watch: the method runs in the harness as ever, and what it does is written down."""

from __future__ import annotations

import random
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.checks.example import PROFILE, copy_of
from bench.checks.gates import GateModes, gates_watched
from bench.checks.surroundings import heard, left_alone
from bench.engine.evaluate import evaluate
from bench.engine.model import CTRModel, Gate
from bench.method import Decision, HandOver, Method, Selection, Trained
from bench.records import CellRecord
from bench.rows.load import LoadedData
from bench.rows.rows import Rows
from bench.run.cell import run_cell
from bench.run.context import BackboneChoice
from bench.run.grid import Cell, MethodChoice
from bench.run.job import Job

__all__ = ["Seen", "watch"]

ROUNDING = 1e-5
"""Share of the largest number by which vectors may differ that are computed at different places of a batch."""


class SplitReadError(Exception):
    """A method reached for the test split."""


class _Enough(Exception):
    """A selection was all that was wanted."""


class _Lock:
    """Closed while the method runs; remembers what was tried."""

    def __init__(self) -> None:
        self.hook: str | None = None
        self.tried: list[str] = []

    def check(self, name: str) -> None:
        if self.hook is not None:
            self.tried.append(f"{self.hook} read {name}")
            raise SplitReadError(f"{self.hook} read {name}")

    @contextmanager
    def closed(self, hook: str) -> Iterator[None]:
        self.hook = hook
        try:
            yield
        finally:
            self.hook = None


@dataclass(frozen=True)
class _Guarded(LoadedData):
    """Data whose test split cannot be had while the lock is closed."""

    lock: _Lock = field(default_factory=_Lock)

    def __getattribute__(self, name: str) -> Any:
        if name in ("test", "test_truth", "__dict__"):
            object.__getattribute__(self, "lock").check(name)
        return object.__getattribute__(self, name)


@dataclass
class Seen:
    """What one cell did; the parts after ``record`` stay empty where it did not come so far."""

    tau: float | None
    seed: int
    select_only: bool = False
    record: CellRecord | None = None
    reads: list[str] = field(default_factory=list)
    """Attempts to read the test split."""
    changes: list[str] = field(default_factory=list)
    """Rows that a hook changed."""
    disturbs: list[str] = field(default_factory=list)
    """What of the process a hook changed."""
    prints: list[str] = field(default_factory=list)
    """What a hook printed, shortened."""
    selection: dict[str, Any] | None = None
    """Scores, kept fields, masks and used rows, as ``select`` returned them."""
    trained_scores: np.ndarray | None = None
    weights: dict[str, Tensor] | None = None
    """Copies of the final weights by name."""
    model_kept: tuple[int, ...] | None = None
    """Fields of the final model."""
    valid_auc: float | None = None
    """AUC of the final model on the validation rows."""
    log_auc: float | None = None
    """The AUC that the log calls the best; None without a log."""
    gate_says: bool | None = None
    """What the final model's gate declares as ``per_sample``; None without a gate."""
    gate_differs: bool = False
    """Whether that gate treats one value of a field differently from row to row."""
    gate_modes: list[GateModes] = field(default_factory=list)
    """How the gates of all trainings act in evaluation and in training mode."""
    references: dict[str, weakref.ref[Any]] = field(default_factory=dict)
    """The large things of the cell, by what they are."""

    @property
    def ranking(self) -> np.ndarray | None:
        """Scores of the fields, from ``select`` or ``train``, else the kept ones; None where there are neither."""
        chosen = self.selection or {}
        return next((x for x in (chosen.get("scores"), self.trained_scores, chosen.get("kept")) if x is not None), None)

    @property
    def ok(self) -> bool:
        return self.record is not None and self.record.status == "ok"

    @property
    def title(self) -> str:
        return f"seed {self.seed}" if self.tau is None else f"prune ratio {self.tau:g}, seed {self.seed}"


def watch(  # noqa: PLR0913 - a cell has so many sides
    choice: MethodChoice,
    backbone: BackboneChoice,
    data: LoadedData,
    tau: float | None,
    seed: int,
    *,
    scramble: int = 0,
    select_only: bool = False,
) -> Seen:
    """Run one cell on a copy of ``data``.

    Args:
        choice: the method.
        backbone: the backbone.
        data: the rows.
        tau: the prune ratio.
        seed: the seed.
        scramble: seeds the global generators, which must not matter.
        select_only: stop before training.
    """
    seen, lock = Seen(tau, seed, select_only), _Lock()
    copied = copy_of(data)
    guarded = _Guarded(**{item.name: getattr(copied, item.name) for item in fields(LoadedData)}, lock=lock)
    watched = _Choice(**{item.name: getattr(choice, item.name) for item in fields(MethodChoice)}, seen=seen, lock=lock)
    cell = Cell(data.label, backbone.label, choice.label, tau, seed)
    device = torch.device("cpu")
    job = Job(cell, guarded, watched, backbone, PROFILE, device, warmed={backbone.label}, timed_once=True)
    with _scrambled(scramble):
        seen.record = run_cell(job)
    seen.reads = lock.tried
    return seen


@contextmanager
def _scrambled(number: int) -> Iterator[None]:
    """Other global random states inside, the old ones afterwards."""
    state, legacy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(number)
        random.seed(number)
        np.random.seed(number)
        try:
            yield
        finally:
            random.setstate(state)
            np.random.set_state(legacy)


@dataclass(frozen=True)
class _Choice(MethodChoice):
    """A choice whose method is watched."""

    seen: Seen = field(default_factory=lambda: Seen(None, 0))
    lock: _Lock = field(default_factory=_Lock)

    def load(self) -> type[Method[Any]]:
        return _watched(self.entry.load(), self.seen, self.lock)

    def order(self) -> int:
        return 0


def _watched(cls: type[Method[Any]], seen: Seen, lock: _Lock) -> type[Method[Any]]:
    """A subclass of ``cls`` that writes down what its hooks get, change and return."""

    class Watched(cls):  # type: ignore[misc, valid-type]
        def skip(self, ctx: Any) -> str | None:
            with _observed("skip", {}, seen, lock):
                reason: str | None = super().skip(ctx)
            return reason

        def select(self, ctx: Any, train: Rows, selection_rows: Rows) -> Selection:
            given = {"training": train, "selection": selection_rows}
            with _observed("select", given, seen, lock), gates_watched(ctx, seen.gate_modes):
                selection: Selection = super().select(ctx, train, selection_rows)
            if isinstance(selection, Selection):  # the harness refuses all else
                seen.selection = _copies(selection)
                seen.references["the rows given to select"] = weakref.ref(train.ids)
                if selection.start is not None:
                    seen.references["selection.start"] = weakref.ref(selection.start)
            return selection

        def train(self, ctx: Any, train: Rows, valid: Rows, selection: Selection) -> Trained:
            if seen.select_only:
                raise _Enough
            given = {"training": train, "validation": valid}
            with _observed("train", given, seen, lock), gates_watched(ctx, seen.gate_modes):
                trained: Trained = super().train(ctx, train, valid, selection)
            if isinstance(trained, Trained):
                _look(trained, valid, seen)
            return trained

    Watched.__name__ = cls.__name__  # for messages of Python
    return Watched


@contextmanager
def _observed(hook: str, given: dict[str, Rows], seen: Seen, lock: _Lock) -> Iterator[None]:
    """Keep the test split from a hook, and write down what it changes and prints."""
    around = left_alone(hook, seen.disturbs), heard(hook, seen.prints)
    with lock.closed(hook), _unchanged(hook, given, seen.changes), around[0], around[1]:
        yield


@contextmanager
def _unchanged(hook: str, given: dict[str, Rows], changes: list[str]) -> Iterator[None]:
    """Compare rows before and after; also when the hook fails."""
    before = {(name, column): values.clone() for name, rows in given.items() for column, values in _columns(rows)}
    try:
        yield
    finally:
        for name, rows in given.items():
            for column, values in _columns(rows):
                if not torch.equal(before[name, column], values):
                    changes.append(f"{hook} changed {column} of the {name} rows it was given")


def _columns(rows: Rows) -> Iterator[tuple[str, Tensor]]:
    for name in ("ids", "numeric", "labels", "index"):
        values = getattr(rows, name)
        if values is not None:
            yield name, values


def _copies(selection: Selection) -> dict[str, Any]:
    """The decision, and of what is handed over all but models and rows of data."""
    told = selection.given(Decision) | selection.given(HandOver)
    plain = {name: _plain(value) for name, value in told.items() if not isinstance(value, CTRModel | Rows)}
    return {item.name: plain.get(item.name) for part in (Decision, HandOver) for item in fields(part)}


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy().copy()
    return None if value is None else np.array(value)


def _look(trained: Trained, valid: Rows, seen: Seen) -> None:
    model = trained.model
    seen.trained_scores = _plain(trained.scores)
    seen.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
    seen.model_kept = tuple(model.kept)
    seen.valid_auc = evaluate(model, valid).auc
    seen.log_auc = None if trained.log is None else trained.log.valid_auc
    if model.gate is not None:
        seen.gate_says, seen.gate_differs = model.gate.per_sample, _differs(model, model.gate, valid)
    seen.references["the model"] = weakref.ref(model)
    seen.references["the model's table"] = weakref.ref(model.table.weight)


@torch.no_grad()
def _differs(model: CTRModel, gate: Gate, rows: Rows) -> bool:
    """Whether two rows with one value of a categorical field leave the gate with different vectors of it."""
    model.eval()
    batch = next(model.view(rows).slices(len(rows)))
    e, linear = gate.multiply(*model.embed(batch), batch.ids)  # [B, F, D], [B, F]
    gated = e if linear is None else torch.cat([e, linear[..., None]], dim=2)
    least = gated.new_full((model.schema.vocabulary_rows, gated.shape[2]), torch.inf)
    most = -least
    numeric = model.schema.numeric_fields  # whose vectors differ with the number
    for f in sorted(set(range(model.schema.n_fields)) - set(numeric)):
        place = batch.ids[:, f].long()[:, None].expand(-1, gated.shape[2])
        least.scatter_reduce_(0, place, gated[:, f], "amin")
        most.scatter_reduce_(0, place, gated[:, f], "amax")
    spread = (most - least)[most >= least]
    return bool((spread > ROUNDING * gated.abs().max()).any())
