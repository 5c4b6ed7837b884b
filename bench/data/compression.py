"""Streams that are compressed, known by their first bytes; names do not count."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
from collections.abc import Callable
from typing import IO, cast

import pyarrow as pa

_BUFFER_BYTES = 1 << 16
_SIGNATURE_BYTES = 16
SUFFIXES = (".gz", ".bz2", ".xz", ".zst", ".lz4")
"""Endings of compressed files; the name before is the table's."""
_DEPTH = 3
"""Compressions, one inside another, that are undone."""


class _Unclosed:
    """What pyarrow may read from and, as it does with streams that it is given, close."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self.read = file.read

    def close(self) -> None:
        """Leave it open: it may be read again from its beginning."""


class _Rewindable(io.RawIOBase):
    """A stream of pyarrow's, made seekable: to go back is to begin again."""

    def __init__(self, file: IO[bytes], codec: str) -> None:
        self._file, self._codec = file, codec
        self._start()

    def _start(self) -> None:
        self._file.seek(0)
        self._stream = pa.CompressedInputStream(pa.PythonFile(_Unclosed(self._file), mode="r"), self._codec)
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: object, /) -> int:
        view = memoryview(cast("bytearray", buffer))
        data = self._stream.read(len(view))
        view[: len(data)] = data
        self._place += len(data)
        return len(data)

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if whence == io.SEEK_END:
            raise io.UnsupportedOperation("the end of a compressed stream is not known")
        wanted = offset + (self._place if whence == io.SEEK_CUR else 0)
        if wanted < self._place:
            self._start()
        while self._place < wanted and (data := self._stream.read(min(wanted - self._place, _BUFFER_BYTES))):
            self._place += len(data)
        return self._place


_CODECS: tuple[tuple[re.Pattern[bytes], Callable[[IO[bytes]], object]], ...] = (
    (re.compile(rb"\x1f\x8b\x08[\x00-\x1f]", re.DOTALL), lambda file: gzip.GzipFile(fileobj=file, mode="rb")),
    (re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), bz2.BZ2File),
    (re.compile(rb"\xfd7zXZ\x00"), lzma.LZMAFile),
    (re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"), lambda file: _rewindable(file, "zstd")),
    (re.compile(rb"\x04\x22\x4d\x18"), lambda file: _rewindable(file, "lz4")),
)
"""Signatures in full, and what decompresses; members and frames that follow one another are one stream."""


def _rewindable(file: IO[bytes], codec: str) -> io.BufferedReader:
    return io.BufferedReader(_Rewindable(file, codec), _BUFFER_BYTES)


def decompressed(file: IO[bytes]) -> IO[bytes]:
    """``file``, decompressed as often as it is compressed.

    Args:
        file: seekable, at its beginning.
    """
    for _ in range(_DEPTH):
        head = first_bytes(file, _SIGNATURE_BYTES)
        found = next((make for signature, make in _CODECS if signature.match(head)), None)
        if found is None:
            break
        file = cast("IO[bytes]", found(file))
    return file


def first_bytes(file: IO[bytes], size: int) -> bytes:
    """The first ``size`` bytes of a file at its beginning, where it stays; fewer if it is shorter."""
    # What a peek gives may be short. To seek back from there costs nothing, and only at the beginning.
    head: bytes = cast("io.BufferedReader", file).peek(size)[:size]
    if len(head) < size:
        head = file.read(size)
        file.seek(0)
    return head


def plain_name(name: str) -> str:
    """``name`` without the endings of compressed files."""
    while name.lower().endswith(SUFFIXES):
        name = name[: name.rindex(".")]
    return name
