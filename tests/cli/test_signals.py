"""SIGINT, SIGTERM and SIGHUP in every command: a status, a line that says what is kept, nothing left behind."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cell_records import TINY

from bench.cli import main
from bench.cli.signals import Ended, caught
from bench.records import RunFolder

pytestmark = pytest.mark.usefixtures("heeded_signals")
Bench = Callable[..., Any]
HOME = Path(__file__).resolve().parent.parent.parent
SMALL = "planted[rows=300,fields=4,main=2,interaction=0,redundant=0]"
RUN = ["--datasets", TINY, "--backbones", "dnn[mlp=4]", "--epochs", "1", "--seeds", "1", "--prune-ratio", "0.5"]
WHERE = {
    "run": ("bench.run.executors.base", "run_cell", "finished cells are kept, the same command goes on from here"),
    "prepare": ("bench.data.store.manifest", "write_array", "the data folder is as it was"),
    "report": ("bench.report.build", "_tables", "the files that were written are whole"),
    "explain": ("bench.report.explain", "explain", "nothing was changed"),
    "list": ("bench.plugins", "check_layout", "nothing was changed"),
    "verify": ("bench.checks.verify", "verify", "nothing was changed"),
    "rounding": ("bench.checks.rounding", "repeat", "finished cells of the repetitions are kept"),
    "speed": ("bench.speed.run", "measure", "measurements are not kept"),
}
"""By command: module and function in which the signal comes, and what is said then."""
WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "ended by SIGTERM", signal.SIGHUP: "ended by SIGHUP"}


@pytest.fixture(scope="module")
def done(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with one cell."""
    folder = tmp_path_factory.mktemp("runs") / "done"
    assert main(["run", *RUN, "--data-dir", str(data_dir), "--methods", "random-k", "--out", str(folder)]) == 0
    return folder


def argv_of(command: str, data_dir: Path, done: Path) -> list[str]:
    more = {
        "run": [*RUN, "--data-dir", str(data_dir), "--methods", "random-k", "--out", "x"],
        "prepare": [SMALL, "--data-dir", "new"],
        "report": [str(done)],
        "explain": [str(done), "overall", TINY, "random-k", "auc"],
        "list": ["runs"],
        "verify": [str(done)],
        "rounding": [str(done)],
        "speed": ["--stages", "train", "--backbones", "fm"],
    }
    return [command, *more[command]]


@pytest.mark.parametrize("number", WORDS, ids=lambda number: number.name)
@pytest.mark.parametrize("command", WHERE)
def test_a_signal_ends_a_command_with_status_and_line(
    bench: Bench, data_dir: Path, done: Path, monkeypatch: pytest.MonkeyPatch, command: str, number: signal.Signals
) -> None:
    module, name, kept = WHERE[command]

    def struck(*args: object, **more: object) -> None:
        os.kill(os.getpid(), number)
        time.sleep(60)

    monkeypatch.setattr(importlib.import_module(module), name, struck)
    before = {number: signal.getsignal(number) for number in WORDS}
    files = sorted(done.rglob("*"))
    found = bench(*argv_of(command, data_dir, done))
    assert found.code == 128 + number
    line = found.err.splitlines()[-1]
    assert line.startswith(f"{WORDS[number]}; ") and kept in line
    assert "Traceback" not in found.err and found.err.count(WORDS[number]) == 1
    assert {number: signal.getsignal(number) for number in WORDS} == before
    assert sorted(done.rglob("*")) == files
    assert [path.name for path in Path().rglob(".*")] == []
    assert list(Path("new").rglob("*")) == []


@pytest.mark.filterwarnings("error")
def test_further_signals_do_not_disturb_the_clearing_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cleared: list[str] = []

    def struck(argv: list[str]) -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                os.kill(os.getpid(), number)
                time.sleep(0.01)
            cleared.append("all")
        return 0

    monkeypatch.setattr("bench.cli.list.command", struck)
    found = bench("list")
    assert (found.code, cleared, found.err.count("\n")) == (143, ["all"], 1)


def test_a_signal_that_a_library_turns_into_another_error_is_still_a_signal(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def struck(argv: list[str]) -> int:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
        except BaseException:
            raise ImportError("half-loaded") from None
        return 0

    monkeypatch.setattr("bench.cli.list.command", struck)
    assert bench("list").code == 130


def test_a_signal_that_python_has_to_drop_comes_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dropping:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)

    def struck(argv: list[str]) -> int:
        Dropping()  # gone at once; what its end raises, Python can only report
        time.sleep(60)
        return 0

    monkeypatch.setattr("bench.cli.list.command", struck)
    found = bench("list")
    assert (found.code, found.err.count("\n")) == (143, 1)


def test_what_is_ignored_stays_ignored_as_under_nohup() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with caught():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_off_the_main_thread_signals_are_left_alone() -> None:
    found: list[object] = []

    def work() -> None:
        before = signal.getsignal(signal.SIGTERM)
        with caught():
            found.append(signal.getsignal(signal.SIGTERM) is before)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [True]
    assert not issubclass(Ended, Exception), "nothing that catches errors may swallow it"


def start(argv: list[str], folder: Path, zoo: Path) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": f"{zoo}{os.pathsep}{HOME}", "TMPDIR": str(folder)}
    command = [sys.executable, "-m", "bench", *argv]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=folder, env=env, text=True, start_new_session=True, **pipes)


def wait_for(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


def family(group: int) -> list[str]:
    """Processes of a group that still run."""
    states = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = file.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            states.append(file.parent.name)
    return states


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
@pytest.mark.slow
@pytest.mark.parametrize(("isolate", "number"), [(False, signal.SIGTERM), (True, signal.SIGINT)])
def test_a_terminal_s_signal_ends_the_whole_family_with_one_line(
    data_dir: Path, zoo_folder: Path, tmp_path: Path, isolate: bool, number: signal.Signals
) -> None:
    """Ctrl-C reaches parent and child at once; only the parent speaks."""
    flags = [*RUN, "--data-dir", str(data_dir), "--methods", "random-k", "zoo-sleeps", "--out", "x"]
    run = start(["run", *flags, *(["--isolate"] if isolate else [])], tmp_path, zoo_folder)
    wait_for(lambda: len(RunFolder(tmp_path / "x").record_files()) == 1)
    time.sleep(0.2 if isolate else 1.0)  # isolated, while the next child is still loading
    os.killpg(run.pid, number)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 128 + number, err
    assert (out, len(err.splitlines())) == ("", 3), err  # how many cells, the finished one, and the last word
    assert err.splitlines()[-1] == f"{WORDS[number]}; {WHERE['run'][2]}"
    assert family(run.pid) == []
    assert [path.name for path in tmp_path.rglob("*.tmp")] == []


@pytest.mark.slow
@pytest.mark.parametrize("after_s", [0.0, *(0.05 * 1.3**step for step in range(18))])
def test_ctrl_c_at_any_moment_shows_no_traceback(data_dir: Path, tmp_path: Path, after_s: float) -> None:
    """From the command line's first import on, while libraries load, cells run and figures are drawn."""
    start = "import runpy, signal; signal.signal(2, signal.SIG_DFL); print(flush=True); "
    code = f"{start} runpy.run_module('bench', run_name='__main__', alter_sys=True)"
    argv = ["run", *RUN, "--data-dir", str(data_dir), "--methods", "random-k", "--out", "x"]
    env = {**os.environ, "PYTHONPATH": str(HOME)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    run = subprocess.Popen([sys.executable, "-c", code, *argv], cwd=tmp_path, env=env, text=True, **pipes)
    assert run.stdout is not None
    assert run.stdout.readline() == "\n"
    time.sleep(after_s)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=60)
    assert run.returncode in (0, 130, -signal.SIGINT), err
    assert "Traceback" not in err and "Exception" not in err
    assert [path.name for path in tmp_path.rglob(".*")] == []
