"""What one measurement is, and how a child process makes it."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from bench.engine.fast.memory import peak_rss
from bench.processes import left_to_parent

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


class TreePeak:
    """Most memory of this process and all that it has started, while the body runs; shared pages count once.

    A thread looks every ``every_s`` seconds; elsewhere than on Linux it sees this process alone.
    """

    def __init__(self, every_s: float = 0.25) -> None:
        self.most = 0
        self._every_s = every_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()
        self.most = max(self.most, tree_bytes(os.getpid()))

    def _watch(self) -> None:
        while not self._done.wait(self._every_s):
            self.most = max(self.most, tree_bytes(os.getpid()))


def tree_bytes(root: int) -> int:
    """Resident bytes of the process ``root`` and its descendants now, a page shared by n of them as n n-ths."""
    if not Path("/proc/self/smaps_rollup").exists():
        return peak_rss()
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it may have ended
            parent = status.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1]
            children.setdefault(int(parent), []).append(int(status.parent.name))
    total, left = 0, [root]
    while left:
        process = left.pop()
        left += children.get(process, [])
        with suppress(OSError):
            lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii", errors="replace").splitlines()
            total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


class ChildDiedError(RuntimeError):
    """A child process was killed: mostly by the kernel, for want of memory."""


def in_child(work: Callable[..., T], *arguments: Any) -> T:
    """Run ``work`` in a fresh process and return its result; an exception of it passes through.

    Raises:
        ChildDiedError: the process was killed.
    """
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            with left_to_parent():
                result = pool.submit(work, *arguments)
            return result.result()
        except BrokenProcessPool:
            raise ChildDiedError("the process was killed: out of memory?") from None
        except BaseException:  # a signal, too: leaving the pool would wait for the end of the work
            for child in set(multiprocessing.active_children()) - others:
                child.terminate()
            raise
