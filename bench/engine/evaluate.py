"""Exact quality from logits, and inference time."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.engine.clock import now
from bench.engine.crew import Crew, current
from bench.engine.model import CTRModel
from bench.rows.rows import Batch, Rows

EVAL_BATCH = 16_384
"""Rows per forward pass where only the scores matter."""
LOSS_CHUNK = 1 << 18
"""Predictions turned to float64 at once."""
INFERENCE_BATCH = 4_096
"""Rows per forward pass of the timed inference."""
TIMED_BYTES = 64 << 20
"""Of rows that stay in a store: what of them is timed."""


@dataclass(frozen=True)
class Quality:
    """Scores of a model on one split."""

    auc: float
    logloss: float


class NonFiniteQualityError(RuntimeError):
    """A model's AUC or log loss is not finite; says on which rows and why."""


@torch.inference_mode()
def predict(model: CTRModel, rows: Rows, batch_size: int = EVAL_BATCH) -> Tensor:
    """Logits of all rows, [N], in eval mode; the model's mode is restored. Workers of a cell share the batches out."""
    was_training, crew = model.training, current()
    model.eval()
    batches = model.view(rows).slices(batch_size)
    logits = torch.cat([model(batch) for batch in batches]) if crew is None else _dealt(model, batches, len(rows), crew)
    model.train(was_training)
    return logits


def _dealt(model: CTRModel, batches: Iterator[Batch], n: int, crew: Crew) -> Tensor:
    """Logits of all n rows, of which each worker scores whole batches: the same ones that a single process scores."""
    logits, at = model.table.parameter.new_zeros(n), 0
    for number, batch in enumerate(batches):
        if number % crew.size == crew.rank:
            logits[at : at + len(batch)] = model(batch)
        at += len(batch)
    return crew.total([logits])[0]


def auc(logits: Tensor, labels: Tensor) -> float:
    """Area under the ROC curve: the exact Mann-Whitney statistic, a tie counted as half a pair.

    Args:
        logits: scores [N]; any strictly increasing transform of the probability gives the same value.
        labels: 0 or 1, [N].

    Returns:
        NaN where one class is missing or a score is no number.
    """
    positive = labels > 0.5
    ones, zeros = logits[positive], logits[~positive]
    pairs = len(ones) * len(zeros)
    if pairs == 0 or bool(logits.isnan().any()):
        return math.nan
    if len(ones) <= len(zeros):
        return _twice_below(zeros, ones) / 2 / pairs
    return (pairs - _twice_below(ones, zeros) / 2) / pairs


def _twice_below(many: Tensor, few: Tensor) -> int:
    """Twice the pairs in which the number of ``many`` is below that of ``few``, ties as halves; may sort both."""
    if many.is_cpu and many.dtype != torch.bfloat16:
        low, high = many.numpy(), few.numpy()
        low.sort()  # without the order of the places, which torch would also make, in a fraction of its time
        high.sort()  # neighbours end at neighbouring places: the search stays in cache
        return sum(int(np.searchsorted(low, high, side).sum()) for side in ("left", "right"))
    ascending = many.sort().values
    return sum(int(torch.searchsorted(ascending, few, right=right).sum()) for right in (False, True))


def logloss(logits: Tensor, labels: Tensor) -> float:
    """Mean binary cross-entropy in nats, from logits, accumulated in float64 without clipping."""
    total = torch.zeros((), dtype=torch.float64, device=logits.device)
    for start in range(0, len(logits), LOSS_CHUNK):
        part = slice(start, start + LOSS_CHUNK)
        z, y = logits[part].double(), labels[part].double()
        total += F.softplus(z).addcmul_(y, z, value=-1).sum()
    return float(total) / len(logits)


def evaluate(model: CTRModel, rows: Rows) -> Quality:
    """AUC and log loss of ``model`` on ``rows``."""
    return _quality(predict(model, rows), rows)


def _quality(logits: Tensor, rows: Rows) -> Quality:
    labels = rows.labels.to(logits.device)
    return Quality(auc(logits, labels), logloss(logits, labels))


def evaluate_finite(model: CTRModel, rows: Rows, what: str) -> Quality:
    """AUC and log loss of ``model`` on ``rows``; arguments and errors as of ``scored``."""
    return scored(model, rows, what)[0]


def scored(model: CTRModel, rows: Rows, what: str) -> tuple[Quality, Tensor]:
    """AUC and log loss of ``model`` on ``rows``, both finite, and the logits [N] that they are of.

    Args:
        model: evaluated as ``predict`` does.
        rows: what it is evaluated on.
        what: opens the message of the error.

    Raises:
        NonFiniteQualityError: AUC or log loss is not finite.
    """
    logits = predict(model, rows)
    quality = _quality(logits, rows)
    if math.isfinite(quality.auc) and math.isfinite(quality.logloss):
        return quality, logits
    head = f"{what}: AUC {quality.auc:g}, Logloss {quality.logloss:g}"
    bad = logits.isfinite().logical_not_().nonzero()
    if not len(bad):
        positives = int(torch.count_nonzero(rows.labels > 0.5))
        raise NonFiniteQualityError(
            f"{head}: {positives} of its {len(rows)} rows have label 1, and AUC needs both labels. Use more rows."
        )
    head += f": the scores of {len(bad)} of {len(rows)} rows are not finite"
    if len(bad) == len(rows):
        raise NonFiniteQualityError(
            f"{head}. Lower the learning rate, and look at what the method does to the weights."
        )
    first = int(rows.index[int(bad[0])]) + 1
    raise NonFiniteQualityError(
        f"{head}, the first that of row {first} of the table. Look at that row's numbers, or lower the learning rate."
    )


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
def inference_time(
    model: CTRModel, rows: Rows, repeats: int = 5, at_least_s: float = 0.5, calls: int = 200
) -> InferenceTime:
    """Time eval-mode forward passes over ``rows``, gates included, kept columns only.

    Each of the ``repeats`` measurements runs passes until ``at_least_s`` seconds are filled and takes their mean;
    one pass goes before as warm-up. Single rows are timed over ``calls`` of them. Of rows that stay in a store as many
    are timed as take ``TIMED_BYTES``, and their seconds are those of all in proportion.
    """
    model.eval()
    timed = rows.some(TIMED_BYTES)
    view, device = model.view(timed), rows.device

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
    singles = _single_row_calls(model, view, calls)
    return InferenceTime(
        total_s=statistics.median(measured) * (len(rows) / len(timed)),
        row_p50_s=statistics.median(singles),
        row_p99_s=sorted(singles)[math.ceil(0.99 * len(singles)) - 1],
    )


def _single_row_calls(model: CTRModel, view: Rows, calls: int, warm_up: int = 20) -> list[float]:
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
