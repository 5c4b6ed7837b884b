"""Training as a sequence of steps: the one loop that every method and every final model runs through.

Each iteration takes one batch of training rows and runs every step that is due: forward, backward, clip,
optimiser, and the step's own ``after``. Validation, best weights, learning-rate decay and early stopping follow
the plan. No step reads a value back from the device.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.engine import checkpoint as checkpoints
from bench.engine.batches import Batches
from bench.engine.clock import now
from bench.engine.crew import current, leads
from bench.engine.divided import divided
from bench.engine.evaluate import evaluate_finite
from bench.engine.fast.graph import Runner
from bench.engine.fast.memory import keep_freed_memory
from bench.engine.model import CTRModel
from bench.engine.steps import FitLog, FitPlan, Group, Step, log_loss
from bench.engine.update import NonFiniteLossError, Updates
from bench.rows.residency import settle
from bench.rows.rows import Batch, Rows

__all__ = ["FitLog", "FitPlan", "Fitter", "Group", "NonFiniteLossError", "Step", "log_loss"]

GROWTH = 4
"""Sizes of the parameters that training adds to them: gradient, two moments of Adam, best weights. Of buffers, such as
masks over weights, the best weights hold one copy."""
MIN_GAIN = 1e-6
"""A validation AUC must rise by more than this to count as a gain."""


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
        on_step: told of every iteration before it begins, as ``schedule`` is; it neither reads nor changes the model.
        runner: what runs steps as graphs; None: kernels are launched one by one.
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
        on_step: Callable[[int, int], None] | None = None,
        runner: Runner | None = None,
        checkpoint: Path | None = None,
    ) -> None:
        """Place the rows' columns as the model takes them and build the optimisers."""
        self.model = model
        self._beside = GROWTH * _bytes(model.parameters()) + _bytes(model.buffers())
        self.train = self._settled(train)
        self.valid = None if valid is None else self._settled(valid)
        self.steps = list(steps)
        self.plan = plan
        self.generator = generator
        self.schedule = schedule
        self.on_epoch = on_epoch
        self.on_step = on_step
        self.checkpoint = checkpoint
        self.device = self.train.device
        self.per_epoch = math.ceil(len(self.train) / plan.batch_size)
        self.batches = Batches(self.train, plan.batch_size, generator, rest=True)
        self.own_batches = [self._own_batches(step) for step in self.steps]
        self.updates = Updates(model, self.steps, plan, capturable=runner is not None, scheduled=schedule is not None)
        if runner is not None:
            self.updates.graphs = runner(self.updates, [(own or self.batches).size for own in self.own_batches])
        self.iteration = 0
        self.stale = 0
        self.best_auc = -math.inf
        self.best_state: dict[str, Tensor] | None = None
        first = self.steps[0].optimizer
        self.log = FitLog(optimizer=f"lazy-{first}" if plan.lazy and first == "adam" else first)
        self.epoch_seconds: list[float] = []
        self._clock_zero = 0.0

    def _settled(self, rows: Rows) -> Rows:
        """The columns that the model takes, on its device if they fit there beside what training adds."""
        return settle(self.model.view(rows), self._beside)

    def _own_batches(self, step: Step) -> Batches | None:
        if step.batches is None:
            return None
        own = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=self.generator)))
        size = self.plan.batch_size * step.batch_scale
        return Batches(self._settled(step.batches), size, own, rest=False)

    def run(self) -> FitLog:
        """Train, restore the best weights and say what happened.

        Raises:
            NonFiniteLossError: a loss was NaN or infinite.
            NonFiniteQualityError: so was a validation, after which no weights could be called the best.
        """
        keep_freed_memory()
        try:
            with divided(self.model):
                self._run()
        finally:
            self._close()
        return self.log

    def _run(self) -> None:
        points = self.plan.evaluation_points(self.per_epoch)
        if self.checkpoint is not None and self.checkpoint.exists():
            self.load(checkpoints.read(self.checkpoint, self.device, self.state().keys()))
        self._clock_zero = now(self.device) - self.log.total_s
        self.model.train()
        epoch_time = 0.0
        for point in points:
            if point <= self.iteration or self._stopped():
                continue
            epoch_time = self._train_until(point, epoch_time)
            train_loss = self.updates.check()
            self._agree()
            if self.valid is not None:
                self._validate(self.valid, train_loss)
            self.log.total_s = now(self.device) - self._clock_zero
            if self.checkpoint is not None and leads():
                checkpoints.write(self.checkpoint, self.state())
        self._finish()

    def _agree(self) -> None:
        """Make sure that the workers of a cell, where it has several, have all come to the same weights."""
        if (crew := current()) is not None:
            outside = (param.detach() for step in self.steps for param in step.params)
            what = f"{self.plan.name}: after epoch {self.iteration / self.per_epoch:g}"
            crew.agree([*self.model.state_dict().values(), *outside], what)

    def state(self) -> dict[str, Any]:
        """All that decides how the training goes on: tensors, numbers and texts, in lists, tuples and dictionaries."""
        return {
            "model": self.model.state_dict(),
            **self.updates.state(),
            "batches": [batches.state() for batches in self._all_batches()],
            "torch_rng": torch.get_rng_state(),
            "device_rng": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            "counters": (self.iteration, self.stale, self.best_auc),
            "best": self.best_state,
            "log": (self.log.history, self.log.best_epoch, self.log.best_s, self.log.total_s),
            "epoch_seconds": self.epoch_seconds,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Put a training that has not begun where ``state`` was taken, from another one of the same settings."""
        self.model.load_state_dict(state["model"])
        self.updates.load(state)
        for batches, drawn in zip(self._all_batches(), state["batches"], strict=True):
            batches.load(drawn)
        torch.set_rng_state(state["torch_rng"].cpu())
        if state["device_rng"] is not None:
            torch.cuda.set_rng_state(state["device_rng"].cpu(), self.device)
        self.iteration, self.stale, self.best_auc = state["counters"]
        self.best_state = state["best"]
        self.log.history, self.log.best_epoch, self.log.best_s, self.log.total_s = state["log"]
        self.log.iterations, self.log.resumed = self.iteration, True
        self.epoch_seconds = state["epoch_seconds"]

    def _all_batches(self) -> list[Batches]:
        """The iterations' batches, then those that steps draw for themselves."""
        return [self.batches, *(own for own in self.own_batches if own is not None)]

    def _stopped(self) -> bool:
        return self.stale >= self.plan.patience

    def _train_until(self, point: int, epoch_time: float) -> float:
        """Run iterations up to ``point``; return the seconds spent in the epoch that is still open."""
        start = now(self.device)
        graphs = self.updates.graphs
        with nullcontext() if graphs is None else graphs.lane():
            while self.iteration < point:
                self._iterate()
                if self.iteration % self.per_epoch == 0 or self.iteration == point:
                    self.updates.settle()
                if self.iteration % self.per_epoch == 0:
                    end = now(self.device)
                    self.epoch_seconds.append(epoch_time + end - start)
                    epoch_time, start = 0.0, end
        return epoch_time + now(self.device) - start

    def _iterate(self) -> None:
        """One batch through all steps that are due."""
        for told in (self.on_step, self.schedule):
            if told is not None:
                told(self.iteration, self.plan.epochs * self.per_epoch)
        batch = self.batches.next()
        self.iteration += 1
        for number, step in enumerate(self.steps):
            if self.iteration % step.every == 0:
                own = self.own_batches[number]
                self.update(number, own.next() if own else batch)

    def update(self, number: int, batch: Batch) -> None:
        """Update the parameters of step ``number`` on ``batch``; who measures updates overrides this."""
        self.updates.run(number, batch, self.iteration)

    def _validate(self, valid: Rows, train_loss: float) -> None:
        epoch = self.iteration / self.per_epoch
        quality = evaluate_finite(self.model, valid, f"{self.plan.name}: validation after epoch {epoch:g}")
        entry = {
            "epoch": epoch,
            "train_loss": train_loss,
            "valid_auc": quality.auc,
            "valid_logloss": quality.logloss,
            "lr": self.updates.lr,
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
        self.log.execution = self._execution()
        self.log.epochs = self.iteration / self.per_epoch
        self.log.iterations = self.iteration
        self.log.epoch_s = statistics.median(self.epoch_seconds) if self.epoch_seconds else math.nan
        self.log.total_s = now(self.device) - self._clock_zero
        if self.valid is None:
            self.log.best_epoch, self.log.best_s = self.log.epochs, self.log.total_s

    def _execution(self) -> str:
        lie = dict.fromkeys(rows.lies for rows in (self.train, self.valid) if rows is not None and rows.lies)
        how = [] if self.updates.graphs is None else [self.updates.graphs.summary()]
        return "; ".join(how + [f"rows {where}" for where in lie])

    def _close(self) -> None:
        """Give back what the training held, whether it has come to its end or not."""
        self.updates.finish()
        for batches in self._all_batches():
            batches.close()


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
