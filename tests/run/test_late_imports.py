"""What takes long to import is loaded before the clock of a cell: a process's first cell must not pay for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import plugins

DATA = "planted[rows=600,fields=6,main=2,interaction=2,redundant=1]"
FEW = 30
"""Modules; the least that was ever mended were hundreds."""
RUN = """
import json, sys
from contextlib import contextmanager
from bench.cli import main
from bench.engine.clock import Clock

late, phase = [], Clock.phase

@contextmanager
def watched(self, name):
    before = set(sys.modules)
    with phase(self, name):
        yield
    if name in ("select", "train"):
        late.append(sorted(set(sys.modules) - before))

Clock.phase = watched
main(["run", *sys.argv[2:]])
open(sys.argv[1], "w").write(json.dumps(late))
"""


def late_imports(methods: list[str], out: Path) -> list[list[str]]:
    """By selection and training, in a fresh process, the modules that it was the first to import."""
    found = out / "late.json"
    given = ["--datasets", DATA, "--methods", *methods, "--backbones", "dnn[mlp=8]", "--seeds", "1", "--epochs", "1"]
    given += ["--executor", "inline", "--data-dir", str(out / "data"), "--out", str(out / "run")]
    command = [sys.executable, "-c", RUN, str(found), *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.is_file(), done.stderr
    late: list[list[str]] = json.loads(found.read_text())
    return late


def test_cuts_and_first_masks_load_nothing_while_the_clock_runs(tmp_path: Path) -> None:
    late = late_imports(["light-fmp", "sparserec[sweeps=2]"], tmp_path)
    assert len(late) >= 4  # a selection and a training of each
    assert [modules for modules in late if len(modules) >= FEW] == []


@pytest.mark.slow
@pytest.mark.parametrize("method", [name for name in plugins.methods().names() if name != "ranking-file"])
def test_no_method_loads_much_while_the_clock_runs(method: str, tmp_path: Path) -> None:
    assert [modules for modules in late_imports([method], tmp_path) if len(modules) >= FEW] == []
