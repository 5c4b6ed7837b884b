"""Raw data as users have it: a plain file, ``.gz``, ``.zip``, ``.tar`` (compressed or not), or a folder of these.

Nothing is unpacked on disk: members are read as streams.
"""

from __future__ import annotations

import fnmatch
import gzip
import hashlib
import io
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, cast

from bench.errors import DataError

_DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError, zipfile.BadZipFile)
_HASH_BYTES = 1 << 22


class _Peekable(Protocol):
    def peek(self, n: int, /) -> bytes: ...

    def read(self, n: int, /) -> bytes: ...

    def close(self) -> None: ...


class _Container(Protocol):
    def names(self) -> Iterator[str]: ...

    def open(self, name: str) -> _Peekable: ...


class _Single:
    """One plain or gzip file."""

    def __init__(self, path: Path, file: io.BufferedReader) -> None:
        self._path, self._file = path, file

    def names(self) -> Iterator[str]:
        yield self._path.name

    def open(self, name: str) -> _Peekable:
        self._file.seek(0)
        return self._file


class _Folder:
    """A folder; every file below it is a member."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> Iterator[str]:
        for path in sorted(self._path.rglob("*")):
            if path.is_file():
                yield path.relative_to(self._path).as_posix()

    def open(self, name: str) -> _Peekable:
        return (self._path / name).open("rb")


class _Zip:
    def __init__(self, file: IO[bytes]) -> None:
        self._zip = zipfile.ZipFile(file)

    def names(self) -> Iterator[str]:
        yield from (info.filename for info in self._zip.infolist() if not info.is_dir())

    def open(self, name: str) -> _Peekable:
        return cast("_Peekable", self._zip.open(name))


class _Tar:
    """A tar archive; members come in the archive's order, so that a search may stop before its end."""

    def __init__(self, file: IO[bytes]) -> None:
        self._tar = tarfile.open(fileobj=file, mode="r:*")  # noqa: SIM115 - its file is closed
        self._members: dict[str, tarfile.TarInfo] = {}

    def names(self) -> Iterator[str]:
        for member in self._tar:
            if member.isfile():
                self._members[member.name] = member
                yield member.name

    def open(self, name: str) -> _Peekable:
        # By its TarInfo, not by its name: a look-up by name would read the archive to its end.
        return cast("_Peekable", self._tar.extractfile(self._members[name]))


class RawSource:
    """The raw data at one path; a context manager."""

    def __init__(self, path: Path) -> None:
        """Open ``path``.

        Raises:
            DataError: it does not exist, cannot be read or is damaged.
        """
        self.path = path
        self.opened: list[str] = []
        """Members read so far."""
        self._plain: IO[bytes] | None = None
        with ExitStack() as stack, _readable(path.name):
            self._container = self._open(stack)
            self._stack = stack.pop_all()

    def _open(self, stack: ExitStack) -> _Container:
        if self.path.is_dir():
            return _Folder(self.path)
        file = stack.enter_context(self.path.open("rb"))
        self._plain = file
        head = file.read(6)
        file.seek(0)
        if not head:
            raise DataError(f"{self.path.name}: the file is empty; check the download and pass the file with the rows.")
        if head.startswith(b"PK"):
            return _Zip(file)
        compressed_tar = any(name in self.path.name.lower() for name in (".tar", ".tgz", ".tbz2", ".txz"))
        if compressed_tar or _is_tar(file):
            return _Tar(file)
        return _Single(self.path, file)

    def __enter__(self) -> RawSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def is_single(self) -> bool:
        """Whether the path is one file that is no archive."""
        return isinstance(self._container, _Single)

    def progress_bytes(self) -> tuple[int, int] | None:
        """Bytes of the file read so far and its size; None for folders."""
        if self._plain is None or self._plain.closed:
            return None
        return self._plain.tell(), self.path.stat().st_size

    def find(self, patterns: tuple[str, ...]) -> str | None:
        """The member whose name (its folder and a ``.gz`` apart) matches the earliest of ``patterns``.

        Raises:
            DataError: two members match equally well.
        """
        best: list[str] = []
        rank = len(patterns)
        with _readable(self.path.name):
            for name in self._container.names():
                found = _rank(name, patterns)
                if found < rank:
                    rank, best = found, [name]
                elif found == rank < len(patterns):
                    best.append(name)
                if rank == 0 and isinstance(self._container, _Tar) and not _is_pattern(patterns[0]):
                    break
        if len(best) > 1:
            raise DataError(f"{self.path.name}: {' and '.join(best[:3])} both match {patterns[rank]!r}; pass the file.")
        return best[0] if best else None

    def names(self) -> list[str]:
        """All members."""
        with _readable(self.path.name):
            return list(self._container.names())

    def stream(self, member: str) -> RawStream:
        """The bytes of ``member``, decompressed.

        Raises:
            DataError: the member is damaged or cannot be read.
        """
        if member not in self.opened:
            self.opened.append(member)
        with _readable(member):
            file = self._container.open(member)
            self._stack.callback(file.close)
            if file.peek(2)[:2] == b"\x1f\x8b":
                file = gzip.GzipFile(fileobj=cast("IO[bytes]", file))
            return RawStream(member, file)

    def text(self, member: str, encoding: str) -> str:
        """The whole of a small member as text.

        Raises:
            DataError: damaged, or not of that encoding.
        """
        data = self.stream(member).read(-1)
        try:
            return io.TextIOWrapper(io.BytesIO(data), encoding=encoding).read()
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            raise DataError(f"{member}: line {line} is not {encoding} text; fetch the original file again.") from None

    def fingerprints(self) -> list[dict[str, object]]:
        """Name, size and sha256 of the file at the path, or of the members of the folder that were read."""
        if self.path.is_dir():
            files = [(name, self.path / name) for name in sorted(self.opened)]
        else:
            files = [(self.path.name, self.path)]
        with _readable(self.path.name):
            return [{"name": name, "bytes": path.stat().st_size, "sha256": file_sha256(path)} for name, path in files]


class RawStream:
    """Decompressed bytes of one member; damage met while reading becomes a DataError."""

    def __init__(self, name: str, file: _Peekable) -> None:
        self.name, self._file = name, file

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes, or all for -1; nothing at the end.

        Raises:
            DataError: the member is cut short, damaged or cannot be read.
        """
        with _readable(self.name):
            return self._file.read(size)


def file_sha256(path: Path) -> str:
    """sha256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(_HASH_BYTES):
            digest.update(data)
    return digest.hexdigest()


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise DataError(f"{name}: the file is cut short or damaged ({error}); fetch it again.") from None
    except FileNotFoundError:
        raise DataError(f"{name}: there is no such file; check the path given to --raw.") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{name}: cannot be read ({reason}); check the path and its permissions.") from None


def _is_tar(file: IO[bytes]) -> bool:
    file.seek(257)
    magic = file.read(5)
    file.seek(0)
    return magic == b"ustar"


def _is_pattern(text: str) -> bool:
    return any(sign in text for sign in "*?[")


def _rank(name: str, patterns: tuple[str, ...]) -> int:
    base = name.rsplit("/", 1)[-1].removesuffix(".gz")
    for rank, pattern in enumerate(patterns):
        if fnmatch.fnmatch(base, pattern):
            return rank
    return len(patterns)
