"""What holds the members of raw data: one file, several, a folder, a zip or a tar. Nothing is unpacked on disk.

Members of archives that no table can be, and whose names or kinds could do harm where somebody unpacks them, are not
seen: links, devices, pipes, and names that lead out of the archive. ``ignored`` says which.
"""

from __future__ import annotations

import re
import stat
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Protocol, cast

from bench.data.raw.compression import Bound
from bench.data.raw.names import shown
from bench.errors import DataError

_OUTSIDE = re.compile(r"[/\\]|[A-Za-z]:[/\\]|(.*[/\\])?\.\.([/\\]|$)", re.DOTALL)
"""A name that is absolute or climbs up, in the way of any system."""
_LEADS_OUT = "its name leads out of the archive"
_LINK = "it is a link"
_SPECIAL = "it is no plain file"


class Container(Protocol):
    """Members by name."""

    ignored: dict[str, str]
    """Members met so far that are not seen, and why."""

    def names(self) -> Iterator[str]:
        """The members that may be tables."""

    def open(self, name: str, bound: Bound) -> IO[bytes]:
        """The bytes of a member, at its beginning.

        Raises:
            DataError: encrypted, or packed in a way that is not known.
            ExpansionError: larger than ``bound`` allows.
        """


class Single:
    """One file that is no archive, its compression undone."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path, self._file = path, file
        self.ignored: dict[str, str] = {}

    def names(self) -> Iterator[str]:
        """The file's."""
        yield self._path.name

    def open(self, name: str, bound: Bound) -> IO[bytes]:
        """The file from its beginning."""
        self._file.seek(0)
        return self._file


class Folder:
    """A folder; every file below it is a member."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.ignored: dict[str, str] = {}

    def names(self) -> Iterator[str]:
        """Paths from the folder on."""
        for path in sorted(self._path.rglob("*")):
            if path.is_file():
                yield path.relative_to(self._path).as_posix()

    def open(self, name: str, bound: Bound) -> IO[bytes]:
        """The file."""
        return (self._path / name).open("rb")


class Several:
    """Files named one by one."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = {str(path): path for path in paths}
        self.ignored: dict[str, str] = {}

    def names(self) -> Iterator[str]:
        """The paths as given."""
        yield from self._paths

    def open(self, name: str, bound: Bound) -> IO[bytes]:
        """The file."""
        return self._paths[name].open("rb")


class Zip:
    """A zip archive."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._zip = zipfile.ZipFile(file)
        self.ignored: dict[str, str] = {}
        held = self._zip.namelist()
        if "[Content_Types].xml" in held or "META-INF/manifest.xml" in held:
            raise DataError(
                f"{name}: is an Excel workbook or another office file; save the table as CSV and pass that."
            )

    def names(self) -> Iterator[str]:
        """The plain files, in the archive's order."""
        for info in self._zip.infolist():
            if info.is_dir():
                continue
            if reason := _harm(info.filename) or _zip_kind(info):
                self.ignored[info.filename] = reason
            else:
                yield info.filename

    def open(self, name: str, bound: Bound) -> IO[bytes]:
        """See ``Container``; a member never gives more bytes than the archive declares of it."""
        info = self._zip.getinfo(name)
        if info.flag_bits & 1:
            raise DataError(f"{shown(name)}: is encrypted; unpack it with its password and pass the file.")
        bound.check(info.file_size)
        try:
            return self._zip.open(info)
        except NotImplementedError as error:
            raise DataError(f"{shown(name)}: cannot be unpacked ({error}); unpack it and pass the file.") from None


def _zip_kind(info: zipfile.ZipInfo) -> str:
    """Why a member of a zip is no plain file; nothing where it is one, or no system said what it is."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return _LINK
    return "" if kind in (0, stat.S_IFREG) else _SPECIAL


class Tar:
    """A tar archive; members come in the archive's order, so that a search may stop before its end."""

    def __init__(self, file: IO[bytes]) -> None:
        self._tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115 - its file is closed
        self._members: dict[str, tarfile.TarInfo] = {}
        self.ignored: dict[str, str] = {}

    def names(self) -> Iterator[str]:
        """The plain files, as far as the archive was read."""
        for member in self._tar:
            if member.isdir():
                continue
            if reason := _harm(member.name) or _tar_kind(member):
                self.ignored[member.name] = reason
            else:
                self._members[member.name] = member
                yield member.name

    def open(self, name: str, bound: Bound) -> IO[bytes]:
        """See ``Container``; a sparse member, mostly holes, may be far larger than the archive."""
        # By its TarInfo, not by its name: a look-up by name would read the archive to its end.
        member = self._members[name]
        bound.check(member.size)
        return cast("IO[bytes]", self._tar.extractfile(member))


def _tar_kind(member: tarfile.TarInfo) -> str:
    if member.issym() or member.islnk():
        return _LINK
    return "" if member.isfile() else _SPECIAL


def _harm(name: str) -> str:
    return _LEADS_OUT if _OUTSIDE.match(name) else ""
