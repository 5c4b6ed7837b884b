"""Training as a sequence of steps: the one loop that every method and every final model runs through.

Each iteration takes one batch of training rows and runs every step that is due: forward, backward, clip,
optimiser, and the step's own ``after``. Validation, best weights, learning-rate decay and early stopping follow
the plan. No step reads a value back from the device.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.data.rows import Batch, Rows
from bench.engine.clock import now
from bench.engine.evaluate import evaluate
from bench.engine.model import CTRModel
from bench.files import write_atomically

MIN_GAIN = 1e-6
"""A validation AUC must rise by more than this to count as a gain."""


class NonFiniteLossError(RuntimeError):
    """The loss became NaN or infinite; names the step and the first parameter that is not finite."""


def log_loss(model: CTRModel, batch: Batch) -> Tensor:
    """Mean binary cross-entropy of a batch, from logits."""
    return F.binary_cross_entropy_with_logits(model(batch), batch.labels)


@dataclass
class Group:
    """Parameters that share a learning rate."""

    params: Sequence[nn.Parameter]
    lr: float
    weight_decay: float = 0.0
    """Coupled: added to the gradient."""
    maximize: bool = False
    """Ascend instead of descend (Lagrange multipliers)."""


@dataclass
class Step:
    """One kind of update within an iteration. Only the groups' parameters receive a gradient."""

    groups: Sequence[Group]
    loss: Callable[[CTRModel, Batch], Tensor] = log_loss
    name: str = "model"
    batches: Rows | None = None
    """Rows to draw this step's batches from, reshuffled whenever they run out; None: the iteration's batch."""
    every: int = 1
    """Run at every n-th iteration (the n-th, 2n-th, ...)."""
    batch_scale: int = 1
    """Rows of this step's own batches as a multiple of the plan's batch size."""
    optimizer: Literal["adam", "sgd"] = "adam"
    after: Callable[[torch.optim.Optimizer], None] | None = None
    """Runs after the update (proximal steps, clamps, masks)."""

    @property
    def params(self) -> list[nn.Parameter]:
        return [param for group in self.groups for param in group.params]


@dataclass(frozen=True)
class FitPlan:
    """How long to train and when to look."""

    epochs: int
    batch_size: int
    patience: int = 1
    """Evaluations without gain before training stops."""
    evaluate_every: float = 1.0
    """Epochs between validations."""
    lr_decay: float | None = None
    """Factor on all learning rates after an evaluation without gain."""
    clip_norm: float | None = None
    """Bound on a step's gradient norm."""
    name: str = "fit"

    def evaluation_points(self, steps_per_epoch: int) -> list[int]:
        """Numbers of finished iterations after which to validate, increasing; the last is the end."""
        total = self.epochs * steps_per_epoch
        count = math.ceil(self.epochs / self.evaluate_every)
        points = {round(k * self.evaluate_every * steps_per_epoch) for k in range(1, count)}
        return sorted({p for p in points if 0 < p < total} | {total})


@dataclass
class FitLog:
    """What happened: one entry of ``history`` per validation."""

    history: list[dict[str, float]] = field(default_factory=list)
    epochs: float = 0.0
    """Epochs run, the patience ones included."""
    best_epoch: float = 0.0
    best_s: float = 0.0
    """Seconds from the start to the end of the best epoch's validation."""
    total_s: float = 0.0
    epoch_s: float = 0.0
    """Median seconds of one epoch of training, without validation."""
    iterations: int = 0
    resumed: bool = False
    optimizer: str = ""

    @property
    def valid_auc(self) -> float:
        """AUC of the weights that were kept; NaN without validation rows."""
        return max((entry["valid_auc"] for entry in self.history), default=math.nan)


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
        self.optimizers = [_optimizer(step) for step in self.steps]
        self.samplers = [self._sampler(step) for step in self.steps]
        self.order = torch.empty(0, dtype=torch.int64)
        self.iteration = 0
        self.stale = 0
        self.best_auc = -math.inf
        self.best_state: dict[str, Tensor] | None = None
        self.log = FitLog(optimizer=self.steps[0].optimizer)
        self.epoch_seconds: list[float] = []
        self._loss_sum = torch.zeros((), device=self.device, dtype=torch.float64)
        self._first_bad = [torch.full((), math.inf, device=self.device) for _ in self.steps]
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
        points = self.plan.evaluation_points(self.per_epoch)
        self._resume()
        self._clock_zero = now(self.device) - self.log.total_s
        self.model.train()
        epoch_time = 0.0
        for point in points:
            if point <= self.iteration or self._stopped():
                continue
            epoch_time = self._train_until(point, epoch_time)
            self._check_finite()
            if self.valid is not None:
                self._validate(self.valid)
            self.log.total_s = now(self.device) - self._clock_zero
            self._save()
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
                    self._update(number, sampler.next() if sampler else batch)
            if self.iteration % self.per_epoch == 0:
                end = now(self.device)
                self.epoch_seconds.append(epoch_time + end - start)
                epoch_time, start = 0.0, end
        return epoch_time + now(self.device) - start

    def _update(self, number: int, batch: Batch) -> None:
        step, optimizer = self.steps[number], self.optimizers[number]
        own = {id(param) for param in step.params}
        for param in self._all_params():
            param.requires_grad_(id(param) in own)
        loss = step.loss(self.model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.plan.clip_norm is not None:
            nn.utils.clip_grad_norm_(step.params, self.plan.clip_norm)
        optimizer.step()
        table = self.model.table
        for param in step.params:
            if param is not table.weight:
                param.grad = None
        table.clear_grad()
        if step.after is not None:
            step.after(optimizer)
        value = loss.detach()
        if number == 0:
            self._loss_sum += value
        first = self._first_bad[number]
        bad = torch.where(torch.isfinite(value), math.inf, float(self.iteration)).to(first.dtype)
        self._first_bad[number] = torch.minimum(first, bad)

    def _all_params(self) -> Iterable[nn.Parameter]:
        yield from self.model.parameters()
        for step in self.steps:
            yield from step.params

    def _check_finite(self) -> None:
        first = torch.stack(self._first_bad).tolist()
        number = first.index(min(first))
        if math.isinf(first[number]):
            return
        guilty = self.steps[number]
        what = (
            f"{self.plan.name}: the loss of step {guilty.name!r} is not finite from iteration {int(first[number])} on"
        )
        names = {id(param): name for name, param in self.model.named_parameters()}
        for step in (guilty, *self.steps):
            for place, param in enumerate(step.params):
                if not bool(torch.isfinite(param).all()):
                    culprit = f"{names.get(id(param), f'parameter {place}')} of step {step.name!r}"
                    raise NonFiniteLossError(
                        f"{what}; first parameter that is not finite: {culprit}. Lower its learning rate."
                    )
        raise NonFiniteLossError(f"{what}, though all parameters are.")

    def _validate(self, valid: Rows) -> None:
        quality = evaluate(self.model, valid)
        epoch = self.iteration / self.per_epoch
        done = self.iteration - (self.log.iterations if self.log.history else 0)
        entry = {
            "epoch": epoch,
            "train_loss": float(self._loss_sum) / max(done, 1),
            "valid_auc": quality.auc,
            "valid_logloss": quality.logloss,
            "lr": float(self.optimizers[0].param_groups[0]["lr"]),
        }
        self._loss_sum.zero_()
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
            for optimizer in self.optimizers:
                for group in optimizer.param_groups:
                    group["lr"] *= self.plan.lr_decay

    def _finish(self) -> None:
        if self.best_state is not None:
            self.model.load_state_dict(self.best_state)
        self.model.table.release()
        for param in self._all_params():
            param.requires_grad_(True)
        self.log.epochs = self.iteration / self.per_epoch
        self.log.iterations = self.iteration
        self.log.epoch_s = statistics.median(self.epoch_seconds) if self.epoch_seconds else math.nan
        self.log.total_s = now(self.device) - self._clock_zero
        if self.valid is None:
            self.log.best_epoch, self.log.best_s = self.log.epochs, self.log.total_s

    def _save(self) -> None:
        if self.checkpoint is None:
            return
        state = {
            "model": self.model.state_dict(),
            "params": [param.detach() for step in self.steps for param in step.params],
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "generators": [
                self.generator.get_state(),
                *(s.generator.get_state() for s in self.samplers if s),
            ],
            "samplers": [(s.order, s.at) for s in self.samplers if s],
            "torch_rng": torch.get_rng_state(),
            "order": self.order,
            "counters": (self.iteration, self.stale, self.best_auc),
            "best": self.best_state,
            "log": (self.log.history, self.log.best_epoch, self.log.best_s, self.log.total_s),
            "epoch_seconds": self.epoch_seconds,
        }
        with write_atomically(self.checkpoint, "wb") as file:
            torch.save(state, file)

    def _resume(self) -> None:
        if self.checkpoint is None or not self.checkpoint.exists():
            return
        state: dict[str, Any] = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        with torch.no_grad():
            params = [param for step in self.steps for param in step.params]
            for param, value in zip(params, state["params"], strict=True):
                param.copy_(value)
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        samplers = [s for s in self.samplers if s]
        for generator, saved in zip(
            [self.generator, *(s.generator for s in samplers)], state["generators"], strict=True
        ):
            generator.set_state(saved.cpu())
        for sampler, (order, at) in zip(samplers, state["samplers"], strict=True):
            sampler.order, sampler.at = order.cpu(), at
        torch.set_rng_state(state["torch_rng"].cpu())
        self.order = state["order"]
        self.iteration, self.stale, self.best_auc = state["counters"]
        self.best_state = state["best"]
        self.log.history, self.log.best_epoch, self.log.best_s, self.log.total_s = state["log"]
        self.log.iterations, self.log.resumed = self.iteration, True
        self.epoch_seconds = state["epoch_seconds"]


def _optimizer(step: Step) -> torch.optim.Optimizer:
    groups = [
        {
            "params": list(group.params),
            "lr": group.lr,
            "weight_decay": group.weight_decay,
            "maximize": group.maximize,
        }
        for group in step.groups
    ]
    if step.optimizer == "adam":
        return torch.optim.Adam(groups, fused=True)
    return torch.optim.SGD(groups, fused=True)
