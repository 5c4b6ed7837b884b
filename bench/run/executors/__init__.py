"""Where cells are computed: an ordered table of executors, read without torch.

An executor is one file beside this one and one entry here; installed ones announce themselves through the entry-point
group ``bench.executors``. ``base`` says what one has to do.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
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
    options: tuple[str, ...] = ()
    """Settings of a run that are for executors, and that it heeds."""
    needs: str = ""
    """The package that it needs beside the suite's own."""
    extra: str = ""
    """The extra that brings it."""


TABLE: dict[str, ExecutorEntry] = {
    "inline": ExecutorEntry("bench.run.executors.inline:InlineExecutor", "In the process of the run"),
    "process": ExecutorEntry(
        "bench.run.executors.process:ProcessExecutor",
        "In a process of its own; process:N runs N at a time",
        stops=True,
        several=True,
        options=("workers_per_cell",),
    ),
    "ray": ExecutorEntry(
        "bench.run.executors.ray_cluster:RayExecutor",
        "Tasks of a Ray cluster; ray:N has at most N in flight",
        stops=True,
        several=True,
        here=False,
        options=("workers_per_cell", "address", "cpus_per_cell", "gpus_per_cell"),
        needs="ray",
        extra="ray",
    ),
    "slurm": ExecutorEntry(
        "bench.run.executors.slurm:SlurmExecutor",
        "Jobs of a Slurm cluster; slurm:N has at most N in flight",
        stops=True,
        several=True,
        here=False,
        options=("workers_per_cell", "cpus_per_cell", "gpus_per_cell", "slurm", "show_script"),
        needs="submitit",
        extra="slurm",
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
        ConfigError: nobody has that name, its package is not installed, or N is out of range.
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
    if entry.needs and find_spec(entry.needs) is None:
        raise ConfigError(
            f"executor={name} needs {entry.needs}, which is not installed: pip install 'ctr-field-bench[{entry.extra}]'"
        )
    return entry


def options() -> list[str]:
    """Settings of a run that are for executors."""
    known = executors()
    return list(dict.fromkeys(option for name in known.names() for option in known.entry(name).options))


def refuse_strange(entry: ExecutorEntry, name: str, given: Mapping[str, Any]) -> None:
    """Refuse settings for another executor than that of ``entry``.

    Args:
        entry: of the executor that runs.
        name: its name.
        given: the settings that are for executors, those at their defaults left out.

    Raises:
        ConfigError: it does not heed one of them.
    """
    for key, value in given.items():
        if key not in entry.options:
            takers = " or ".join(one for one in executors().names() if key in executors().entry(one).options)
            flag, said = key.replace("_", "-"), " ".join(value) if isinstance(value, tuple) else value
            raise ConfigError(f"{flag}={said} says nothing to --executor {name}: it is for {takers}.")


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
