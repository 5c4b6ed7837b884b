"""A cell in a process of its own: its peak memory is measured, its limit in time is kept, its death survived."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any

from bench import environment, errors
from bench.processes import end_with_parent, left_to_parent
from bench.records import Status
from bench.run.config import from_json, to_json
from bench.run.context import Emit
from bench.run.executors.base import Executor, R, Task, read_task
from bench.run.session import Session, resolve, use_threads

POLL_S = 0.2
GRACE_S = 5.0
"""Seconds that a stopped child gets to end by itself."""


class ProcessExecutor(Executor):
    """Computes every task in a fresh process; the run's own process loads no rows.

    A child that is killed gives ``oom`` (the kernel's usual reason) and one that outlasts ``timeout_s`` gives
    ``timeout``; neither leaves anything half-written, because only the parent writes records. What the two say to each
    other is JSON text, so that neither can make the other run code.
    """

    def submit(self, task: Task[R], emit: Emit) -> R:
        config = self.session.plan.config
        context = multiprocessing.get_context("spawn")
        receive, send = context.Pipe(duplex=False)
        child = context.Process(target=_child, args=(to_json(config), task.text, send), daemon=True)
        with left_to_parent():
            child.start()
        send.close()
        deadline = None if config.timeout_s is None else time.monotonic() + config.timeout_s
        try:
            found = _listen(receive, deadline, emit)
        finally:
            _stop(child)
            receive.close()
        if isinstance(found, dict):
            if "command" in found:  # a child knows its command line, but not a function by which its parent was called
                found["command"] = environment.command()
            return task.result.from_dict(found, source=task.cell.title)
        if found == "memory":
            return task.ended(self.session, "oom", "memory ran out before the cell began")
        if found == "timeout":
            return task.ended(self.session, "timeout", f"stopped after {config.timeout_s:g} s")
        return task.ended(self.session, *_died(child.exitcode))


def _listen(receive: Connection, deadline: float | None, emit: Emit) -> dict[str, Any] | str:
    """Pass events on until the result comes; "timeout", "memory" or "died" where none does.

    Raises:
        UserError: the child could not use the data, or a file of the run folder.
        ChildError: the suite failed in the child, outside of the cell.
    """
    while deadline is None or time.monotonic() < deadline:
        if not receive.poll(POLL_S):
            continue
        try:
            kind, content = json.loads(receive.recv_bytes())
        except EOFError:
            return "died"
        if kind == "error":
            raise _raised(**content)
        if kind == "memory":
            return "memory"
        if kind == "result":
            result: dict[str, Any] = content
            return result
        emit(content)
    return "timeout"


class ChildError(RuntimeError):
    """A fault of the suite in a child process, with the traceback from there."""


def _raised(name: str, text: str, trace: str) -> Exception:
    """The error of a child: one that a user can mend as it was, another as a fault of the suite."""
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, errors.UserError):
        return kind(text)
    error = ChildError(f"{name}: {text}")
    error.add_note(f"In the child process:\n{trace}")
    return error


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
    if exitcode == -signal.SIGBUS:
        return "failed", "the process was ended by SIGBUS: a file that it was reading was cut short, or its disk failed"
    return "failed", f"the process ended with exit status {exitcode} and no record"


def _child(config: str, task: str, send: Connection) -> None:
    """Body of the child: resolve the run again, compute one task, send events and then the result, all as JSON."""
    end_with_parent()

    def tell(kind: str, content: object) -> None:
        try:
            send.send_bytes(json.dumps([kind, content]).encode())
        except OSError:  # the parent is gone, and nobody waits for a result
            os._exit(1)

    settings = from_json(config)
    use_threads(settings)
    try:
        session = Session(resolve(settings), own_process=True)
        result = read_task(task).compute(session, lambda event: tell("event", event))
        tell("result", result.to_dict())
    except MemoryError:
        tell("memory", None)
    except Exception as error:  # outside of the cell, which has its own; it would be the same in every child
        known = errors.storage_error(error) if isinstance(error, OSError) else error
        tell("error", {"name": type(known).__name__, "text": str(known), "trace": traceback.format_exc()})
    send.close()
