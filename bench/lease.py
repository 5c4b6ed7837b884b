"""Leases: small files by which several processes share the work on one folder, also on several hosts.

A lease ``NAME.lease`` is created exclusively (``O_EXCL``, which network file systems keep; nothing is locked) and says
who works on NAME: host, boot, process, a random token, and by its time of change when that was last heard of.

- *Alive or stale.* On the holder's own host and boot the table of processes decides, at once: a process that is gone or
  is another by now holds nothing, one that runs holds on. Elsewhere, of a stopped process, and where the system tells
  no boot (other than Linux), the heartbeat decides: stale is what is ``STALE_S`` behind the clock of the folder (of a
  file just touched in it, not of this host) and did not change for two beats before the eyes of who looks, so that a
  clock that is set takes nothing from anybody.
- *Taking over.* Nothing is removed or renamed. The lease that follows the one with token T is ``NAME.T.lease``, created
  exclusively, so that of all who see T stale one wins. Tokens come once: who looked too long ago makes a file that
  the chain from ``NAME.lease`` does not lead to, sees that, and begins again. The last lease of the chain counts.
- *Giving back.* A holder first makes the successor of its own lease (``seal``). That succeeds unless another has taken
  over, and after it nobody can. So a holder that was only paused (stopped, a closed lid) learns of its loss before it
  writes anything; what it computed is thrown away. The chain then goes, its first file first.

What is guaranteed: one holder at a time, and one result, of the one that holds. The next holder sees files that were
written into the folder under the lease before, as it has just created a file there. Two things are not: a holder that
is paused for ``STALE_S`` exactly between its seal and the writing that follows may overwrite the result of another; and
who deletes leases by hand takes them from their holders, whose work is then lost.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

BEAT_S = 5.0
"""Seconds between two signs of life."""
STALE_S = 120.0
"""Seconds without one after which a lease of another host may be taken over."""
SUFFIX = ".lease"

_WRITING_S = 0.1
"""How long who looks waits for the words of a lease that is just being made."""
_STOPPED = ("T", "t")
_DEAD = ("Z", "X", "x")


class LeaseLost(BaseException):
    """Another process has taken over what this one works on. No ``Exception``: no plug-in may swallow it."""


@dataclass(frozen=True)
class Owner:
    """Who holds a lease."""

    host: str
    boot: str
    """Of the machine, and the name space of process numbers; empty where the system does not tell."""
    pid: int
    started: str
    """When the process started, in the system's own words; empty where it does not tell."""
    token: str = ""

    def __str__(self) -> str:
        return f"{self.host}, pid {self.pid}" if self.pid else "one that does not say who it is"


def process_state(pid: int) -> tuple[str, str] | None:
    """State letter and start of a process, both empty where the system does not tell; None where there is none."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return None
    except PermissionError:
        pass
    try:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return "", ""
    return words[0], words[19]


def this_process() -> Owner:
    """The process that asks."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        boot = f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        boot = ""
    return Owner(platform.node(), boot, os.getpid(), (process_state(os.getpid()) or ("", ""))[1])


@dataclass(frozen=True)
class _Link:
    """A lease as it was read."""

    path: Path
    owner: Owner
    changed_ns: int


@dataclass(eq=False)
class Lease:
    """A lease of this process. Ends with its ``with`` block, or with the ``Leases`` it came from."""

    path: Path
    """The first file of the chain, by which others know what is leased."""
    owner: Owner
    files: list[Path]
    """The whole chain, the own files last."""
    tokens: list[str]
    _forget: Callable[[Lease], None]
    sealed: bool = False
    lost: bool = False

    def check(self) -> None:
        """Stop early where it is known that the lease was taken over.

        Raises:
            LeaseLost: it was.
        """
        if self.lost:
            raise LeaseLost(str(self.path))

    def beat(self) -> None:
        """Give a sign of life, or learn that the lease is another's."""
        with suppress(OSError):
            if not self.sealed and _after(self.path, self.owner.token).exists():
                self.lost = not self.sealed  # else the seal was made in this moment
                return
            for file in self.files[-2:] if self.sealed else self.files[-1:]:
                os.utime(file)

    def seal(self) -> bool:
        """Whether the lease is still held; if so nobody can take it over any more, and a result may be written."""
        if self.sealed or self.lost:
            return self.sealed
        seal = replace(self.owner, token=uuid4().hex)
        place = _after(self.path, self.owner.token)
        if _create(place, seal, self.path, len(self.tokens)):
            self.sealed = [link.owner.token for link in _chain(self.path)] == [*self.tokens, seal.token]
            if self.sealed:
                self.files.append(place)
            else:
                place.unlink(missing_ok=True)
        self.lost = not self.sealed
        return self.sealed

    def release(self) -> None:
        """Give the lease back. What cannot be removed is found stale when this process has ended."""
        self._forget(self)
        with suppress(OSError):
            try:
                held = self.seal()
            except OSError:  # a full disk takes no seal
                held = [link.owner.token for link in _chain(self.path)] == self.tokens
            if held:
                for file in self.files:
                    file.unlink(missing_ok=True)
            elif self.files[-1] not in [link.path for link in _chain(self.path)]:
                self.files[-1].unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


@dataclass(eq=False)
class Leases:
    """All leases of a run: one thread keeps them alive, and what is still held when the run ends is given back."""

    me: Owner = field(default_factory=this_process)
    state_of: Callable[[int], tuple[str, str] | None] = process_state
    monotonic: Callable[[], float] = time.monotonic
    _held: dict[str, Lease] = field(default_factory=dict)
    _watched: dict[Path, tuple[int, float]] = field(default_factory=dict)
    _ended: threading.Event = field(default_factory=threading.Event)
    _heart: threading.Thread | None = None

    def take(self, path: Path) -> Lease | Owner:
        """The lease ``path``, or who holds it. The folder is made where there is none.

        Raises:
            OSError: the folder cannot be written.
        """
        while True:
            chain = _settled(path)
            if chain and not self._stale(chain[-1]):
                return chain[-1].owner
            lease = self._new(path, chain)
            try:
                made = _create(lease.files[-1], lease.owner, path, len(chain))
            except FileNotFoundError:
                path.parent.mkdir(parents=True, exist_ok=True)
                made = False
            if made and (not chain or [link.owner.token for link in _chain(path)] == lease.tokens):
                return lease
            self._forget(lease)
            if made:  # those before it were given back in this moment
                lease.files[-1].unlink(missing_ok=True)

    def is_free(self, path: Path) -> bool:
        """Whether nobody alive holds ``path``."""
        chain = _chain(path)
        return not chain or self._stale(chain[-1])

    def clear(self, folder: Path) -> None:
        """Remove the leases of dead processes from ``folder``, as far as they are known to be dead."""
        if not folder.is_dir():
            return
        for file in [file for file in folder.iterdir() if file.suffix == SUFFIX]:
            name, dot, _ = file.stem.partition(".")
            first = file.with_name(f"{name}{SUFFIX}")
            if not dot:
                lease = self.take(first)
                if isinstance(lease, Lease):
                    lease.release()
            elif not first.exists():  # no chain leads to it
                file.unlink(missing_ok=True)

    def close(self) -> None:
        """Give back all that is still held, and end the thread."""
        self._ended.set()
        for lease in list(self._held.values()):
            lease.release()

    def _new(self, path: Path, chain: list[_Link]) -> Lease:
        """A lease behind ``chain``, known to the heart before its file is made, so that it cannot be left behind."""
        if self._heart is None:
            self._heart = threading.Thread(target=self._beat, name="leases", daemon=True)
            self._heart.start()
        owner = replace(self.me, token=uuid4().hex)
        place = _after(path, chain[-1].owner.token) if chain else path
        files, tokens = [link.path for link in chain], [link.owner.token for link in chain]
        lease = Lease(path, owner, [*files, place], [*tokens, owner.token], self._forget)
        self._held[owner.token] = lease
        return lease

    def _forget(self, lease: Lease) -> None:
        self._held.pop(lease.owner.token, None)

    def _stale(self, link: _Link) -> bool:
        owner = link.owner
        if owner.boot and (owner.host, owner.boot) == (self.me.host, self.me.boot):
            found = self.state_of(owner.pid)
            if found is None or found[0] in _DEAD or (found[1] and owner.started not in ("", found[1])):
                return True
            if found[0] and found[0] not in _STOPPED:
                return False
        return self._silent(link)

    def _silent(self, link: _Link) -> bool:
        now = self.monotonic()
        changed_ns, since = self._watched.get(link.path, (0, now))
        if changed_ns != link.changed_ns:
            self._watched[link.path] = link.changed_ns, now
            return False
        return now - since >= 2 * BEAT_S and _folder_time_ns(link.path.parent) - link.changed_ns >= STALE_S * 1e9

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S):
            for lease in list(self._held.values()):
                lease.beat()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _after(path: Path, token: str) -> Path:
    """Where the lease that follows the one with ``token`` is."""
    return path.with_name(f"{path.name.removesuffix(SUFFIX)}.{token}{SUFFIX}")


def _chain(path: Path) -> list[_Link]:
    """The leases from ``path`` on; the last one counts, and without any the thing is free."""
    chain: list[_Link] = []
    place = path
    while True:
        try:
            with place.open("rb") as file:  # opened, because a network file system may answer a mere stat from memory
                text, changed_ns = file.read(), os.fstat(file.fileno()).st_mtime_ns
        except FileNotFoundError:
            return chain
        owner = _read_owner(text)
        if owner is None or owner.token in {link.owner.token for link in chain}:  # its place is then its token
            owner = Owner("", "", 0, "", str(len(chain)))
        chain.append(_Link(place, owner, changed_ns))
        place = _after(path, owner.token)


def _settled(path: Path) -> list[_Link]:
    """The chain, looked at again where its last file is there and its words are not yet: also a seal is such a file."""
    for _ in range(20):
        chain = _chain(path)
        if not chain or chain[-1].owner.pid:
            break
        time.sleep(_WRITING_S / 20)
    return chain


def _read_owner(text: bytes) -> Owner | None:
    """None of a lease that is still being written, whose writer died there, or that is none."""
    try:
        owner = Owner(**json.loads(text))
        texts = (owner.host, owner.boot, owner.started, owner.token)
        sound = isinstance(owner.pid, int) and all(isinstance(item, str) for item in texts) and owner.token.isalnum()
    except (ValueError, TypeError):
        return None
    return owner if sound else None


def _create(place: Path, owner: Owner, first: Path, depth: int) -> bool:
    """Make the lease ``place``, with ``depth`` others before it in the chain from ``first``; False where there is one.

    Raises:
        OSError: it cannot be written; nothing is left of it.
    """
    try:
        handle = os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    try:
        try:
            os.write(handle, json.dumps(asdict(owner)).encode())
        finally:
            os.close(handle)
    except BaseException:
        place.unlink(missing_ok=True)
        raise
    if _after(first, str(depth)).exists():
        os.truncate(place, 0)  # paused while the file was empty, long enough to be followed
        return False
    return True


def _folder_time_ns(folder: Path) -> int:
    """What the clock of the file system says that holds ``folder``."""
    probe = folder / f".{uuid4().hex}.tmp"
    try:
        with probe.open("xb") as file:
            os.utime(probe)
            return os.fstat(file.fileno()).st_mtime_ns
    finally:
        probe.unlink(missing_ok=True)
