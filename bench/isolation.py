"""A cell in a process of its own: its peak memory is measured, its limit in time is kept, its death survived."""

from __future__ import annotations

import multiprocessing
import signal
import time
from dataclasses import asdict, replace
from multiprocessing.connection import Connection
from typing import Any

from bench.config import RunConfig
from bench.context import Emit
from bench.errors import UserError
from bench.grid import Cell
from bench.job import ResolvedCell
from bench.records import CellRecord
from bench.tuning import Trial

POLL_S = 0.2
GRACE_S = 5.0
"""Seconds that a stopped child gets to end by itself."""


def run_isolated(cell: ResolvedCell, config: RunConfig, emit: Emit) -> CellRecord:
    """Run ``cell`` in a fresh process and return its record.

    A child that is killed gives ``oom`` (the kernel's usual reason) and one that outlasts ``timeout_s`` gives
    ``timeout``; neither leaves anything half-written, because only the parent writes records.
    """
    result, done = _in_child(config, cell.cell, None, emit)
    return CellRecord.from_dict(result, source=cell.cell.title) if done else replace(cell.record(), **result)


def try_isolated(trial: ResolvedCell, config: RunConfig, emit: Emit) -> Trial:
    """Try the learning rate of the trial's profile in a fresh process, under the same rules."""
    lr = trial.profile.lr
    result, done = _in_child(config, trial.cell, lr, emit)
    return Trial(**result) if done else Trial(lr=lr, **result)


def _in_child(config: RunConfig, cell: Cell, lr: float | None, emit: Emit) -> tuple[dict[str, Any], bool]:
    """What a child returns and True, or status and reason of its end without a result and False.

    Args:
        config: the run, which the child resolves again.
        cell: what to run.
        lr: the learning rate to try; None: run the cell itself.
        emit: is told what happens in the child.
    """
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(config, cell, lr, send), daemon=True)
    child.start()
    send.close()
    deadline = None if config.timeout_s is None else time.monotonic() + config.timeout_s
    try:
        result = _listen(receive, deadline, emit)
    finally:
        _stop(child)
        receive.close()
    if isinstance(result, dict):
        return result, True
    if result == "timeout":
        return {"status": "timeout", "reason": f"stopped after {config.timeout_s:g} s"}, False
    return _died(child.exitcode), False


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


def _died(exitcode: int | None) -> dict[str, Any]:
    if exitcode == -signal.SIGKILL:
        return {"status": "oom", "reason": "the process was killed, most likely for lack of memory"}
    return {"status": "failed", "reason": f"the process ended with exit status {exitcode} and no record"}


def _child(config: RunConfig, cell: Cell, lr: float | None, send: Connection) -> None:
    """Body of the child: resolve the run again, run one cell or trial, send events and then the result."""
    from bench.cell import run_cell, run_trial  # noqa: PLC0415 - the parent's import of this module must stay acyclic
    from bench.sweep import Session, resolve, use_threads  # noqa: PLC0415

    use_threads(config)
    session = Session(resolve(config))

    def emit(event: dict[str, Any]) -> None:
        send.send(("event", event))

    try:
        if lr is None:
            found = session.cell(cell)
            job = replace(session.job(found, emit), own_process=True, checkpoints=session.checkpoints(found))
            result = run_cell(job).to_dict()
        else:
            result = asdict(run_trial(session.job(session.trial(cell, lr), emit)))
    except UserError as error:  # of the data, which the parent has not loaded; it would be the same in every child
        send.send(("error", error))
    else:
        send.send(("result", result))
    send.close()
