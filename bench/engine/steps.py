"""What a training consists of: groups of parameters, steps, the plan, and the log of what happened."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.engine.model import CTRModel
from bench.rows.rows import Batch, Rows


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
    optimizer: Literal["adam", "sgd"] | None = None
    """Optimiser of these parameters, where it is not the step's."""


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
    """Runs after the update (proximal steps, clamps, masks); takes the optimiser of the first group, whose ``lr`` is a
    scalar tensor on a GPU."""

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
    burn_in: float = 0.0
    """Epochs before the first validation, so that nothing earlier is kept or stops the training."""
    lr_decay: float | None = None
    """Factor on all learning rates after an evaluation without gain."""
    clip_norm: float | None = None
    """Bound on a step's gradient norm."""
    name: str = "fit"
    lazy: bool = False
    """Whether Adam leaves the rows of embedding tables without data in a batch as they are."""
    by_lookup: bool | None = None
    """Whether losses, ``after``, the schedule, gate and backbone neither read nor write weights of tables, nor their
    moments, but by looking rows up, as the model's forward pass does; an ``after`` may do so once it has called the
    table's ``settle``. A CPU then updates large tables several steps at a time. None: so in trainings of plain steps
    without a schedule."""

    def evaluation_points(self, steps_per_epoch: int) -> list[int]:
        """Numbers of finished iterations after which to validate, increasing; the last is the end."""
        total = self.epochs * steps_per_epoch
        count = math.ceil(self.epochs / self.evaluate_every)
        points = {round(k * self.evaluate_every * steps_per_epoch) for k in range(1, count)}
        first = max(1, round(self.burn_in * steps_per_epoch))
        return sorted({p for p in points if first <= p < total} | {total})


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
    warmup_s: float | None = None
    """Seconds of a warm-up that came before, where the method says so; in none of the other numbers."""
    gates: dict[str, float] | None = None
    """Of a training that ends with its gates in place, where the method says so; as ``Remarks.gates``."""
    execution: str = ""
    """Which steps a GPU ran as graphs, and whether rows were paged in; empty where there is nothing to say."""

    @property
    def valid_auc(self) -> float:
        """AUC of the weights that were kept; NaN without validation rows."""
        return max((entry["valid_auc"] for entry in self.history), default=math.nan)
