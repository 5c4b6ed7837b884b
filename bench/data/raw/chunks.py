"""The text of a raw table -> chunks of whole rows.

Chunks can be parsed in any order and by any number of threads, and the line of each is known for messages.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.data.raw.dialect import Chunk, Dialect
from bench.data.raw.header import LONGEST_ROW, Header
from bench.data.raw.text_stream import TextStream
from bench.data.raw.texts import count_byte
from bench.errors import DataError

_LF = ord("\n")
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
    while data := stream.read(chunk_bytes):
        if dialect.newlines_in_values:
            rest, data = b"", rest + data  # whether a line end ends a row depends on all that came before it
        end = dialect.last_row_end(data)
        if not end:
            rest += data
            _check_length(rest, stream.name, line, dialect)
            continue
        whole, held = _hold_blank_lines(b"".join((rest, memoryview(data)[:end])))
        rest = held + data[end:]
        del data  # as large as a chunk, and the reader of this one may take its time
        if whole:
            chunk = Chunk(stream.name, line, whole, count_byte(whole, _LF))
            yield chunk
            line += chunk.line_ends
    whole, _ = _hold_blank_lines(rest.removesuffix(b"\r"))  # which is half a line end
    if whole:
        yield Chunk(stream.name, line, whole, count_byte(whole, _LF))


def _check_length(data: bytes, name: str, line: int, dialect: Dialect) -> None:
    """Give up where the beginning of a row is longer than any row.

    Raises:
        DataError: it is; the message names its line, or that of a quote which is not closed.
    """
    if len(data) > LONGEST_ROW:
        dialect.check(Chunk(name, line, data, count_byte(data, _LF)))
        line += 0 if dialect.newlines_in_values else count_byte(data, _LF)  # rows that came with the header
        raise DataError(f"{name}: line {line} is longer than {LONGEST_ROW} bytes; check that it is a text table.")


def _hold_blank_lines(data: bytes) -> tuple[bytes, bytes]:
    """Split off blank lines at the end: they are rows only if other rows follow."""
    kept = last = len(data)
    while data.endswith(b"\n", 0, kept):
        kept, last = kept - (2 if data.endswith(b"\r\n", 0, kept) else 1), kept
    if not kept:
        return b"", data
    return data[:last], data[last:]
