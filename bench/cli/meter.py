"""How far a preparation is, while it runs: a bar where stderr is a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.data.prepare.prepare import Progress

PHASES = {"fetch": "fetching", "read": "reading", "count": "counting", "write": "writing"}
LINE_EVERY_S = 10.0
"""Seconds between two plain lines of progress."""
Show = Callable[[str, int, int, str], None]
"""Takes phase, done, total (0: unknown) and unit."""


def teller(show: Show) -> Callable[[Progress], None]:
    def tell(progress: Progress) -> None:
        total = round(progress.rows / progress.share) if progress.share else 0
        show(progress.phase, progress.rows, total, "rows")

    return tell


@contextmanager
def meter() -> Iterator[Show]:
    """A bar where stderr is a terminal, a plain line now and then elsewhere."""
    if not sys.stderr.isatty():
        yield _Lines().show
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (
        TextColumn("{task.description:<9}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} {task.fields[unit]}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        clock = _Clock()
        tasks: dict[str, Any] = {}

        def show(phase: str, done: int, total: int, unit: str) -> None:
            rate = clock.rate(phase, done, unit)
            if phase not in tasks:
                tasks[phase] = bars.add_task(PHASES[phase], total=None, unit=unit, rate=rate)
            bars.update(tasks[phase], completed=done, total=total or None, rate=rate)

        yield show


class _Clock:
    """Rates since a phase began, which is when the one before it was last heard of."""

    def __init__(self) -> None:
        """Start now."""
        self._phase = ""
        self._began = self._heard = time.perf_counter()

    def rate(self, phase: str, done: int, unit: str) -> str:
        """How fast ``phase`` has been so far."""
        if phase != self._phase:
            self._phase, self._began = phase, self._heard
        self._heard = time.perf_counter()
        return f"{done / max(self._heard - self._began, 1e-9):,.0f} {unit}/s"


class _Lines:
    """Plain lines: the start of each phase, then one every few seconds."""

    def __init__(self) -> None:
        """Write to stderr."""
        self._clock = _Clock()
        self._phase = ""
        self._said = 0.0

    def show(self, phase: str, done: int, total: int, unit: str) -> None:
        """Take in how far the work is."""
        now, rate = time.perf_counter(), self._clock.rate(phase, done, unit)
        if phase != self._phase:
            self._phase, self._said = phase, now
            sys.stderr.write(f"{PHASES[phase]}\n")
        elif now - self._said >= LINE_EVERY_S:
            self._said = now
            of = f" of about {total:,}" if total else ""
            sys.stderr.write(f"{PHASES[phase]}: {done:,}{of} {unit}, {rate}\n")
        sys.stderr.flush()
