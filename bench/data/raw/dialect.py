"""How the bytes of a text table fall into rows and values: delimiter, quotes, escapes, line ends.

The rules are those of RFC 4180 and of Python's ``csv``: a quote opens a value only at the value's first byte, ends it
where it is not doubled, and is a letter anywhere else. What those rules leave open (text behind a closing quote, a
carriage return alone, a blank line) is an error, because programs differ on it; but for text behind a quote that closes
right behind a delimiter, as in ``"a,"b``, on one line: that is read as Python's ``csv`` reads it. All work is done on
whole arrays of bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bench.data.card.layout import Layout
from bench.data.raw.quoted import CR, LF, Spans, begins_value, ends_value, quoted_spans
from bench.data.raw.texts import PIECE_BYTES, Bytes
from bench.errors import DataError, quoted

SEPARATOR = b"\x1f"
"""Stands for a delimiter of several bytes, which the parser does not know."""
_SHOWN_BEFORE = 20
"""Bytes that a message shows before the place of a fault."""
_MARGIN = 2
"""Bytes around a piece, by which its own are judged."""


@dataclass(frozen=True)
class Chunk:
    """Whole rows of a raw table."""

    member: str
    first_line: int
    """Line number of the first row, from 1."""
    data: Bytes
    """The last row may lack its line end."""
    line_ends: int
    """Line feeds in ``data``."""


@dataclass(frozen=True)
class RowStarts:
    """Where the rows of a text begin."""

    count: int
    lines: np.ndarray | None = None
    """The line of each row, counted from 0, and how many there are, int64 [count + 1]; None: each row is one line."""
    is_plain: bool = False
    """Whether every line feed ends a row and every delimiter a value: no quotes, escapes or carriage returns."""

    def line(self, row: int) -> int:
        """The line on which the row ``row`` begins, counted from 0."""
        return row if self.lines is None else int(self.lines[row])


@dataclass(frozen=True)
class Dialect:
    """What separates rows and values, in UTF-8."""

    delimiter: bytes
    quote: bytes
    """One byte, or nothing."""
    escape: bytes
    """One byte, or nothing."""
    newlines_in_values: bool

    @classmethod
    def of(cls, layout: Layout) -> Dialect:
        """The dialect of ``layout``."""
        return cls(layout.delimiter.encode(), layout.quote.encode(), layout.escape.encode(), layout.newlines_in_values)

    @property
    def separator(self) -> bytes:
        """The one byte that stands between two values once ``separated`` has seen them."""
        return self.delimiter if len(self.delimiter) == 1 else SEPARATOR

    def separated(self, chunk: Chunk) -> Bytes:
        """The text of ``chunk`` with ``separator`` in place of a longer delimiter, be it inside quotes or not.

        Raises:
            DataError: the separator stands in the text already.
        """
        if len(self.delimiter) == 1:
            return chunk.data
        if (found := chunk.data.find(SEPARATOR)) >= 0:
            line = chunk.first_line + chunk.data.count(b"\n", 0, found)
            raise DataError(
                f"{chunk.member}: line {line} holds the control character U+001F, which a table with the delimiter "
                f"{self.delimiter.decode()!r} cannot hold; take it out of that line."
            )
        return chunk.data.replace(self.delimiter, SEPARATOR)

    def last_row_end(self, data: Bytes) -> int:
        """How many bytes of ``data``, which begins with a row, are whole rows with their line ends."""
        if not self.newlines_in_values:
            return data.rfind(b"\n") + 1
        return int(self.row_ends(data)[-1:].sum())

    def first_row_end(self, data: Bytes) -> int:
        """How many bytes of ``data`` the first row has with its line end; 0 where that is not there."""
        if not self.newlines_in_values:
            return data.find(b"\n") + 1
        return int(self.row_ends(data)[:1].sum())

    def row_ends(self, data: Bytes) -> np.ndarray:
        """Places behind the line feeds that end a row, int64."""
        text = self._text(data)
        ends = np.flatnonzero(text == LF)
        outside: np.ndarray = ends[~self._spans(text).hold(ends)]
        return outside + 1

    def rows(self, chunk: Chunk) -> RowStarts:
        """Count the rows of ``chunk`` and check its quotes and line ends, but for what a parser's rows show.

        A parser that finds another number of rows, or none, has met a quote that is not closed, and one that finds a
        row of nothing perhaps a blank line: ``check`` names them.

        Raises:
            DataError: as ``check``.
        """
        data = chunk.data
        special = (self.quote, self.escape, b"\r")
        n_lines = chunk.line_ends + (not data.endswith(b"\n"))
        if not any(sign and sign in data for sign in special):
            return RowStarts(n_lines, is_plain=True)
        lines_are_rows = not self.newlines_in_values and not (self.escape and self.escape in data)
        if lines_are_rows and self._is_sound(data):
            return RowStarts(n_lines)
        checker = _Checker(self, chunk)
        return RowStarts(n_lines) if lines_are_rows and checker.is_sound() else checker.rows()

    def check(self, chunk: Chunk) -> RowStarts:
        """The rows of ``chunk``, every byte looked at.

        Raises:
            DataError: a quote that is not closed or has text behind it, a line end that the card does not expect
                inside a value, a carriage return alone, a blank line; the message names the line.
        """
        return _Checker(self, chunk).rows()

    def _is_sound(self, data: Bytes) -> bool:
        """Whether a checker would find it sound; quick and cautious.

        It would where every quote stands at one end of what lies between two delimiters or line ends, where no two
        quotes touch but those of an empty value, where every carriage return is followed by a line feed, and where no
        quote stays open on the last line.
        """
        if data.endswith(b"\r"):
            return False
        last = data.rfind(b"\n", 0, len(data) - 1) + 1
        if self._spans(self._text(data[last:])).is_open:
            return False
        has_quotes, has_returns = self.quote != b"" and self.quote in data, b"\r" in data
        pieces = _pieces(self._text(data))
        return all(self._is_sound_piece(piece, has_quotes, has_returns) for piece in pieces)

    def _is_sound_piece(self, text: np.ndarray, has_quotes: bool, has_returns: bool) -> bool:
        """Whether the bytes that have neighbours in ``text``, uint8 [n], stand as in ``_is_sound``."""
        ends = text == LF
        if has_returns:
            returns = text == CR
            if (returns[:-1] > ends[1:]).any():
                return False
            ends |= returns
        if not has_quotes:
            return True
        quotes = text == self.quote[0]
        ends |= text == self.separator[0]
        touching = quotes[1:] & quotes[:-1]
        if touching.any():
            empty = touching[1:-1] & ends[:-3] & ends[3:]
            if np.count_nonzero(touching[1:-1]) != np.count_nonzero(empty):
                return False
            ends |= quotes
        return not (quotes[1:-1] > (ends[:-2] | ends[2:])).any()

    def _text(self, data: Bytes) -> np.ndarray:
        """``data`` as uint8 [bytes], every escaped byte a letter, and separators in the place of a longer delimiter."""
        if self.escape and self.escape in data:
            data = self._escaped.sub(b"xx", data)
        if len(self.delimiter) > 1:
            data = data.replace(self.delimiter, SEPARATOR * len(self.delimiter))
        return np.frombuffer(data, dtype=np.uint8)

    @cached_property
    def _escaped(self) -> re.Pattern[bytes]:
        return re.compile(re.escape(self.escape) + rb"[\s\S]")

    def _spans(self, text: np.ndarray) -> Spans:
        return quoted_spans(text, self.quote, self.separator[0])


def _pieces(text: np.ndarray) -> Iterator[np.ndarray]:
    """``text``, uint8 [n], with line feeds around it, in pieces that share their last bytes with the next."""
    around = np.full(_MARGIN, LF, dtype=np.uint8)
    for start in range(0, len(text), PIECE_BYTES):
        piece = text[max(start - _MARGIN, 0) : start + PIECE_BYTES + _MARGIN]
        before = around[: _MARGIN * (start == 0)]
        behind = around[: max(0, start + PIECE_BYTES + _MARGIN - len(text))]
        yield np.concatenate([before, piece, behind]) if len(before) or len(behind) else piece


class _Checker:
    """One text on its way to rows."""

    def __init__(self, dialect: Dialect, chunk: Chunk) -> None:
        self._dialect, self._chunk, self._data = dialect, chunk, chunk.data
        self._text = dialect._text(chunk.data)
        self._spans = dialect._spans(self._text)

    @cached_property
    def _ends(self) -> np.ndarray:
        """Places of the line feeds, int64."""
        return np.flatnonzero(self._text == LF)

    @cached_property
    def _quoted(self) -> np.ndarray:
        """Which of them stand inside quotes, bool."""
        return self._spans.hold(self._ends)

    def is_sound(self) -> bool:
        """Whether nothing is wrong but, perhaps, a value that runs over the end of its line, or a blank line."""
        return not (self._spans.is_open or self._text_behind_quotes() or self._carriage_returns())

    def rows(self) -> RowStarts:
        """See ``Dialect.rows``."""
        faults = [
            *self._open_quotes(),
            *self._text_behind_quotes(),
            *self._carriage_returns(),
            *self._escaped_ends(),
            *self._blank_lines(),
        ]
        if faults:
            raise self._error(*min(faults))
        outside = self._ends[~self._quoted]
        starts = np.append(0, outside + 1)
        starts = starts[starts < len(self._data)]
        if len(outside) == self._chunk.line_ends:
            return RowStarts(len(starts))
        every_end = np.flatnonzero(np.frombuffer(self._data, dtype=np.uint8) == LF)
        n_lines = len(every_end) + (not self._data.endswith(b"\n"))
        return RowStarts(len(starts), np.append(np.searchsorted(every_end, starts), n_lines))

    def _open_quotes(self) -> list[tuple[int, str]]:
        spans = self._spans
        if self._dialect.newlines_in_values:
            return [(int(spans.opens[-1]), "opens a quote that is never closed; close it")] if spans.is_open else []
        wrong = self._ends[self._quoted][:1]
        place = int(spans.opens[np.searchsorted(spans.opens, wrong[0]) - 1]) if len(wrong) else None
        if place is None and spans.is_open:
            place = int(spans.opens[-1])
        what = (
            "opens a quote that is not closed on that line; close it, or, only if values do hold line ends, set "
            "newlines_in_values = true in the card"
        )
        return [] if place is None else [(place, what)]

    def _text_behind_quotes(self) -> list[tuple[int, str]]:
        spans, dialect = self._spans, self._dialect
        closes = spans.closes[: len(spans.closes) - spans.is_open]
        doubled = np.zeros(len(closes), dtype=bool)
        np.equal(closes[: len(spans.opens) - 1], spans.opens[1:] - 1, out=doubled[: len(spans.opens) - 1])
        fits = doubled | ends_value(self._text, closes, dialect.separator[0])
        if not dialect.newlines_in_values:
            fits |= begins_value(self._text, closes, dialect.separator[0])  # see ``Dialect._is_sound``
        wrong = np.flatnonzero(~fits)
        if not len(wrong):
            return []
        close = int(closes[wrong[0]])
        first = int(wrong[0])
        while first and doubled[first - 1]:
            first -= 1
        lines = self._data.count(b"\n", int(spans.opens[first]), close)
        mend = "double quotes that belong to a value"
        if not dialect.escape:
            mend += ", or, if the file has \\ before them, set escape = '\\' in the card"
        if lines:
            what = (
                f"opens a quote that runs on for {lines} line{'s' * (lines > 1)} and then has text behind it; close it"
            )
            return [(int(spans.opens[first]), what)]
        return [(close, f"has text behind a closing quote; {mend}")]

    def _carriage_returns(self) -> list[tuple[int, str]]:
        if b"\r" not in self._data:
            return []
        returns = np.flatnonzero(self._text == CR)
        alone = returns[self._text.take(returns + 1, mode="clip") != LF]
        wrong = alone[~self._spans.hold(alone)]
        what = "has a carriage return that ends no line, which programs read in different ways; take it out"
        return [(int(wrong[0]), what)] if len(wrong) else []

    def _escaped_ends(self) -> list[tuple[int, str]]:
        escape = self._dialect.escape
        if not escape:
            return []
        if self._text[-1] == escape[0]:
            return [(len(self._data) - 1, "ends in an escape with nothing behind it; take it out")]
        if self._dialect.newlines_in_values:
            return []
        hidden = np.flatnonzero((np.frombuffer(self._data, dtype=np.uint8) == LF) & (self._text != LF))
        what = "ends in an escaped line end; take it out, or set newlines_in_values = true in the card"
        return [(int(hidden[0]), what)] if len(hidden) else []

    def _blank_lines(self) -> list[tuple[int, str]]:
        outside = self._ends[~self._quoted]
        starts = np.append(0, outside[:-1] + 1)[: len(outside)]
        returns = (self._text[starts] == CR) & (outside == starts + 1)
        blank = starts[(outside == starts) | returns]
        what = "is blank; take it out"
        return [(int(blank[0]), what)] if len(blank) else []

    def _error(self, place: int, what: str) -> DataError:
        data = self._data
        line = self._chunk.first_line + data.count(b"\n", 0, place)
        start, end = data.rfind(b"\n", 0, place) + 1, data.find(b"\n", place)
        text = data[max(start, place - _SHOWN_BEFORE) : end if end >= 0 else len(data)]
        shown = quoted(text.decode(errors="replace").rstrip("\r"))
        held = f": {shown}" if text.strip() else ""
        quote = " If quotes are letters in this table, set quote = '' in the card." if "quote" in what else ""
        return DataError(f"{self._chunk.member}: line {line} {what}{held}.{quote}")
