"""Streams that are compressed, known by their first bytes; names do not count."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
from abc import ABC, abstractmethod
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


class _Forward(io.RawIOBase, ABC):
    """A stream that is read forwards, made seekable: to go back is to begin again."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._start()

    def _start(self) -> None:
        self._file.seek(0)
        self._place = 0
        self._begin()

    @abstractmethod
    def _begin(self) -> None:
        """Get ready to read from the file's beginning, where it is."""

    @abstractmethod
    def _next(self, size: int) -> bytes:
        """Up to ``size`` bytes; nothing at the end."""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: object, /) -> int:
        view = memoryview(cast("bytearray", buffer))
        data = self._next(len(view))
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
        while self._place < wanted and (data := self._next(min(wanted - self._place, _BUFFER_BYTES))):
            self._place += len(data)
        return self._place


class _Rewindable(_Forward):
    """What pyarrow decompresses."""

    def __init__(self, file: IO[bytes], codec: str) -> None:
        self._codec = codec
        super().__init__(file)

    def _begin(self) -> None:
        self._stream = pa.CompressedInputStream(pa.PythonFile(_Unclosed(self._file), mode="r"), self._codec)

    def _next(self, size: int) -> bytes:
        return self._stream.read(size)  # type: ignore[no-any-return]


class _Streams(_Forward):
    """Compressed streams one behind another; what follows them and is none is damage, not an end.

    The standard library's own files take it for the end.
    """

    def __init__(self, file: IO[bytes], make: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor]) -> None:
        self._make = make
        super().__init__(file)

    def _begin(self) -> None:
        self._decompressor = self._make()
        self._rest = b""

    def _next(self, size: int) -> bytes:
        while True:
            if self._decompressor.eof and not self._follow():
                return b""
            if self._decompressor.needs_input and not self._rest:
                self._rest = self._file.read(_BUFFER_BYTES)
                if not self._rest:
                    raise EOFError("compressed data ended before the end-of-stream marker")
            data, self._rest = self._decompressor.decompress(self._rest, size), b""
            if data:
                return data

    def _follow(self) -> bool:
        """Begin the next stream, if there is one."""
        rest = self._decompressor.unused_data.lstrip(b"\0")  # xz pads with it, and no stream begins so
        while not rest and (more := self._file.read(_BUFFER_BYTES)):
            rest = more.lstrip(b"\0")
        if rest:
            self._decompressor, self._rest = self._make(), rest
        return bool(rest)


_CODECS: tuple[tuple[re.Pattern[bytes], Callable[[IO[bytes]], object]], ...] = (
    (re.compile(rb"\x1f\x8b\x08[\x00-\x1f]", re.DOTALL), lambda file: gzip.GzipFile(fileobj=file, mode="rb")),
    (re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), lambda file: _buffered(_Streams(file, bz2.BZ2Decompressor))),
    (re.compile(rb"\xfd7zXZ\x00"), lambda file: _buffered(_Streams(file, lzma.LZMADecompressor))),
    (re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"), lambda file: _buffered(_Rewindable(file, "zstd"))),
    (re.compile(rb"\x04\x22\x4d\x18"), lambda file: _buffered(_Rewindable(file, "lz4"))),
)
"""Signatures in full, and what decompresses; members and frames that follow one another are one stream."""


def _buffered(file: io.RawIOBase) -> io.BufferedReader:
    return io.BufferedReader(file, _BUFFER_BYTES)


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
