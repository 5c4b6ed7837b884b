"""Cells in a Ray cluster of two nodes on this machine, one of which is lost in the middle."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from cell_records import contents

from bench.data.prepare.prepare import prepare
from bench.data.store.store import store_folder
from bench.datasets import resolve_dataset
from bench.errors import ConfigError
from bench.records import RunFolder
from bench.run import executors
from bench.run.check import check
from bench.run.config import RunConfig

HOME = Path(__file__).resolve().parents[2]
HELD = """
import time
from pathlib import Path

import numpy as np

from bench.api import Method, MethodEntry, Selection


class Held(Method):
    \"\"\"Says that it has begun, and ranks once it may.\"\"\"

    def select(self, ctx, train, selection_rows):
        here = Path({folder!r})
        (here / f"{ctx.tau}-{ctx.seed}").touch()
        while not (here / "go").exists():
            time.sleep(0.1)
        return Selection(scores=-np.arange(ctx.schema.n_fields, dtype=float))


ENTRY = MethodEntry(target=f"{__name__}:Held", title="Held", family="shallow")
"""
SMALL = "planted[rows=3000,fields=8,main=4,interaction=2,redundant=1]"
installed = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: it is an extra")


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "find_spec", lambda name: None)
    for name, extra in (("ray", "ray"), ("slurm", "slurm")):
        with pytest.raises(ConfigError, match=rf"not installed: pip install 'ctr-field-bench\[{extra}\]'"):
            check(RunConfig(datasets=("x",), backbones=("y",), executor=name))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"executor": "inline", "address": "a:1"}, "address=a:1 says nothing to --executor inline: it is for ray"),
        ({"executor": "process:1", "cpus_per_cell": 2}, "cpus-per-cell=2 says nothing to --executor process: .*slurm"),
        ({"executor": "slurm", "address": "a:1"}, "it is for ray"),
        ({"executor": "ray", "slurm": ("partition=x", "qos=y")}, "slurm=partition=x qos=y says nothing to"),
        ({"executor": "ray", "cpus_per_cell": 0}, r"cpus-per-cell=0 is out of range; allowed: \[1, inf\)"),
        ({"executor": "ray", "gpus_per_cell": -1.0}, "gpus-per-cell=-1"),
        ({"executor": "ray:0"}, "with no cell in flight"),
        ({"executor": "ray", "timing": 3}, "a timing pass watches its own machine; add --executor process"),
    ],
)
def test_settings_for_another_executor_are_refused(
    changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "find_spec", lambda name: "there")
    with pytest.raises(ConfigError, match=message):
        check(RunConfig(datasets=("x",), backbones=("y",), **changes))
    assert check(RunConfig(datasets=("x",), backbones=("y",), executor="ray:99", timeout_s=5.0)).executor == "ray:99"


@pytest.fixture
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    found = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        yield found, found.add_node(**node)
    finally:
        found.shutdown()


def command(out: Path, data: Path, held: Path, *more: str) -> list[str]:
    argv = [
        "--plugin",
        str(held),
        "--datasets",
        SMALL,
        "--methods",
        "no-selection",
        "held",
        "--backbones",
        "dnn[mlp=8]",
        "--epochs",
        "2",
    ]
    argv += ["--seeds", "6", "--prune-ratio", "0.25", "0.5", "0.75", "--threads", "1"]
    return [sys.executable, "-m", "bench", "run", *argv, "--out", str(out), "--data-dir", str(data), *more]


def alike(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        name: {key: value for key, value in stored.items() if key not in ("git", "host")}
        for name, stored in contents(folder).items()
    }


@installed
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_lost_node_costs_no_cell_and_changes_no_record(cluster: Any, tmp_path: Path) -> None:
    both, second = cluster
    card = resolve_dataset(SMALL)
    prepare(card, None, store_folder(tmp_path / "data", card))
    begun, held = tmp_path / "begun", tmp_path / "held.py"
    begun.mkdir()
    held.write_text(HELD.replace("{folder!r}", repr(str(begun))))
    env = {**os.environ, "PYTHONPATH": str(HOME), "OMP_NUM_THREADS": "1"}
    out = tmp_path / "ray"
    argv = command(out, tmp_path / "data", held, "--executor", "ray", "--address", both.address)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = subprocess.Popen(argv, cwd=HOME, env=env, **pipes)  # type: ignore[call-overload]
    while len(list(begun.iterdir())) < 2:  # one on each node, where they stay
        assert started.poll() is None, started.communicate()
        time.sleep(0.2)
    both.remove_node(second, allow_graceful=False)
    (begun / "go").touch()
    printed, said = started.communicate(timeout=280)
    assert started.returncode == 0, said
    assert "a node was lost" in said
    records = RunFolder(out).records()
    assert [record.status for record in records] == ["ok"] * 24
    ends = [line.partition("] ")[2].partition(": ")[0] for line in said.splitlines() if line.startswith("[")]
    assert len(ends) == len(set(ends)) == 24, "every cell ends once"
    assert all(record.threads == 1 and record.peak_mem_bytes for record in records)
    subprocess.run(
        command(tmp_path / "one", tmp_path / "data", held), cwd=HOME, env=env, check=True, capture_output=True
    )
    assert alike(out) == alike(tmp_path / "one")
    assert "Held" in printed
