"""What one measurement is, and how a child process makes it."""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Rate:
    """Rows per second of one stage."""

    stage: str
    what: str
    """Backbone, gate or method."""
    rows_per_s: float | None = None
    """Median of the repeats; None: not measured, and ``note`` says why."""
    low: float | None = None
    high: float | None = None
    peak_bytes: int | None = None
    """Most memory of the process that did nothing else, libraries and data included; on a GPU, of the device."""
    bound_rows_per_s: float | None = None
    """Rows per second at the machine's limits; see ``bench.speed.bound``."""
    flops_per_row: float | None = None
    """Matrix products of one row's training step, forward and backward."""
    peer_rows_per_s: float | None = None
    """The same work by the peer, its own data loader included."""
    peer_step_rows_per_s: float | None = None
    """The peer's training step alone, fed with ready batches."""
    peer_peak_bytes: int | None = None
    note: str = ""

    @property
    def share(self) -> float | None:
        """Share of the bound that is reached."""
        return None if self.rows_per_s is None or not self.bound_rows_per_s else self.rows_per_s / self.bound_rows_per_s

    def ratio(self, peer: float | None) -> float | None:
        """How many times as fast as a peer."""
        return None if self.rows_per_s is None or not peer else self.rows_per_s / peer

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {
            "share": self.share,
            "ratio": self.ratio(self.peer_rows_per_s),
            "step_ratio": self.ratio(self.peer_step_rows_per_s),
        }


def summary(rates: Sequence[float]) -> dict[str, float]:
    """Median and range, as fields of ``Rate``."""
    return {"rows_per_s": statistics.median(rates), "low": min(rates), "high": max(rates)}


def peak_rss() -> int:
    """Most resident bytes of this process; on Linux of this program alone, without those of its parent."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


class ChildDiedError(RuntimeError):
    """A child process was killed: mostly by the kernel, for want of memory."""


def in_child(work: Callable[..., T], *arguments: Any) -> T:
    """Run ``work`` in a fresh process and return its result; an exception of it passes through.

    Raises:
        ChildDiedError: the process was killed.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(work, *arguments).result()
        except BrokenProcessPool:
            raise ChildDiedError("the process was killed: out of memory?") from None
