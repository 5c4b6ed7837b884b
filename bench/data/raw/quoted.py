"""Which parts of a text stand in quotes, found on whole arrays of bytes.

A quote opens a value only at the value's first byte and ends it where it is not doubled; anywhere else it is a letter.
Texts are uint8 [bytes] and begin with a row; a line feed ends a row, and one byte, the separator, stands between
values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["CR", "LF", "Spans", "begins_value", "ends_value", "quoted_spans"]

LF, CR = ord("\n"), ord("\r")


@dataclass(frozen=True)
class Spans:
    """The quoted parts of a text; two that touch are one value with a doubled quote."""

    opens: np.ndarray
    """Places of the quotes that open one, int64 [n], increasing."""
    closes: np.ndarray
    """Places of the quotes that close them, int64 [n]; the text's length where the last one stays open."""
    is_open: bool
    """Whether the last one is not closed."""

    def hold(self, places: np.ndarray) -> np.ndarray:
        """Which of ``places``, int64 [m] increasing, lie inside a quoted part; bool [m]."""
        before = np.searchsorted(self.opens, places)
        inside: np.ndarray = before > 0
        inside[inside] = places[inside] < self.closes[before[inside] - 1]
        return inside


def quoted_spans(text: np.ndarray, quote: bytes, separator: int) -> Spans:
    """The quoted parts of ``text``; none without a ``quote``."""
    quotes = np.flatnonzero(text == quote[0]) if quote else np.empty(0, np.int64)
    touches = np.zeros(len(quotes), dtype=bool)
    np.equal(quotes[1:], quotes[:-1] + 1, out=touches[1:])
    can_open = begins_value(text, quotes, separator)
    if len(quotes) % 2 == 0 and (can_open | touches)[::2].all():
        return Spans(quotes[::2], quotes[1::2], is_open=False)
    return _walk(quotes, touches, can_open, len(text))


def begins_value(text: np.ndarray, places: np.ndarray, separator: int) -> np.ndarray:
    """Whether a value begins at each of ``places``: behind a separator, a line end or nothing; bool [n]."""
    before = text[places - 1]
    found: np.ndarray = (places == 0) | (before == LF) | (before == separator)
    return found


def ends_value(text: np.ndarray, places: np.ndarray, separator: int) -> np.ndarray:
    """Whether a value ends with each of ``places``: before a separator, a line end or nothing; bool [n]."""

    def byte(ahead: int) -> np.ndarray:
        at = places + ahead
        return np.where(at < len(text), text.take(at, mode="clip"), LF)

    follows = byte(1)
    found: np.ndarray = (follows == LF) | (follows == separator) | ((follows == CR) & (byte(2) == LF))
    return found


def _walk(quotes: np.ndarray, touches: np.ndarray, can_open: np.ndarray, length: int) -> Spans:
    """The quoted parts of a text in which some quotes are letters, found one value after another.

    Args:
        quotes: places of all quotes, int64 [n].
        touches: whether the byte before is a quote as well, bool [n].
        can_open: whether a value begins with it, bool [n].
        length: of the text.
    """
    first = np.flatnonzero(~touches)
    starts = quotes[first]
    sizes = np.diff(np.append(first, len(quotes)))
    opening = _next(can_open[first]).tolist()
    closing = _next(sizes % 2 == 1).tolist()
    ends = (starts + sizes - 1).tolist()
    opens, closes, run = [], [], 0
    while run < len(starts) and (run := opening[run]) < len(starts):
        opens.append(run)
        # Behind the quote that opens, quotes of its run pair off; one that is left over closes the value.
        if sizes[run] % 2 == 1:
            run = closing[run + 1] if run + 1 < len(starts) else len(starts)
        closes.append(ends[run] if run < len(starts) else length)
        run += 1
    is_open = bool(closes) and closes[-1] == length
    return Spans(starts[opens] if opens else quotes[:0], np.array(closes, dtype=np.int64), is_open)


def _next(wanted: np.ndarray) -> np.ndarray:
    """The first place from each place on where ``wanted`` holds, else its length; int64 [n]."""
    places = np.where(wanted, np.arange(len(wanted)), len(wanted))
    found: np.ndarray = np.minimum.accumulate(places[::-1])[::-1]
    return found
