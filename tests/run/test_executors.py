from __future__ import annotations

import importlib
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cell_records import TINY, Watcher

from bench.data.prepare.prepare import prepare
from bench.data.store.splits import smallest_hashes
from bench.data.store.store import store_folder
from bench.datasets import resolve_dataset
from bench.engine.fast.memory import peak_rss
from bench.errors import ConfigError, DataError, StorageError
from bench.profiles import resolve_profile
from bench.records import RunFolder
from bench.run.check import check
from bench.run.config import RunConfig, from_json, to_json
from bench.run.executors import ExecutorEntry, choose_executor, executors
from bench.run.executors.base import CellTask, RankTask, TrialTask, read_task
from bench.run.executors.child import died
from bench.run.executors.inline import InlineExecutor
from bench.run.executors.process import ProcessExecutor
from bench.run.executors.remote import ChildError, _raised
from bench.run.grid import Cell
from bench.run.session import Session, resolve
from bench.run.sweep import run
from bench.run.tuning import Asked

FARM = """
import json

from bench.run.executors.base import Executor, read_task
from bench.run.session import Session

SUBMITTED = []


class Farm(Executor):
    def submit(self, task, emit):
        SUBMITTED.append(task)
        there = read_task(task.text)  # on another machine, which knows the plan alone
        found = there.compute(Session(self.session.plan), emit)
        return task.result.from_dict(json.loads(json.dumps(found.to_dict())), source="farm")


class Down(Executor):
    def submit(self, task, emit):
        return task.ended(self.session, "timeout", "the farm is down")
"""


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
    """By a parent that loads no rows."""
    config, watcher = replace(config, rows=900), Watcher()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "data", lambda self, label: pytest.fail("the parent loaded rows"))
        killed, isolated = run(resolve(config), watcher)
    assert (killed.status, killed.auc) == ("oom", None)
    assert "memory" in str(killed.reason)
    assert isolated.status == "ok", isolated.traceback
    assert isolated.peak_mem_bytes is not None
    assert peak_rss() / 20 < isolated.peak_mem_bytes < peak_rss() * 20
    assert watcher.phases[-6:] == ["pretrain", "surgery", "train", "epoch", "epoch", "evaluate"]
    assert killed.split_rows == isolated.split_rows == {"train": 720, "valid": 90, "test": 90}
    assert (killed.positives, killed.vocabulary_rows) == (isolated.positives, isolated.vocabulary_rows)
    assert (killed.io_s, isolated.io_s is None) == (None, False)

    here = replace(config, methods=("light-fmp",), isolate=False, out=tmp_path / "here")
    (plain,) = run(resolve(here), Watcher())
    assert (isolated.auc, isolated.logloss) == (plain.auc, plain.logloss)
    assert isolated.kept_fields == plain.kept_fields
    assert isolated.config_hash == plain.config_hash
    assert isolated.predictions == plain.predictions
    assert all(RunFolder(c.out).predictions.joinpath(f"{plain.config_hash[:16]}.npy").is_file() for c in (config, here))
    assert plain.peak_mem_bytes is None


@pytest.fixture
def farm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module with the executors ``farm`` and ``down``, and their entries."""
    (tmp_path / "some_farm.py").write_text(FARM)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("Farm", "Down"):
        entry = ExecutorEntry(f"some_farm:{name}", name, stops=True)
        monkeypatch.setitem(executors()._entries, name.lower(), entry)
        monkeypatch.setitem(executors()._origins, name.lower(), entry.target)
    yield importlib.import_module("some_farm")
    del sys.modules["some_farm"]


def test_an_executor_of_one_file_gives_the_same_records(config: RunConfig, tmp_path: Path, farm: Any) -> None:
    config = replace(config, methods=("no-selection", "random-k"), isolate=False, tune="lr")
    here = run(resolve(replace(config, out=tmp_path / "here")), Watcher())
    there = run(resolve(replace(config, executor="farm")), Watcher())
    for one, other in zip(here, there, strict=True):
        assert (one.config_hash, one.auc, one.kept_fields) == (other.config_hash, other.auc, other.kept_fields)
    grid = resolve_profile("small", 960, {}).lr_grid
    assert [type(task).__name__ for task in farm.SUBMITTED] == [*["TrialTask"] * len(grid), "CellTask"] * 2
    assert [task.asked.values["lr"] for task in farm.SUBMITTED[: len(grid)]] == list(grid)
    assert run(resolve(replace(config, executor="down")), Watcher()) == there  # all is done; nothing is submitted


@pytest.mark.usefixtures("farm")
def test_what_an_executor_gives_up_ends_as_it_says(config: RunConfig) -> None:
    for tune in ("none", "lr"):
        changed = replace(config, methods=("random-k",), executor="down", tune=tune)
        (record,) = run(resolve(changed), Watcher())
        assert record.status == "timeout"
        assert "the farm is down" in str(record.reason)
        assert record.vocabulary_rows is not None and record.io_s is None


def test_executors_are_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    config = RunConfig(datasets=("x",), backbones=("y",))
    assert (config.executor_name, replace(config, isolate=True).executor_name) == ("inline", "process")
    assert replace(config, isolate=True, executor="inline").executor_name == "inline"
    for name, cls in (("inline", InlineExecutor), ("process", ProcessExecutor)):
        assert choose_executor(name) is cls
    assert check(replace(config, executor="process", timeout_s=1.0)).executor == "process"
    with pytest.raises(ConfigError, match=r"timeout-s=1 needs --isolate"):
        check(replace(config, isolate=True, executor="inline", timeout_s=1.0))
    with pytest.raises(ConfigError, match=r"executor 'proces' is unknown. Did you mean 'process'"):
        check(replace(config, executor="proces"))
    monkeypatch.setitem(executors()._entries, "process", ExecutorEntry("no_such_module:X", "X"))
    with pytest.raises(ConfigError, match=r"executor 'process' .* cannot be imported: ModuleNotFoundError"):
        choose_executor("process")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a program's memory from its parent's")
def test_a_childs_memory_is_not_its_parents() -> None:
    held = np.ones(40_000_000)  # 320 MB that a child never touches
    code = "import sys; from bench.engine.fast.memory import peak_rss; sys.stdout.write(str(peak_rss()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < held.nbytes < peak_rss()


def test_data_that_only_the_child_finds_unusable_end_the_run(config: RunConfig, tmp_path: Path) -> None:
    """By labels and checksums all is well; the numbers of the rows used cannot be told apart."""
    (tmp_path / "m.toml").write_text('name = "m"\n[raw.columns]\ny = "label"\nx = "numeric"\nc = "categorical"\n')
    card = resolve_dataset(str(tmp_path / "m.toml"))
    used = set(smallest_hashes(400, 0, 200).tolist())
    lines = [f"{row % 2},{2**60 if row in used else 2**60 + row * 10**10},{row % 5}" for row in range(400)]
    (tmp_path / "t.csv").write_text("\n".join(["y,x,c", *lines]))
    prepare(card, tmp_path / "t.csv", store_folder(tmp_path / "data", card))
    config = replace(config, datasets=(str(tmp_path / "m.toml"),), methods=("random-k",), data_dir=tmp_path / "data")
    for isolate in (True, False):
        with pytest.raises(DataError, match="with rows=200: column 'x': the column's values lie between"):
            run(resolve(replace(config, rows=200, isolate=isolate)), Watcher())
    assert not RunFolder(config.out).record_files()


def test_settings_and_tasks_travel_as_text(config: RunConfig) -> None:
    given = replace(config, prune_ratio=(0.25, 0.5), timeout_s=3.0, executor="process", config=Path("τ.toml"))
    assert from_json(to_json(given)) == given
    cell = Cell("planted", "dnn[mlp=8]", "light-fmp", None, 3)
    for task in (CellTask(cell), RankTask(cell), TrialTask(replace(cell, tau=0.5), Asked({"lr": 1e-3}, (None, 0.5)))):
        assert read_task(task.text) == task


def test_what_a_child_says_of_its_errors_is_raised_here() -> None:
    storage = _raised("StorageError", "x: the disk is full; free some.", "Traceback ...")
    assert (type(storage), str(storage)) == (StorageError, "x: the disk is full; free some.")
    for name in ("KeyError", "suggest", "__builtins__", "Path"):  # no error that a user can mend
        fault = _raised(name, "'a'", "Traceback ...")
        assert (type(fault), str(fault)) == (ChildError, f"{name}: 'a'")
        assert fault.__notes__ == ["In the child process:\nTraceback ..."]


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
        (-signal.SIGBUS, "failed", "SIGBUS: a file that it was reading was cut short"),
    ],
)
def test_the_ways_a_child_may_die(exitcode: int, status: str, reason: str) -> None:
    found = died(exitcode)
    assert found[0] == status
    assert reason in found[1]
