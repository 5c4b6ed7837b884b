"""A chunk of plain text -> the first eight bytes of every value, by arithmetic on whole arrays.

This is the fast way into a table, where it fits (one-byte delimiter, neither quotes nor escapes, every row complete).
It never guesses: what it does not understand in full it leaves to the parser.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bench.data.raw.scratch import Scratch
from bench.data.raw.texts import FIRST_BYTES, WIDTH, Bytes, windows

_PIECE_BYTES = 1 << 19
"""Text whose values are read while they stay in the processor's cache."""
_PIECE_ROWS = 128
"""Fewest rows of such a text where rows are long: of fewer, too little is written to each column at a time."""
_COLUMNS_AT_ONCE = 256
"""Columns that are turned into rows of memory while they stay in the cache."""
_NEWLINE = ord("\n")


@dataclass(frozen=True)
class Words:
    """All values of one chunk."""

    numbers: np.ndarray
    """The first eight bytes of each value as a little-endian number, uint64 [columns, front + rows]; 0: nothing there.
    """
    longest: np.ndarray
    """Bytes of each column's longest value, int64 [columns]."""


def split_words(
    data: Bytes,
    delimiter: int,
    shape: tuple[int, int],
    scratch: Scratch | None = None,
    front: Sequence[int] | np.ndarray = (),
) -> Words | None:
    """Cut ``data`` into rows and values.

    Args:
        data: whole lines, in which every line feed ends a row and every delimiter a value; the last may lack its end.
        delimiter: the byte between two values.
        shape: rows of ``data``, and values that each must have.
        scratch: takes the numbers; they hold until it is used again.
        front: numbers that each column begins with, before those of its values.

    Returns:
        None where a parser has to look: NUL bytes, text that is no UTF-8, or a row with more or fewer values.
    """
    if b"\0" in data or not _is_utf8(data):
        return None
    n_rows, n_columns = shape
    first = len(front)
    numbers = (scratch or Scratch()).array((n_columns, first + n_rows), np.uint64)
    numbers[:, :first] = front
    longest = np.zeros(n_columns, dtype=np.int64)
    for text in _pieces(data, max(_PIECE_BYTES, _PIECE_ROWS * (len(data) // max(n_rows, 1)))):
        found = _read_piece(text, delimiter, n_columns, longest)
        if found is None:
            return None
        last = first + len(found)
        for column in range(0, n_columns, _COLUMNS_AT_ONCE):
            some = slice(column, column + _COLUMNS_AT_ONCE)
            numbers[some, first:last] = found[:, some].T
        first = last
    return Words(numbers, longest)


def _pieces(data: Bytes, piece_bytes: int) -> Iterator[np.ndarray]:
    """Whole lines of ``data``, about ``piece_bytes`` at a time, each with eight bytes more behind it; uint8."""
    whole = np.frombuffer(data, dtype=np.uint8)
    start = 0
    while start < len(data):
        end = data.rfind(b"\n", start, start + piece_bytes) + 1
        end = end or data.find(b"\n", start) + 1 or len(data)
        if end + WIDTH <= len(data):
            yield whole[start : end + WIDTH]
        else:
            line_end = [] if data.endswith(b"\n", start, end) else [_NEWLINE]
            yield np.concatenate([whole[start:end], np.array(line_end + [0] * WIDTH, dtype=np.uint8)])
        start = end


def _is_utf8(data: Bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _read_piece(text: np.ndarray, delimiter: int, n_columns: int, longest: np.ndarray) -> np.ndarray | None:
    """The values of whole lines.

    Args:
        text: lines and eight bytes behind them, uint8.
        delimiter: the byte between two values.
        n_columns: values that every row must have.
        longest: bytes of each column's longest value so far, int64 [columns]; brought up to date.

    Returns:
        uint64 [rows, columns] as in ``Words``; None where a row has more or fewer values.
    """
    lines = text[:-WIDTH]
    marks = lines == _NEWLINE
    n_rows = int(np.count_nonzero(marks))
    marks |= lines == delimiter
    ends = np.flatnonzero(marks)
    if len(ends) != n_rows * n_columns or not (lines[ends[n_columns - 1 :: n_columns]] == _NEWLINE).all():
        return None
    starts = np.empty_like(ends)
    starts[0] = 0
    np.add(ends[:-1], 1, out=starts[1:])
    ends -= starts
    lengths = ends.reshape(n_rows, n_columns)
    np.maximum(longest, lengths.max(axis=0), out=longest)
    found = windows(text)[starts]
    found &= FIRST_BYTES[np.minimum(ends, WIDTH, out=ends)]
    return found.reshape(n_rows, n_columns)
