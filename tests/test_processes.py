from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bench.processes import importing_alike, left_to_parent

pytestmark = pytest.mark.usefixtures("heeded_signals")
HOME = Path(__file__).resolve().parent.parent
PARENT = """
import multiprocessing, os, sys, time
from bench.processes import end_with_parent

def child():
    end_with_parent()
    sys.stdout.write("ready\\n")
    sys.stdout.flush()
    time.sleep(60)

if __name__ == "__main__":
    multiprocessing.get_context("spawn").Process(target=child, daemon=True).start()
    time.sleep(60)
"""


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    env = {**os.environ, "PYTHONPATH": str(HOME)}
    parent = subprocess.Popen([sys.executable, tmp_path / "parent.py"], env=env, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "ready\n"
    start = time.monotonic()
    parent.kill()
    assert parent.stdout.read() == ""  # its end is seen when the child, who has the pipe too, is gone
    assert time.monotonic() - start < 30
    parent.wait()
    parent.stdout.close()


def test_a_child_started_in_here_does_not_see_ctrl_c() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with left_to_parent():
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    child.send_signal(signal.SIGINT)
    child.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.2)
    child.communicate(b"\n")
    assert child.returncode == 0


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside a thread"])
def test_ctrl_c_waits_until_a_child_is_started(beside: bool) -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait, daemon=True)
    if beside:  # which the system may deliver the signal to
        thread.start()

    def interrupted() -> None:
        with left_to_parent():
            os.kill(os.getpid(), signal.SIGINT)
            reached.append("end")

    reached: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    over.set()
    assert reached == ["end"]


def test_an_interpreter_started_alike_imports_from_where_this_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("mine", "here"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "whose.py").write_text(f"name = {place!r}\n")
    monkeypatch.syspath_prepend(str(tmp_path / "mine"))
    monkeypatch.chdir(tmp_path / "here")  # where -c would look first
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with importing_alike():
        found = subprocess.run(
            [sys.executable, "-c", "import whose; print(whose.name)"], check=False, capture_output=True, text=True
        )
    assert found.stdout == "mine\n", found.stderr
    assert "PYTHONPATH" not in os.environ
