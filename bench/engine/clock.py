"""Wall-clock seconds of named phases, the device synchronised at both ends, with an untracked remainder.

Of outer phases it also knows whether other work disturbed them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bench.engine import disturbance
from bench.engine.disturbance import Load

COMPILE = "compile"
"""Phase of compilation, which is no part of a method's time."""


def now(device: torch.device) -> float:
    """``perf_counter`` once all work queued on ``device`` is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


class Clock:
    """Adds up seconds by phase; phases nest, and a nested one is named ``outer/inner``."""

    def __init__(self, device: torch.device) -> None:
        """Start the clock of one cell."""
        disturbance.notice_stops()
        self._device = device
        self._start = now(device)
        self._open: list[str] = []
        self.seconds: dict[str, float] = {}
        self._loads: dict[str, Load] = {}

    @property
    def path(self) -> str:
        """The phases that are open, as ``outer/inner``; empty outside of all."""
        return "/".join(self._open)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure the body as phase ``name``; repeated phases add up."""
        self._open.append(name)
        path = self.path
        before = None if "/" in path else disturbance.reading()
        start = now(self._device)
        try:
            yield
        finally:
            self.seconds[path] = self.seconds.get(path, 0.0) + now(self._device) - start
            self._open.pop()
            if "/" not in path:
                self._loads.setdefault(path, Load()).add(before, disturbance.reading())

    def disturbed(self) -> dict[str, str] | None:
        """Why the time of an outer phase says nothing, by phase; None where the system does not tell."""
        if not all(load.known for load in self._loads.values()):
            return None
        return {path: reason for path, load in self._loads.items() if (reason := load.reason) is not None}

    def report(self) -> dict[str, float]:
        """Seconds by phase, ``total`` since the clock was made, and ``untracked``, which no outer phase covers."""
        total = now(self._device) - self._start
        covered = sum(seconds for path, seconds in self.seconds.items() if "/" not in path)
        return {**self.seconds, "total": total, "untracked": total - covered}

    def compiling(self, phase: str) -> float:
        """Seconds of compilation within an outer phase."""
        return sum(
            s for path, s in self.seconds.items() if path.startswith(f"{phase}/") and path.endswith(f"/{COMPILE}")
        )
