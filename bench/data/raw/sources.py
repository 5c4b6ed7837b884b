"""Raw data as users have it: a plain or compressed file, a zip, a tar (compressed or not), or a folder of files.

What a file is, its first bytes say. Nothing is unpacked on disk: members are read as streams, but for a Parquet table
inside another file, which is copied to a temporary one.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from bench.data.card.layout import MAX_EXPANSION
from bench.data.raw.compression import Bound, decompressed, first_bytes
from bench.data.raw.containers import Container, Folder, Several, Single, Tar, Zip
from bench.data.raw.names import is_junk, listed, matches, named, natural, partition_keys, partition_text, shown, twins
from bench.data.raw.raw_stream import RawStream, readable
from bench.data.raw.signatures import HEAD_BYTES, is_parquet, is_tar, is_zip
from bench.errors import DataError
from bench.files import file_sha256

_COPY_BYTES = 1 << 22
_LARGEST_TEXT = 1 << 28
"""Bytes of a side table, which is read whole."""
_WHOLE_BYTES = 1 << 26
"""The largest file of which one process reads all."""
__all__ = ["RawSource", "RawStream", "shown"]

_ONE_FILE = "pass the file that is the table with --raw, or, if all are parts of it, set join = true under [raw]"


@dataclass(frozen=True)
class Recipe:
    """The arguments of a ``RawSource``."""

    path: Path | Sequence[Path]
    max_expansion: int
    columns: Collection[str]

    def open(self) -> RawSource:
        """The raw data."""
        return RawSource(self.path, self.max_expansion, self.columns)


class RawSource:
    """The raw data at one path; a context manager."""

    def __init__(
        self, path: Path | Sequence[Path], max_expansion: int = MAX_EXPANSION, columns: Collection[str] = ()
    ) -> None:
        """Open ``path``.

        Args:
            path: a file, an archive or a folder; or files that are no archives, in their order.
            max_expansion: how many times its size a compressed file may unpack to.
            columns: names that folders may give values of, as in ``day=3/part-0.csv``.

        Raises:
            DataError: it does not exist, cannot be read or is damaged.
        """
        self._paths = (path,) if isinstance(path, Path) else tuple(path)
        self.path = self._paths[0]
        self._ratio, self._columns = max_expansion, frozenset(columns)
        self._in_parts = False
        self.opened: list[str] = []
        """Members read so far."""
        self._plain: IO[bytes] | None = None
        with ExitStack() as stack, readable(self._name):
            self._container = self._open(stack)
            self._stack = stack.pop_all()

    def _open(self, stack: ExitStack) -> Container:
        if len(self._paths) > 1:
            return _several(self._paths)
        if self.path.is_dir():
            return Folder(self.path)
        name = self.shown
        file = stack.enter_context(self.path.open("rb"))
        self._plain = file
        if not file.seekable():
            raise DataError(f"{name}: is a pipe, which can be read only once; save it as a file and pass that.")
        if not file.peek(1):
            raise DataError(f"{name}: the file is empty; check the download and pass the file with the rows.")
        stream = decompressed(file, self._bound(self.path))
        head = first_bytes(stream, HEAD_BYTES)
        if is_zip(head) and stream is file:
            return Zip(file, name)
        return Tar(stream) if is_tar(head) else Single(self.path, stream)

    def __enter__(self) -> RawSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def shown(self) -> str:
        """The path's last part, for messages; the whole of a path without one, such as ``.``."""
        return shown(self._name)

    @property
    def _name(self) -> str:
        return self.path.name or str(self.path)

    @property
    def is_single(self) -> bool:
        """Whether the path is one file that is no archive."""
        return isinstance(self._container, Single)

    @property
    def is_several(self) -> bool:
        """Whether it is files named one by one."""
        return isinstance(self._container, Several)

    @property
    def lies_open(self) -> bool:
        """Whether its members are files on the disk, each quick to open, and not those of an archive."""
        return self.is_several or self.path.is_dir()

    def partition(self, member: str) -> dict[str, str | None]:
        """The columns of which the folders of ``member`` say the value in all of its rows."""
        keys = partition_keys(self._full_name(member))
        return {key: value for key, value in keys.items() if key in self._columns}

    def take_folders(self, members: Sequence[str]) -> None:
        """Give from now on the columns that the folders of all ``members`` name, of which no card has told."""
        keys = [set(partition_keys(self._full_name(member))) for member in members]
        self._columns = frozenset(set.intersection(*keys))

    def _full_name(self, member: str) -> str:
        """With the folders that lead to it; of a member of an archive, those inside."""
        on_disk = self.lies_open or self.is_single
        return self._path_of(member).as_posix() if on_disk else member

    def _path_of(self, member: str) -> Path:
        """The file on disk that is ``member``, or holds it."""
        if self.is_several:
            return Path(member)
        return self.path / member if self.path.is_dir() else self.path

    def progress_bytes(self) -> tuple[int, int] | None:
        """Bytes of the file read so far and its size; None for folders and for tables that are no stream."""
        if self._plain is None or self._plain.closed:
            return None
        return self._plain.tell(), self.path.stat().st_size

    def find(self, patterns: tuple[str, ...], without: Collection[str] = ()) -> str | None:
        """The member that ``patterns`` name: by an exact name, else by the earliest pattern that matches one.

        The member's folder and the ending of a compressed file do not count, nor do the members ``without``. A tar is
        read no further than to the first exact name.

        Raises:
            DataError: two members are named by exact names, or match the same pattern.
        """
        pattern, found = self._find(patterns, without, stop_early=isinstance(self._container, Tar))
        if len(found) > 1:
            raise DataError(f"{self.shown}: {listed(found)} both match {pattern!r}; {_ONE_FILE}.")
        return found[0] if found else None

    def check_alone(self, patterns: tuple[str, ...], without: Collection[str] = ()) -> None:
        """Look for a second table in what ``find`` left unread of a tar; quick once the table was read.

        Raises:
            DataError: there is one, or the rest of the archive is damaged.
        """
        if isinstance(self._container, Tar):
            self._find(patterns, without, stop_early=False)

    def find_parts(self, patterns: tuple[str, ...], without: Collection[str] = ()) -> tuple[str, ...]:
        """All members that ``patterns`` name, in the order of the patterns and, of one, of the names.

        Raises:
            DataError: some patterns name a member and another names none, or a part seems to be there twice.
        """
        names = [name for name in self._members() if name not in without] if patterns else []
        where, found, empty = self.shown, [], []
        for pattern in patterns:
            exact = [name for name in names if named(name, pattern)]
            if len(exact) > 1:
                raise DataError(
                    f"{where}: {listed(exact)} are both called {pattern!r}; take one away, or name folders."
                )
            held = exact or sorted(name for name in names if matches(name, pattern))
            found += [name for name in held if name not in found]
            empty += [] if held else [pattern]
        if found and empty:
            raise DataError(
                f"{where}: holds {listed(found)}, but no {empty[0]}; all files that the card names are read."
            )
        self._refuse_twins(found)
        return tuple(found)

    def find_table(self, patterns: tuple[str, ...], without: Collection[str] = ()) -> tuple[str, ...]:
        """As ``find``, but all members that match the same pattern: parts of one table, ``part-2`` before ``part-10``.

        Raises:
            DataError: two members are named by exact names, or a part seems to be there twice.
        """
        _, found = self._find(patterns, without, stop_early=isinstance(self._container, Tar))
        self._refuse_twins(found)
        self._in_parts = len(found) > 1
        return tuple(sorted(found, key=natural))

    def _refuse_twins(self, found: list[str]) -> None:
        if twice := twins(found):
            raise DataError(
                f"{self.shown}: {listed(twice)} seem to be one part, with and without compression; take one away."
            )

    def _find(self, patterns: tuple[str, ...], without: Collection[str], stop_early: bool) -> tuple[str, list[str]]:
        """The name that is there, or the earliest pattern that matches any, and the members it stands for."""
        matching: list[list[str]] = [[] for _ in patterns]
        exact: list[str] = []
        for name in self._members():
            if name in without:
                continue
            exact += [name] if any(named(name, pattern) for pattern in patterns) else []
            for pattern, held in zip(patterns, matching, strict=True):
                held.extend([name] if matches(name, pattern) else [])
            if exact and stop_early:
                break
        where = self.shown
        if len(exact) > 1:
            wanted = " or ".join(map(repr, patterns))
            raise DataError(f"{where}: holds {listed(exact)}, but one file is wanted, called {wanted}; {_ONE_FILE}.")
        if exact:
            return exact[0], exact
        return next(((pattern, held) for pattern, held in zip(patterns, matching, strict=True) if held), ("", []))

    def names(self) -> list[str]:
        """All members but those that systems and programs leave beside data."""
        return list(self._members())

    def _members(self) -> Iterator[str]:
        with readable(self._name):
            names = self._container.names()
            yield from names if self.is_single or self.is_several else (name for name in names if not is_junk(name))

    @property
    def ignored(self) -> str:
        """Which members of an archive are not seen for what they are, and why, as far as it was read; or nothing."""
        found = list(self._container.ignored.items())
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        return "; ".join(f"{shown(name)} is ignored: {why}" for name, why in found[:3]) + more

    def stream(self, member: str) -> RawStream:
        """The bytes of ``member``, decompressed.

        Raises:
            DataError: the member is damaged or cannot be read.
        """
        if member not in self.opened:
            self.opened.append(member)
        with readable(member):
            bound = self._bound(self._path_of(member))
            file = self._container.open(member, bound)
            self._stack.callback(file.close)
            return RawStream(member, decompressed(file, bound), file)

    def _bound(self, path: Path) -> Bound:
        return Bound(path.stat().st_size, self._ratio)

    @property
    def recipe(self) -> Recipe:
        """What opens the same raw data once more, in another process."""
        return Recipe(self._paths[0] if len(self._paths) == 1 else self._paths, self._ratio, self._columns)

    def is_packed(self, member: str, head: bytes) -> bool:
        """Whether ``member``, a small file of its own, is no plain text; ``head`` as of ``plain_path``."""
        if not self.lies_open or self._path_of(member).stat().st_size > _WHOLE_BYTES:
            return False
        return is_parquet(head) or self.plain_path(member, head) is None

    def plain_path(self, member: str, head: bytes) -> Path | None:
        """The file that is ``member`` as it lies, uncompressed; None where there is none.

        Args:
            member: the table.
            head: its first bytes, as its stream has them.
        """
        path = self._path_of(member)
        if path.is_file() and (self.path.is_dir() or self.is_single or self.is_several):
            with path.open("rb") as file:
                if first_bytes(file, HEAD_BYTES) == head:
                    return path
        return None

    def read_on(self, place: int) -> None:
        """Count a plain file, which others read, as read up to ``place``."""
        if self._plain is not None:
            self._plain.seek(place)

    def seekable_file(self, member: str, folder: Path) -> Path:
        """A file with the bytes of ``member``, decompressed: its own, or a copy in ``folder`` until the source closes.

        Raises:
            DataError: the member is damaged or cannot be read.
        """
        stream = self.stream(member)
        self._plain = None
        if path := self.plain_path(member, stream.head):
            return path
        copy = self._stack.enter_context(tempfile.NamedTemporaryFile(dir=folder))  # noqa: SIM115 - closed with the rest
        room = shutil.disk_usage(folder).free // 2  # the store needs the other half
        while data := stream.read(_COPY_BYTES):
            if (room := room - len(data)) < 0:
                raise DataError(
                    f"{shown(member)}: to read a Parquet table inside another file it is copied, and the copy would "
                    f"take more than half of what is free where the data sets lie; unpack it and pass the file, or "
                    f"choose another --data-dir."
                )
            copy.write(data)
        copy.flush()
        return Path(copy.name)

    def text(self, member: str, encoding: str) -> str:
        """The whole of a small member as text.

        Raises:
            DataError: damaged, not small, or not of that encoding.
        """
        data, stream = bytearray(), self.stream(member)
        while more := stream.read(_COPY_BYTES):
            data += more
            if len(data) > _LARGEST_TEXT:
                raise DataError(f"{shown(member)}: has over {_LARGEST_TEXT:,} bytes; check that it is the side table.")
        try:
            return io.TextIOWrapper(io.BytesIO(data), encoding=encoding).read()
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            raise DataError(f"{member}: line {line} is not {encoding} text; fetch the original file again.") from None

    def fingerprints(self) -> list[dict[str, object]]:
        """Name, size and sha256 of the files at the paths, or of the members of the folder that were read."""
        files = [(path.name, path) for path in self._paths]
        if not self.is_several and self.path.is_dir():
            order = sorted(self.opened, key=natural) if self._in_parts else sorted(self.opened)
            files = [(name, self.path / name) for name in order]
        with readable(self._name):
            return [self._fingerprint(name, path) for name, path in files]

    def _fingerprint(self, name: str, path: Path) -> dict[str, object]:
        found: dict[str, object] = {"name": name, "bytes": path.stat().st_size, "sha256": file_sha256(path)}
        folders = partition_text(path.as_posix(), self._columns)
        return found | ({"partition": folders} if folders else {})


def _several(paths: Sequence[Path]) -> Several:
    """Files named one by one.

    Raises:
        DataError: one is there twice, is a folder, or is empty or cannot be read.
    """
    for path in paths:
        with readable(path.name):
            if paths.count(path) > 1:
                raise DataError(f"--raw {path}: is given twice; its rows would count twice.")
            if path.is_dir():
                raise DataError(f"--raw {path}: is a folder; give one folder alone, or files one by one.")
            if not path.stat().st_size:
                raise DataError(f"{shown(path.name)}: the file is empty; take it out.")
    return Several(paths)
