"""Whether other work took the cores while a phase ran: its wall time is then no measure of the method.

    waited   seconds that threads of this process were ready to run and had no core      /proc/self/task/*/schedstat
    others   CPU seconds of everything but this process                                  /proc/stat less process_time
    lost     min(waited, others): threads that crowd out each other are no disturbance
    stolen   what the host of a virtual machine gave to its other guests, by this process's share of the busy time

A phase is disturbed where ``lost + stolen`` is more than a tenth of what it would have computed, ``cpu + lost +
stolen``, and where the process was stopped while it ran (Ctrl-Z, SIGSTOP), which is no waiting: the signal to go on
tells of it. Waiting for a lock, a file or a device is none of these. Sampled at the two ends of a phase only: the
kernel adds up the waiting by itself, to the nanosecond.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["LEAST_S", "SHARE", "Load", "Reading", "count_as_own", "notice_stops", "reading", "taken_s"]

SHARE = 0.1
"""Lost share from which a time is not shown. A busy process on every core takes half; a quiet machine's kernel threads
take less than a hundredth."""
LEAST_S = 0.03
"""Loss below which nothing is said: /proc/stat counts in hundredths of a second, and a scheduler's turn is some
thousandths."""
_TASKS = Path("/proc/self/task")
_STAT = Path("/proc/stat")
_PROCESSES = Path("/proc")
_CPU = slice(11, 13)
"""Places, behind a process's name, of its time and the kernel's for it."""
_IDLE = (3, 4)
_STEAL = 7
_GUEST = 8
"""Places in the line of all processors; from the last on, numbers are contained in earlier ones."""


@dataclass(frozen=True)
class Reading:
    """Counters at one moment, in seconds."""

    waited: Mapping[str, float]
    """Of each thread of this process, by its number."""
    cpu: float
    """Of this process and those that count as its own."""
    busy: float
    """Of all processors, for whomever."""
    stolen: float
    stops: int = 0
    """How often this process was told to go on."""


_stops = 0


def notice_stops() -> None:
    """From now on count how often this process goes on after it was stopped.

    Only the main thread can; a program that handles the signal by itself keeps its handler, and nothing is counted.
    """
    if not hasattr(signal, "SIGCONT") or threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGCONT) in (signal.SIG_DFL, None):
        signal.signal(signal.SIGCONT, _went_on)


def _went_on(number: int, frame: object) -> None:
    global _stops  # noqa: PLW0603 - a fact of the process
    _stops += 1


_own: tuple[int, ...] = ()


def count_as_own(pids: Iterable[int]) -> None:
    """From now on what the processes ``pids`` compute disturbs nobody: they are at the same cell."""
    global _own  # noqa: PLW0603 - a fact of the process
    _own = tuple(pids)


def reading() -> Reading | None:
    """The counters now; None where the system does not keep them."""
    try:
        waited = {task.name: _waited(task) for task in _TASKS.iterdir()}
        numbers = [int(word) for word in _STAT.read_text().partition("\n")[0].split()[1:]]
        beside = sum(_ticks(pid) for pid in _own)
    except (OSError, ValueError, IndexError):
        return None
    tick = 1 / os.sysconf("SC_CLK_TCK")
    busy = sum(n for place, n in enumerate(numbers[:_GUEST]) if place not in (*_IDLE, _STEAL))
    return Reading(waited, time.process_time() + beside * tick, busy * tick, numbers[_STEAL] * tick, _stops)


def _ticks(pid: int) -> int:
    """CPU time of another process, in the system's clock ticks; of one that has ended, none."""
    try:
        text = (_PROCESSES / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(map(int, text.rpartition(")")[2].split()[_CPU]))


def taken_s(before: Reading, after: Reading) -> float:
    """CPU seconds that everything but this process had between two readings, what a host took away included."""
    others = (after.busy - before.busy) - (after.cpu - before.cpu)
    return max(others, 0.0) + max(after.stolen - before.stolen, 0.0)


def _waited(task: Path) -> float:
    """Seconds in the queue of a core; of a thread that has just ended, none."""
    try:
        return int((task / "schedstat").read_text().split()[1]) * 1e-9
    except (FileNotFoundError, ProcessLookupError):
        if not (_TASKS.parent / "schedstat").exists():
            raise
        return 0.0


@dataclass
class Load:
    """What was counted while a phase ran, all its runs together, in seconds."""

    waited: float = 0.0
    cpu: float = 0.0
    others: float = 0.0
    stolen: float = 0.0
    stops: int = 0
    known: bool = field(default=True)
    """Whether all of it could be read."""

    def add(self, before: Reading | None, after: Reading | None) -> None:
        """Count what happened between two readings."""
        if before is None or after is None:
            self.known = False
            return
        self.stops += after.stops - before.stops
        cpu, busy = after.cpu - before.cpu, max(after.busy - before.busy, 0.0)
        self.waited += sum(max(s - before.waited.get(task, 0.0), 0.0) for task, s in after.waited.items())
        self.cpu += cpu
        self.others += max(busy - cpu, 0.0)
        self.stolen += max(after.stolen - before.stolen, 0.0) * min(cpu / busy if busy else 1.0, 1.0)

    @property
    def reason(self) -> str | None:
        """Why the phase's time says nothing; None where it does, or where nothing is known."""
        if self.stops:
            return "the process was stopped and went on later"
        lost = min(self.waited, self.others) + self.stolen
        if not self.known or lost < LEAST_S or lost < SHARE * (self.cpu + lost):
            return None
        share = f"{lost / (self.cpu + lost):.0%} of its computing time"
        whom = "other guests of the host" if self.stolen > lost / 2 else "other processes"
        return f"{whom} had the cores for {share}"
