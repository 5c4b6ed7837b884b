"""A folder that comes into being whole or not at all.

Everything is written to a temporary sibling, which is renamed at the end. A lock on the sibling, which the system
drops when its process dies in whatever way, tells the leftover of a dead run from the work of a living one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

from bench.errors import DataError

_SUFFIX = ".tmp"


class Workspace:
    """A context manager: write into ``folder``, then ``publish`` it; without that, nothing stays."""

    def __init__(self, target: Path, flag: str = "--data-dir") -> None:
        """Make a temporary sibling of ``target``, after removing those of dead runs.

        Args:
            target: what comes into being.
            flag: of the command line, which chose the place; for messages.

        Raises:
            DataError: the folder cannot be made.
        """
        self.target = target
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(target)
            self.folder, self._lock = _make(target)
        except OSError as error:
            raise DataError(f"{target.parent}: cannot be written ({error.strerror}); choose another {flag}.") from None

    def __enter__(self) -> Workspace:
        return self

    def publish(self) -> Path:
        """Put the folder in the place of the target, replacing what is there."""
        if self.target.exists():
            old = Path(tempfile.mkdtemp(prefix=_prefix(self.target), suffix=_SUFFIX, dir=self.target.parent))
            self.target.replace(old)
            self.folder.replace(self.target)
            shutil.rmtree(old, ignore_errors=True)
        else:
            self.folder.replace(self.target)
        return self.target

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)


def remove_leftovers(target: Path) -> None:
    """Remove the temporary siblings of ``target`` whose process is dead."""
    siblings = [path for path in target.parent.iterdir() if path.name.startswith(_prefix(target))]
    for folder in (path for path in siblings if path.name.endswith(_SUFFIX)):  # no pattern: names may hold brackets
        lock = _try_lock(folder)
        if lock is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _prefix(target: Path) -> str:
    return f".{target.name}."


def _make(target: Path) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_prefix(target), suffix=_SUFFIX, dir=target.parent))
        lock = _try_lock(folder)
        # Another run may have taken the folder for a leftover in the moment before it was locked.
        if lock is not None and folder.exists():
            folder.chmod(0o755)
            return folder, lock
        if lock is not None:
            os.close(lock)


def _try_lock(folder: Path) -> int | None:
    """A descriptor that holds the lock on ``folder``; None where a living process has it, or the folder is gone."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
