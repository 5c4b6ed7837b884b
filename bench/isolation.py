"""A cell in a process of its own: its peak memory is measured, its limit in time is kept, its death survived."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

from bench.config import RunConfig
from bench.grid import Cell
from bench.job import Job
from bench.records import CellRecord

POLL_S = 0.2
GRACE_S = 5.0
"""Seconds that a stopped child gets to end by itself."""


def run_isolated(job: Job, config: RunConfig, emit: Callable[[dict[str, Any]], None]) -> CellRecord:
    """Run the cell of ``job`` in a fresh process and return its record.

    A child that is killed gives ``oom`` (the kernel's usual reason) and one that outlasts ``timeout_s`` gives
    ``timeout``; neither leaves anything half-written, because only the parent writes records.
    """
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(config, job.cell, send), daemon=True)
    child.start()
    send.close()
    deadline = None if config.timeout_s is None else time.monotonic() + config.timeout_s
    try:
        result = _listen(receive, deadline, emit)
    finally:
        _stop(child)
        receive.close()
    if isinstance(result, dict):
        return CellRecord.from_dict(result, source=job.cell.title)
    if result == "timeout":
        return replace(job.record(), status="timeout", reason=f"stopped after {config.timeout_s:g} s")
    return replace(job.record(), **_died(child.exitcode))


def _listen(
    receive: Connection, deadline: float | None, emit: Callable[[dict[str, Any]], None]
) -> dict[str, Any] | str:
    """Pass events on until the record comes; "timeout" or "died" where none does."""
    while deadline is None or time.monotonic() < deadline:
        if not receive.poll(POLL_S):
            continue
        try:
            kind, content = receive.recv()
        except EOFError:
            return "died"
        if kind == "record":
            record: dict[str, Any] = content
            return record
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


def _died(exitcode: int | None) -> dict[str, Any]:
    if exitcode == -signal.SIGKILL:
        return {"status": "oom", "reason": "the process was killed, most likely for lack of memory"}
    return {"status": "failed", "reason": f"the process ended with exit status {exitcode} and no record"}


def _child(config: RunConfig, cell: Cell, send: Connection) -> None:
    """Body of the child: resolve the run again, run one cell, send events and then the record."""
    from bench.cell import run_cell  # noqa: PLC0415 - the parent's import of this module must stay acyclic
    from bench.sweep import Session, resolve, use_threads  # noqa: PLC0415

    use_threads(config)
    session = Session(resolve(config))
    job = replace(session.job(cell, lambda event: send.send(("event", event))), own_process=True)
    send.send(("record", run_cell(job).to_dict()))
    send.close()
