"""A cell in a process of its own: its peak memory is measured, its limit in time is kept, its death survived."""

from __future__ import annotations

import multiprocessing
import signal
import time
from multiprocessing.connection import Connection
from typing import Any

from bench.errors import UserError
from bench.records import Status
from bench.run.config import RunConfig
from bench.run.context import Emit
from bench.run.executors.base import Executor, R, Task
from bench.run.session import Session, resolve, use_threads

POLL_S = 0.2
GRACE_S = 5.0
"""Seconds that a stopped child gets to end by itself."""


class ProcessExecutor(Executor):
    """Computes every task in a fresh process; the run's own process loads no rows.

    A child that is killed gives ``oom`` (the kernel's usual reason) and one that outlasts ``timeout_s`` gives
    ``timeout``; neither leaves anything half-written, because only the parent writes records.
    """

    def submit(self, task: Task[R], emit: Emit) -> R:
        config = self.session.plan.config
        context = multiprocessing.get_context("spawn")
        receive, send = context.Pipe(duplex=False)
        child = context.Process(target=_child, args=(config, task, send), daemon=True)
        child.start()
        send.close()
        deadline = None if config.timeout_s is None else time.monotonic() + config.timeout_s
        try:
            found = _listen(receive, deadline, emit)
        finally:
            _stop(child)
            receive.close()
        if isinstance(found, dict):
            return task.result.from_dict(found, source=task.cell.title)
        if found == "timeout":
            return task.ended(self.session, "timeout", f"stopped after {config.timeout_s:g} s")
        return task.ended(self.session, *_died(child.exitcode))


def _listen(receive: Connection, deadline: float | None, emit: Emit) -> dict[str, Any] | str:
    """Pass events on until the result comes; "timeout" or "died" where none does.

    Raises:
        UserError: the child could not use the data.
    """
    while deadline is None or time.monotonic() < deadline:
        if not receive.poll(POLL_S):
            continue
        try:
            kind, content = receive.recv()
        except EOFError:
            return "died"
        if kind == "error":
            raise content
        if kind == "result":
            result: dict[str, Any] = content
            return result
        emit(content)
    return "timeout"


def _stop(child: multiprocessing.process.BaseProcess) -> None:
    child.join(GRACE_S if child.exitcode is None and not child.is_alive() else 0.5)
    if child.is_alive():
        child.terminate()
        child.join(GRACE_S)
    if child.is_alive():
        child.kill()
        child.join()


def _died(exitcode: int | None) -> tuple[Status, str]:
    if exitcode == -signal.SIGKILL:
        return "oom", "the process was killed, most likely for lack of memory"
    return "failed", f"the process ended with exit status {exitcode} and no record"


def _child(config: RunConfig, task: Task[Any], send: Connection) -> None:
    """Body of the child: resolve the run again, compute one task, send events and then the result."""

    def emit(event: dict[str, Any]) -> None:
        send.send(("event", event))

    use_threads(config)
    try:
        result = task.compute(Session(resolve(config), own_process=True), emit)
    except UserError as error:  # of the data, which the parent has not loaded; it would be the same in every child
        send.send(("error", error))
    else:
        send.send(("result", result.to_dict()))
    send.close()
