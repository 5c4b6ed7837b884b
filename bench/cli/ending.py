"""How a command ends when it does not go well: one line that says what and why and the mend, and a status."""

from __future__ import annotations

import os
import platform
import shlex
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from bench.addresses import words_without_secrets
from bench.cli.output import discard
from bench.cli.signals import Ended
from bench.errors import UserError, printable, storage_message

__all__ = ["EXIT_CRASH", "EXIT_PIPE", "EXIT_USER_ERROR", "TRACEBACK", "end", "say"]

EXIT_USER_ERROR = 2
EXIT_CRASH = 70
"""EX_SOFTWARE of sysexits.h: a fault of the suite itself."""
EXIT_PIPE = 141
"""What the shell gives for SIGPIPE: the reader of the output has gone."""
TRACEBACK = "BENCH_TRACEBACK"
"""Environment variable: set to anything but nothing, tracebacks are shown."""

_ENDED = {
    int(signal.SIGINT): "interrupted",
    int(signal.SIGTERM): "ended by SIGTERM",
    int(getattr(signal, "SIGHUP", 1)): "ended by SIGHUP",
}
_TORCH_MEMORY = ("can't allocate memory", "CUDA out of memory")


def end(error: BaseException, command: str, kept: str, number: int | None) -> int:
    """Say in one line how a command ended, and return its exit status.

    Args:
        error: what it ended with.
        command: its name.
        kept: what of its work is left, and how to go on; said after a signal.
        number: the signal that came, if one did, whatever ``error`` came of it.
    """
    if os.environ.get(TRACEBACK):
        say("".join(traceback.format_exception(error)).rstrip())
    if number is None and isinstance(error, KeyboardInterrupt | Ended):
        number = int(signal.SIGINT)
    if number is not None:
        say(f"{_ENDED.get(number, 'ended')}; {kept}")
        return 128 + number
    text = _mendable(error)
    if text is None:
        say(_crash(error, command))
        return EXIT_CRASH
    say(f"error: {text}")
    return EXIT_USER_ERROR


def say(text: str) -> None:
    """Write a line to stderr, if it can be written to."""
    try:
        sys.stderr.write(f"{printable(text)}\n")
        sys.stderr.flush()
    except (OSError, ValueError):  # full or closed: nobody can be told
        discard(sys.stderr)


def _mendable(error: BaseException) -> str | None:
    """What the user can do about ``error``; None of a fault of the suite."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        return storage_message(error)
    if isinstance(error, MemoryError) or any(word in str(error) for word in _TORCH_MEMORY):
        return "memory: it ran out; end other programs, or use fewer rows (--rows)."
    return None


def _crash(error: BaseException, command: str) -> str:
    """Keep the traceback of a fault of the suite in a file, and tell where."""
    lines = str(error).strip().splitlines()
    what = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    said = f"crash: {command}: {what}"
    try:
        file = _keep(error)
    except OSError as full:
        return f"{said}\nThis is a fault of the suite. No report was kept ({full.strerror}); {TRACEBACK}=1 shows it."
    return f"{said}\nThis is a fault of the suite. {file} says where; report it with this file to the project."


def _keep(error: BaseException) -> Path:
    """Write what a report needs into a new file that others cannot read."""
    moment = time.strftime("%Y%m%d-%H%M%S")
    file = Path(tempfile.gettempdir()) / f"bench-crash-{moment}-{os.getpid()}.txt"
    facts = {
        "command": shlex.join(words_without_secrets(sys.argv)),
        "time": moment,
        "system": platform.platform(),
        **_versions(),
    }
    lines = [f"{name}: {value}" for name, value in facts.items()]
    text = "\n".join([*lines, "", *traceback.format_exception(error)])
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as out:
        out.write(text)
    return file


def _versions() -> Mapping[str, str]:
    """Versions of Python and of what is loaded: a look at a package must not load it."""
    found = {"python": platform.python_version()}
    for name in ("ctr-field-bench", "torch", "numpy", "pandas", "pyarrow", "matplotlib"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
