"""SIGKILL at random moments: all is whole afterwards, and the same command ends where an undisturbed one does."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cell_records import TINY, contents

Bench = Callable[..., Any]
HOME = Path(__file__).resolve().parent.parent.parent
KILLS = 20
RUN = [
    "run", "--datasets", TINY, "--methods", "no-selection", "random-k", "light-fmp", "--backbones", "dnn[mlp=8]",
    "--epochs", "12", "--seeds", "2", "--prune-ratio", "0.5", "--threads", "1",
]  # fmt: skip
LOADED_S = 1.0
"""Before a command has loaded its libraries it does nothing that a kill could hurt."""


def killed(argv: list[str], folder: Path, after_s: float) -> bool:
    """Start a command, kill it after ``after_s``; whether it had ended before."""
    env = {**os.environ, "PYTHONPATH": str(HOME), "OMP_NUM_THREADS": "1"}
    nowhere = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, "-m", "bench", *argv], cwd=folder, env=env, **nowhere)
    try:
        assert process.wait(after_s) == 0
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return False
    return True


def results(folder: Path) -> dict[str, Any]:
    """Records without their circumstances, of which the commit may change while the test runs."""
    return {name: {key: stored[key] for key in stored if key != "git"} for name, stored in contents(folder).items()}


def half_written(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob(".*")]


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_run_killed_twenty_times_ends_with_the_same_records(
    bench_process: Bench, data_dir: Path, tmp_path: Path, checkpoint: bool
) -> None:
    flags = [*RUN, "--data-dir", str(data_dir), *(["--checkpoint"] if checkpoint else [])]
    start = time.monotonic()
    assert bench_process(*flags, "--out", "whole").code == 0
    whole_s = time.monotonic() - start
    draw = random.Random(7)
    for kill in range(KILLS):
        if not killed([*flags, "--out", "run"], tmp_path, draw.uniform(LOADED_S, whole_s)) or kill == 0:
            continue
        for file in sorted((tmp_path / "run" / "cells").iterdir())[kill % 3 :: 3]:
            file.unlink()  # it got through before the kill: some cells are to do again
    again = bench_process(*flags, "--out", "run", timeout=300)
    assert again.code == 0, again.err
    assert results(tmp_path / "run") == results(tmp_path / "whole")
    assert half_written(tmp_path / "run") == []
    assert list((tmp_path / "run").rglob("*.pt")) == []


@pytest.mark.slow
def test_a_preparation_killed_twenty_times_gives_the_same_store(bench_process: Bench, tmp_path: Path) -> None:
    argv = ["prepare", "planted[rows=200000]", "--data-dir"]
    start = time.monotonic()
    assert bench_process(*argv, "whole").code == 0
    whole_s = time.monotonic() - start
    draw = random.Random(8)
    for _ in range(KILLS):
        killed([*argv, "data", "--force"], tmp_path, draw.uniform(LOADED_S, whole_s))
        for store in (tmp_path / "data").glob("[!.]*"):  # whole or absent
            assert (store / "manifest.json").is_file() and (store / "ids.npy").is_file()
    assert bench_process(*argv, "data", "--force").code == 0
    (store,), (wanted,) = ((tmp_path / name).iterdir() for name in ("data", "whole"))
    for file in wanted.glob("*.npy"):
        assert np.array_equal(np.load(file), np.load(store / file.name)), file.name
    assert half_written(tmp_path / "data") == []
