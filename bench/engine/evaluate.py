"""Exact quality from logits, and inference time."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.data.rows import Rows
from bench.engine.clock import now
from bench.engine.model import CTRModel

EVAL_BATCH = 16_384
"""Rows per forward pass where only the scores matter."""
INFERENCE_BATCH = 4_096
"""Rows per forward pass of the timed inference."""


@dataclass(frozen=True)
class Quality:
    """Scores of a model on one split."""

    auc: float
    logloss: float


@torch.inference_mode()
def predict(model: CTRModel, rows: Rows, batch_size: int = EVAL_BATCH) -> Tensor:
    """Logits of all rows, [N], in eval mode; the model's mode is restored."""
    was_training = model.training
    model.eval()
    logits = torch.cat([model(batch) for batch in model.view(rows).slices(batch_size)])
    model.train(was_training)
    return logits


def auc(logits: Tensor, labels: Tensor) -> float:
    """Area under the ROC curve: the exact Mann-Whitney statistic with mid-ranks for ties.

    Args:
        logits: scores [N]; any strictly increasing transform of the probability gives the same value.
        labels: 0 or 1, [N].

    Returns:
        NaN where one class is missing or a score is no number.
    """
    scores, order = torch.sort(logits)
    positive = (labels[order] > 0.5).to(torch.int64)  # [N]
    _, counts = torch.unique_consecutive(scores, return_counts=True)  # ties, ascending
    ends = counts.cumsum(0)
    mid_rank = ends.double() - (counts.double() - 1) / 2
    positives_below = torch.cat([positive.new_zeros(1), positive.cumsum(0)])
    positives_tied = positives_below[ends] - positives_below[ends - counts]
    n_positive = int(positives_below[-1])
    n_negative = len(labels) - n_positive
    if n_positive == 0 or n_negative == 0 or bool(scores[-1].isnan()):  # NaN sorts last
        return math.nan
    rank_sum = float((mid_rank * positives_tied).sum())
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def logloss(logits: Tensor, labels: Tensor) -> float:
    """Mean binary cross-entropy in nats, from logits, accumulated in float64 without clipping."""
    z = logits.double()
    return float((F.softplus(z) - labels.double() * z).mean())


def evaluate(model: CTRModel, rows: Rows) -> Quality:
    """AUC and log loss of ``model`` on ``rows``."""
    logits = predict(model, rows)
    return Quality(auc(logits, rows.labels), logloss(logits, rows.labels))


@dataclass(frozen=True)
class InferenceTime:
    """Seconds of inference on tensors that already lie on the device."""

    total_s: float
    """One pass over all rows in batches of ``INFERENCE_BATCH``: median of five measurements."""
    row_p50_s: float
    """One row at a time: median over the calls."""
    row_p99_s: float
    """One row at a time: 99th percentile over the calls."""


@torch.inference_mode()
def inference_time(model: CTRModel, rows: Rows, repeats: int = 5, at_least_s: float = 0.5) -> InferenceTime:
    """Time eval-mode forward passes over ``rows``, gates included, kept columns only.

    Each of the ``repeats`` measurements runs passes until ``at_least_s`` seconds are filled and takes their mean;
    one pass goes before as warm-up.
    """
    model.eval()
    view, device = model.view(rows), rows.device

    def one_pass() -> None:
        for batch in view.slices(INFERENCE_BATCH):
            model(batch)

    one_pass()
    measured = []
    for _ in range(repeats):
        passes, start = 0, now(device)
        while passes == 0 or now(device) - start < at_least_s / repeats:
            one_pass()
            passes += 1
        measured.append((now(device) - start) / passes)
    calls = _single_row_calls(model, view)
    return InferenceTime(
        total_s=statistics.median(measured),
        row_p50_s=statistics.median(calls),
        row_p99_s=sorted(calls)[math.ceil(0.99 * len(calls)) - 1],
    )


def _single_row_calls(model: CTRModel, view: Rows, calls: int = 200, warm_up: int = 20) -> list[float]:
    """Seconds of single-row forward passes over distinct rows spread over the split."""
    positions = torch.linspace(0, len(view) - 1, calls + warm_up).long().to(view.device)
    singles = [view.batch(position[None]) for position in positions]
    seconds = []
    for single in singles:
        start = now(view.device)
        model(single)
        seconds.append(now(view.device) - start)
    return seconds[warm_up:]


def flops_per_row(model: CTRModel, rows: Rows, batch_size: int = 64) -> int:
    """Floating-point operations of one row's forward pass, matrix products only (look-ups count zero)."""
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415

    model.eval()
    batch = next(model.view(rows).slices(batch_size))
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(batch)
    total: int = counter.get_total_flops()
    return round(total / len(batch))
