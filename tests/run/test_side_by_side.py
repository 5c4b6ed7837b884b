"""Several tasks in flight: everything once, in an order that holds, and what one process after another would find."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from cell_records import TINY, Watcher, contents

from bench.environment import AT_ONCE
from bench.errors import ConfigError
from bench.lease import LeaseLost
from bench.records import RunFolder
from bench.run import executors, schedule
from bench.run.check import check
from bench.run.config import RunConfig
from bench.run.executors import ExecutorEntry, base, child, process
from bench.run.executors.base import R, Running, SeveralAtOnce, Task, TrialTask
from bench.run.session import resolve
from bench.run.sweep import run
from bench.run.timing import one_at_a_time

HELD = "lasso[budget=match:random-k]"


class Crew(SeveralAtOnce):
    """Three at once, all in this process: each is computed when it is looked at, who began last before the others."""

    log: ClassVar[list[tuple[str, Any]]]
    flying: ClassVar[list[Crewman]]
    at: Callable[[Task[Any]], None] = staticmethod(lambda task: None)
    """Called before a task is computed."""

    @property
    def slots(self) -> int:
        return 3

    def begin(self, task: Task[R], emit: Any) -> Running[R]:
        self.log.append(("begin", task))
        self.flying.append(Crewman(self, task, emit))
        assert len(self.flying) <= 3
        return self.flying[-1]

    def close(self) -> None:
        self.log.append(("close", None))


class Crewman(Running[Any]):
    def __init__(self, crew: Crew, task: Task[Any], emit: Any) -> None:
        self.crew, self.task, self.emit = crew, task, emit
        self.looks = 0

    def poll(self) -> Any:
        self.looks += 1
        if self is not self.crew.flying[-1] or self.looks < 2:
            return None
        type(self.crew).at(self.task)
        found = json.loads(json.dumps(self.task.compute(self.crew.session, self.emit).to_dict()))
        self.crew.flying.remove(self)
        self.crew.log.append(("end", self.task))
        return self.crew.returned(self.task, found, 3)

    def stop(self) -> None:
        self.crew.log.append(("stop", self.task))
        self.crew.flying.remove(self)


@pytest.fixture
def crew(monkeypatch: pytest.MonkeyPatch) -> type[Crew]:
    class Own(Crew):
        log: ClassVar = []
        flying: ClassVar = []

    monkeypatch.setitem(executors.executors()._entries, "crew", ExecutorEntry("tests:Crew", "Crew"))
    monkeypatch.setattr("bench.run.sweep.choose_executor", lambda text: Own)
    monkeypatch.setattr(schedule, "TICK_S", 0.0)
    return Own


@pytest.fixture
def config(tmp_path: Path, data_dir: Path, zoo: Path) -> RunConfig:
    return RunConfig(
        datasets=(TINY,),
        methods=("no-selection", "zoo-counted", "zoo-raises", HELD, "random-k"),
        backbones=("dnn[mlp=8]",),
        prune_ratio=(0.5, 0.25),
        seeds=2,
        epochs=1,
        threads=1,
        out=tmp_path / "run",
        data_dir=data_dir,
    )


def alike(folder: Path) -> dict[str, dict[str, Any]]:
    """What a run folder holds, but for times, commit, and how many cells were in flight."""
    found = contents(folder)
    for stored in found.values():
        stored.pop("git", None)
        stored.get("host", {}).pop(AT_ONCE, None)
    return found


def inline(config: RunConfig) -> Path:
    """The same, one after another."""
    out = config.out.with_name("one")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.run.sweep.choose_executor", executors.choose_executor)
        run(resolve(replace(config, out=out, executor="inline")), Watcher())
    return out


def leftovers(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.suffix in (".lease", ".tmp", ".part")]


def test_cells_trials_and_rankings_are_computed_once_and_after_what_they_need(
    config: RunConfig, crew: type[Crew]
) -> None:
    config = replace(config, tune="lr", set=("lr_grid=1e-3,1e-2",), rows=300)
    watcher, witness = Watcher(), Path(os.environ["ZOO_LOG"])
    records = run(resolve(replace(config, executor="crew")), watcher)
    selections = witness.read_text()
    witness.unlink()
    one = inline(config)
    assert alike(config.out) == alike(one)
    assert (selections, len(selections.split())) == (witness.read_text(), 3), (
        "both rates of seed 0, the chosen one of 1"
    )
    assert {record.host.get(AT_ONCE) for record in records if record.status == "ok"} == {3}
    assert sorted(watcher.statuses) == sorted(record.status for record in records)
    assert set(watcher.statuses) == {"ok", "failed"}
    assert leftovers(config.out) == []

    log = crew.log
    begun = [task for what, task in log if what == "begin"]
    assert len(begun) == len(set(begun)), "nothing twice"
    for place, (what, task) in enumerate(log):
        if what != "begin":
            continue
        ended = {done for which, done in log[:place] if which == "end"}
        first = replace(task.cell, seed=0)
        if not isinstance(task, TrialTask):
            assert {one for one in begun if isinstance(one, TrialTask) and one.cell == first} <= ended
        if task.cell.method == HELD:
            partner = replace(task.cell, method="random-k")
            assert partner in {done.cell for done in ended if not isinstance(done, TrialTask)}
    assert log[-1] == ("close", None)


def test_a_signal_ends_what_is_in_flight_and_keeps_what_had_ended(config: RunConfig, crew: type[Crew]) -> None:
    config = replace(config, methods=("no-selection", "random-k", "cardinality"), prune_ratio=(0.5,), executor="crew")

    def struck(task: Task[Any]) -> None:
        if task.cell.method == "cardinality" and ("end", None) not in crew.log:
            crew.log.append(("end", None))  # once: the signal comes while the last one is looked at
            raise KeyboardInterrupt

    crew.at = staticmethod(struck)
    with pytest.raises(KeyboardInterrupt):
        run(resolve(config), Watcher())
    stopped = [task for what, task in crew.log if what == "stop"]
    kept = RunFolder(config.out).records()
    assert len(kept) == 1, "the one whose result was there at the last look"
    assert len(stopped) == 2 and crew.flying == []
    assert leftovers(config.out) == []
    del crew.at
    run(resolve(config), watcher := Watcher())
    assert watcher.planned == (6, 1)
    assert alike(config.out) == alike(inline(config))


def test_a_cell_that_another_process_takes_over_is_left_to_it(config: RunConfig, crew: type[Crew]) -> None:
    config = replace(config, methods=("random-k",), prune_ratio=(0.5,), executor="crew")
    lost: list[Task[Any]] = []

    def take_over(task: Task[Any]) -> None:
        if not lost:
            lost.append(task)
            raise LeaseLost("x")

    crew.at = staticmethod(take_over)
    records = run(resolve(config), Watcher())
    assert [record.status for record in records] == ["ok", "ok"]
    assert [task for what, task in crew.log if what == "stop"] == lost
    assert [task for what, task in crew.log if what == "begin"].count(lost[0]) == 2
    assert leftovers(config.out) == []


def test_processes_side_by_side_find_what_one_after_another_finds(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of two cells waits until the other has begun."""
    monkeypatch.setattr(executors, "cores", lambda: 2)
    config = replace(config, methods=("zoo-witnessed",), prune_ratio=(0.5,))
    watcher = Watcher()
    monkeypatch.setenv("ZOO_CROWD", "2")
    found = run(resolve(replace(config, executor="process:2")), watcher)
    monkeypatch.setenv("ZOO_CROWD", "1")
    one = {
        record.config_hash: record
        for record in run(resolve(replace(config, out=config.out.with_name("one"))), Watcher())
    }
    for record in found:
        plain = one.pop(record.config_hash)
        assert (record.auc, record.logloss, record.predictions) == (plain.auc, plain.logloss, plain.predictions)
        assert (record.kept_fields, record.threads) == (plain.kept_fields, 1)
        assert record.host == {**plain.host, AT_ONCE: 2}
        assert record.peak_mem_bytes is not None
    assert not one and watcher.statuses == ["ok", "ok"]
    assert leftovers(config.out) == []


def test_threads_and_gpus_are_shared_out(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "cores", lambda: 8)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    given = replace(config, threads=None)
    for text, threads, wanted in (
        ("process:3", None, 2),
        ("process:8", None, 1),
        ("process:3", 4, 4),
        ("process", None, None),
    ):
        session = base.Session(resolve(replace(given, executor=text, threads=threads)))
        executor = process.ProcessExecutor(session)
        assert executor._config.threads == wanted
        assert (executor.slots, executor._gpus) == (executors.count_of(text) or 1, [])
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv(child.VISIBLE, raising=False)
    assert child.gpus_here("auto", cuda) == ["0", "1"]
    assert child.gpus_here("cuda:1", cuda) == child.gpus_here("auto", torch.device("cpu")) == []
    monkeypatch.setenv(child.VISIBLE, "GPU-a, 5")
    assert child.gpus_here("cuda", cuda) == ["GPU-a", "5"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert child.gpus_here("auto", cuda) == []


@pytest.mark.parametrize(
    ("executor", "message"),
    [
        ("process:0", "executor=process:0: with no cell in flight nothing is computed; allowed: process:1 and more"),
        ("process:99", "99 cells at a time on 2 cores would wait for each other; allowed: process:1 to process:2"),
        ("process:two", "'two' is no number of cells; write process:2, say"),
        ("process:", "'' is no number of cells"),
        ("process:-1", "'-1' is no number of cells"),
        ("inline:2", "inline computes one cell after another; leave :2 out"),
        ("proces:2", "Did you mean 'process'?"),
    ],
)
def test_numbers_of_cells_that_cannot_be_are_refused(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, executor: str, message: str
) -> None:
    monkeypatch.setattr(executors, "cores", lambda: 2)
    with pytest.raises(ConfigError) as refused:
        check(replace(config, executor=executor))
    assert message in str(refused.value)
    assert check(replace(config, executor="process:2", timeout_s=5.0)).executor_name == "process:2"


def test_a_timing_pass_takes_one_after_another() -> None:
    config = RunConfig()
    texts = {"process:2": "process", None: "process", "inline": "inline"}
    assert {text: one_at_a_time(replace(config, executor=text)) for text in texts} == texts
