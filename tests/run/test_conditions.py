"""What a run's records will say of where its cells were computed, before any of them is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cell_records import TINY

from bench import environment
from bench.run.conditions import conditions, threads_of
from bench.run.config import RunConfig
from bench.run.session import resolve


@pytest.mark.parametrize(
    ("changes", "threads"),
    [
        ({}, 8),
        ({"isolate": True}, 8),
        ({"executor": "process:2"}, 8 // 2),
        ({"workers_per_cell": 2}, 8 // 2),
        ({"executor": "process:2", "workers_per_cell": 2}, 8 // (2 * 2)),
        ({"executor": "process:16"}, 1),
        ({"executor": "process:2", "threads": 3}, 3),
        ({"executor": "ray"}, 1),
        ({"executor": "ray:9", "cpus_per_cell": 6, "workers_per_cell": 2}, 6 // 2),
        ({"executor": "slurm", "workers_per_cell": 2}, 1),
        ({"executor": "slurm", "cpus_per_cell": 3, "workers_per_cell": 2}, 1),
    ],
)
def test_threads_are_shared_out_or_reserved(
    changes: dict[str, Any], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert threads_of(replace(RunConfig(), **changes)) == threads


@pytest.mark.parametrize(
    ("changes", "more"),
    [
        ({}, {}),
        ({"executor": "process:2"}, {environment.AT_ONCE: 2}),
        ({"workers_per_cell": 2}, {environment.WORKERS: 2}),
        ({"executor": "process:3", "workers_per_cell": 2}, {environment.AT_ONCE: 3, environment.WORKERS: 2}),
        ({"executor": "ray:3", "workers_per_cell": 2}, {environment.WORKERS: 2}),
    ],
)
def test_cells_at_a_time_and_workers_are_said_as_records_say_them(
    changes: dict[str, Any], more: dict[str, int], data_dir: Path, tmp_path: Path
) -> None:
    plain = RunConfig(datasets=(TINY,), backbones=("fm",), threads=1, data_dir=data_dir, out=tmp_path, device="cpu")
    found = conditions(resolve(replace(plain, **changes)))
    assert found == {"host": environment.host() | more, "device": "cpu", "threads": 1}
