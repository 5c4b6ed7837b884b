"""Cells that several workers compute together: the record of one process, and what comes of a worker that is lost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cell_records import TINY, Watcher

from bench import environment
from bench.errors import ConfigError
from bench.records import RunFolder
from bench.run.check import check
from bench.run.conditions import conditions
from bench.run.config import RunConfig, from_json, to_json, to_toml
from bench.run.context import silent
from bench.run.executors import workers
from bench.run.executors.process import ProcessExecutor
from bench.run.executors.remote import Found
from bench.run.executors.workers import Workers
from bench.run.session import Session, resolve
from bench.run.sweep import run

MORTAL = '''
"""Trains on all fields until its second worker is lost. There is no paper."""

import os
import signal

from bench.api import Method, MethodEntry, Selection
from bench.engine.crew import current

ENTRY = MethodEntry(
    f"{__name__}:Mortal", "Mortal", granularity="none", scores="none", depends_on=frozenset({"backbone", "seed"})
)


class Mortal(Method):
    def select(self, ctx, train, selection_rows):
        def schedule(iteration, planned):
            if iteration == 3 and current().rank == 1:
                HOW

        ctx.fit(ctx.model(), train, None, schedule=schedule, epochs=1, name="mortal")
        return Selection()
'''
KILLED = "os.kill(os.getpid(), signal.SIGKILL)"
RAISED = "raise OverflowError('too many wishes')"


@pytest.fixture
def config(tmp_path: Path, data_dir: Path) -> RunConfig:
    return RunConfig(
        datasets=(TINY,),
        methods=("mutual-information", "autofield"),
        backbones=("deepfm[mlp=8,dropout=0.2]",),
        epochs=2,
        threads=1,
        out=tmp_path / "one",
        data_dir=data_dir,
    )


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.run.check.cores", lambda: 2)


def test_two_workers_give_the_record_of_one_process(config: RunConfig, tmp_path: Path) -> None:
    """A search that trains nothing is made once, its ranking stored once; the other trains gates with all workers."""
    watcher = Watcher()
    plan = resolve(replace(config, workers_per_cell=2, out=tmp_path / "two"))
    together = run(plan, watcher)
    single = run(resolve(config), Watcher())
    assert watcher.phases.count("evaluate") == 2
    for several, one in zip(together, single, strict=True):
        assert (several.status, several.reason) == ("ok", None), several.traceback
        assert (several.config_hash, several.kept_fields) == (one.config_hash, one.kept_fields)
        assert several.field_scores == pytest.approx(one.field_scores, abs=1e-4)
        assert (several.auc, several.logloss) == pytest.approx((one.auc, one.logloss), abs=1e-4)
        assert (several.epochs, several.best_epoch) == (one.epochs, one.best_epoch)
        assert several.host is not None
        assert one.host is not None
        assert several.host == one.host | {environment.WORKERS: 2}
        assert environment.unlike(vars(several), conditions(plan)) == []
        assert several.peak_mem_bytes is not None
        assert several.predictions is not None
    stored = {kind: sorted(p.name for p in (tmp_path / kind / "selections").iterdir()) for kind in ("one", "two")}
    assert stored["one"] == stored["two"]


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="two GPUs are needed")
def test_two_gpus_agree_with_one(config: RunConfig, tmp_path: Path) -> None:
    config = replace(config, methods=("autofield",), device="cuda")
    (several,) = run(resolve(replace(config, workers_per_cell=2, out=tmp_path / "two")), Watcher())
    (one,) = run(resolve(config), Watcher())
    assert (several.status, several.reason) == ("ok", None), several.traceback
    assert (several.auc, several.logloss) == pytest.approx((one.auc, one.logloss), abs=2e-4)


def test_each_worker_needs_a_gpu_of_its_own(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = replace(resolve(replace(config, workers_per_cell=2)), device=torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match=r"workers-per-cell=2 on device=auto needs a GPU for each worker, .* are 1;"):
        ProcessExecutor(Session(plan))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [ProcessExecutor(Session(plan))._gpu(number) for number in range(6)] == ["0", "1", "2", "3", "0", "1"]


@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (KILLED, "worker 2 of 2 was lost: the process was killed, most likely for lack of memory"),
        (RAISED, "worker 2 of 2: OverflowError: too many wishes"),
    ],
)
def test_a_lost_worker_ends_its_cell_with_the_reason(config: RunConfig, tmp_path: Path, how: str, reason: str) -> None:
    (tmp_path / "mortal.py").write_text(MORTAL.replace("HOW", how))
    config = replace(config, plugin=(str(tmp_path / "mortal.py"),), methods=("mortal",), workers_per_cell=2)
    start = time.monotonic()
    (record,) = run(resolve(check(replace(config, threads=None))), Watcher())
    assert (record.status, record.reason) == ("failed", reason)
    assert record.threads == 1
    assert record.host is not None
    assert record.host[environment.WORKERS] == 2
    assert time.monotonic() - start < 60
    assert [file.name for file in RunFolder(config.out).record_files()] == [f"{record.config_hash[:16]}.json"]


class _Said:
    """A child that says something at its n-th poll."""

    def __init__(self, found: Found | None, polls: int = 1) -> None:
        self.found, self.polls, self.stopped = found, polls, False
        self.pid = None

    def listen(self) -> Found | None:
        self.polls -= 1
        return self.found if self.polls <= 0 else None

    def stop(self, patience_s: float) -> None:
        self.stopped = True


OK = {"status": "ok", "peak_mem_bytes": 5}
DONE = {"status": "done", "peak_mem_bytes": 7}
GLOO = {"status": "failed", "reason": "RuntimeError: [gloo/pair.cc:553] Connection closed by peer"}
OWN = {"status": "failed", "reason": "ValueError: no"}


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ((OK, DONE), OK | {"peak_mem_bytes": 12}),
        ((OWN, OWN), OWN),
        ((GLOO, OWN), OWN | {"reason": "worker 2 of 2: ValueError: no"}),
        ((GLOO, ("oom", "it was killed")), ("failed", "worker 2 of 2 was lost: it was killed")),
        ((("failed", "it ended"), GLOO), ("failed", "worker 1 of 2 was lost: it ended")),
        ((("timeout", "stopped after 3 s"), None), ("timeout", "stopped after 3 s")),
        ((None, OWN), OWN | {"reason": "worker 2 of 2: ValueError: no"}),
        (({"status": "skipped"}, {"status": "skipped"}), {"status": "skipped"}),
    ],
)
def test_the_cause_is_told_of_what_workers_say(
    monkeypatch: pytest.MonkeyPatch, said: Sequence[Found | None], found: Found
) -> None:
    monkeypatch.setattr(workers, "WORD_S", 0.05)
    left = [_Said(one, polls) for one, polls in zip(said, (3, 1), strict=True)]
    children = list(left)
    monkeypatch.setattr(workers, "Child", lambda *given: left.pop(0))
    crew = Workers(RunConfig(), "task", [None, None], silent)
    answers: list[Any] = []
    while not answers or answers[-1] is None:
        answers.append(crew.listen())
        time.sleep(0.01)
    crew.stop(0.0)
    assert len(answers) > 1
    assert answers[-1] == found
    assert all(child.stopped for child in children)


@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"workers_per_cell": 0}, r"workers-per-cell=0 is out of range; allowed: \[1, inf\)"),
        ({"workers_per_cell": 3}, r"workers-per-cell=3: on 2 cores they would wait for each other; allowed: 1 to 2"),
        ({"executor": "process:2"}, r"workers-per-cell=2: with 2 cells at a time on 2 cores .* allowed: 1 to 1"),
        ({"executor": "inline"}, "workers-per-cell=2 says nothing to --executor inline: it is for process or"),
        ({"timing": 2}, "timing=2: a timing pass measures cells of one process; leave workers-per-cell=2 out"),
        ({"compile": True}, "workers-per-cell=2 divides backbones, which --compile cannot; leave one of them out"),
        ({"set": ("compile=true",)}, "workers-per-cell=2 divides backbones, which --compile cannot"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(config: RunConfig, changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        check(replace(config, **{"workers_per_cell": 2} | changes))


@pytest.mark.usefixtures("two_cores")
def test_workers_bring_processes_travel_and_are_kept_where_there_are_several(config: RunConfig) -> None:
    several = replace(config, workers_per_cell=2)
    assert check(several).executor_name == "process"
    assert config.executor_name == "inline"
    assert from_json(to_json(several)) == several
    assert "workers_per_cell = 2\n" in to_toml(several, "run")
    assert "workers_per_cell" not in to_toml(config, "run")


def test_times_of_several_workers_are_those_of_another_host() -> None:
    one = {"host": {"cpu": "a", "boot": "b"}, "device": "cpu", "threads": 1}
    two = one | {"host": {"cpu": "a", "boot": "b", environment.WORKERS: 2}}
    assert environment.unlike(one, two) == ["workers 1 and 2"]
    assert environment.unlike(two, two) == environment.unlike(one, one) == []
