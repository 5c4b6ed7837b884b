"""Where cells are computed: an ordered table of executors, read without torch.

An executor is one file beside this one and one entry here; installed ones announce themselves through the entry-point
group ``bench.executors``. ``base`` says what one has to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from bench.errors import ConfigError
from bench.registry import Entry, Registry


@dataclass(frozen=True)
class ExecutorEntry(Entry):
    """What must be known of an executor before it is imported."""

    stops: bool = False
    """Whether it stops a cell that outlasts ``timeout_s``."""


TABLE: dict[str, ExecutorEntry] = {
    "inline": ExecutorEntry("bench.run.executors.inline:InlineExecutor", "In the process of the run"),
    "process": ExecutorEntry("bench.run.executors.process:ProcessExecutor", "In a process of its own", stops=True),
}


@cache
def executors() -> Registry[ExecutorEntry]:
    """The registry of executors, installed entry points included."""
    return Registry("executor", "bench.executors", TABLE, ExecutorEntry)


def choose_executor(name: str) -> Any:
    """The class of the executor ``name``.

    Raises:
        ConfigError: nobody has that name, or its plug-in cannot be imported.
    """
    known = executors()
    known.entry(name)
    try:
        return known.load(name)
    except Exception as error:  # a plug-in may fail in any way
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(f"executor {name!r} ({known.origin(name)}) cannot be imported: {reason}.") from error
