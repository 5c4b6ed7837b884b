from __future__ import annotations

import resource
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.config import RunConfig
from bench.grid import Cell
from bench.isolation import _died
from bench.records import CellRecord
from bench.sweep import resolve, run

TINY = "planted[rows=1200,fields=8,main=4,interaction=2,redundant=1]"


class Watcher:
    def __init__(self) -> None:
        self.phases: list[str] = []

    def plan(self, total: int, done: int) -> None: ...

    def start(self, cell: Cell) -> None: ...

    def event(self, event: dict[str, Any]) -> None:
        self.phases.append(event.get("phase", "epoch"))

    def finish(self, cell: Cell, record: CellRecord, seconds: float) -> None: ...


@pytest.fixture
def config(tmp_path: Path, data_dir: Path, zoo: Path) -> RunConfig:
    return RunConfig(
        datasets=(TINY,),
        methods=("zoo-killed", "light-fmp"),
        backbones=("dnn[mlp=8]",),
        epochs=2,
        threads=1,
        out=tmp_path / "isolated",
        data_dir=data_dir,
        isolate=True,
    )


def test_a_cell_of_its_own_process_is_measured_and_its_death_survived(config: RunConfig, tmp_path: Path) -> None:
    watcher = Watcher()
    killed, isolated = run(resolve(config), watcher)
    assert (killed.status, killed.auc) == ("oom", None)
    assert "memory" in str(killed.reason)
    assert isolated.status == "ok", isolated.traceback
    physical = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert isolated.peak_mem_bytes is not None
    assert physical / 20 < isolated.peak_mem_bytes < physical * 20
    assert watcher.phases[-6:] == ["pretrain", "surgery", "train", "epoch", "epoch", "evaluate"]

    here = replace(config, methods=("light-fmp",), isolate=False, out=tmp_path / "here")
    (plain,) = run(resolve(here), Watcher())
    assert (isolated.auc, isolated.logloss) == (plain.auc, plain.logloss)
    assert isolated.kept_fields == plain.kept_fields
    assert isolated.config_hash == plain.config_hash
    assert plain.peak_mem_bytes is None


def test_a_cell_that_outlasts_its_limit_is_stopped(config: RunConfig) -> None:
    (record,) = run(resolve(replace(config, methods=("zoo-sleeps",), timeout_s=1.5)), Watcher())
    assert (record.status, record.reason) == ("timeout", "stopped after 1.5 s")
    assert record.auc is None


@pytest.mark.parametrize(
    ("exitcode", "status", "reason"),
    [
        (-signal.SIGKILL, "oom", "memory"),
        (-signal.SIGSEGV, "failed", "exit status -11"),
        (1, "failed", "exit status 1"),
    ],
)
def test_the_ways_a_child_may_die(exitcode: int, status: str, reason: str) -> None:
    found = _died(exitcode)
    assert found["status"] == status
    assert reason in found["reason"]
