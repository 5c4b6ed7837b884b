"""Files that are whole or absent, written beside their place, then moved into it; and the checksums of files."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from zlib import crc32

from bench.errors import StorageError, storage_error

_HASH_BYTES = 1 << 22
_NAME_CHARS = 32
_TEMPORARY = re.compile(r"\..*\.([0-9a-f]{8})-(\d+)-[^.]*\.tmp", re.DOTALL)
"""Name of a temporary file: a dot, what it will be, host, process, letters against namesakes."""
_OLD_S = 24 * 3600.0
"""Seconds after which a temporary file is nobody's, whatever host it names."""


@contextmanager
def write_atomically(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file in the folder of ``path`` and rename it to ``path`` when the body succeeds.

    Raises:
        StorageError: the system refuses it: the disk is full, the folder is gone or read-only, ...
    """
    try:
        with _renamed(path, mode) as file:
            yield file
    except OSError as error:
        folder = next((above for above in path.parents if str(above) == error.filename), None)
        raise storage_error(error, folder or path) from error


@contextmanager
def _renamed(path: Path, mode: str) -> Iterator[IO[Any]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name[:_NAME_CHARS]}.{_host()}-{os.getpid()}-"
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        with suppress(OSError):  # the folder itself may be gone; what matters was raised above
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files of ``write_atomically`` under ``folder`` whose process was killed."""
    for file in folder.rglob(".*.tmp"):
        found = _TEMPORARY.fullmatch(file.name)
        if found is None:
            continue
        with suppress(OSError):
            dead = found[1] == _host() and not _lives(int(found[2]))
            if dead or time.time() - file.stat().st_mtime > _OLD_S:
                file.unlink()


def _host() -> str:
    return f"{crc32(socket.gethostname().encode()):08x}"


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's, or no number of a process
        return True
    return True


def read_text(path: Path) -> str | None:
    """The text of a file; None where there is none.

    Raises:
        StorageError: it is there and cannot be read, or is no UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise storage_error(error, path) from error
    except UnicodeDecodeError:
        raise StorageError(f"{path}: it is no text, or is damaged; delete it and repeat the command.") from None


def file_sha256(path: Path) -> str:
    """sha256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(_HASH_BYTES):
            digest.update(data)
    return digest.hexdigest()
