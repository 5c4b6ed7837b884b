"""What only a GPU can show: run with ``pytest -m gpu``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.api import Batch, CTRModel
from bench.data.prepare.prepare import prepare
from bench.data.store.store import store_folder
from bench.datasets import resolve_dataset
from bench.engine.clock import Clock
from bench.engine.device import choose_device
from bench.engine.evaluate import auc, evaluate, logloss
from bench.engine.fast import graph
from bench.plugins import backbones
from bench.records import CellRecord
from bench.rows import load as loading
from bench.rows import residency
from bench.rows.load import LoadedData, load, place
from bench.run.cell import run_cell
from bench.run.job import Job
from bench.speed import stages
from bench.speed.gates import GATES
from bench.speed.limits import Limits
from bench.speed.settings import SpeedConfig

pytestmark = pytest.mark.gpu

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
PLANTED = "planted[rows=40000]"
NET = "deepfm[mlp=32-16,dropout=0]"
"""Without dropout, whose draws differ from device to device."""


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> LoadedData:
    folder: Path = tmp_path_factory.mktemp("planted")
    card = resolve_dataset(PLANTED)
    prepare(card, None, store_folder(folder, card))
    return load(store_folder(folder, card), card)


@pytest.fixture
def cell(make_job: Callable[..., Job], planted: LoadedData) -> Callable[..., tuple[CellRecord, list[dict[str, Any]]]]:
    """Run a cell of the planted data on a device; its record, and the warnings on the way."""

    def run(device: torch.device, method: str = "no-selection") -> tuple[CellRecord, list[dict[str, Any]]]:
        events: list[dict[str, Any]] = []
        job = make_job(method, backbone=NET, epochs=3, emit=events.append)
        record = run_cell(replace(job, data=place(planted, device, 0), device=device))
        assert record.status == "ok", record.traceback
        return record, [event for event in events if event["event"] == "warning"]

    return run


def test_the_device_is_found() -> None:
    assert choose_device("auto").type == "cuda"


@pytest.mark.parametrize("method", ["no-selection", "light-fmp[pretrain_rows=2000,pretrain_epochs=2]"])
def test_cells_agree_with_the_cpu_and_run_as_graphs(cell: Callable[..., Any], method: str) -> None:
    (on_gpu, warnings), (on_cpu, _) = cell(CUDA, method), cell(CPU, method)
    assert warnings == []
    assert set(on_gpu.notes["execution"].values()) <= {"model: captured", "pretrain: captured"}
    if on_gpu.kept_fields == on_cpu.kept_fields:  # gates draw other noise on another device
        assert on_gpu.auc == pytest.approx(on_cpu.auc, abs=2e-4 if method == "no-selection" else 2e-2)
    assert on_gpu.peak_mem_bytes > 0


def test_out_of_core_equals_resident(cell: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    inside, _ = cell(CUDA)
    for module in (residency, loading):
        monkeypatch.setattr(module, "free_bytes", lambda device: 0)
    outside, (warning,) = cell(CUDA)
    assert "paged in" in warning["text"]
    assert outside.notes["execution"]["train"] == "model: captured; rows paged in from main memory"
    assert outside.auc == pytest.approx(inside.auc, abs=2e-4)
    assert outside.logloss == pytest.approx(inside.logloss, abs=2e-4)


def test_paged_rows_arrive_unharmed(planted: LoadedData) -> None:
    """Far more batches than are under way at once, each checked after work that keeps the device busy."""
    rows = replace(planted.train, goes_to=CUDA)
    weight = torch.randn(4096, 4096, device=CUDA)
    order = torch.randperm(len(rows))
    for part, batch in zip(order.split(500), rows.batches(order.split(500)), strict=True):
        weight = (weight @ weight).clamp_(-1, 1)
        assert torch.equal(batch.ids.cpu(), planted.train.ids[part])
        assert torch.equal(batch.labels.cpu(), planted.train.labels[part])
    copies = [batch.ids.clone() for batch in rows.slices(777)]
    assert torch.equal(torch.cat(copies).cpu(), planted.train.ids)


@pytest.mark.parametrize("levels", [7, 10**6])
def test_auc_and_log_loss_equal_those_of_the_cpu(levels: int) -> None:
    draw = np.random.default_rng(0)
    labels = torch.from_numpy((draw.random(300_000) < 0.2).astype(np.float32))
    logits = torch.from_numpy(np.round(draw.normal(labels.numpy()) * levels) / levels).float()
    assert auc(logits.cuda(), labels.cuda()) == auc(logits.clone(), labels)
    assert logloss(logits.cuda(), labels.cuda()) == pytest.approx(logloss(logits, labels), rel=1e-12)


def test_auc_of_a_large_split_takes_little_memory() -> None:
    logits = torch.randn(8_000_000, device=CUDA)
    labels = (torch.rand(8_000_000, device=CUDA) < 0.25).float()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    assert auc(logits, labels) == pytest.approx(0.5, abs=1e-3)
    logloss(logits, labels)
    assert torch.cuda.max_memory_allocated() - before < 1 << 30


def test_a_failed_capture_leaves_random_numbers_as_they_were(
    make_job: Callable[..., Job], planted: LoadedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout goes on after the failure, and draws what it would have drawn; so does the next training's capture."""

    def loss(model: CTRModel, batch: Batch) -> Tensor:
        value = F.binary_cross_entropy_with_logits(F.dropout(model(batch), 0.3), batch.labels)
        return value if value.item() > 0 else -value

    def train(captured: bool, **changes: Any) -> tuple[str, float]:
        monkeypatch.setattr(graph, "WARM_UP", 3 if captured else 10**9)
        data = place(planted, CUDA, 0)
        job = replace(make_job("no-selection", backbone=NET), data=data, device=CUDA)
        ctx = job.context(Clock(CUDA))
        model = ctx.model()
        log = ctx.fit(model, data.train, steps=[ctx.step(model, **changes)], epochs=1, name="fit")
        return log.execution, evaluate(model, data.valid).auc

    (failed, one), (_, other) = train(True, loss=loss), train(False, loss=loss)
    assert "not permitted when stream is capturing" in failed
    assert one == pytest.approx(other, abs=2e-4)
    assert train(True)[0] == "model: captured"


@pytest.mark.parametrize("gate", [None, *GATES])
@pytest.mark.parametrize("name", backbones().names())
def test_the_speed_command_measures_captured_steps(
    name: str, gate: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if gate == "sample [B, F]" and name == "logistic":
        pytest.skip("a controller reads embeddings, and this backbone has none")
    captured: list[bool] = []
    original = graph.CudaGraphs.capture

    def capture(self: graph.CudaGraphs, work: Callable[[], None]) -> Callable[[], None]:
        captured.append(True)
        return original(self, work)

    monkeypatch.setattr(graph.CudaGraphs, "capture", capture)
    config = SpeedConfig(rows=20_000, vocabulary=50_000, batch=1000, repeats=2, window_s=0.01, device="cuda")
    rate = stages.train(config, name, gate, Limits(1e13, 1e12, 1e12, 1e9, 1e9))
    assert rate.rows_per_s
    assert captured == [True]
