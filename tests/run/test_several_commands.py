"""Several commands on one run folder: every cell, trial and shared ranking once, and the results of one command."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cell_records import TINY, Watcher, contents

from bench.lease import Lease, Leases, Owner, this_process
from bench.records import RunFolder, load_frame
from bench.run import schedule
from bench.run.config import RunConfig
from bench.run.session import Session, resolve
from bench.run.sweep import run

HOME = Path(__file__).resolve().parents[2]
THERE = Owner("there", "another boot", 7, "then")

pytestmark = pytest.mark.usefixtures("zoo")


@pytest.fixture
def config(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    monkeypatch.setattr(schedule, "POLL_S", 0.01)
    return RunConfig(
        datasets=(TINY,),
        methods=("no-selection", "random-k"),
        backbones=("dnn[mlp=8]",),
        epochs=1,
        out=tmp_path / "run",
        data_dir=data_dir,
    )


def log() -> Path:
    return Path(os.environ["ZOO_LOG"])


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """What ``contents`` gives, without the commit, which may be edited meanwhile."""
    return {
        name: {key: value for key, value in stored.items() if key != "git"} for name, stored in contents(folder).items()
    }


def pieces(text: str) -> Counter[str]:
    """What was computed how often, without the process."""
    return Counter(line.rpartition(" ")[2] for line in text.splitlines())


def leftovers(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.suffix in (".lease", ".tmp", ".pt")]


CELLS_ALONE = """
import os
import sys
from bench import lease
from bench.cli.run import _list_failures, parse
from bench.engine.evaluate import inference_time
from bench.run import columns, progress, session, sweep

lease.BEAT_S, lease.STALE_S = float(os.environ.get("BEAT_S", 5)), float(os.environ.get("STALE_S", 120))
columns.inference_time = lambda model, rows: inference_time(model, rows, 1, 0.0)
sys.exit(_list_failures(sweep.run(session.resolve(parse(sys.argv[1:])), progress.Lines())))
"""


class Others:
    """Commands of other processes on the same folders: whole ones, or without the report, which takes long."""

    def __init__(self, data_dir: Path, path: Path, *, whole: bool = False, **environment: str) -> None:
        self.program = ["-m", "bench", "run"] if whole else ["-c", CELLS_ALONE]
        self.common = ["--datasets", TINY, "--backbones", "dnn[mlp=8]", "--data-dir", str(data_dir), "--threads", "1"]
        paths = os.pathsep.join((str(path), str(HOME)))
        self.env = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **environment}

    def start(self, out: Path, *argv: str) -> subprocess.Popen[str]:
        command = [sys.executable, *self.program, *self.common, "--out", str(out), *argv]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=out.parent, env=self.env, stdout=pipe, stderr=pipe, text=True)

    def all(self, outs: Sequence[Path], *argv: str) -> list[tuple[int, str, str]]:
        """Status, output and messages of commands that run side by side."""
        started = [self.start(out, *argv) for out in outs]
        ends = [process.communicate(timeout=200) for process in started]
        return [(process.returncode, *end) for process, end in zip(started, ends, strict=True)]


def compare(
    config: RunConfig, zoo: Path, outs: Sequence[Path], *argv: str, whole: bool = False, **changes: Any
) -> list[tuple[int, str, str]]:
    """Run several commands and one; hold the results and the pieces computed against each other."""
    crowd = Others(config.data_dir, zoo, whole=whole, ZOO_CROWD=str(len(outs)))
    found = crowd.all(outs, *argv)
    together = log().read_text()
    assert len({line.split()[0] for line in together.splitlines() if " " in line}) >= len(outs)
    log().unlink()
    single = config.out.with_name("single")
    run(resolve(replace(config, out=single, threads=1, **changes)), Watcher())
    assert pieces(together) == pieces(log().read_text())
    assert results(config.out) == results(single)
    assert leftovers(config.out) == []
    return found


def test_two_commands_by_two_paths_compute_every_cell_once(config: RunConfig, zoo: Path, tmp_path: Path) -> None:
    """One cell fails: both count it, and neither tries it again."""
    config.out.mkdir()
    (tmp_path / "other").symlink_to(tmp_path, target_is_directory=True)
    methods = ("no-selection", "zoo-witnessed", "zoo-counted", "zoo-raises")
    outs = [config.out, tmp_path / "other" / "run"]
    argv = ["--methods", *methods, "--seeds", "2", "--epochs", "1", "--prune-ratio", "0.5", "0.25"]
    found = compare(config, zoo, outs, *argv, methods=methods, seeds=2, prune_ratio=(0.5, 0.25))
    assert [code for code, _, _ in found] == [1, 1]
    ends = [line for _, _, err in found for line in err.splitlines() if line.startswith("[")]
    assert len([line for line in ends if not line.endswith("(by another process)")]) == 14
    assert all(err.count("waiting for another process") <= 1 for _, _, err in found)
    assert all(len(re.findall(r"^failed: ", err, re.MULTILINE)) == 4 for _, _, err in found)


@pytest.mark.slow
def test_two_whole_commands_print_the_same_tables(config: RunConfig, zoo: Path) -> None:
    config.out.mkdir()
    methods = ("no-selection", "zoo-witnessed")
    argv = ["--methods", *methods, "--seeds", "3", "--epochs", "1"]
    found = compare(config, zoo, [config.out] * 2, *argv, whole=True, methods=methods, seeds=3)
    assert [code for code, _, _ in found] == [0, 0]
    assert "AUC" in found[0][1] and found[0][1] == found[1][1]


@pytest.mark.slow
def test_four_commands_take_trials_and_rankings_once_too(config: RunConfig, zoo: Path) -> None:
    config.out.mkdir()
    methods = ("zoo-witnessed", "zoo-counted", "light-fmp", "no-selection")
    argv = ["--methods", *methods, "--seeds", "2", "--epochs", "1", "--tune", "lr", "--prune-ratio", "0.5", "0.25"]
    grid = {"methods": methods, "seeds": 2, "prune_ratio": (0.5, 0.25), "tune": "lr"}
    found = compare(config, zoo, [config.out] * 4, *argv, **grid)
    assert [code for code, _, _ in found] == [0] * 4


@pytest.mark.slow
def test_leases_belong_to_the_folder_whatever_computes_the_cells(config: RunConfig, zoo: Path) -> None:
    config.out.mkdir()
    methods = ("zoo-witnessed", "zoo-counted")
    argv = ["--methods", *methods, "--seeds", "2", "--epochs", "1", "--executor", "process"]
    found = compare(config, zoo, [config.out] * 2, *argv, methods=methods, seeds=2)
    assert [code for code, _, _ in found] == [0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("n", [2, 4])
def test_the_cell_of_a_killed_command_is_taken_over(
    config: RunConfig, zoo: Path, tmp_path: Path, n: int, checkpoint: bool
) -> None:
    config.out.mkdir()
    argv = ["--methods", "zoo-fragile", "no-selection", "light-fmp", "--seeds", "2", "--epochs", "4"]
    found = Others(config.data_dir, zoo).all([config.out] * n, *argv, *(["--checkpoint"] * checkpoint))
    assert sorted(code for code, _, _ in found) == [-signal.SIGKILL, *[0] * (n - 1)]
    methods = ("zoo-fragile", "no-selection", "light-fmp")
    run(resolve(replace(config, out=tmp_path / "single", threads=1, methods=methods, seeds=2, epochs=4)), Watcher())
    assert results(config.out) == results(tmp_path / "single")
    assert sum(record.resumed for record in RunFolder(config.out).records()) == checkpoint
    assert leftovers(config.out) == []


@pytest.mark.slow
def test_a_command_that_was_stopped_for_long_wakes_up_to_the_results_of_another(config: RunConfig, zoo: Path) -> None:
    config.out.mkdir()
    argv = ["--methods", "zoo-witnessed", "--seeds", "3", "--epochs", "1"]
    others = Others(config.data_dir, zoo, ZOO_CROWD="2", BEAT_S="0.5", STALE_S="3")
    stopped = others.start(config.out, *argv)
    while not log().exists():  # it begins its first cell, in which it waits for the other
        time.sleep(0.05)
        assert stopped.poll() is None
    os.kill(stopped.pid, signal.SIGSTOP)
    other = others.start(config.out, *argv)
    _, err = other.communicate(timeout=200)
    assert other.returncode == 0, err
    assert err.count("waiting for another process") <= 1
    kept = {file.name: file.read_bytes() for file in RunFolder(config.out).record_files()}
    assert (len(kept), len(log().read_text().splitlines())) == (3, 4)
    os.kill(stopped.pid, signal.SIGCONT)
    _, err = stopped.communicate(timeout=200)
    assert stopped.returncode == 0, err
    assert err.count("(by another process)") == 3
    assert {file.name: file.read_bytes() for file in RunFolder(config.out).record_files()} == kept
    assert leftovers(config.out) == []


def test_what_another_process_is_at_comes_last_and_its_failure_counts(config: RunConfig) -> None:
    done = run(resolve(config), Watcher())
    failed = replace(done[0], status="failed", reason="over there")
    folder = RunFolder(config.out)
    for record in done:
        folder.cell_file(record.config_hash).unlink()
    folder.write(replace(failed, reason="long ago"))

    class Slow(Watcher):
        """Lets the other process end its cell once this one waits for it."""

        def event(self, event: dict[str, Any]) -> None:
            super().event(event)
            if event["event"] == "waiting":
                threading.Timer(0.2, end).start()

    watcher = Slow()
    with Leases(THERE) as there:
        lease = there.take(folder.cell_file(failed.config_hash).with_suffix(".lease"))
        assert isinstance(lease, Lease)

        def end() -> None:
            folder.write(failed)
            lease.release()

        records = run(resolve(config), watcher)
    assert [cell.method for cell in watcher.started] == ["random-k"]
    assert [cell.method for cell in watcher.taken] == ["no-selection"]
    assert watcher.waits == ["waiting for another process: there, pid 7, 1 cell"]
    assert [record.reason for record in records] == ["over there", None]
    again = Watcher()
    run(resolve(config), again)
    assert [cell.method for cell in again.started] == ["no-selection"], "a later command tries it again"


def test_trials_and_rankings_of_another_process_are_waited_for(config: RunConfig) -> None:
    """Both are held elsewhere and given up there: they are computed here, after all else."""
    config = replace(config, methods=("zoo-counted", "no-selection"), prune_ratio=(0.5, 0.25), tune="lr")
    session = Session(resolve(config))
    first = next(iter(session.plan.cells()))
    lr = session.profile(first.dataset).lr_grid[0]
    trial = session.trials.file(session.trial(first, {"lr": lr}).hash)
    others: list[Lease] = []

    class Slow(Watcher):
        def event(self, event: dict[str, Any]) -> None:
            super().event(event)
            if event["event"] == "waiting":
                threading.Timer(0.1, others.pop().release).start()

    watcher = Slow()
    with Leases(THERE) as there:
        lease = there.take(trial.with_suffix(".lease"))
        assert isinstance(lease, Lease)
        others.append(lease)
        records = run(resolve(config), watcher)
    assert [cell.method for cell in watcher.started][-2:] == [first.method] * 2
    assert watcher.waits == ["waiting for another process: there, pid 7, 1 cell"]
    assert [[one["lr"] for one in (record.tuning or {})["trials"]] for record in records] == [
        list(session.profile(first.dataset).lr_grid)
    ] * 3


def test_a_shared_ranking_under_way_elsewhere_is_not_made_twice(config: RunConfig) -> None:
    config = replace(config, methods=("zoo-counted", "no-selection"), prune_ratio=(0.5, 0.25))
    done = run(resolve(config), Watcher())
    folder = RunFolder(config.out)
    (ranking,) = (config.out / "selections").glob("*.json")
    text = ranking.read_text()
    for file in (ranking, *folder.record_files()):
        file.unlink()

    class Slow(Watcher):
        def event(self, event: dict[str, Any]) -> None:
            super().event(event)
            if event["event"] == "waiting":
                ranking.write_text(text)  # the other process goes on with its cell

    watcher = Slow()
    with Leases(THERE) as there:
        there.take(ranking.with_suffix(".lease"))
        records = run(resolve(config), watcher)
    assert [cell.method for cell in watcher.started] == ["no-selection", "zoo-counted", "zoo-counted"]
    assert watcher.waits == ["waiting for another process: there, pid 7, 2 cells"]
    assert [record.kept_fields for record in records] == [record.kept_fields for record in done]
    assert log().read_text().split() == ["select"]


def steal(folder: RunFolder, then: Callable[[Path], None]) -> None:
    """As another process that sees the only lease of the cells stale would: take it over, ``then``, give it back."""
    (first,) = folder.cells.glob("*.lease")
    with Leases(this_process(), state_of=lambda pid: None) as blind:
        lease = blind.take(first)
        assert isinstance(lease, Lease)
        then(first.with_suffix(".json"))


@pytest.mark.parametrize("noticed", [False, True])
def test_a_paused_command_keeps_the_result_of_who_took_its_cell_over(config: RunConfig, noticed: bool) -> None:
    """It wakes up after the other has finished, or while the other is still at it and it hears of that."""
    config = replace(config, methods=("no-selection",), epochs=3)
    (plain,) = run(resolve(config), Watcher())
    folder = RunFolder(config.out)
    folder.cell_file(plain.config_hash).unlink()
    theirs = replace(plain, command="theirs")
    lost: list[str] = []

    class Paused(Watcher):
        def event(self, event: dict[str, Any]) -> None:
            super().event(event)
            if self.events == 4:
                steal(folder, lambda file: lost.append(str(folder.write(theirs))))

    watcher = Paused()
    if noticed:
        original = Lease.check
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Lease, "check", lambda self: (self.beat(), self.seal() if lost else None, original(self)))
            (record,) = run(resolve(config), watcher)
        assert watcher.events < 8
    else:
        (record,) = run(resolve(config), watcher)
    assert len(lost) == 1
    assert (record.command, watcher.statuses, len(watcher.taken)) == ("theirs", [], 1)
    assert [kept.to_dict() for kept in folder.records()] == [theirs.to_dict()]
    assert leftovers(config.out) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError])
def test_whatever_ends_a_command_gives_its_leases_back(config: RunConfig, error: type[BaseException]) -> None:
    class Ended(Watcher):
        def start(self, cell: Any) -> None:
            assert len(list(config.out.rglob("*.lease"))) == 2  # the cell and its ranking
            raise error

    with pytest.raises(error):
        run(resolve(replace(config, methods=("zoo-counted",))), Ended())
    assert leftovers(config.out) == []


def test_leases_of_a_killed_command_go_with_the_next_one(config: RunConfig) -> None:
    """Also of a cell that was finished, which nobody takes again."""
    (first, _) = run(resolve(config), Watcher())
    with subprocess.Popen(["true"]) as process:
        dead = replace(this_process(), pid=process.pid)
    for name in (first.config_hash[:16], "0123456789abcdef"):
        Leases(dead).take(config.out / "cells" / f"{name}.lease")
    assert len(leftovers(config.out)) == 2
    watcher = Watcher()
    run(resolve(config), watcher)
    assert (watcher.started, leftovers(config.out)) == ([], [])


def test_rerun_always_computes_what_was_there_and_shares_what_comes_since(config: RunConfig) -> None:
    before = run(resolve(config), Watcher())
    folder = RunFolder(config.out)
    theirs = replace(before[1], command="theirs")
    (folder.path / "checkpoints" / "of-the-living").mkdir(parents=True)
    (folder.path / "checkpoints" / "of-the-dead").mkdir()

    class Beside(Watcher):
        def start(self, cell: Any) -> None:
            super().start(cell)
            folder.write(theirs)

    watcher = Beside()
    with Leases(THERE) as there:
        there.take(folder.cells / "of-the-living.lease")
        records = run(resolve(replace(config, rerun="always", checkpoint=True)), watcher)
    assert [cell.method for cell in watcher.started] == ["no-selection"]
    assert records[1].to_dict() == theirs.to_dict()
    assert [kept.name for kept in (folder.path / "checkpoints").iterdir()] == ["of-the-living"]


def test_readers_see_whole_records_while_others_write(config: RunConfig) -> None:
    """Leases and temporary files lie beside the records; the records are replaced all the time."""
    records = run(resolve(config), Watcher())
    folder = RunFolder(config.out)
    ended = threading.Event()

    def write() -> None:
        while not ended.is_set():
            for record in records:
                folder.write(record)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with Leases() as leases:
            for record in records:
                leases.take(folder.cell_file(record.config_hash).with_suffix(".lease"))
            for _ in range(30):
                assert set(load_frame(folder)["config_hash"]) == {record.config_hash for record in records}
    finally:
        ended.set()
        writer.join()
