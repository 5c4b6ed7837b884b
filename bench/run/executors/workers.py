"""Several workers of one cell, as one: what comes of it is what the first says, unless one of them is lost.

A worker that dies leaves the others waiting for it. They are ended here, so that the cell fails with the reason and the
run goes on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench import environment
from bench.engine.device import choose_device
from bench.run.config import RunConfig, from_json
from bench.run.context import Emit, silent
from bench.run.executors.base import TICK_S
from bench.run.executors.child import LAST_WORDS_S, Child, gpus_here
from bench.run.executors.remote import Found, Tell, told_error, work

__all__ = ["Workers", "work_together"]

WORD_S = 3.0
"""Seconds that others get to say what went wrong with them, after the first word of something wrong."""
_FOLLOWS = ("onnection closed", "onnection reset", "roken pipe", "gloo", "NCCL")
"""What stands in the reason of a worker that failed because another one had gone."""
_MEMORY = "peak_mem_bytes"


class Workers:
    """The processes of one cell; to be used as a ``Child``."""

    def __init__(self, config: RunConfig, task: str, gpus: Sequence[str | None], emit: Emit) -> None:
        """Start a worker for each of ``gpus``, the only one that it sees; None: all."""
        self._folder = TemporaryDirectory(prefix="bench-workers-")
        meeting, size = str(Path(self._folder.name) / "meeting"), len(gpus)
        self._children: list[Child] = []
        self._said: dict[int, Found] = {}
        self._since: float | None = None
        try:
            for rank, gpu in enumerate(gpus):
                told = silent if rank else emit
                self._children.append(Child(config, task, gpu, told, (meeting, rank, size)))
        except BaseException:
            self.stop(0.0)
            raise

    @property
    def pids(self) -> list[int | None]:
        """Process numbers, by rank."""
        return [child.pid for child in self._children]

    def listen(self) -> Found | None:
        """As ``Child.listen``: what came of the cell."""
        for rank, child in enumerate(self._children):
            if rank not in self._said and (found := child.listen()) is not None:
                self._said[rank] = found
        first = self._said.get(0)
        wrong = {rank: found for rank, found in self._said.items() if not _is_well(found)}
        if not wrong:
            return self._whole(first) if isinstance(first, dict) else None
        self._since = self._since or time.monotonic()
        if len(self._said) < len(self._children) and time.monotonic() < self._since + WORD_S:
            return None
        return self._cause(wrong)

    def _cause(self, wrong: dict[int, Found]) -> Found:
        """What went wrong, of several words: a death before a failure, and a cause before what follows from it."""
        size = len(self._children)
        for rank, found in wrong.items():
            if isinstance(found, tuple):
                status, reason = found
                if status == "timeout":
                    return found
                return "failed", f"worker {rank + 1} of {size} was lost: {reason}"
        failed = {rank: found for rank, found in wrong.items() if isinstance(found, dict)}
        rank = min(failed, key=lambda rank: (_follows(failed[rank]), rank))
        found = self._whole(failed[rank])
        return found if rank == 0 else found | {"reason": f"worker {rank + 1} of {size}: {found.get('reason')}"}

    def _whole(self, found: dict[str, Any]) -> dict[str, Any]:
        """The result of a worker, with the memory of all, and how many they are."""
        more: dict[str, Any] = {}
        if found.get(_MEMORY) is not None:
            more[_MEMORY] = sum(said.get(_MEMORY) or 0 for said in self._said.values() if isinstance(said, dict))
        if found.get("host") is not None:
            more["host"] = found["host"] | {environment.WORKERS: len(self._children)}
        return found | more

    def stop(self, patience_s: float) -> None:
        """End all of them, who get so long together to end by themselves."""
        end = time.monotonic() + patience_s
        for child in self._children:
            child.stop(max(0.0, end - time.monotonic()))
        with suppress(OSError):
            self._folder.cleanup()


def work_together(config: str, task: str, tell: Tell) -> None:
    """As ``work``; by several workers on this machine where the settings ask for them, each with their threads."""
    settings = from_json(config)
    if settings.workers_per_cell == 1:
        work(config, task, tell)
        return
    gpus: list[str | None] = [*gpus_here(settings.device, choose_device(settings.device))] or [None]
    own = [gpus[rank % len(gpus)] for rank in range(settings.workers_per_cell)]
    try:
        crew = Workers(settings, task, own, lambda event: tell("event", event))
        try:
            while (found := crew.listen()) is None:
                time.sleep(TICK_S)
        finally:
            crew.stop(LAST_WORDS_S)
    except Exception as error:  # outside of the cell, as in ``work``
        told_error(error, tell)
        return
    tell("result" if isinstance(found, dict) else "ended", found)


def _is_well(found: Found) -> bool:
    """Whether a worker's last word is no failure; a cell that is skipped, or a trial given up, is none."""
    return isinstance(found, dict) and found.get("status") not in ("failed", "oom", "timeout")


def _follows(found: dict[str, Any]) -> bool:
    """Whether a failure may well be the consequence of another worker's."""
    return any(word in str(found.get("reason")) for word in _FOLLOWS)
