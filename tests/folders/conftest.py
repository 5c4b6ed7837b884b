"""Two run folders with a cell in common, made once, and copies of them that a test may change."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cell_records import TINY
from folders_of_runs import change

from bench.cli import main

NAMES = {"a": ("no-selection", "random-k"), "b": ("random-k", "cardinality")}


@pytest.fixture(scope="session")
def made(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run folders ``a`` and ``b``; not to be changed."""
    home = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        for name, methods in NAMES.items():
            flags = ["--data-dir", str(data_dir), "--backbones", "dnn[mlp=8]", "--epochs", "1", "--seeds", "1"]
            assert main(["run", "--datasets", TINY, "--methods", *methods, *flags, "--out", name]) == 0
    for name in NAMES:
        for file in (home / name / "cells").iterdir():  # whatever else the machine was at
            change(file, disturbed={})
    return home


@pytest.fixture
def runs(made: Path, bench: Callable[..., Any]) -> Path:
    """Copies of both in the folder that ``bench`` works in."""
    for name in NAMES:
        shutil.copytree(made / name, Path(name))
    return Path.cwd()
