"""Where cells are computed: an ordered table of executors, read without torch.

An executor is one file beside this one and one entry here; installed ones announce themselves through the entry-point
group ``bench.executors``. ``base`` says what one has to do.
"""

from __future__ import annotations

import os
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
    several: bool = False
    """Whether ``NAME:N`` says how many cells it has in flight at most."""
    here: bool = True
    """Whether its cells are computed by this machine, whose cores bound N, and which a timing pass can watch."""


TABLE: dict[str, ExecutorEntry] = {
    "inline": ExecutorEntry("bench.run.executors.inline:InlineExecutor", "In the process of the run"),
    "process": ExecutorEntry(
        "bench.run.executors.process:ProcessExecutor",
        "In a process of its own; process:N runs N at a time",
        stops=True,
        several=True,
    ),
}


@cache
def executors() -> Registry[ExecutorEntry]:
    """The registry of executors, installed entry points included."""
    return Registry("executor", "bench.executors", TABLE, ExecutorEntry)


def count_of(text: str) -> int | None:
    """N of ``NAME:N``; None where there is none.

    Raises:
        ConfigError: it is no whole number.
    """
    name, colon, number = text.partition(":")
    if not colon:
        return None
    if not number.isdecimal():
        raise ConfigError(f"executor={text}: {number!r} is no number of cells; write {name}:2, say.")
    return int(number)


def chosen(text: str) -> ExecutorEntry:
    """The entry of the executor ``text``, ``NAME`` or ``NAME:N``, which can be used here.

    Raises:
        ConfigError: nobody has that name, or N is out of range.
    """
    name = text.partition(":")[0]
    entry, count = executors().entry(name), count_of(text)
    if count is not None and not entry.several:
        raise ConfigError(f"executor={text}: {name} computes one cell after another; leave :{count} out.")
    if count == 0:
        raise ConfigError(f"executor={text}: with no cell in flight nothing is computed; allowed: {name}:1 and more.")
    if count is not None and entry.here and count > (most := cores()):
        raise ConfigError(
            f"executor={text}: {count} cells at a time on {most} core{'s' if most > 1 else ''} would wait for each "
            f"other; allowed: {name}:1 to {name}:{most}."
        )
    return entry


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_executor(text: str) -> Any:
    """The class of the executor ``text``, ``NAME`` or ``NAME:N``.

    Raises:
        ConfigError: nobody has that name, it cannot be used here, or its plug-in cannot be imported.
    """
    known, name = executors(), text.partition(":")[0]
    chosen(text)
    try:
        return known.load(name)
    except Exception as error:  # a plug-in may fail in any way
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(f"executor {name!r} ({known.origin(name)}) cannot be imported: {reason}.") from error
