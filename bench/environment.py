"""Where a result was made: machine, versions, commit, command. No host names and no absolute paths."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from bench.addresses import words_without_secrets

_BOOT_CHARS = 12
_MACHINE = {
    "system": "system",
    "cpu": "processor",
    "cores": "cores",
    "instruction_set": "instructions",
    "kernel": "kernel",
    "gpu": "GPU",
}
"""What a host is told apart by, as messages call it; a boot identifier comes on top."""
AT_ONCE = "cells_at_once"
"""Of a host: how many cells a run had in flight there, each with a share of it; not there where it was one."""
WORKERS = "workers"
"""Of a host: how many processes computed the cell together; not there where it was one."""
_CALLED: ContextVar[str] = ContextVar("called", default="")
"""The function by which a person called this, if by one."""
_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""Variables that say how threads of OpenMP wait."""
_SPINS = "3000"
"""Turns before a waiting thread sleeps, by default 300,000. Milliseconds of a training step of two threads on two
cores, quiet and beside two busy processes: by default 3.5 and 390, with 3000 turns 3.7 and 11, asleep at once 7.2 and
6 to 15."""
_PACKAGES = ("ctr-field-bench", "torch", "numpy", "scipy", "scikit-learn", "xgboost", "pandas", "pyarrow")


def let_waiting_threads_sleep() -> None:
    """Have threads that wait for each other give up their core soon, not spin on it, unless the user says how.

    Torch's OpenMP reads this once, when torch is loaded: afterwards nothing is changed. Child processes inherit it.
    """
    if "torch" not in sys.modules and not any(name in os.environ for name in _WAITING):
        os.environ["GOMP_SPINCOUNT"] = _SPINS


def _waiting() -> str:
    given = {name: os.environ[name] for name in _WAITING if name in os.environ}
    if set(given) <= {_WAITING[0]}:
        return given.get(_WAITING[0], "default").lower()
    return ", ".join(f"{name}={value}" for name, value in given.items())


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide numbers; absent ones are left out."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@cache
def host() -> dict[str, Any]:
    """Processor and its instructions, cores, kernel, boot, memory in bytes and, where there is one, the GPU."""
    import torch  # noqa: PLC0415

    info: dict[str, Any] = {
        "system": platform.system(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "kernel": platform.release(),
        "boot": _boot(),
        "thread_waiting": _waiting(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }
    if torch.cuda.is_available():
        info["gpu"] = torch.cuda.get_device_name(0)
        info["gpu_memory_bytes"] = torch.cuda.get_device_properties(0).total_memory
    return info


def unlike(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """In what two records differ of all that decides time and rounding, in words; nothing where they agree.

    None of it is part of a cell's identity. What neither record holds, as older ones do not, counts as equal.

    Args:
        one: has ``host``, ``device`` and ``threads`` of a record.
        other: the same of another.
    """
    here, there = one["host"] or {}, other["host"] or {}
    found = [f"{word} {here.get(k)} and {there.get(k)}" for k, word in _MACHINE.items() if here.get(k) != there.get(k)]
    found += [f"{key} {one[key]} and {other[key]}" for key in ("device", "threads") if one[key] != other[key]]
    own, others = (place.get(AT_ONCE, 1) for place in (here, there))
    found += [f"cells at a time {own} and {others}"] if own != others else []
    own, others = (place.get(WORKERS, 1) for place in (here, there))
    found += [f"workers {own} and {others}"] if own != others else []
    if not found and here.get("boot") != there.get("boot"):
        found.append("another machine, or before and after a restart")
    return found


def today() -> str:
    """The day of now, of UTC, as 2026-01-31."""
    return datetime.now(UTC).date().isoformat()


def _boot() -> str | None:
    """A hash of what the kernel draws when it starts: it tells machines of one model apart. None elsewhere."""
    drawn = Path("/proc/sys/kernel/random/boot_id")
    return hashlib.sha256(drawn.read_bytes()).hexdigest()[:_BOOT_CHARS] if drawn.exists() else None


def _cpu_model() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@cache
def git_commit() -> str | None:
    """Commit of the code, ``+changes`` if the tree differs from it; None outside a checkout."""
    home = Path(__file__).resolve().parent.parent

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(home), *words], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    if not (home / ".git").exists():
        return None
    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return None


@contextmanager
def called(function: str) -> Iterator[None]:
    """Meanwhile ``command`` names a function of Python: what its process was started with is none of ours."""
    before = _CALLED.set(f"{function}(…) in Python")
    try:
        yield
    finally:
        _CALLED.reset(before)


def command() -> str:
    """The command line, absolute paths cut to their last part, addresses without what they may hold of secrets."""
    if _CALLED.get():
        return _CALLED.get()
    return shlex.join(["python", "-m", "bench", *map(_without_folder, words_without_secrets(sys.argv[1:]))])


def _without_folder(word: str) -> str:
    """``/a/b`` as ``b`` and ``--flag=/a/b`` as ``--flag=b``; other words as they are."""
    flag, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
    return f"{flag}{equals}{Path(value).name if Path(value).is_absolute() else value}"
