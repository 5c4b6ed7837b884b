"""A child process that computes one task, alone or as one of several workers of a cell, and what it says."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import sys
import time
from contextlib import nullcontext
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from bench.engine.crew import PartDone, joined
from bench.engine.device import choose_device
from bench.processes import end_with_parent, importing_alike, left_to_parent, starting
from bench.records import Status
from bench.run.columns import peak_memory
from bench.run.config import RunConfig, from_json, to_json
from bench.run.context import Emit
from bench.run.executors.remote import Found, heard, work

__all__ = ["LAST_WORDS_S", "Child", "Place", "died", "gpus_here"]

GRACE_S = 5.0
"""Seconds that a stopped child gets to end by itself."""
LAST_WORDS_S = 0.5
"""Seconds that a child gets to end once it has given its result."""
VISIBLE = "CUDA_VISIBLE_DEVICES"
INTERFACE = "GLOO_SOCKET_IFNAME"
"""Names the network by which workers talk; those of one machine need none beyond it."""
Place = tuple[str, int, int]
"""Of a worker: the file by which the workers of its cell meet, its rank, and how many they are."""


def gpus_here(asked: str, device: torch.device) -> list[str]:
    """The GPUs that children share out, as ``CUDA_VISIBLE_DEVICES`` calls them; none where one is asked for, or is."""
    if device.type != "cuda" or ":" in asked or torch.cuda.device_count() < 2:
        return []
    given = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    return given or [str(number) for number in range(torch.cuda.device_count())]


class Child:
    """A process that computes one task, and what it says."""

    def __init__(self, config: RunConfig, task: str, gpu: str | None, emit: Emit, place: Place | None = None) -> None:
        """Start it.

        Args:
            config: the run's settings.
            task: as text.
            gpu: the only one that it sees; None: all.
            emit: is told what happens in it.
            place: among the workers of its cell; None: it computes it alone.
        """
        context = starting(__name__)
        self._receive, send = context.Pipe(duplex=False)
        variables = dict(os.environ) | ({VISIBLE: gpu} if gpu is not None else {})
        if place is not None and sys.platform == "linux":
            variables.setdefault(INTERFACE, "lo")
        given = (to_json(config), task, variables, send, place)
        self._process = context.Process(target=_child, args=given, daemon=True)
        with left_to_parent(), importing_alike():
            self._process.start()
        send.close()
        self._emit = emit
        self._limit_s = config.timeout_s
        self._deadline = math.inf if self._limit_s is None else time.monotonic() + self._limit_s
        self._gone = False

    def listen(self) -> Found | None:
        """Pass events on; what came of the task, once that is known.

        Raises:
            UserError: the child could not use the data, or a file of the run folder.
            ChildError: the suite failed in the child, outside of the cell.
        """
        while self._receive.poll():
            try:
                kind, content = json.loads(self._receive.recv_bytes())
            except EOFError:
                self.stop(GRACE_S)
                return died(self._process.exitcode)
            found = heard(kind, content, self._emit)
            if found is not None:
                return found
        if time.monotonic() > self._deadline:
            return "timeout", f"stopped after {self._limit_s:g} s"
        return None

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def stop(self, patience_s: float) -> None:
        """End the process, which gets so long to end by itself."""
        if not self._gone:
            self._gone = True
            self._receive.close()
            _stop(self._process, patience_s)


def _stop(child: multiprocessing.process.BaseProcess, patience_s: float) -> None:
    child.join(patience_s)
    if child.is_alive():
        child.terminate()
        child.join(GRACE_S)
    if child.is_alive():
        child.kill()
        child.join()


def died(exitcode: int | None) -> tuple[Status, str]:
    """Status and reason of a process that ended without a word."""
    if exitcode == -signal.SIGKILL:
        return "oom", "the process was killed, most likely for lack of memory"
    if exitcode == -signal.SIGBUS:
        return "failed", "the process was ended by SIGBUS: a file that it was reading was cut short, or its disk failed"
    return "failed", f"the process ended with exit status {exitcode} and no record"


def _child(config: str, task: str, variables: dict[str, str], send: Connection, place: Place | None) -> None:
    """Body of the child: resolve the run again, compute one task, send events and then the result, all as JSON."""
    end_with_parent()
    os.environ.clear()  # it comes from a server, which may have been started under others
    os.environ.update(variables)

    def tell(kind: str, content: object) -> None:
        try:
            send.send_bytes(json.dumps([kind, content]).encode())
        except OSError:  # the parent is gone, and nobody waits for a result
            os._exit(1)

    with nullcontext() if place is None else joined(Path(place[0]), *place[1:]):
        try:
            work(config, task, tell)
        except PartDone:
            memory = peak_memory(choose_device(from_json(config).device), own_process=True)
            tell("result", {"status": "done", "peak_mem_bytes": memory})
    send.close()
