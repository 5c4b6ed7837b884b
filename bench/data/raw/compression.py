"""Streams that are compressed, known by their first bytes; names do not count."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import IO, cast

import pyarrow as pa

_BUFFER_BYTES = 1 << 16
_SIGNATURE_BYTES = 16
SUFFIXES = (".gz", ".bz2", ".xz", ".zst", ".lz4")
"""Endings of compressed files; the name before is the table's."""
_DEPTH = 3
"""Compressions, one inside another, that are undone."""
FREE_BYTES = 1 << 30
"""What any file may unpack to, however small it is."""


class ExpansionError(Exception):
    """Data unpack to more than their bound."""


@dataclass(frozen=True)
class Bound:
    """What a file may unpack to: ``FREE_BYTES``, or ``ratio`` times its size where that is more."""

    size: int
    """Bytes of the file on disk."""
    ratio: int

    def check(self, unpacked: int) -> None:
        """Refuse more bytes than are allowed.

        Raises:
            ExpansionError: ``unpacked`` is more.
        """
        if unpacked > max(FREE_BYTES, self.ratio * self.size):
            raise ExpansionError(
                f"unpacks to over {self.ratio} times its {self.size:,} bytes, as files do that are made to fill disks; "
                f"if you trust it, allow more with max_expansion = {10 * self.ratio} under [raw] of the card"
            )


class _Unclosed:
    """What pyarrow may read from and, as it does with streams that it is given, close."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self.read = file.read

    def close(self) -> None:
        """Leave it open: it may be read again from its beginning."""


class _Forward(io.RawIOBase, ABC):
    """A stream that is read forwards, made seekable: to go back is to begin again."""

    def __init__(self, file: IO[bytes], bound: Bound) -> None:
        self._file, self._bound = file, bound
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
        self._advance(len(data))
        return len(data)

    def _advance(self, n_bytes: int) -> None:
        self._place += n_bytes
        self._bound.check(self._place)

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if whence == io.SEEK_END:
            raise io.UnsupportedOperation("the end of a compressed stream is not known")
        wanted = offset + (self._place if whence == io.SEEK_CUR else 0)
        if wanted < self._place:
            self._start()
        while self._place < wanted and (data := self._next(min(wanted - self._place, _BUFFER_BYTES))):
            self._advance(len(data))
        return self._place


class _Gzip(_Forward):
    """What the standard library decompresses."""

    def _begin(self) -> None:
        self._stream = gzip.GzipFile(fileobj=self._file, mode="rb")

    def _next(self, size: int) -> bytes:
        return self._stream.read(size)


class _Rewindable(_Forward):
    """What pyarrow decompresses."""

    def __init__(self, file: IO[bytes], bound: Bound, codec: str) -> None:
        self._codec = codec
        super().__init__(file, bound)

    def _begin(self) -> None:
        self._stream = pa.CompressedInputStream(pa.PythonFile(_Unclosed(self._file), mode="r"), self._codec)

    def _next(self, size: int) -> bytes:
        return self._stream.read(size)  # type: ignore[no-any-return]


class _Streams(_Forward):
    """Compressed streams one behind another; what follows them and is none is damage, not an end.

    The standard library's own files take it for the end.
    """

    def __init__(
        self, file: IO[bytes], bound: Bound, make: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor]
    ) -> None:
        self._make = make
        super().__init__(file, bound)

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


_CODECS: tuple[tuple[re.Pattern[bytes], Callable[[IO[bytes], Bound], _Forward]], ...] = (
    (re.compile(rb"\x1f\x8b\x08[\x00-\x1f]", re.DOTALL), _Gzip),
    (re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), partial(_Streams, make=bz2.BZ2Decompressor)),
    (re.compile(rb"\xfd7zXZ\x00"), partial(_Streams, make=lzma.LZMADecompressor)),
    (re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"), partial(_Rewindable, codec="zstd")),
    (re.compile(rb"\x04\x22\x4d\x18"), partial(_Rewindable, codec="lz4")),
)
"""Signatures in full, and what decompresses; members and frames that follow one another are one stream."""


def decompressed(file: IO[bytes], bound: Bound) -> IO[bytes]:
    """``file``, decompressed as often as it is compressed.

    Args:
        file: seekable, at its beginning.
        bound: of what it unpacks to, read or skipped; beyond it, reading raises ``ExpansionError``.
    """
    for _ in range(_DEPTH):
        head = first_bytes(file, _SIGNATURE_BYTES)
        found = next((make for signature, make in _CODECS if signature.match(head)), None)
        if found is None:
            break
        file = io.BufferedReader(found(file, bound), _BUFFER_BYTES)
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
