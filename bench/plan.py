"""What a run will take before it starts: rows, vocabulary, memory, and time from a short calibration."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from tabulate import tabulate

from bench.data.residency import TABLE_COPIES
from bench.data.rows import Rows
from bench.engine.clock import Clock
from bench.engine.model import CTRModel
from bench.grid import Cell
from bench.job import Job
from bench.progress import duration
from bench.sweep import Session
from bench.tuning import SEED

CALIBRATION_STEPS = 12
"""Training steps that are timed; a third as many go before as warm-up."""
_MIB = 2**20


@dataclass(frozen=True)
class Estimate:
    """The cells of one data set and backbone, all fields kept."""

    dataset: str
    backbone: str
    cells: int
    trials: int
    """Of learning rates, for all cells together."""
    rows: dict[str, int]
    """Rows of train, valid and test."""
    fields: int
    vocabulary: int
    data_bytes: int
    """The three splits on the device."""
    model_bytes: int
    """Weights, gradients, optimiser state and best weights; activations come on top."""
    epoch_s: float
    """Seconds of one epoch without validation, extrapolated from the calibration."""
    max_epochs: int

    @property
    def longest_s(self) -> float:
        """Seconds if all cells and trials trained all epochs on all fields; early stopping and pruning make it less."""
        return (self.cells + self.trials) * self.max_epochs * self.epoch_s


def estimate(session: Session) -> list[Estimate]:
    """Calibrate every data set and backbone of the session's plan with a few training steps each."""
    first: dict[tuple[str, str], Job] = {}
    cells: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    found = []
    for cell in session.plan.cells():
        cells[cell.dataset, cell.backbone].append(cell)
    for cell in session.plan.cells():
        key = cell.dataset, cell.backbone
        if key not in first:
            first[key] = session.job(cell, lambda event: None)
            found.append(_estimate(first[key], cells[key]))
    return found


def _estimate(job: Job, cells: Sequence[Cell]) -> Estimate:
    data, profile = job.data, job.profile
    ctx = job.context(Clock(job.device))
    model = ctx.model()
    step = min(len(data.train), profile.batch_size)
    epochs = 1 if job.device.type == "cpu" else 3  # of which the median is free of the capture of a graph
    for steps, name in ((CALIBRATION_STEPS // 3, "warm-up"), (CALIBRATION_STEPS, "calibration")):
        rows = data.train.take(torch.arange(min(len(data.train), steps * step)))
        log = ctx.fit(model, rows, None, epochs=epochs, name=name)
    rates = 0 if job.tuning is None else len(job.tuning.grid)
    return Estimate(
        dataset=job.cell.dataset,
        backbone=job.cell.backbone,
        cells=len(cells),
        trials=rates * len({replace(cell, seed=SEED) for cell in cells}),
        rows=data.split_rows,
        fields=data.schema.n_fields,
        vocabulary=data.schema.vocabulary_rows,
        data_bytes=sum(_bytes(rows) for rows in (data.train, data.valid, data.test)),
        model_bytes=_model_bytes(model),
        epoch_s=log.epoch_s * len(data.train) / len(rows),
        max_epochs=profile.max_epochs,
    )


def _bytes(rows: Rows) -> int:
    return rows.n_bytes + rows.index.numel() * rows.index.element_size()


def _model_bytes(model: CTRModel) -> int:
    return TABLE_COPIES * sum(p.numel() * p.element_size() for p in model.parameters())


def table(estimates: Iterable[Estimate]) -> str:
    """The estimates as text."""
    headers = [
        "data set",
        "backbone",
        "train / valid / test",
        "fields",
        "vocabulary",
        "data MiB",
        "model MiB",
        "epoch",
        "cells",
        "at most",
    ]
    lines = [
        [
            one.dataset,
            one.backbone,
            " / ".join(f"{n:,}" for n in one.rows.values()),
            one.fields,
            f"{one.vocabulary:,}",
            f"{one.data_bytes / _MIB:,.1f}",
            f"{one.model_bytes / _MIB:,.1f}",
            f"{one.epoch_s:,.2f} s",
            f"{one.cells} + {one.trials} trials" if one.trials else one.cells,
            duration(one.longest_s),
        ]
        for one in estimates
    ]
    note = (
        "model: weights, gradients, Adam's moments and the best weights; activations come on top.\n"
        "at most: every cell or trial trains all epochs on all fields; early stopping and pruning make it less.\n"
        "Searches, pretraining and evaluation come on top and are not estimated."
    )
    return f"{tabulate(lines, headers, disable_numparse=True)}\n\n{note}"
