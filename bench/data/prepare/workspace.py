"""A folder that comes into being whole or not at all.

Everything is written to a temporary sibling, which is renamed at the end. A lease beside the sibling tells the leftover
of a dead run from the work of a living one. A lease on the place itself makes a second run wait for the first.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from bench.errors import DataError, storage_error
from bench.lease import SUFFIX as LEASE
from bench.lease import Lease, Leases, Owner

_SUFFIX = ".tmp"
POLL_S = 0.5
"""Seconds between two looks at what another process prepares."""


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
        self._leases = Leases()
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(target)
            self.folder = _make(target, self._leases)
        except BaseException as error:
            self._leases.close()
            if isinstance(error, OSError):
                raise _unwritable(target, flag, error) from None
            raise

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
        self._leases.close()


@contextmanager
def reserved(target: Path, tell: Callable[[str], object], flag: str = "--data-dir") -> Iterator[None]:
    """Keep ``target`` to this process; where another makes it, say so once and wait until it has ended.

    Args:
        target: what comes into being.
        tell: takes the line on the wait.
        flag: of the command line, which chose the place; for messages.

    Raises:
        DataError: the folder cannot be written.
    """
    place = target.parent / f".{target.name}{LEASE}"
    told = False
    absent = [folder for folder in (target.parent, *target.parent.parents) if not folder.exists()]
    try:
        with Leases() as leases:
            while not isinstance(found := _take(leases, place, flag), Lease):
                if not told:
                    told = True
                    tell(f"waiting for another process, which makes {target}: {found}")
                time.sleep(POLL_S)
            yield
    finally:
        with suppress(OSError):  # those that now hold something stay
            for folder in absent:
                folder.rmdir()


def _take(leases: Leases, place: Path, flag: str) -> Lease | Owner:
    try:
        return leases.take(place)
    except OSError as error:
        raise _unwritable(place, flag, error) from None


def _unwritable(target: Path, flag: str, error: OSError) -> DataError:
    return storage_error(error, target.parent, flag)


def remove_leftovers(target: Path) -> None:
    """Remove the temporary siblings of ``target`` whose process is dead."""
    siblings = [path for path in target.parent.iterdir() if path.name.startswith(_prefix(target))]
    with Leases() as leases:
        for folder in (path for path in siblings if path.name.endswith(_SUFFIX)):  # no pattern: names may hold brackets
            lease = leases.take(_lease_of(folder))
            if isinstance(lease, Lease):
                shutil.rmtree(folder, ignore_errors=True)
                lease.release()


def _prefix(target: Path) -> str:
    return f".{target.name}."


def _lease_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name.removesuffix(_SUFFIX)}{LEASE}")


def _make(target: Path, leases: Leases) -> Path:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_prefix(target), suffix=_SUFFIX, dir=target.parent))
        try:
            lease = leases.take(_lease_of(folder))
        except BaseException:  # a full disk, or a signal
            shutil.rmtree(folder, ignore_errors=True)
            raise
        # Another run may have taken the folder for a leftover in the moment before it was leased.
        if isinstance(lease, Lease) and folder.exists():
            folder.chmod(0o755)
            return folder
        if isinstance(lease, Lease):
            lease.release()
