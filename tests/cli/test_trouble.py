"""Every command on a full disk, in a folder that is gone or not ours, with a fault of its own: a line, and no half."""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cell_records import TINY, contents

from bench.cli import main
from bench.data.store.manifest import ArrayFile
from bench.datasets import resolve_dataset
from bench.errors import DataError, StorageError, UserError, storage_error, storage_message
from bench.files import remove_leftovers, write_atomically
from bench.predictions import Predictions
from bench.records import CellRecord, RunFolder
from bench.report import build, figures
from bench.run.executors import base
from bench.run.job import Job

pytestmark = pytest.mark.figures
Bench = Callable[..., Any]
SMALL = "planted[rows=300,fields=4,main=2,interaction=0,redundant=0]"
WRITES = ("mkdir", "open", "fsync", "replace", "pwrite")
"""Calls of the system that need room on a disk, or a folder that is there."""
SEAL = re.compile(r"\.[0-9a-f]{32}\.lease$")


class Trouble:
    """Makes the n-th writing call of the system under ``folder`` fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._patch, self._folder = monkeypatch, str(folder)
        self.left, self.number, self.met = -1, 0, ""

    @contextmanager
    def at(self, n: int, number: int = errno.ENOSPC) -> Iterator[None]:
        self.left, self.number, self.met = n, number, ""
        with self._patch.context() as patch:
            for name in WRITES:
                patch.setattr(os, name, self._failing(name, getattr(os, name)))
            patch.setattr(io, "open", self._failing("create", io.open))
            patch.setattr(ArrayFile, "write", self._failing("write", ArrayFile.write))
            yield

    def _failing(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **options: Any) -> Any:
            path = args[0] if isinstance(args[0], str | os.PathLike) else ""
            reads = name == "open" and not args[1] & os.O_CREAT
            reads |= name == "create" and not {*args[1:2], *options.values()} & {"w", "wb", "x", "xb"}
            elsewhere = path and not os.path.abspath(path).startswith(self._folder)  # noqa: PTH100 - str, fast
            there = name == "mkdir" and Path(path).is_dir()
            seals = SEAL.search(os.fspath(path)) is not None  # which a full disk need not take: tests/test_lease.py
            if not reads and not elsewhere and not there and not seals:
                self.left -= 1
                if self.left == 0:
                    self.met = name
                    raise OSError(self.number, os.strerror(self.number), *([os.fspath(path)] if path else []))
            return call(*args, **options)

        return wrapped


@pytest.fixture
def trouble(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Trouble:
    return Trouble(monkeypatch, tmp_path)


@pytest.fixture
def recorded(bench: Bench, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The flags of a run whose one cell is computed once and remembered; one kind of table, one figure."""
    flags = ["--datasets", TINY, "--data-dir", str(data_dir), "--methods", "random-k", "--backbones", "dnn[mlp=4]"]
    argv = ["run", *flags, "--epochs", "1", "--seeds", "1", "--prune-ratio", "0.5"]
    tables = build._tables
    monkeypatch.setattr(build, "_tables", lambda *given: tables(*given)[:1])
    monkeypatch.setattr(figures, "KINDS", figures.KINDS[:1])
    assert bench(*argv, "--out", "whole").code == 0
    (record,) = RunFolder(Path("whole")).records()
    kept = Predictions(Path("whole/predictions"))
    assert record.predictions is not None
    scores = kept.logits(record.config_hash, record.predictions), kept.labels(record.predictions)

    def again(job: Job) -> CellRecord:
        assert job.predictions is not None
        job.predictions.stage(record.config_hash, record.dataset, *scores)
        return record

    monkeypatch.setattr(base, "run_cell", again)
    return argv


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_line(found: Any) -> None:
    """One line with thing, reason and mend, nothing on stdout but what came before."""
    assert found.code == 2, found.err
    line = found.err.splitlines()[-1]
    assert line.startswith("error: ") and line.endswith(".") and "; " in line
    assert found.err.count("error:") == 1 and "Traceback" not in found.err


def assert_whole(folder: Path, whole: dict[str, bytes]) -> None:
    """Every file is as in an undisturbed run, and there is none besides."""
    found = files(folder)
    found.pop("run.toml", None)  # the folder's own name stands in it
    assert {name: whole[name] for name in found} == found


def sweep(trouble: Trouble, disturbed: Callable[[int], Any]) -> list[str]:
    """Call ``disturbed(n)`` for n = 1, 2, ... until no call fails; which calls were met."""
    met: list[str] = []
    while True:
        with trouble.at(len(met) + 1):
            found = disturbed(len(met) + 1)
        if not trouble.met:
            assert found.code == 0, found.err
            return met
        met.append(trouble.met)
        assert_line(found)


def test_a_run_whose_nth_write_fails_ends_with_a_line_and_goes_on(
    bench: Bench, recorded: list[str], trouble: Trouble
) -> None:
    shutil.rmtree("whole/selections")  # which is written inside of a cell
    whole = files(Path("whole"))

    def disturbed(n: int) -> Any:
        assert n < 200
        if n > 1:
            assert_whole(Path(f"run-{n - 1}"), whole)
        return bench(*recorded, "--out", f"run-{n}")

    met = sweep(trouble, disturbed)
    assert set(met) >= {"mkdir", "open", "fsync", "replace"}
    for n in (1, 5, len(met) // 2, len(met)):
        assert bench(*recorded, "--out", f"run-{n}").code == 0
        again = files(Path(f"run-{n}"))
        assert again.keys() == whole.keys()
        assert_whole(Path(f"run-{n}"), whole)


def test_a_report_whose_nth_write_fails_ends_with_a_line(bench: Bench, recorded: list[str], trouble: Trouble) -> None:
    folder, whole = Path("whole"), files(Path("whole"))

    def disturbed(n: int) -> Any:
        assert_whole(folder, whole)
        return bench("report", "whole")

    assert set(sweep(trouble, disturbed)) >= {"open", "fsync", "replace"}
    assert files(folder) == whole


def test_a_preparation_whose_nth_write_fails_ends_with_a_line(bench: Bench, trouble: Trouble) -> None:
    argv = ["prepare", SMALL, "--data-dir"]
    assert bench(*argv, "whole").code == 0
    whole = {name.partition("/")[2]: data for name, data in files(Path("whole")).items() if name.endswith(".npy")}

    def disturbed(n: int) -> Any:
        if n > 1:
            assert files(Path("data")) == {}
        return bench(*argv, "data")

    assert set(sweep(trouble, disturbed)) == {"mkdir", "create", "open", "replace", "write", "pwrite"}
    found = {name.partition("/")[2]: data for name, data in files(Path("data")).items()}
    assert {name: found[name] for name in whole} == whole


@pytest.mark.parametrize("isolate", [False, True])
def test_a_checkpoint_that_finds_no_room_ends_the_run_and_fails_no_cell(
    bench: Bench, data_dir: Path, tmp_path: Path, isolate: bool
) -> None:
    argv = ["run", "--datasets", TINY, "--data-dir", str(data_dir), "--backbones", "dnn[mlp=4]", "--checkpoint"]
    argv = [*argv, "--methods", "random-k", "no-selection", "--epochs", "2", "--out", str(tmp_path / "x")]
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "checkpoints").write_text("in the way")
    found = bench(*argv, *(["--isolate"] if isolate else []))
    assert_line(found)
    assert "checkpoints" in found.err and "a part of the path is a file" in found.err
    assert not RunFolder(tmp_path / "x").record_files()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("buffered", [True, False])
def test_a_full_stdout_ends_with_a_line(monkeypatch: pytest.MonkeyPatch, bench: Bench, buffered: bool) -> None:
    def say(argv: list[str]) -> int:
        sys.stdout.write("said")
        return 0

    monkeypatch.setattr("bench.cli.list.command", say)
    with Path("/dev/full").open("wb", buffering=0) as raw:
        full = io.TextIOWrapper(io.BufferedWriter(raw), write_through=not buffered)
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["list"]) == 2
        assert sys.stdout is full
        full.flush()  # what was in its buffer is gone, so that Python finds nothing at its shutdown


def test_a_reader_who_has_seen_enough_ends_a_command_quietly(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(argv: list[str]) -> int:
        raise BrokenPipeError

    monkeypatch.setattr("bench.cli.list.command", gone)
    found = bench("list")
    assert (found.code, found.err, found.out) == (141, "", "")


@pytest.mark.parametrize("shown", [False, True])
def test_a_fault_of_the_suite_is_kept_in_a_file(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: bool
) -> None:
    def broken(argv: list[str]) -> int:
        raise KeyError("τ\x1b[31m")

    monkeypatch.setattr("bench.cli.list.command", broken)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if shown:
        monkeypatch.setenv("BENCH_TRACEBACK", "1")
    found = bench("list", "runs")
    (file,) = tmp_path.glob("bench-crash-*.txt")
    assert found.code == 70
    assert ("Traceback" in found.err) is shown
    first, second = found.err.splitlines()[-2:]
    assert first.startswith("crash: list: KeyError: ") and "\x1b" not in found.err
    assert second == f"This is a fault of the suite. {file} says where; report it with this file to the project."
    text = file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    for part in ("command: bench list runs", "python: 3.", "torch: ", "Traceback", "raise KeyError"):
        assert part in text


def test_a_fault_that_cannot_be_kept_says_how_to_see_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.cli.list.command", lambda argv: 1 // 0)
    monkeypatch.setattr(tempfile, "tempdir", str(Path("nowhere").absolute()))
    found = bench("list")
    assert found.code == 70
    assert found.err.endswith("No report was kept (No such file or directory); BENCH_TRACEBACK=1 shows it.\n")


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_memory_that_runs_out_is_no_fault_of_the_suite(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def hungry(argv: list[str]) -> int:
        raise error

    monkeypatch.setattr("bench.cli.list.command", hungry)
    found = bench("list")
    assert found.code == 2
    assert found.err == "error: memory: it ran out; end other programs, or use fewer rows (--rows).\n"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "x", "a/b"), "a/b: the disk is full; free some space there, or choose another folder."),
        (OSError(errno.EROFS, "x", b"a\xff"), "a\udcff: its file system is read-only; mount it for writing, or"),
        (OSError(errno.EACCES, "x", "from", None, "to"), "to: permission is denied; change its permissions, or"),
        (OSError(errno.ENAMETOOLONG, "x", f"a/{'b' * 300}"), f"{'b' * 40}…: a name of 300 bytes is too long"),
        (OSError("[Errno 28] Error writing bytes to file. Detail: [errno 28]"), "a file: the disk is full;"),
        (OSError("1000 requested and 0 written"), "a file: the disk is full;"),
        (OSError(errno.EMFILE, "x"), "a file: this process has too many files open; raise `ulimit -n`"),
    ],
)
def test_a_number_of_the_system_becomes_reason_and_mend(error: OSError, message: str) -> None:
    assert str(storage_message(error)).startswith(message)
    assert str(storage_error(error, Path("here"), "--out")).startswith(("here: ", "b" * 40, "here…: "))


def test_an_error_that_the_system_did_not_raise_is_not_explained_away() -> None:
    assert storage_message(OSError("no licence")) is None
    error = storage_error(OSError("no licence"), Path("x"))
    assert str(error) == "x: cannot be used (no licence); choose another folder."
    assert issubclass(StorageError, DataError) and issubclass(DataError, UserError)


def test_temporary_files_of_dead_processes_are_removed_and_no_others(tmp_path: Path) -> None:
    pid = os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", "pass"])  # ended: its number is nobody's
    assert pid == 0
    dead = 2**22 + 1  # beyond the largest number of a process
    with write_atomically(tmp_path / "cells" / "x.json") as file:
        (mine,) = tmp_path.rglob("*.tmp")
        host = mine.name.split(".")[-2].partition("-")[0]
        left = tmp_path / "cells" / f".x.json.{host}-{dead}-abc.tmp"
        other = tmp_path / "cells" / f".x.json.00000000-{dead}-abc.tmp"
        old = tmp_path / f".y.00000000-{dead}-abc.tmp"
        for path in (left, other, old, tmp_path / ".users.tmp"):
            path.write_text("half")
        os.utime(old, (0, 0))
        remove_leftovers(tmp_path)
        assert (left.exists(), other.exists(), old.exists()) == (False, True, False)
        file.write("whole")
    assert (tmp_path / "cells" / "x.json").read_text() == "whole"
    assert (tmp_path / ".users.tmp").exists()


def on_a_small_disk(tmp_path: Path, size: str) -> Path:
    """A file system of ``size``, mounted; skips the test where that is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.system(f"mount -t tmpfs -o size={size} none '{folder}' 2>/dev/null") != 0:
        pytest.skip("to mount a file system needs rights that this process lacks")
    return folder


@pytest.mark.slow
def test_every_command_on_a_disk_of_a_megabyte(bench: Bench, data_dir: Path, tmp_path: Path) -> None:
    disk = on_a_small_disk(tmp_path, "1m")
    try:
        flags = ["--datasets", TINY, "--data-dir", str(data_dir), "--backbones", "dnn[mlp=4]", "--epochs", "1"]
        flags += ["--seeds", "1", "--prune-ratio", "0.5"]
        assert bench("run", *flags, "--methods", "random-k", "cardinality", "--out", "whole").code == 0
        RunFolder(disk / "run").cells.mkdir(parents=True)
        for file in RunFolder(Path("whole")).record_files():
            (disk / "run" / "cells" / file.name).write_bytes(file.read_bytes())
        (disk / "filler").write_bytes(bytes(900 << 10))
        for argv in (
            ["run", *flags, "--methods", "random-k", "--out", str(disk / "run")],
            ["run", *flags, "--methods", "no-selection", "--checkpoint", "--out", str(disk / "new")],
            ["report", str(disk / "run")],
            ["prepare", "planted[rows=20000]", "--data-dir", str(disk / "data")],
            ["prepare", "planted[rows=20000]", "--raw-out", str(disk / "rows.tsv")],
        ):
            found = bench(*argv)
            assert_line(found)
            assert str(disk) in found.err and "the disk is full" in found.err
            assert [path for path in disk.rglob("*") if path.name.startswith(".")] == []
        assert bench("explain", str(disk / "run"), "overall", resolve_dataset(TINY).spec, "random-k", "auc").code == 0
        (disk / "filler").unlink()
        again = bench("run", *flags, "--methods", "random-k", "--out", str(disk / "run"))
        assert (again.code, again.err.split(" to run")[0].endswith("done before, 0")) == (0, True)
        assert contents(disk / "run").items() >= contents(Path("whole")).items()
    finally:
        os.system(f"umount '{disk}'")
