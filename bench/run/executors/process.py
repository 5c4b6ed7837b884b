"""A cell in a process of its own: its peak memory is measured, its limit in time is kept, its death survived."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from typing import Any

import torch

from bench.processes import end_with_parent, importing_alike, left_to_parent
from bench.records import CellRecord, Status
from bench.run.config import RunConfig, to_json
from bench.run.context import Emit
from bench.run.executors import count_of
from bench.run.executors.base import R, Running, SeveralAtOnce, Task
from bench.run.executors.remote import heard, work
from bench.run.session import Session

GRACE_S = 5.0
"""Seconds that a stopped child gets to end by itself."""
LAST_WORDS_S = 0.5
"""Seconds that a child gets to end once it has given its result."""
VISIBLE = "CUDA_VISIBLE_DEVICES"


class ProcessExecutor(SeveralAtOnce):
    """Computes every task in a fresh process, ``process:N`` at most N at a time; the run's own loads no rows.

    A child that is killed gives ``oom`` (the kernel's usual reason) and one that outlasts ``timeout_s`` gives
    ``timeout``; neither leaves anything half-written, because only the parent writes records. What the two say to each
    other is JSON text, so that neither can make the other run code. Children share the machine's threads, unless the
    settings say how many each has, and take turns on its GPUs where there are several.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        config = session.plan.config
        self._slots = count_of(config.executor_name) or 1
        if self._slots > 1 and config.threads is None:
            config = replace(config, threads=max(torch.get_num_threads() // self._slots, 1))
        self._config = config
        self._gpus = _gpus(config.device, session.plan.device) if self._slots > 1 else []
        self._free = list(range(self._slots))

    @property
    def slots(self) -> int:
        return self._slots

    def begin(self, task: Task[R], emit: Emit) -> Running[R]:
        place = self._free.pop(0)
        gpu = self._gpus[place % len(self._gpus)] if self._gpus else None

        def returned(found: dict[str, Any]) -> R:
            return self.returned(task, found, self._slots)

        def ended(status: Status, reason: str) -> R:
            return self._on_its_threads(task.ended(self.session, status, reason))

        child = _Child(self._config, task.text, gpu, emit)
        return _Computing(child, returned, ended, lambda: self._free.append(place))

    def _on_its_threads(self, result: R) -> R:
        """The record of a cell that has none of its own, with the threads that it had."""
        if isinstance(result, CellRecord) and self._config.threads is not None:
            return replace(result, threads=self._config.threads)
        return result


def _gpus(asked: str, device: torch.device) -> list[str]:
    """The GPUs that children share out, as ``CUDA_VISIBLE_DEVICES`` calls them; none where one is asked for, or is."""
    if device.type != "cuda" or ":" in asked or torch.cuda.device_count() < 2:
        return []
    given = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    return given or [str(number) for number in range(torch.cuda.device_count())]


def _context() -> ForkServerContext | SpawnContext:
    """How children start: from a server that has the libraries loaded, and no rows, threads or GPU, or each by itself.

    The first takes a tenth of a second where the second takes three of computing. Elsewhere than under Linux libraries
    are known to break in a process that was forked.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


class _Child:
    """A process that computes one task, and what it says."""

    def __init__(self, config: RunConfig, task: str, gpu: str | None, emit: Emit) -> None:
        context = _context()
        self._receive, send = context.Pipe(duplex=False)
        variables = dict(os.environ) | ({VISIBLE: gpu} if gpu is not None else {})
        self._process = context.Process(target=_child, args=(to_json(config), task, variables, send), daemon=True)
        with left_to_parent(), importing_alike():
            self._process.start()
        send.close()
        self._emit = emit
        self.limit_s = config.timeout_s
        self._deadline = math.inf if self.limit_s is None else time.monotonic() + self.limit_s
        self._gone = False

    def listen(self) -> dict[str, Any] | str | None:
        """Pass events on; the result, or "timeout", "memory" or "died" where none will come; None: not yet.

        Raises:
            UserError: the child could not use the data, or a file of the run folder.
            ChildError: the suite failed in the child, outside of the cell.
        """
        while self._receive.poll():
            try:
                kind, content = json.loads(self._receive.recv_bytes())
            except EOFError:
                return "died"
            if (found := heard(kind, content, self._emit)) is not None:
                return found
        return "timeout" if time.monotonic() > self._deadline else None

    @property
    def exitcode(self) -> int | None:
        return self._process.exitcode

    def stop(self, patience_s: float) -> None:
        """End the process, which gets so long to end by itself."""
        if not self._gone:
            self._gone = True
            self._receive.close()
            _stop(self._process, patience_s)


@dataclass
class _Computing(Running[R]):
    """A task in a process of its own."""

    child: _Child
    returned: Callable[[dict[str, Any]], R]
    ended: Callable[[Status, str], R]
    free: Callable[[], None]
    """Gives its place back."""
    done: bool = False

    def poll(self) -> R | None:
        found = self.child.listen()
        if found is None:
            return None
        self._leave(GRACE_S if found == "died" else LAST_WORDS_S)
        if isinstance(found, dict):
            return self.returned(found)
        if found == "memory":
            return self.ended("oom", "memory ran out before the cell began")
        if found == "timeout":
            return self.ended("timeout", f"stopped after {self.child.limit_s:g} s")
        return self.ended(*_died(self.child.exitcode))

    def stop(self) -> None:
        self._leave(0.0)

    def _leave(self, patience_s: float) -> None:
        if not self.done:
            self.done = True
            self.child.stop(patience_s)
            self.free()


def _stop(child: multiprocessing.process.BaseProcess, patience_s: float) -> None:
    child.join(patience_s)
    if child.is_alive():
        child.terminate()
        child.join(GRACE_S)
    if child.is_alive():
        child.kill()
        child.join()


def _died(exitcode: int | None) -> tuple[Status, str]:
    if exitcode == -signal.SIGKILL:
        return "oom", "the process was killed, most likely for lack of memory"
    if exitcode == -signal.SIGBUS:
        return "failed", "the process was ended by SIGBUS: a file that it was reading was cut short, or its disk failed"
    return "failed", f"the process ended with exit status {exitcode} and no record"


def _child(config: str, task: str, variables: dict[str, str], send: Connection) -> None:
    """Body of the child: resolve the run again, compute one task, send events and then the result, all as JSON."""
    end_with_parent()
    os.environ.clear()  # it comes from a server, which may have been started under others
    os.environ.update(variables)

    def tell(kind: str, content: object) -> None:
        try:
            send.send_bytes(json.dumps([kind, content]).encode())
        except OSError:  # the parent is gone, and nobody waits for a result
            os._exit(1)

    work(config, task, tell)
    send.close()
