"""Training as a sequence of steps: the one loop that every method and every final model runs through.

Each iteration takes one batch of training rows and runs every step that is due: forward, backward, clip,
optimiser, and the step's own ``after``. Validation, best weights, learning-rate decay and early stopping follow
the plan. No step reads a value back from the device.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from bench.data.rows import Batch, Rows
from bench.engine import checkpoint as checkpoints
from bench.engine.clock import now
from bench.engine.evaluate import evaluate
from bench.engine.memory import keep_freed_memory
from bench.engine.model import CTRModel
from bench.engine.steps import FitLog, FitPlan, Group, Step, log_loss
from bench.engine.update import NonFiniteLossError, Updates

__all__ = ["FitLog", "FitPlan", "Fitter", "Group", "NonFiniteLossError", "Step", "log_loss"]

MIN_GAIN = 1e-6
"""A validation AUC must rise by more than this to count as a gain."""


class _Sampler:
    """Endless batches from rows, reshuffled after every pass."""

    def __init__(self, rows: Rows, size: int, generator: torch.Generator) -> None:
        self.rows, self.size, self.generator = rows, min(size, len(rows)), generator
        self.order = torch.empty(0, dtype=torch.int64)
        self.at = 0

    def next(self) -> Batch:
        if self.at + self.size > len(self.order):
            self.order = torch.randperm(len(self.rows), generator=self.generator)
            self.at = 0
        positions = self.order[self.at : self.at + self.size]
        self.at += self.size
        return self.rows.batch(positions.to(self.rows.device))


class Fitter:
    """One run of training; ``run`` may be called once.

    Args:
        model: trained in place; holds the best validated weights at the end (the last ones without ``valid``).
        train: rows to train on.
        valid: rows to validate on, or None to train for all epochs.
        steps: updates of an iteration, in order.
        plan: length, batches, stopping.
        generator: draws batch orders (CPU).
        schedule: called as ``schedule(iteration, planned iterations)`` before each iteration, to move buffers.
        on_epoch: told of every validation, for progress.
        checkpoint: file to keep the state in after every validation and to resume from; None: keep none.
    """

    def __init__(  # noqa: PLR0913 - one call site, in the context
        self,
        model: CTRModel,
        train: Rows,
        valid: Rows | None,
        steps: Sequence[Step],
        plan: FitPlan,
        generator: torch.Generator,
        *,
        schedule: Callable[[int, int], None] | None = None,
        on_epoch: Callable[[dict[str, float]], None] | None = None,
        checkpoint: Path | None = None,
    ) -> None:
        """Place the rows' columns as the model takes them and build the optimisers."""
        self.model = model
        self.train = model.view(train)
        self.valid = None if valid is None else model.view(valid)
        self.steps = list(steps)
        self.plan = plan
        self.generator = generator
        self.schedule = schedule
        self.on_epoch = on_epoch
        self.checkpoint = checkpoint
        self.device = self.train.device
        self.per_epoch = math.ceil(len(self.train) / plan.batch_size)
        self.updates = Updates(model, self.steps, plan)
        self.samplers = [self._sampler(step) for step in self.steps]
        self.order = torch.empty(0, dtype=torch.int64)
        self.iteration = 0
        self.stale = 0
        self.best_auc = -math.inf
        self.best_state: dict[str, Tensor] | None = None
        first = self.steps[0].optimizer
        self.log = FitLog(optimizer=f"lazy-{first}" if plan.lazy and first == "adam" else first)
        self.epoch_seconds: list[float] = []
        self._clock_zero = 0.0

    def _sampler(self, step: Step) -> _Sampler | None:
        if step.batches is None:
            return None
        own = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=self.generator)))
        return _Sampler(self.model.view(step.batches), self.plan.batch_size * step.batch_scale, own)

    def run(self) -> FitLog:
        """Train, restore the best weights and say what happened.

        Raises:
            NonFiniteLossError: a loss was NaN or infinite.
        """
        keep_freed_memory()
        points = self.plan.evaluation_points(self.per_epoch)
        if self.checkpoint is not None and self.checkpoint.exists():
            checkpoints.restore(self, self.checkpoint)
        self._clock_zero = now(self.device) - self.log.total_s
        self.model.train()
        epoch_time = 0.0
        for point in points:
            if point <= self.iteration or self._stopped():
                continue
            epoch_time = self._train_until(point, epoch_time)
            train_loss = self.updates.check()
            if self.valid is not None:
                self._validate(self.valid, train_loss)
            self.log.total_s = now(self.device) - self._clock_zero
            if self.checkpoint is not None:
                checkpoints.save(self, self.checkpoint)
        self._finish()
        return self.log

    def _stopped(self) -> bool:
        return self.stale >= self.plan.patience

    def _train_until(self, point: int, epoch_time: float) -> float:
        """Run iterations up to ``point``; return the seconds spent in the epoch that is still open."""
        start = now(self.device)
        total = self.plan.epochs * self.per_epoch
        while self.iteration < point:
            at = self.iteration % self.per_epoch
            if at == 0:
                self.order = torch.randperm(len(self.train), generator=self.generator).to(self.device)
            if self.schedule is not None:
                self.schedule(self.iteration, total)
            size = self.plan.batch_size
            batch = self.train.batch(self.order[at * size : (at + 1) * size])
            self.iteration += 1
            for number, step in enumerate(self.steps):
                if self.iteration % step.every == 0:
                    sampler = self.samplers[number]
                    self.updates.run(number, sampler.next() if sampler else batch, self.iteration)
            if self.iteration % self.per_epoch == 0:
                end = now(self.device)
                self.epoch_seconds.append(epoch_time + end - start)
                epoch_time, start = 0.0, end
        return epoch_time + now(self.device) - start

    def _validate(self, valid: Rows, train_loss: float) -> None:
        quality = evaluate(self.model, valid)
        epoch = self.iteration / self.per_epoch
        entry = {
            "epoch": epoch,
            "train_loss": train_loss,
            "valid_auc": quality.auc,
            "valid_logloss": quality.logloss,
            "lr": float(self.updates.optimizers[0].param_groups[0]["lr"]),
        }
        self.log.iterations = self.iteration
        self.log.history.append(entry)
        if quality.auc > self.best_auc + MIN_GAIN:
            self.best_auc, self.stale = quality.auc, 0
            self.best_state = {name: value.clone() for name, value in self.model.state_dict().items()}
            self.log.best_epoch = epoch
            self.log.best_s = now(self.device) - self._clock_zero
        else:
            self.stale += 1
            self._decay()
        if self.on_epoch is not None:
            self.on_epoch(entry)

    def _decay(self) -> None:
        if self.plan.lr_decay is not None:
            for optimizer in self.updates.optimizers:
                for group in optimizer.param_groups:
                    group["lr"] *= self.plan.lr_decay

    def _finish(self) -> None:
        if self.best_state is not None:
            self.model.load_state_dict(self.best_state)
        self.updates.finish()
        self.log.epochs = self.iteration / self.per_epoch
        self.log.iterations = self.iteration
        self.log.epoch_s = statistics.median(self.epoch_seconds) if self.epoch_seconds else math.nan
        self.log.total_s = now(self.device) - self._clock_zero
        if self.valid is None:
            self.log.best_epoch, self.log.best_s = self.log.epochs, self.log.total_s
