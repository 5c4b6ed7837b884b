"""What this machine can do at best at the few things that a training step must do."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from bench.engine.clock import now
from bench.engine.fast.adam import FusedAdam
from bench.engine.fast.lazy import LazyAdam
from bench.engine.fast.linear import full_precision, product
from bench.engine.fast.windowed import WINDOW, HotRows, WindowedAdam, pays
from bench.engine.table import EmbeddingTable
from bench.speed.data import make_rows
from bench.speed.settings import SpeedConfig

COPY_BYTES = 1 << 28
ADAM_BYTES = 28
"""Bytes a parameter that a fused Adam moves: reads weight, gradient and two moments, writes all but the gradient."""
AT_LEAST_S = 0.2


@dataclass(frozen=True)
class Limits:
    """Measured rates."""

    gemm_flops_per_s: float
    """Matrix products of the MLP in the precision asked for: forward, to the inputs, to the weights; all layers,
    weighted by work, by the faster of the libraries at hand."""
    copy_bytes_per_s: float
    """Read and write of a large tensor."""
    adam_bytes_per_s: float
    """Fused Adam over a table, at ``ADAM_BYTES`` a parameter and step, in one pass a step or, where that pays, in one
    pass for several; lazy Adam over the distinct rows of batches, copied out of the table and back."""
    gather_rows_per_s: float
    """Rows looked up by the ids of batches, in the table or, where dense Adam gains by that, among its hot rows."""
    scatter_rows_per_s: float
    """Rows of gradient added to a buffer as large as what is looked up in, and cleared from it."""


def measure_limits(config: SpeedConfig) -> Limits:
    """Measure all of them; takes a few seconds."""
    device = torch.device(config.device)
    return Limits(_gemm(config, device), _copy(device), _adam(config, device), *_gather_and_scatter(config, device))


def seconds(work: Callable[[], object], device: torch.device, repeats: int = 5) -> float:
    """Median seconds of ``work``, each measurement long enough for the clock."""
    work()
    measured: list[float] = []
    for _ in range(repeats):
        count, start = 0, now(device)
        while count == 0 or now(device) - start < AT_LEAST_S / repeats:
            work()
            count += 1
        measured.append((now(device) - start) / count)
    return statistics.median(measured)


def _gemm(config: SpeedConfig, device: torch.device) -> float:
    flops, total_s = 0.0, 0.0
    kind: dict[str, Any] = {"device": device, "dtype": torch.bfloat16 if config.precision == "bf16" else torch.float32}
    for inputs, outputs in pairwise((config.fields * config.dim, *config.mlp)):
        x = torch.randn(config.batch, inputs, **kind)
        weight = torch.randn(outputs, inputs, **kind)
        grad = torch.randn(config.batch, outputs, **kind)
        products: tuple[tuple[Tensor, Tensor], ...] = ((x, weight.t()), (grad, weight), (grad.t(), x))
        for left, right in products:
            flops += 2 * config.batch * inputs * outputs
            total_s += min(
                seconds(lambda way=way, left=left, right=right: way(left, right), device)  # type: ignore[misc]
                for way in _product_ways(left)
            )
    return flops / total_s


def _product_ways(left: Tensor) -> list[Callable[[Tensor, Tensor], Tensor]]:
    """All that can multiply ``left`` by a matrix here, in full precision."""
    plain = left.is_cpu and left.dtype == torch.float32
    fast = [lambda left, right: product(left, right.t(), None)] if plain and full_precision() else []
    return [torch.mm, *fast]


def _copy(device: torch.device) -> float:
    source = torch.ones(COPY_BYTES // 4, device=device)
    target = torch.empty_like(source)
    return 2 * COPY_BYTES / seconds(lambda: target.copy_(source), device)


def _adam(config: SpeedConfig, device: torch.device) -> float:
    table = EmbeddingTable(torch.zeros(config.vocabulary, config.dim, device=device))
    group: dict[str, Any] = {"params": [table.weight], "weight_decay": config.l2}
    if config.optimizer == "lazy-adam":
        return _lazy_adam(config, table, group)
    lookups = config.batch * config.fields
    if pays(table.weight, lookups):
        windowed = WindowedAdam([group], [table], lookups)
        table.gradient.accumulate(torch.empty(0, dtype=torch.int32), [])  # no step is taken before there is a gradient

        def window() -> None:
            for _ in range(WINDOW):
                windowed.step()
                table.clear_grad()

        return ADAM_BYTES * table.weight.numel() * WINDOW / seconds(window, device)
    table.weight.grad = torch.ones_like(table.weight)
    return ADAM_BYTES * table.weight.numel() / seconds(FusedAdam([group]).step, device)


def _lazy_adam(config: SpeedConfig, table: EmbeddingTable, group: dict[str, Any]) -> float:
    """Bytes per second over the distinct rows of generated batches, whose gradient is ready."""
    weight = table.weight
    lazy, device = LazyAdam([group], [table]), weight.device
    batches = [torch.unique(flat).long() for flat in _batches(config, device)]
    grads = torch.ones(max(len(rows) for rows in batches), config.dim, device=device)

    def work() -> None:
        for rows in batches:
            lazy.update_rows(weight, rows, grads[: len(rows)], lazy.param_groups[0])

    return ADAM_BYTES * config.dim * sum(len(rows) for rows in batches) / seconds(work, device)


def _batches(config: SpeedConfig, device: torch.device) -> list[Tensor]:
    """Ids of generated batches, int32 [B · F] each, at most 16."""
    ids = make_rows(config, min(config.rows, 16 * config.batch)).ids.to(device)
    return [ids[start : start + config.batch].reshape(-1) for start in range(0, len(ids), config.batch)]


def _gather_and_scatter(config: SpeedConfig, device: torch.device) -> tuple[float, float]:
    """Rows per second over the batches of generated data, of D columns."""
    batches = _batches(config, device)
    table = EmbeddingTable(torch.zeros(config.vocabulary, config.dim, device=device))
    grads = torch.ones(config.batch * config.fields, config.dim, device=device)
    lookups = config.batch * config.fields
    if config.optimizer == "adam" and pays(table.weight, lookups):
        WindowedAdam([{"params": [table.weight]}], [table], lookups)
        batches = batches[:WINDOW]
    held = table.gradient
    batches = [held.places(flat) for flat in batches]
    weight, n_ids = held.weight.detach(), sum(len(flat) for flat in batches)

    def gather() -> None:
        for flat in batches:
            weight.index_select(0, flat)

    def scatter() -> None:
        for flat in batches:
            held.accumulate(flat, [(0, grads[: len(flat)])])
            if isinstance(held, HotRows):
                held.grad.zero_()
            else:
                held.clear()

    return n_ids / seconds(gather, device), n_ids / seconds(scatter, device)
