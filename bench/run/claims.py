"""One run folder, several commands: what this one computes, and what it takes from the others.

Cells, trials and shared rankings are computed under a lease (``bench.lease``). What was written after a command began
is taken as it is, failures included; what was there before is computed by the command's own rule. So two commands that
run side by side compute nothing twice, and a repetition after them tries again what failed. With ``rerun = always``
the same holds: a command computes anew what was there when it began, and shares what comes after that. A command may be
at several works at once, and takes none of them twice either.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from bench.lease import SUFFIX, Lease, Leases, Owner
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
    write: Callable[[R], object]


@dataclass(frozen=True)
class Done(Generic[R]):
    """What came of it."""

    result: R
    here: bool
    """Whether this process has computed it."""


@dataclass(frozen=True)
class Claim(Generic[R]):
    """Work that is this process's to do, until it is closed."""

    work: Work[R]
    lease: Lease
    held: ExitStack
    """What ends with it."""

    def watched(self, emit: Emit) -> Emit:
        """``emit``, which ends the computation (``LeaseLost``) where the lease is known to be lost."""

        def tell(event: dict[str, Any]) -> None:
            self.lease.check()
            emit(event)

        return tell

    def keep(self, result: R) -> Done[R] | None:
        """Write down what came of it; None where another process took it over meanwhile: it is then thrown away."""
        if not self.lease.seal():
            return None
        self.work.write(result)
        return Done(result, here=True)

    def close(self) -> None:
        """Leave the work to whoever wants it."""
        self.held.close()


class Claims:
    """What the folder of a run held when the command began, and the leases on what is computed since."""

    def __init__(self, session: Session, leases: Leases) -> None:
        """Look at what is there."""
        self._session, self._leases = session, leases
        self._ours: set[Path] = set()
        self._folders = [
            session.folder.cells,
            *(session.folder.path / name for name in (SELECTIONS, TRIALS, PENALTIES_TRIED)),
        ]
        self._before = {file: _stamp(file) for folder in self._folders for file in folder.glob("*.json")}

    @property
    def me(self) -> Owner:
        """Who is at what this process has claimed."""
        return self._leases.me

    def clear(self) -> None:
        """Remove the leases of dead processes.

        Raises:
            OSError: the folder cannot be written.
        """
        for folder in self._folders:
            self._leases.clear(folder)

    def begin(self, work: Work[R]) -> Claim[R] | Done[R] | Owner:
        """Claim ``work``, or take what another process made of it since the command began; else who is at it."""
        ranking = self._ranking(work)
        if work.file in self._ours or ranking in self._ours:
            return self.me
        if (found := self._new(work)) is not None:
            return found
        with ExitStack() as held:
            lease = self._lease(work, ranking, held)
            if isinstance(lease, Owner):
                return lease
            if (found := self._new(work)) is not None:  # written between the first look and the lease
                return found
            return Claim(work, lease, held.pop_all())

    def _ranking(self, work: Work[Any]) -> Path | None:
        """The ranking that the work would make for others; None where it makes none, it is there, or it is the work."""
        key = ranking_key(work.cell.method, work.cell.identity)
        file = None if key is None else self._session.selections.file(key)
        return None if file is None or file == work.file or file.exists() else file

    def _new(self, work: Work[R]) -> Done[R] | None:
        stamp = _stamp(work.file)
        if stamp is None or stamp == self._before.get(work.file):
            return None
        found = work.read()
        return None if found is None else Done(found, here=False)

    def _lease(self, work: Work[Any], ranking: Path | None, held: ExitStack) -> Lease | Owner:
        """Lease the work, and the ranking that it would make."""
        lease = self._take(work.file, held)
        if isinstance(lease, Lease) and ranking is not None and not ranking.exists():
            shared = self._take(ranking, held)
            if isinstance(shared, Owner) and not ranking.exists():
                return shared
        return lease

    def _take(self, file: Path, held: ExitStack) -> Lease | Owner:
        lease = self._leases.take(file.with_suffix(SUFFIX))
        if isinstance(lease, Lease):
            held.enter_context(lease)
            self._ours.add(file)
            held.callback(self._ours.discard, file)
        return lease


def _stamp(file: Path) -> tuple[int, int] | None:
    """Tells a file from one that replaces it; None where there is none."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino
