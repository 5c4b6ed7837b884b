"""The bytes of a raw table as UTF-8 with line feeds, whatever its encoding and its line ends are."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Protocol

from bench.data.card.layout import Layout
from bench.errors import DataError

_HEAD_BYTES = 1 << 16
"""What is looked at to tell line ends apart: fixed, so that they do not depend on how the text is read."""
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class ByteStream(Protocol):
    """What a text is read from."""

    name: str

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; nothing at the end."""


class TextStream:
    """A raw table's text, read forwards: without a byte-order mark, lines ended by LF or CR LF."""

    def __init__(self, stream: ByteStream, layout: Layout) -> None:
        """Read the beginning of ``stream``.

        Raises:
            DataError: it cannot be read, is of another encoding than the card says, or has line ends of CR alone
                where values may hold line ends.
        """
        self.name = stream.name
        self._is_plain = layout.is_utf8
        self._read = stream.read if layout.is_utf8 else _Decoder(stream, layout.encoding).read
        head = b""
        while len(head) < _HEAD_BYTES and (more := self._read(_HEAD_BYTES - len(head))):
            head += more
        if head.startswith(_UTF16_MARKS):
            raise DataError(f"{self.name}: is UTF-16 text; set encoding = 'utf-16' in the card.")
        self._head = head.removeprefix(codecs.BOM_UTF8)
        self._taken = len(head) - len(self._head)
        self._returns = b"\r" in head.rstrip(b"\r") and b"\n" not in head
        if self._returns and layout.newlines_in_values:
            raise DataError(
                f"{self.name}: its lines end in carriage returns alone, which newlines_in_values = true cannot tell "
                f"from those inside values; turn them into line feeds first, or take that key out of the card."
            )

    @property
    def place(self) -> int | None:
        """How many bytes of the stream came before what is read next; None where it is not read as it lies."""
        return self._taken if self._is_plain and not self._returns else None

    def read(self, size: int) -> bytes:
        """About ``size`` bytes of UTF-8; nothing at the end.

        Raises:
            DataError: the file is damaged or not of its encoding.
        """
        data, self._head = self._head[:size], self._head[size:]
        data = data or self._read(size)
        self._taken += len(data)
        return data.replace(b"\r", b"\n") if self._returns else data


class _Decoder:
    """Bytes of another encoding, turned into UTF-8 as they are read."""

    def __init__(self, stream: ByteStream, encoding: str) -> None:
        self._stream, self._encoding = stream, encoding
        self._decode: Callable[[bytes, bool], str] = codecs.getincrementaldecoder(encoding)().decode
        self._feeds = self._returns = 0

    def read(self, size: int) -> bytes:
        """The next text, at least one byte of it unless the stream is at its end."""
        while True:
            data = self._stream.read(size)
            try:
                text = self._decode(data, not data).encode()
            except UnicodeError as error:
                raise self._error(error) from None
            self._feeds += text.count(b"\n")
            self._returns += text.count(b"\r")
            if text or not data:
                return text

    def _error(self, error: UnicodeError) -> DataError:
        feeds, returns, what = self._feeds, self._returns, "the text"
        if isinstance(error, UnicodeDecodeError):
            good = error.object[: error.start].decode(self._encoding, errors="ignore")
            feeds, returns = feeds + good.count("\n"), returns + good.count("\r")
            what = f"byte 0x{error.object[error.start : error.end].hex()}"
        line = 1 + (feeds or returns)
        return DataError(
            f"{self._stream.name}: line {line}: {what} is no {self._encoding}; set the card's encoding or mend it."
        )
