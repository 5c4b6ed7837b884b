"""What a run will take before it starts: rows, vocabulary, memory by arithmetic; then time by calibration."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from tabulate import tabulate

from bench.data.schema import Schema
from bench.engine.clock import Clock, now
from bench.engine.fast.memory import free_memory
from bench.engine.footprint import footprint
from bench.errors import UserError
from bench.profiles import Profile
from bench.rows.residency import TABLE_COPIES, free_bytes
from bench.run.context import silent
from bench.run.grid import Cell
from bench.run.job import Job, resolve_backbone
from bench.run.progress import duration
from bench.run.session import Session
from bench.run.tuning import SEED

CALIBRATION_STEPS = 12
"""Training steps that are timed; a third as many go before as warm-up."""
CALIBRATION_S = 10.0
"""Seconds after which a calibration ends with the steps it has done."""
_MIB = 2**20
_GIB = 2**30
_ID_BYTES = _FLOAT_BYTES = 4
_NUMBER_BYTES = 8


@dataclass(frozen=True)
class Size:
    """The cells of one data set and backbone, all fields kept."""

    cell: Cell
    """Any of them."""
    cells: int
    trials: int
    """Of learning rates, for all cells together."""
    rows: dict[str, int]
    """Rows of train, valid and test."""
    fields: int
    vocabulary: int
    data_bytes: int
    """The three splits."""
    model_bytes: int | None
    """Weights, gradients, optimiser state and best weights; None where the backbone cannot be reckoned."""
    activation_bytes: int | None
    """What the forward pass of a batch keeps, at least."""
    free_bytes: int | None
    """Free on the device; None where that is unknown."""
    rows_must_fit: bool
    """Whether the rows lie where the model does; a GPU can leave them in main memory."""
    batch_size: int
    max_epochs: int
    reason: str = ""
    """Why the backbone cannot be reckoned."""

    @property
    def needed_bytes(self) -> int:
        """What must fit at once, as far as it is known."""
        data = self.data_bytes if self.rows_must_fit else 0
        return data + (self.model_bytes or 0) + (self.activation_bytes or 0)

    @property
    def too_large(self) -> bool:
        return self.free_bytes is not None and self.needed_bytes > self.free_bytes


@dataclass(frozen=True)
class Pace:
    """How fast one data set and backbone train."""

    size: Size
    epoch_s: float | None
    """Seconds of one epoch without validation, extrapolated from the calibration; None where there was none."""
    reason: str = ""
    """Why it was not calibrated, or cut short."""

    @property
    def longest_s(self) -> float | None:
        """Seconds if all cells and trials trained all epochs on all fields; early stopping and pruning make it less."""
        size = self.size
        return None if self.epoch_s is None else (size.cells + size.trials) * size.max_epochs * self.epoch_s


def sizes(session: Session) -> list[Size]:
    """Every data set and backbone of the session's plan; nothing is trained, and no model is built."""
    cells: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in session.plan.cells():
        cells[cell.dataset, cell.backbone].append(cell)
    return [_size(session, group) for group in cells.values()]


def _size(session: Session, cells: Sequence[Cell]) -> Size:
    plan, cell = session.plan, cells[0]
    facts, profile = session.facts(cell.dataset), session.profile(cell.dataset)
    schema, rows = facts.schema, facts.split_rows
    step = min(rows["train"], profile.batch_size)
    model, activations, reason = _reckon(cell.backbone, schema, profile, step)
    rates = 0 if plan.config.tune == "none" else len(profile.lr_grid)
    row_bytes = schema.n_fields * _ID_BYTES + (len(schema.numeric_fields) + 1) * _FLOAT_BYTES + _NUMBER_BYTES
    return Size(
        cell=cell,
        cells=len(cells),
        trials=rates * len({replace(one, seed=SEED) for one in cells}),
        rows=rows,
        fields=schema.n_fields,
        vocabulary=schema.vocabulary_rows,
        data_bytes=sum(rows.values()) * row_bytes,
        model_bytes=model,
        activation_bytes=activations,
        free_bytes=free_memory() if plan.device.type == "cpu" else free_bytes(plan.device),
        rows_must_fit=plan.device.type == "cpu",
        batch_size=profile.batch_size,
        max_epochs=profile.max_epochs,
        reason=reason,
    )


def _reckon(backbone: str, schema: Schema, profile: Profile, step: int) -> tuple[int | None, int | None, str]:
    """(bytes of the model with its copies, of activations, why neither is known) at ``step`` rows a batch."""
    choice = resolve_backbone(backbone, profile)
    if choice.error is not None:
        return None, None, choice.error.strip().splitlines()[-1]
    try:
        found = footprint(choice.cls, schema.n_fields, profile.dim, choice.params, step)
    except Exception as error:  # a plug-in may fail in any way, and need not run without numbers
        return None, None, _one_line(error)
    width = profile.dim + (1 if choice.cls.uses_linear else 0)
    params = found.network_params + schema.vocabulary_rows * width
    return TABLE_COPIES * params * _FLOAT_BYTES, found.activation_bytes, ""


def pace(session: Session, size: Size) -> Pace:
    """Calibrate one data set and backbone with a few training steps, unless it is too large for that."""
    if size.too_large:
        return Pace(size, None, "not calibrated: it needs more memory than is free")
    watch = _Watch(session.plan.device)
    try:
        seconds = _step_s(session.job(session.cell(size.cell), silent), watch)
        reason = ""
    except _EnoughError:
        seconds = watch.step_s
        reason = f"calibration stopped after {CALIBRATION_S:g} s, at step {watch.steps}"
    except UserError:
        raise
    except Exception as error:  # out of memory, or a plug-in that fails in any way; the others are still shown
        return Pace(size, None, f"not calibrated: {_one_line(error)}")
    return Pace(size, seconds * size.rows["train"] / min(size.batch_size, size.rows["train"]), reason)


class _EnoughError(Exception):
    """The calibration has taken its time."""


class _Watch:
    """Steps done and the time they took; ends a calibration that takes too long."""

    def __init__(self, device: torch.device) -> None:
        """Start with the first step on ``device``."""
        self._device = device
        self.steps = 0
        self._began: float | None = None
        self._last = 0.0

    @property
    def step_s(self) -> float:
        """Mean seconds of the steps so far."""
        return 0.0 if self._began is None else (self._last - self._began) / self.steps

    def __call__(self, iteration: int, planned: int) -> None:
        """Take note that another step begins."""
        self._last = time.perf_counter()
        if self._began is None:
            self._began = self._last
            return
        self.steps += 1
        if self._last - self._began > CALIBRATION_S:
            self._last = now(self._device)
            raise _EnoughError


def _step_s(job: Job, watch: _Watch) -> float:
    """Seconds of a training step."""
    data, size = job.data, min(len(job.data.train), job.profile.batch_size)
    ctx = job.context(Clock(job.device))
    model = ctx.model()
    ctx.on_step = watch
    epochs = 1 if job.device.type == "cpu" else 3  # of which the median is free of the capture of a graph
    for steps, name in ((CALIBRATION_STEPS // 3, "warm-up"), (CALIBRATION_STEPS, "calibration")):
        rows = data.train.take(torch.arange(min(len(data.train), steps * size)))
        log = ctx.fit(model, rows, None, epochs=epochs, name=name)
    return log.epoch_s * size / len(rows)


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def size_table(found: Sequence[Size]) -> str:
    """Rows, vocabulary and memory as text, and what is too large."""
    headers = [
        "data set",
        "backbone",
        "train / valid / test",
        "fields",
        "vocabulary",
        "data MiB",
        "model MiB",
        "batch MiB",
    ]
    lines = [
        [
            one.cell.dataset,
            one.cell.backbone,
            " / ".join(f"{n:,}" for n in one.rows.values()),
            one.fields,
            f"{one.vocabulary:,}",
            _mib(one.data_bytes),
            _mib(one.model_bytes),
            _mib(one.activation_bytes),
        ]
        for one in found
    ]
    notes = [
        "model: weights, gradients, Adam's moments and the best weights. batch: embeddings of a batch and what its "
        "forward pass\nkeeps; what a pass holds for a moment, and what methods add, comes on top.",
        *(f"{_name(one)}: memory is not known ({one.reason})." for one in found if one.reason),
        *(
            f"{_name(one)}: needs {one.needed_bytes / _GIB:,.1f} GiB at least, and {one.free_bytes / _GIB:,.1f} GiB "
            f"are free: take fewer rows or fields, or a smaller backbone."
            for one in found
            if one.too_large and one.free_bytes is not None
        ),
    ]
    return "\n".join([tabulate(lines, headers, disable_numparse=True), "", *notes])


def pace_table(found: Sequence[Pace]) -> str:
    """Times as text, and what could not be calibrated."""
    headers = ["data set", "backbone", "epoch", "cells", "at most"]
    lines = [
        [
            one.size.cell.dataset,
            one.size.cell.backbone,
            "—" if one.epoch_s is None else f"{one.epoch_s:,.2f} s",
            f"{one.size.cells} + {one.size.trials} trials" if one.size.trials else one.size.cells,
            "—" if one.longest_s is None else duration(one.longest_s),
        ]
        for one in found
    ]
    notes = [
        "at most: every cell or trial trains all epochs on all fields; early stopping and pruning make it less.",
        "Searches, pretraining and evaluation come on top and are not estimated.",
        *(f"{_name(one.size)}: {one.reason}." for one in found if one.reason),
    ]
    return "\n".join([tabulate(lines, headers, disable_numparse=True), "", *notes])


def _mib(size: int | None) -> str:
    return "—" if size is None else f"{size / _MIB:,.1f}"


def _name(size: Size) -> str:
    return f"{size.cell.dataset}, {size.cell.backbone}"
