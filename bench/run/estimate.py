"""What a run needs before it starts: rows, vocabulary, memory by arithmetic; then its pace, from a few steps."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from tabulate import tabulate

from bench.data.schema import Schema
from bench.engine.clock import Clock, now
from bench.engine.evaluate import EVAL_BATCH, evaluate
from bench.engine.fast.memory import free_memory
from bench.engine.footprint import Footprint, footprint
from bench.errors import UserError
from bench.profiles import Profile
from bench.rows.residency import TABLE_COPIES, free_bytes, settle
from bench.run.context import silent
from bench.run.executors import executors
from bench.run.grid import Cell
from bench.run.job import Job, resolve_backbone
from bench.run.session import Session
from bench.run.skips import foreseen
from bench.run.tuning import SEED

CALIBRATION_STEPS = 12
"""Training steps that are timed; a third as many go before as warm-up."""
CALIBRATION_S = 10.0
"""Seconds after which a calibration ends with the steps it has done."""
TIMED_S = 0.5
"""Seconds of steps that a calibration goes on to time, where its steps are short."""
STEP_LIMIT_S = 15.0
"""Seconds of a step by arithmetic from which on none is tried: nothing can stop inside a step."""
MOST_STEPS = 1000
"""Steps that are timed at most."""
PRODUCT = 512
"""Rows and columns of the matrix product that the machine's rate is measured by."""
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
    """Of learning rates, for all cells together; those of an L2 are in the forecast."""
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
    pass_bytes: int | None
    """What forward and backward pass of a batch hold at their peak, at most."""
    step_flops: float
    """Floating-point operations of a training step, matrix products only."""
    free_bytes: int | None
    """Free on the device; None where that is unknown."""
    rows_must_fit: bool
    """Whether the rows lie where the model does; a GPU can leave them in main memory, a bound on that on the disk."""
    batch_size: int
    max_epochs: int
    reason: str = ""
    """Why the backbone cannot be reckoned."""
    beside: tuple[str, int] | None = None
    """The method that holds most beside the model, and its bytes."""
    workers: int = 1
    """Processes that compute a cell together, each with rows, model and passes of its own."""
    sharing: int = 1
    """How many of them take from what is free: all on this machine's processor, else one."""
    rows_in_memory: bool = True
    """Whether each of them holds the rows; else they stay on the disk."""

    @property
    def name(self) -> str:
        """Data set and backbone, for messages."""
        return f"{self.cell.dataset}, {self.cell.backbone}"

    @property
    def needed_bytes(self) -> int:
        """What must fit at once for one process, as far as it is known."""
        return self._needed(1)

    @property
    def together_bytes(self) -> int:
        """What must fit at once for all workers that share what is free; a batch is divided among them."""
        return self._needed(self.sharing)

    def _needed(self, processes: int) -> int:
        data = self.data_bytes if self.rows_must_fit else 0
        return processes * (data + (self.model_bytes or 0)) + (self.activation_bytes or 0)

    @property
    def held_bytes(self) -> int | None:
        """What all workers hold at most, methods and libraries apart; None where it is not known."""
        if self.model_bytes is None or self.pass_bytes is None:
            return None
        return self.workers * ((self.data_bytes if self.rows_in_memory else 0) + self.model_bytes + self.pass_bytes)

    @property
    def too_large(self) -> bool:
        """Whether not even one process fits."""
        return self.free_bytes is not None and self.needed_bytes > self.free_bytes


@dataclass(frozen=True)
class Pace:
    """How fast one data set and backbone train and evaluate, extrapolated from the calibration; None: unknown."""

    size: Size
    epoch_s: float | None
    """Seconds of one epoch without validation."""
    valid_s: float | None = None
    """Seconds of one pass over the validation rows."""
    reason: str = ""
    """Why it was not calibrated, or cut short."""
    share: float = 1.0
    """Processor time of the calibration by its time: well below 1 where others keep the machine busy."""


def sizes(session: Session) -> list[Size]:
    """Every data set and backbone of the session's plan; nothing is trained, and no model is built."""
    cells: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in session.plan.cells():
        cells[cell.dataset, cell.backbone].append(cell)
    return [_size(session, group) for group in cells.values()]


def _size(session: Session, cells: Sequence[Cell]) -> Size:
    plan, cell, workers = session.plan, cells[0], session.plan.config.workers_per_cell
    on_cpu, in_memory = plan.device.type == "cpu", session.residence(cell.dataset).blocks is None
    here = executors().entry(plan.config.executor_name.partition(":")[0]).here
    facts, profile = session.facts(cell.dataset), session.profile(cell.dataset)
    schema, rows = facts.schema, facts.split_rows
    step = min(rows["train"], profile.batch_size)
    model, found, reason = _reckon(cell.backbone, schema, profile, step)
    tries = {"none": 0, "lr": len(profile.lr_grid), "optuna": plan.config.trials}[plan.config.tune]
    row_bytes = len(schema.column_fields) * _ID_BYTES + (len(schema.numeric_fields) + 1) * _FLOAT_BYTES + _NUMBER_BYTES
    return Size(
        cell=cell,
        cells=len(cells),
        trials=tries * len({replace(one, seed=SEED) for one in cells}),
        rows=rows,
        fields=schema.n_fields,
        vocabulary=schema.vocabulary_rows,
        data_bytes=sum(rows.values()) * row_bytes,
        model_bytes=model,
        activation_bytes=None if found is None else found.activation_bytes,
        pass_bytes=None if found is None else found.pass_bytes,
        step_flops=0.0 if found is None else found.flops_per_row * step,
        free_bytes=free_memory() if on_cpu else free_bytes(plan.device),
        rows_must_fit=on_cpu and in_memory,
        batch_size=profile.batch_size,
        max_epochs=profile.max_epochs,
        reason=reason,
        beside=_beside(session, cells, schema.vocabulary_rows * profile.dim),
        workers=workers,
        sharing=workers if on_cpu and here else 1,
        rows_in_memory=in_memory,
    )


def _beside(session: Session, cells: Sequence[Cell], scalars: int) -> tuple[str, int] | None:
    """Which method holds most beside a model of so many embedding ``scalars``, and its bytes."""
    methods = session.plan.methods
    holding = [cell for cell in cells if methods[cell.method].entry.scalar_bytes]
    skips = foreseen(session, holding)
    left = (methods[cell.method] for cell in holding if cell not in skips)
    most = max(left, key=lambda one: one.entry.scalar_bytes, default=None)
    return None if most is None else (most.label, round(most.entry.scalar_bytes * scalars))


def _reckon(backbone: str, schema: Schema, profile: Profile, step: int) -> tuple[int | None, Footprint | None, str]:
    """(bytes of the model with its copies, sizes of the passes, why neither is known) at ``step`` rows a batch."""
    choice = resolve_backbone(backbone, profile)
    if choice.error is not None:
        return None, None, choice.error.strip().splitlines()[-1]
    try:
        found = footprint(choice.cls, schema.n_fields, profile.dim, choice.params, step)
    except Exception as error:  # a plug-in may fail in any way, and need not run without numbers
        return None, None, _one_line(error)
    width = profile.dim + (1 if choice.cls.uses_linear else 0)
    params = found.network_params + schema.vocabulary_rows * width
    return TABLE_COPIES * params * _FLOAT_BYTES, found, ""


def pace(session: Session, size: Size) -> Pace:
    """Calibrate one data set and backbone with a few training steps, unless it is too large for that."""
    if size.too_large:
        return Pace(size, None, reason="not calibrated: it needs more memory than is free")
    steps = size.rows["train"] / min(size.batch_size, size.rows["train"])
    reckoned = size.step_flops / rate(session.plan.device)
    if reckoned > STEP_LIMIT_S:
        third = reckoned * steps / 3 * size.rows["valid"] / size.rows["train"]  # one pass of two and a half or three
        why = f"not calibrated: by arithmetic a step takes {reckoned:,.0f} s or more"
        return Pace(size, reckoned * steps, third, why)
    watch = _Watch(session.plan.device)
    valid_s, reason, began = None, "", (0.0, 0.0)
    try:
        job = session.job(session.cell(size.cell), silent)
        began = time.perf_counter(), time.process_time()  # the rows have been read
        seconds = _step_s(job, watch)
        valid_s = _valid_s(job)
    except _EnoughError:
        seconds = watch.step_s
        reason = f"calibration stopped after {CALIBRATION_S:g} s, at step {watch.steps}"
    except UserError:
        raise
    except Exception as error:  # out of memory, or a plug-in that fails in any way; the others are still shown
        return Pace(size, None, reason=f"not calibrated: {_one_line(error)}")
    if valid_s is None:  # a pass forward is a third of a step
        valid_s = seconds * steps / 3 * size.rows["valid"] / size.rows["train"]
    took, worked = time.perf_counter() - began[0], time.process_time() - began[1]
    share = worked / took if session.plan.device.type == "cpu" else 1.0
    return Pace(size, seconds * steps, valid_s, reason, share)


@cache
def rate(device: torch.device) -> float:
    """Floating-point operations a second of a matrix product, the best of three."""
    one = torch.ones(PRODUCT, PRODUCT, device=device)
    seconds = []
    for _ in range(4):
        start = now(device)
        one @ one
        seconds.append(now(device) - start)
    return float(2 * PRODUCT**3 / min(seconds[1:]))


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

    def timed(steps: int, name: str) -> float:
        rows = data.train.take(torch.arange(min(len(data.train), steps * size)))
        return ctx.fit(model, rows, None, epochs=epochs, name=name).epoch_s * size / len(rows)

    timed(CALIBRATION_STEPS // 3, "warm-up")
    step_s = timed(CALIBRATION_STEPS, "calibration")
    if step_s * CALIBRATION_STEPS < TIMED_S:  # so few short steps say more of the start than of a training
        step_s = timed(math.ceil(TIMED_S / max(step_s, TIMED_S / MOST_STEPS)), "calibration")
    return step_s


def _valid_s(job: Job) -> float:
    """Seconds of a pass over the validation rows, from some of them."""
    valid = job.data.valid
    rows = settle(valid.take(torch.arange(min(len(valid), EVAL_BATCH))))
    model = job.context(Clock(job.device)).model()
    seconds = []
    for _ in range(3):  # the first one warms up
        start = now(job.device)
        evaluate(model, rows)
        seconds.append(now(job.device) - start)
    return min(seconds[1:]) * len(valid) / len(rows)


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def size_table(found: Sequence[Size]) -> str:
    """Rows, vocabulary and memory as text, and what is too large; all are of one plan."""
    workers = found[0].workers if found else 1
    several = workers > 1
    headers = [
        "data set",
        "backbone",
        "train / valid / test",
        "fields",
        "vocabulary",
        "data MiB",
        "model MiB",
        "batch MiB",
        *([f"{workers} workers MiB"] if several else []),
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
            _mib(one.pass_bytes),
            *([_mib(one.held_bytes)] if several else []),
        ]
        for one in found
    ]
    notes = [
        "model: weights, gradients, Adam's moments and the best weights. batch: embeddings of a batch, and what its "
        "forward and\nbackward pass hold at their peak. What methods add comes on top.",
        *_together(workers),
        *(
            f"{one.name}: {one.beside[0]} needs up to {_mib(one.beside[1])} MiB more while it trains"
            f"{', in each worker' if several else ''}: masks, sums of gradients, and what\nchoosing scalars takes."
            for one in found
            if one.beside is not None
        ),
        *(f"{one.name}: memory is not known ({one.reason})." for one in found if one.reason),
        *(_too_large(one) for one in found if one.free_bytes is not None and one.together_bytes > one.free_bytes),
    ]
    return "\n".join([tabulate(lines, headers, disable_numparse=True), "", *notes])


def _together(workers: int) -> list[str]:
    """What the numbers are of, where a cell has several workers."""
    if workers == 1:
        return []
    return [
        f"data, model and batch are of one process. {workers} workers: what the {workers} processes of a cell hold at "
        "most together, as\neach loads the rows, if they fit in memory, and has a model and passes of its own; "
        "libraries come on top."
    ]


def _too_large(one: Size) -> str:
    """What to do where there is not enough memory for the workers that share it."""
    free, more = (one.free_bytes or 0) / _GIB, one.sharing > 1
    whose, fewer = (f" for {one.sharing} workers together", ", or fewer workers") if more else ("", "")
    return (
        f"{one.name}: needs {one.together_bytes / _GIB:,.1f} GiB at least{whose}, and {free:,.1f} GiB are free: take "
        f"fewer rows or fields, or a smaller backbone{fewer}."
    )


def _mib(size: int | None) -> str:
    return "—" if size is None else f"{size / _MIB:,.1f}"
