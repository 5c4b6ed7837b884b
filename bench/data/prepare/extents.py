"""A plain text file, cut between rows without being read: whoever reads a piece opens the file for itself.

It takes a table in which every line feed ends a row. What lies between two cuts is looked at only where they fall, so
the lines before a piece are not known: those who read the pieces count them.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.data.raw.chunks import check_length, hold_blank_lines
from bench.data.raw.dialect import Chunk, Dialect
from bench.data.raw.texts import count_byte
from bench.errors import DataError

_LF = ord("\n")
_LOOK_BYTES = 1 << 16
"""What is looked at before a cut."""
_READ_BYTES = 1 << 22


@dataclass(frozen=True)
class Extent:
    """Whole rows of a file: where they lie."""

    path: Path
    member: str
    header_lines: int
    """Lines of the file before its first row."""
    start: int
    size: int
    tail: int
    """crc32 of its last ``_LOOK_BYTES``, or of all where it is smaller."""

    @property
    def end(self) -> int:
        """How much of the file is read once it is read up to here."""
        return self.start + self.size

    def load(self, lines: int = 0) -> Chunk:
        """The rows, of which ``lines`` lines came before.

        Raises:
            DataError: the file is not there, or is another one than when it was cut.
        """
        data = bytearray(self.size)
        try:
            with self.path.open("rb", buffering=0) as file:
                file.seek(self.start)
                view = memoryview(data)
                while view and (got := file.readinto(view)):
                    view = view[got:]
        except FileNotFoundError:
            raise DataError(f"{self.path}: there is no such file; it was there when it was cut.") from None
        if view or _tail(data) != self.tail:
            raise DataError(f"{self.path}: is not what it was when it was cut; leave it alone while it is read.")
        return Chunk(self.member, 1 + self.header_lines + lines, data, count_byte(data, _LF))


def extents(path: Path, member: str, dialect: Dialect, header: tuple[int, int], chunk_bytes: int) -> Iterator[Extent]:
    """Cut what a file holds behind its header, about ``chunk_bytes`` at a time, where ``chunks`` could cut it.

    Args:
        path: where it lies, for all who read it.
        member: its name for messages.
        dialect: says that every line feed ends a row.
        header: lines and bytes before the first row.
        chunk_bytes: the size of a piece.

    Raises:
        DataError: a row that never seems to end.
    """
    header_lines, start = header
    with path.open("rb") as file:
        last = file.seek(0, os.SEEK_END)
        while start < last:
            end = min(start + chunk_bytes, last)
            while not (size := _rows_size(file, start, end, end == last)) and end < last:
                check_length(_read(file, start, end), member, 1 + _count_lines(file, start), dialect)
                end = min(end + chunk_bytes, last)
            if size:
                tail = _read(file, max(start, start + size - _LOOK_BYTES), start + size)
                yield Extent(path, member, header_lines, start, size, zlib.crc32(tail))
            start = start + size if size and end < last else last


def _read(file: IO[bytes], start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(end - start)


def _count_lines(file: IO[bytes], end: int) -> int:
    """Line feeds before ``end``."""
    return sum(count_byte(_read(file, at, min(at + _READ_BYTES, end)), _LF) for at in range(0, end, _READ_BYTES))


def _rows_size(file: IO[bytes], start: int, end: int, at_end: bool) -> int:
    """How many bytes between ``start`` and ``end`` are whole rows, blank lines behind them left out; 0: none."""
    for look in (_LOOK_BYTES, end - start):
        first = max(start, end - look)
        data = bytearray(_read(file, first, end))
        if at_end:
            del data[len(data) - data.endswith(b"\r") :]  # which is half a line end
        else:
            del data[data.rfind(b"\n") + 1 :]
        whole, _ = hold_blank_lines(data)
        if whole:
            return first - start + len(whole)
    return 0


def _tail(data: bytearray) -> int:
    return zlib.crc32(memoryview(data)[-_LOOK_BYTES:])
