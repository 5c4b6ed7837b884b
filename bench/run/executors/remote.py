"""What a process that knows the plan alone does with a task, and what it says: pairs of a kind and JSON values.

event    something happened inside the cell
result   of the task; the last word, as are the next three
ended    without a result: status and reason
memory   it ran out before the cell began
error    outside of the cell, which has its own: name, text and traceback
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from bench import errors
from bench.records import Status
from bench.run.config import from_json
from bench.run.context import Emit
from bench.run.executors.base import read_task
from bench.run.session import Session, resolve, use_threads

__all__ = ["ChildError", "Found", "Tell", "heard", "told_error", "work"]

Tell = Callable[[str, Any], None]
Found = dict[str, Any] | tuple[Status, str]
"""A result, as JSON values; or status and reason where there is none."""


class ChildError(RuntimeError):
    """A fault of the suite in another process, with the traceback from there."""


def work(config: str, task: str, tell: Tell) -> None:
    """Resolve the run again, compute one task, and tell what happens and then the last word."""
    settings = from_json(config)
    use_threads(settings)
    try:
        session = Session(resolve(settings), own_process=True)
        result = read_task(task).compute(session, lambda event: tell("event", event))
        tell("result", result.to_dict())
    except MemoryError:
        tell("memory", None)
    except Exception as error:  # outside of the cell, which has its own; it would be the same in every child
        told_error(error, tell)


def told_error(error: Exception, tell: Tell) -> None:
    """Tell of an error that is being handled."""
    known = errors.storage_error(error) if isinstance(error, OSError) else error
    tell("error", {"name": type(known).__name__, "text": str(known), "trace": traceback.format_exc()})


def heard(kind: str, content: Any, emit: Emit) -> Found | None:
    """Pass an event on; of the last word what came of the task.

    Raises:
        UserError: the process could not use the data, or a file of the run folder.
        ChildError: the suite failed there, outside of the cell.
    """
    if kind == "error":
        raise _raised(**content)
    if kind == "memory":
        return "oom", "memory ran out before the cell began"
    if kind == "ended":
        status, reason = content
        return status, reason
    if kind == "result":
        result: dict[str, Any] = content
        return result
    emit(content)
    return None


def _raised(name: str, text: str, trace: str) -> Exception:
    """The error of a child: one that a user can mend as it was, another as a fault of the suite."""
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, errors.UserError):
        return kind(text)
    error = ChildError(f"{name}: {text}")
    error.add_note(f"In the child process:\n{trace}")
    return error
