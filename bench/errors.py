"""Errors that a user can mend. The command line prints them without a traceback and exits with status 2."""

from __future__ import annotations

import difflib
import errno
import os
import re
from collections.abc import Iterable
from pathlib import Path

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_SHOWN = 60


class UserError(Exception):
    """Bad input: the message names the thing, its value and the mend."""


class ConfigError(UserError):
    """A flag, a configuration key or a parameter that cannot be used."""


class DataError(UserError):
    """A raw file or an encoded store that cannot be used."""


class StorageError(DataError):
    """A file or folder of the suite's own cannot be written, read or trusted.

    It ends a run, whoever asked for the file: a method whose checkpoint finds no room has not failed.
    """


class BusyError(UserError):
    """The machine or the run folder is at something else; the same command will do later."""


_TROUBLES: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("the disk is full", "free some space there, or choose another {place}"),
    errno.EDQUOT: ("the quota of disk space is used up", "free some space there, or choose another {place}"),
    errno.EFBIG: ("the file grew beyond the largest size allowed", "raise `ulimit -f`, or choose another {place}"),
    errno.EROFS: ("its file system is read-only", "mount it for writing, or choose another {place}"),
    errno.EACCES: ("permission is denied", "change its permissions, or choose another {place}"),
    errno.EPERM: ("it is not permitted", "change its permissions, or choose another {place}"),
    errno.ENOENT: ("it is not there, or was removed meanwhile", "check the path, then repeat the command"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "choose another {place}"),
    errno.EISDIR: ("a folder is there, where a file is wanted", "move it away, or choose another {place}"),
    errno.EEXIST: ("something else is there already", "move it away, or choose another {place}"),
    errno.ENOTEMPTY: ("the folder is not empty", "move it away, or choose another {place}"),
    errno.ELOOP: ("its links lead in a circle", "mend the links, or choose another {place}"),
    errno.EBUSY: ("something else is using it", "end that, then repeat the command"),
    errno.EMFILE: ("this process has too many files open", "raise `ulimit -n`, then repeat the command"),
    errno.ENFILE: ("the system has too many files open", "end other programs, then repeat the command"),
    errno.EAGAIN: ("the system gives no more processes or threads", "end other programs, or raise `ulimit -u`"),
    errno.ENOMEM: ("memory ran out", "end other programs, or use fewer rows (--rows)"),
    errno.EIO: ("the disk reports an error", "check the disk, or choose another {place}"),
    errno.ENXIO: ("its disk is gone", "connect it again, or choose another {place}"),
    errno.ENODEV: ("its disk is gone", "connect it again, or choose another {place}"),
    errno.ESTALE: ("its file server has lost it", "mount it again, then repeat the command"),
    errno.ENOTCONN: ("its file server is gone", "mount it again, then repeat the command"),
    errno.ETIMEDOUT: ("its file server does not answer", "try again, or choose another {place}"),
}
"""What the system's errors mean, and their mend, by number."""
_NUMBER_IN_TEXT = re.compile(r"errno:? (\d+)", re.IGNORECASE)
_CUT_WRITE = re.compile(r"\d+ requested and \d+ written")


def storage_message(error: OSError, path: Path | None = None, place: str = "folder") -> str | None:
    """``THING: REASON; MEND.`` of a file that the system does not let us use; None of an error of another kind.

    Args:
        error: the system's, or a library's that has its number in its text only.
        path: what was to be written or read; by default what the error names.
        place: what the user can choose otherwise, e.g. a flag.
    """
    number = _number(error)
    thing = str(path or _named(error) or "a file")
    if number == errno.ENAMETOOLONG:
        name = max(Path(thing).parts, key=lambda part: len(part.encode()))
        return f"{name[:40]}…: a name of {len(name.encode())} bytes is too long for a file here; choose a shorter one."
    if number not in _TROUBLES:
        return None
    reason, mend = _TROUBLES[number]
    return f"{thing}: {reason}; {mend.format(place=place)}."


def storage_error(error: OSError, path: Path | None = None, place: str = "folder") -> StorageError:
    """``error`` as one that a user can mend; arguments as of ``storage_message``."""
    text = storage_message(error, path, place)
    if text is None:
        where = path or _named(error) or "a file"
        text = f"{where}: cannot be used ({error.strerror or error}); choose another {place}."
    return StorageError(text)


def _number(error: OSError) -> int | None:
    """The system's number of ``error``; of a write that was cut short, that of a full disk, its usual cause."""
    if error.errno is not None:
        return error.errno
    if found := _NUMBER_IN_TEXT.search(str(error)):
        return int(found[1])
    return errno.ENOSPC if _CUT_WRITE.search(str(error)) else None


def _named(error: OSError) -> str | None:
    """The path that ``error`` names; of a move the place that was to be taken."""
    name = error.filename2 or error.filename
    return os.fsdecode(name) if isinstance(name, str | bytes | os.PathLike) else None


def suggest(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` plus the known names, or the known names alone."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"{hint} Known: {', '.join(names) or 'none'}."


def quoted(value: str) -> str:
    """A value from a file, for messages: in quotes, escaped, and cut where it is long."""
    return repr(value) if len(value) <= _SHOWN else f"{value[:_SHOWN]!r}…"


def printable(text: str) -> str:
    """``text`` with its control characters, line ends apart, written as escapes: what a terminal may be given."""
    return _CONTROL.sub(lambda sign: ascii(sign[0])[1:-1], text)
