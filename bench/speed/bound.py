"""The least time a training step can take on a machine, from its measured limits.

    seconds = matrix products / GEMM rate + gathered rows / gather rate + scattered rows / scatter rate
              + 28 bytes · numbers that Adam moves in the table and its gate's / bandwidth of Adam there

Adam moves all numbers of a table, lazy Adam those of the distinct rows that the batch looks up. Matrix products are
counted as executed, forward and backward: a faster form that executes more of them has a lower bound. Activations,
sums and the parameters of the layers are left out, so that no implementation reaches the bound.
"""

from __future__ import annotations

import torch

from bench.engine.model import CTRModel
from bench.engine.steps import log_loss
from bench.engine.table import EmbeddingTable
from bench.profiles import Optimizer
from bench.rows.rows import Batch
from bench.speed.limits import ADAM_BYTES, Limits

COUNTED_ROWS = 64


def step_flops_per_row(model: CTRModel, batch: Batch) -> float:
    """Floating-point operations of one row's forward and backward pass, matrix products only."""
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415

    numeric = None if batch.numeric is None else batch.numeric[:COUNTED_ROWS]
    pooled = None if batch.pooled is None else batch.pooled[:COUNTED_ROWS]
    part = Batch(batch.ids[:COUNTED_ROWS], numeric, batch.labels[:COUNTED_ROWS], pooled)
    with FlopCounterMode(display=False) as counter:
        log_loss(model, part).backward()  # type: ignore[no-untyped-call]
    for param in model.parameters():
        param.grad = None
    for table in tables(model):
        table.release()
    return float(counter.get_total_flops()) / len(part)


def tables(model: CTRModel) -> list[EmbeddingTable]:
    """The model's table and those of its gate."""
    return [module for module in model.modules() if isinstance(module, EmbeddingTable)]


def bound_rows_per_s(
    model: CTRModel, batch: Batch, flops_per_row: float, limits: Limits, optimizer: Optimizer = "adam"
) -> float:
    """Rows per second of training at the limits, which are those of the same optimiser."""
    n_ids = batch.ids.numel()
    width = sum(table.weight.shape[1] for table in tables(model))
    moved = len(torch.unique(batch.ids)) if optimizer == "lazy-adam" else len(model.table.weight)
    numbers = moved * width
    lookups = width / max(model.dim, 1)
    step_s = (
        flops_per_row * len(batch) / limits.gemm_flops_per_s
        + n_ids * lookups / limits.gather_rows_per_s
        + n_ids * lookups / limits.scatter_rows_per_s
        + ADAM_BYTES * numbers / limits.adam_bytes_per_s
    )
    return len(batch) / step_s
