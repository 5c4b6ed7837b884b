from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench import environment


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["run", "--seeds", "3"], "python -m bench run --seeds 3"),
        (["run", "--out", "/home/someone/runs/x"], "python -m bench run --out x"),
        (["run", "--out=/home/someone/runs/x", "--rows=5"], "python -m bench run --out=x --rows=5"),
        (["report", "runs/first"], "python -m bench report runs/first"),
        (["run", "--methods", "a[b=1,c=2]", "x y"], "python -m bench run --methods 'a[b=1,c=2]' 'x y'"),
    ],
)
def test_the_command_can_be_repeated_and_shows_no_absolute_path(
    monkeypatch: pytest.MonkeyPatch, argv: list[str], expected: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/bench/__main__.py", *argv])
    assert environment.command() == expected
    assert len(shlex.split(environment.command())) == 3 + len(argv)


def test_versions_are_those_imported() -> None:
    versions = environment.versions()
    assert versions["numpy"] == np.__version__
    assert versions["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))


def test_the_host_is_described_without_its_name() -> None:
    host = environment.host()
    assert host["cores"] == os.cpu_count()
    assert host["memory_bytes"] > 2**28
    assert host["cpu"]
    assert socket.gethostname() not in map(str, host.values())
    assert host["kernel"] == os.uname().release
    assert host["instruction_set"]
    drawn = Path("/proc/sys/kernel/random/boot_id")
    if drawn.exists():
        assert re.fullmatch("[0-9a-f]{12}", host["boot"]) and host["boot"] not in drawn.read_text().replace("-", "")


@pytest.mark.parametrize(
    ("given", "loaded", "waiting"),
    [
        ({}, False, "GOMP_SPINCOUNT=3000"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, False, "active"),
        ({"GOMP_SPINCOUNT": "1000"}, False, "GOMP_SPINCOUNT=1000"),
        ({"OMP_WAIT_POLICY": "ACTIVE", "KMP_BLOCKTIME": "0"}, False, "OMP_WAIT_POLICY=ACTIVE, KMP_BLOCKTIME=0"),
        ({}, True, "default"),  # too late: the record must not say what does not hold
    ],
)
def test_waiting_threads_soon_sleep_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], loaded: bool, waiting: str
) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    if not loaded:
        monkeypatch.delitem(sys.modules, "torch")
    environment.let_waiting_threads_sleep()
    assert environment._waiting() == waiting


def test_the_command_line_decides_before_torch_is_loaded(tmp_path: Path) -> None:
    script = """
import os, sys
from bench.cli import main
main(["list"])
print(os.environ.get("GOMP_SPINCOUNT"), "torch" in sys.modules)
"""
    env = {name: value for name, value in os.environ.items() if name not in environment._WAITING}
    env["PYTHONPATH"] = str(Path(environment.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=env, check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "3000 False"


HERE = {"host": {"cpu": "One", "kernel": "6.1", "boot": "a"}, "device": "cpu", "threads": 2}


@pytest.mark.parametrize(
    ("other", "differ"),
    [
        ({}, []),
        ({"threads": 1}, ["threads 2 and 1"]),
        ({"device": "cuda", "host": HERE["host"] | {"gpu": "G"}}, ["GPU None and G", "device cpu and cuda"]),
        ({"host": HERE["host"] | {"boot": "b"}}, ["another machine, or before and after a restart"]),
        ({"host": HERE["host"] | {"boot": "b", "kernel": "6.2"}}, ["kernel 6.1 and 6.2"]),
        ({"host": HERE["host"] | {"memory_bytes": 1}}, []),
        ({"host": {"cpu": "One"}}, ["kernel 6.1 and None"]),
    ],
)
def test_circumstances_differ_in_what_decides_time_and_rounding(other: dict[str, Any], differ: list[str]) -> None:
    assert environment.unlike(HERE, HERE | other) == differ


def test_older_records_agree_in_what_neither_holds() -> None:
    old = {"host": {"cpu": "One"}, "device": "cpu", "threads": 1}
    assert environment.unlike(old, dict(old)) == []


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository in whose ``bench/`` the module believes to lie."""
    home = tmp_path / "checkout"
    (home / "bench").mkdir(parents=True)
    monkeypatch.setattr(environment, "__file__", str(home / "bench" / "environment.py"))
    return home


def commit(home: Path) -> str:
    """The commit as a process that starts now would see it."""
    return str(environment.git_commit.__wrapped__())


def test_the_commit_says_whether_the_tree_differs(checkout: Path) -> None:
    def git(*words: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *identity, *words], cwd=checkout, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert commit(checkout) == "None"
    git("init", "-q")
    assert commit(checkout) == "None"  # no commit yet
    (checkout / "a.py").write_text("1")
    git("add", "a.py")
    git("commit", "-qm", "first")
    head = git("rev-parse", "HEAD")
    assert re.fullmatch("[0-9a-f]{40}", head)
    assert commit(checkout) == head
    (checkout / "a.py").write_text("2")
    assert commit(checkout) == f"{head}+changes"
