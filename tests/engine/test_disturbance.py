"""What tells a disturbed phase from a quiet one: from injected readings, and that the true ones can be read here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.engine import disturbance
from bench.engine.clock import Clock
from bench.engine.disturbance import Load, Reading


def at(waited: dict[str, float], cpu: float, busy: float, stolen: float = 0.0) -> Reading:
    return Reading(waited, cpu, busy, stolen)


def load(waited: float, cpu: float, others: float, stolen: float = 0.0) -> Load:
    found = Load()
    found.add(at({"1": 5.0}, 10.0, 90.0, 7.0), at({"1": 5.0 + waited}, 10.0 + cpu, 90.0 + cpu + others, 7.0 + stolen))
    return found


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        # alone: a scheduler's tick now and then, kernel threads
        (load(0.002, 1.0, 0.01), None),
        # a process of equal rights on every core takes half: 4 / (4 + 4)
        (load(4.0, 4.0, 8.0), "other processes had the cores for 50% of its computing time"),
        # others were busy, but on cores that this process did not want
        (load(0.01, 4.0, 40.0), None),
        # more threads than cores crowd out each other, and nobody else computes
        (load(6.0, 4.0, 0.05), None),
        # the same, and one other process: it cannot have taken more than it used, 1 / (4 + 1)
        (load(6.0, 4.0, 1.0), "other processes had the cores for 20% of its computing time"),
        # a tenth: 0.5 / (4.5 + 0.5) is the least that is told
        (load(0.5, 4.5, 9.0), "other processes had the cores for 10% of its computing time"),
        (load(0.49, 4.5, 9.0), None),
        # large as a share, but one turn of a scheduler in a phase of an instant
        (load(0.004, 0.002, 0.5), None),
        # alone in its virtual machine (4 of 4 busy seconds), which lost 2 s to another one: 2 / (4 + 2)
        (load(0.0, 4.0, 0.0, 2.0), "other guests of the host had the cores for 33% of its computing time"),
        # half of the busy time is another process's, and so is half of what was stolen: 0.2 / (2 + 0.2)
        (load(0.0, 2.0, 2.0, 0.4), None),
    ],
)
def test_what_others_took_disturbs_and_nothing_else_does(found: Load, reason: str | None) -> None:
    assert found.reason == reason


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not count this")
def test_a_process_that_was_stopped_says_so() -> None:
    """By another process, as a terminal does: one that is stopped cannot let itself go on."""
    clock = Clock(torch.device("cpu"))
    with clock.phase("before"):
        pass
    with clock.phase("stopped"):
        subprocess.run(
            ["sh", "-c", f"kill -STOP {os.getpid()}; sleep 0.05; kill -CONT {os.getpid()}"], check=True, timeout=60
        )
    with clock.phase("after"):
        pass
    found = clock.disturbed()
    assert found is not None and found.get("stopped") == "the process was stopped and went on later"
    assert not any("was stopped" in found.get(name, "") for name in ("before", "after"))


def test_a_handler_of_the_program_that_trains_stays() -> None:
    before = signal.getsignal(signal.SIGCONT)
    try:
        own = lambda *_: None  # noqa: E731
        signal.signal(signal.SIGCONT, own)
        disturbance.notice_stops()
        assert signal.getsignal(signal.SIGCONT) is own
    finally:
        signal.signal(signal.SIGCONT, before)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not count this")
def test_workers_of_one_cell_do_not_disturb_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """150 ticks of its own and 50 of the kernel's; another one has ended."""
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "stat").write_text("7 (a b) c) S 1 1 1 0 -1 4 10 20 30 40 150 50 99 99 20 0 1\n")
    monkeypatch.setattr(disturbance, "_PROCESSES", tmp_path)
    before = disturbance.reading()
    disturbance.count_as_own([7, 8])
    try:
        after = disturbance.reading()
    finally:
        disturbance.count_as_own(())
    last = disturbance.reading()
    assert before is not None
    assert after is not None
    assert last is not None
    seconds = 200 / os.sysconf("SC_CLK_TCK")
    assert seconds <= after.cpu - before.cpu < seconds + 1
    assert last.cpu - before.cpu < 1


def test_a_phase_adds_up_over_its_runs_and_over_threads_that_come_and_go() -> None:
    found = Load()
    found.add(at({"1": 1.0, "2": 9.0}, 0.0, 0.0), at({"1": 1.5, "3": 0.25}, 1.0, 3.0))
    found.add(at({"1": 2.0}, 1.0, 3.0), at({"1": 2.5}, 2.0, 5.0))
    assert (found.waited, found.cpu, found.others) == (0.5 + 0.25 + 0.5, 2.0, 2.0 + 1.0)


def test_what_cannot_be_read_is_not_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(disturbance, "_STAT", tmp_path / "stat")
    assert disturbance.reading() is None
    clock = Clock(torch.device("cpu"))
    with clock.phase("train"):
        pass
    assert clock.disturbed() is None


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the kernel keeps no such counters")
def test_the_counters_of_this_machine_are_read_and_grow() -> None:
    before = disturbance.reading()
    sum(range(3_000_000))
    after = disturbance.reading()
    assert sys.platform == "linux" and before is not None and after is not None
    assert 0 < after.cpu - before.cpu < 60 and after.busy >= before.busy > 0
    assert all(after.waited[task] >= seconds for task, seconds in before.waited.items() if task in after.waited)


def test_only_outer_phases_are_judged_and_each_by_its_own_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet, busy = (
        (at({"1": 0.0}, 0.0, 0.0), at({"1": 0.0}, 1.0, 1.0)),
        (at({"1": 0.0}, 1.0, 1.0), at({"1": 1.0}, 2.0, 3.0)),
    )
    readings = iter([*quiet, *busy])
    monkeypatch.setattr(disturbance, "reading", lambda: next(readings))
    clock = Clock(torch.device("cpu"))
    with clock.phase("select"), clock.phase("search"):
        pass
    with clock.phase("train"):
        pass
    assert clock.disturbed() == {"train": "other processes had the cores for 50% of its computing time"}
    assert next(readings, None) is None
