"""One run folder, several commands: what this one computes, and what it takes from the others.

Cells, trials and shared rankings are computed under a lease (``bench.lease``). What was written after a command began
is taken as it is, failures included; what was there before is computed by the command's own rule. So two commands that
run side by side compute nothing twice, and a repetition after them tries again what failed. With ``rerun = always``
the same holds: a command computes anew what was there when it began, and shares what comes after that.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from bench.lease import SUFFIX, Lease, LeaseLost, Leases, Owner
from bench.run.context import Emit
from bench.run.job import ResolvedCell
from bench.run.selections import ranking_key
from bench.run.session import PENALTIES_TRIED, SELECTIONS, TRIALS, Session

R = TypeVar("R")


@dataclass(frozen=True)
class Work(Generic[R]):
    """Something that a run computes once, and the file that keeps it."""

    file: Path
    cell: ResolvedCell
    read: Callable[[], R | None]
    compute: Callable[[Emit], R]
    write: Callable[[R], object]


@dataclass(frozen=True)
class Done(Generic[R]):
    """What came of it."""

    result: R
    here: bool
    """Whether this process has computed it."""


class Claims:
    """What the folder of a run held when the command began, and the leases on what is computed since."""

    def __init__(self, session: Session, leases: Leases) -> None:
        """Look at what is there."""
        self._session, self._leases = session, leases
        self._folders = [
            session.folder.cells,
            *(session.folder.path / name for name in (SELECTIONS, TRIALS, PENALTIES_TRIED)),
        ]
        self._before = {file: _stamp(file) for folder in self._folders for file in folder.glob("*.json")}

    def clear(self) -> None:
        """Remove the leases of dead processes.

        Raises:
            OSError: the folder cannot be written.
        """
        for folder in self._folders:
            self._leases.clear(folder)

    def once(self, work: Work[R], emit: Emit) -> Done[R] | Owner:
        """Compute ``work``, or take what another process made of it since the command began; else who is at it.

        A result is thrown away where another process took the work over meanwhile.
        """
        while True:
            if (found := self._new(work)) is not None:
                return found
            with ExitStack() as held:
                lease = self._claim(work, held)
                if isinstance(lease, Owner):
                    return lease
                if (found := self._new(work)) is not None:  # written between the first look and the lease
                    return found
                try:
                    result = work.compute(_watched(lease, emit))
                except LeaseLost:
                    continue
                if lease.seal():
                    work.write(result)
                    return Done(result, here=True)

    def _new(self, work: Work[R]) -> Done[R] | None:
        stamp = _stamp(work.file)
        if stamp is None or stamp == self._before.get(work.file):
            return None
        found = work.read()
        return None if found is None else Done(found, here=False)

    def _claim(self, work: Work[Any], held: ExitStack) -> Lease | Owner:
        """Lease the work, and the ranking that it would make for others."""
        lease = self._leases.take(work.file.with_suffix(SUFFIX))
        if isinstance(lease, Owner):
            return lease
        held.enter_context(lease)
        key = ranking_key(work.cell.method, work.cell.identity)
        ranking = None if key is None else self._session.selections.file(key)
        if ranking is not None and not ranking.exists():
            shared = self._leases.take(ranking.with_suffix(SUFFIX))
            if isinstance(shared, Owner) and not ranking.exists():
                return shared
            if isinstance(shared, Lease):
                held.enter_context(shared)
        return lease


def _watched(lease: Lease, emit: Emit) -> Emit:
    """``emit``, which ends the computation where the lease is known to be lost."""

    def tell(event: dict[str, Any]) -> None:
        lease.check()
        emit(event)

    return tell


def _stamp(file: Path) -> tuple[int, int] | None:
    """Tells a file from one that replaces it; None where there is none."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino
