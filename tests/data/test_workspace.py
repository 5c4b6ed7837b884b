"""A store comes into being whole or not at all, whatever ends its preparation."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from plain_reference import criteo_lines, manifest_of

import bench.data.store.manifest
from bench.data.prepare import workspace
from bench.data.prepare.prepare import Settings, prepare
from bench.data.prepare.workspace import Workspace, remove_leftovers, reserved
from bench.datasets import resolve_dataset
from bench.errors import DataError
from bench.rows.load import load


class Power(Exception):
    """Something nobody expects."""


@pytest.fixture
def raw(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("\n".join(criteo_lines(300)))
    return path


@pytest.mark.parametrize("phase", ["read", "count", "write"])
@pytest.mark.parametrize("there", [False, True])
def test_an_error_in_any_phase_leaves_the_target_as_it_was(tmp_path, raw, phase, there):
    card, out = resolve_dataset("criteo"), tmp_path / "data" / "criteo"
    before = manifest_of(prepare(card, raw, out)) if there else None

    def fail(progress):
        if progress.phase == phase:
            raise Power

    with pytest.raises(Power):
        prepare(card, raw, out, progress=fail, settings=Settings(chunk_bytes=4000))
    assert [path.name for path in (tmp_path / "data").iterdir()] == (["criteo"] if there else [])
    if there:
        assert manifest_of(out) == before
    else:
        with pytest.raises(DataError, match="data set 'criteo' is not prepared"):
            load(out, card)


KILLED = """
import sys, time
from pathlib import Path
from bench.data.prepare.prepare import Settings, prepare
from bench.datasets import resolve_dataset

def stay(progress):
    if progress.phase == sys.argv[3]:
        print("here", flush=True)
        time.sleep(60)

raw, out = map(Path, sys.argv[1:3])
prepare(resolve_dataset("criteo"), raw, out, progress=stay, settings=Settings(chunk_bytes=4000))
"""


@pytest.mark.parametrize("phase", ["read", "write"])
def test_a_killed_run_leaves_nothing_that_opens_and_the_next_one_clears_up(tmp_path, raw, phase):
    card, out = resolve_dataset("criteo"), tmp_path / "data" / "criteo"
    root = Path(bench.data.store.manifest.__file__).parents[3]
    command = [sys.executable, "-c", KILLED, str(raw), str(out), phase]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) as process:
        assert process.stdout.readline() == b"here\n"
        living = sorted(out.parent.iterdir())
        remove_leftovers(out)
        assert sorted(out.parent.iterdir()) == living, "the work of a living run is not touched"
        process.send_signal(signal.SIGKILL)
    left, lease = sorted(out.parent.iterdir(), key=lambda path: path.suffix, reverse=True)
    assert {left, lease} == set(living)
    assert all(path.name.startswith(".criteo.") for path in living) and (left.suffix, lease.suffix) == (
        ".tmp",
        ".lease",
    )
    for folder in (out, left):
        with pytest.raises(DataError, match="not prepared"):
            load(folder, card)
    prepare(card, raw, out)
    assert [path.name for path in out.parent.iterdir()] == ["criteo"]
    assert load(out, card).split_rows == {"train": 216, "valid": 54, "test": 30}


def test_two_runs_at_once_do_not_disturb_each_other(tmp_path):
    with Workspace(tmp_path / "x") as first, Workspace(tmp_path / "x") as second:
        assert first.folder != second.folder and first.folder.exists()
        (first.folder / "who").write_text("first")
        (second.folder / "who").write_text("second")
        second.publish()
        first.publish()
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x" / "who").read_text() == "first"


def test_a_second_preparation_waits_for_the_first_and_says_so_once(tmp_path, monkeypatch):
    """The first is a process that ends while the second waits; what it leaves behind is taken over."""
    monkeypatch.setattr(workspace, "POLL_S", 0.01)
    code = "import sys; from pathlib import Path; from bench.data.prepare.workspace import reserved\n"
    code += "with reserved(Path(sys.argv[1]), print): print('here', flush=True); sys.stdin.readline()"
    root = Path(bench.data.store.manifest.__file__).parents[3]
    command, pipe = [sys.executable, "-c", code, str(tmp_path / "new" / "x")], subprocess.PIPE
    told = []
    for kill in (False, True):
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=root) as process:
            assert process.stdout.readline() == b"here\n"

            def tell(line, kill=kill, process=process):
                told.append(line)
                if kill:
                    process.kill()
                else:
                    process.stdin.close()

            with reserved(tmp_path / "new" / "x", tell):
                assert len(list((tmp_path / "new").iterdir())) == 1 + kill
        assert list((tmp_path / "new").iterdir()) == []
        assert told.pop().startswith(f"waiting for another process, which makes {tmp_path / 'new' / 'x'}: ")
        assert told == []
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="choose another --data-dir"), reserved(tmp_path / "file" / "x", print):
        pass


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file: something else is there already; .* choose another --data-dir"):
        Workspace(tmp_path / "file" / "criteo")


def test_a_full_disk_is_an_error_with_a_mend(tmp_path, raw, monkeypatch):
    def full(self, block):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bench.data.store.manifest.ArrayFile, "write", full)
    with pytest.raises(DataError, match=r"data: the disk is full; free some space there, or choose another --data-dir"):
        prepare(resolve_dataset("criteo"), raw, tmp_path / "data" / "criteo")
    assert list((tmp_path / "data").iterdir()) == []


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted under /proc")
def test_no_file_stays_open(tmp_path, raw):
    prepare(resolve_dataset("criteo"), raw, tmp_path / "criteo")
    before = open_files()
    for _ in range(3):
        prepare(resolve_dataset("criteo"), raw, tmp_path / "criteo")
        load(tmp_path / "criteo", resolve_dataset("criteo"))
    assert open_files() <= before
