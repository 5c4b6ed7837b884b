"""Cells as jobs: those of submitit's local executor, and the script that Slurm would be given."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from cell_records import TINY, Watcher, without_circumstances

from bench.errors import ConfigError
from bench.records import RunFolder
from bench.run.config import RunConfig
from bench.run.session import Session, resolve
from bench.run.sweep import run

pytestmark = [
    pytest.mark.skipif(find_spec("submitit") is None, reason="submitit is not installed: it is an extra"),
    pytest.mark.filterwarnings("ignore"),
]
Bench = Callable[..., Any]
HOME = Path(__file__).resolve().parents[2]


@pytest.fixture
def config(tmp_path: Path, data_dir: Path, zoo: Path) -> RunConfig:
    return RunConfig(
        datasets=(TINY,),
        methods=("random-k", "zoo-killed"),
        backbones=("dnn[mlp=8]",),
        prune_ratio=(0.5,),
        epochs=1,
        threads=1,
        executor="slurm:2",
        slurm=("cluster=local",),
        out=tmp_path / "run",
        data_dir=data_dir,
    )


@pytest.mark.slow
def test_jobs_find_what_one_process_finds_and_their_death_is_survived(
    config: RunConfig, tmp_path: Path, zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.run.executors import slurm

    monkeypatch.setenv("PYTHONPATH", f"{zoo}{os.pathsep}{HOME}")
    monkeypatch.setattr(slurm, "LATE_S", 0.5)
    watcher = Watcher()
    found = {record.label: record for record in run(resolve(config), watcher)}
    here = replace(config, methods=("random-k",), executor="inline", slurm=(), out=tmp_path / "one")
    (plain,) = run(resolve(here), Watcher())
    record = found["random-k"]
    changed = {key: value for key, value in without_circumstances(record).items() if key != "host"}
    assert changed == {key: value for key, value in without_circumstances(plain).items() if key != "host"}
    assert {key: record.host[key] for key in plain.host} == plain.host
    assert found["zoo-killed"].status == "failed"
    assert "left no result; its log is jobs/" in str(found["zoo-killed"].reason)
    assert {"train", "epoch", "evaluate"} <= set(watcher.phases)
    assert RunFolder(config.out).predictions.joinpath(f"{record.config_hash[:16]}.npy").is_file()
    left = [file.name for file in (config.out / slurm.JOBS).iterdir()]
    assert left and all(name.endswith((".out", ".err")) for name in left), left


def test_a_machine_without_slurm_is_told_so(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match=r"there is no sbatch here.*--show-script.*cluster=local"):
        run(resolve(replace(config, slurm=("partition=short",))), Watcher())
    assert not config.out.exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("partition",), "slurm=partition: write KEY=VALUE"),
        (("partition=",), "write KEY=VALUE"),
        (("qos=a", "qos=b"), "qos is given twice"),
        (("time=5",), "time comes from --timeout-s; leave it out"),
        (("cpus_per_task=5",), "comes from --cpus-per-cell"),
        (("cluster=moon",), "slurm=cluster=moon: choose one of slurm, local"),
    ],
)
def test_settings_of_jobs_that_cannot_be_are_refused(given: tuple[str, ...], message: str) -> None:
    from bench.run.executors.slurm import cluster_and_jobs

    with pytest.raises(ConfigError) as refused:
        cluster_and_jobs(given)
    assert message in str(refused.value)


def test_the_script_asks_for_what_the_plan_says(bench: Bench, config: RunConfig) -> None:
    from bench.run.needs import memory_bytes

    wanted = memory_bytes(Session(resolve(config)))
    argv = ["run", "--datasets", TINY, "--methods", "random-k", "--backbones", "dnn[mlp=8]", "--seeds", "3"]
    argv += ["--prune-ratio", "0.5", "--data-dir", str(config.data_dir), "--out", "x", "--executor", "slurm:2"]
    argv += ["--slurm", "partition=short", "account=ads", "--cpus-per-cell", "4", "--timeout-s", "3590"]
    found = bench(*argv, "--show-script")
    assert found.code == 0, found.err
    lines = found.out.splitlines()
    (size,) = {-(-bytes_ // 2**30) for bytes_ in wanted.values()}
    for line in (
        "--partition=short", "--account=ads", "--cpus-per-task=4", f"--mem={size}GB", "--time=60", "--array=0-1%2",
    ):  # fmt: skip
        assert f"#SBATCH {line}" in lines, found.out
    assert "submitit.core._submit" in found.out
    assert not Path("x").exists(), "nothing is submitted or written"
