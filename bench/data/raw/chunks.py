"""The text of a raw table -> chunks of whole rows.

Chunks can be parsed in any order and by any number of threads, and the line of each is known for messages.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.data.raw.dialect import Chunk, Dialect
from bench.data.raw.header import LONGEST_ROW, Header
from bench.data.raw.text_stream import TextStream
from bench.data.raw.texts import Bytes, count_byte
from bench.errors import DataError

_LF = ord("\n")
_READ_BYTES = 1 << 16
CHUNK_BYTES = 3 << 23
"""Text parsed at a time: about 100,000 rows of 40 columns."""


def chunks(stream: TextStream, dialect: Dialect, chunk_bytes: int, header: Header, rest: bytes) -> Iterator[Chunk]:
    """Cut a stream between rows.

    Args:
        stream: positioned behind ``rest``.
        dialect: says where rows end.
        chunk_bytes: the size of a chunk, up to the row that it ends in.
        header: says how many lines came before.
        rest: bytes already read from the stream that belong to the rows.

    Raises:
        DataError: a row that never seems to end.
    """
    line = header.lines + 1
    # Grown piece by piece: a second copy of a large text would be memory that the system has to clear each time.
    text = bytearray(rest)
    while _fill(text, stream, len(text) + chunk_bytes):
        end = dialect.last_row_end(text)
        if not end:
            check_length(text, stream.name, line, dialect)
            continue
        rest = bytes(memoryview(text)[end:])
        del text[end:]
        whole, held = hold_blank_lines(text)
        text = bytearray(held + rest)
        if whole:
            chunk = Chunk(stream.name, line, whole, count_byte(whole, _LF))
            yield chunk
            line += chunk.line_ends
    if text.endswith(b"\r"):  # which is half a line end
        del text[-1:]
    whole, _ = hold_blank_lines(text)
    if whole:
        yield Chunk(stream.name, line, whole, count_byte(whole, _LF))


def _fill(text: bytearray, stream: TextStream, size: int) -> bool:
    """Read ``text`` on until it has ``size`` bytes or there are no more; whether there were any."""
    before = len(text)
    while len(text) < size and (data := stream.read(min(size - len(text), _READ_BYTES))):
        text += data
    return len(text) > before


def check_length(data: Bytes, name: str, line: int, dialect: Dialect) -> None:
    """Give up where the beginning of a row is longer than any row.

    Raises:
        DataError: it is; the message names its line, or that of a quote which is not closed.
    """
    if len(data) > LONGEST_ROW:
        dialect.check(Chunk(name, line, data, count_byte(data, _LF)))
        line += 0 if dialect.newlines_in_values else count_byte(data, _LF)  # rows that came with the header
        raise DataError(f"{name}: line {line} is longer than {LONGEST_ROW} bytes; check that it is a text table.")


def hold_blank_lines(data: bytearray) -> tuple[bytearray, bytes]:
    """Split off blank lines at the end, which are rows only if other rows follow; ``data`` is cut."""
    kept = last = len(data)
    while data.endswith(b"\n", 0, kept):
        kept, last = kept - (2 if data.endswith(b"\r\n", 0, kept) else 1), kept
    last = last if kept else 0
    held = bytes(memoryview(data)[last:])
    del data[last:]
    return data, held
