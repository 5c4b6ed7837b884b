"""Times of a raw table -> seconds since 1970 UTC, and the parts of them that make fields.

A time is read whole or not at all: words such as ``now``, dates without a day and moments without a place in the
calendar are errors, and nothing depends on when or where the table is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from bench.data.card.layout import ISO
from bench.data.card.time_order import DAY_S
from bench.data.raw.texts import as_texts

FIRST_S = round(datetime(1, 1, 1, tzinfo=UTC).timestamp())
"""The beginning of the year 1."""
END_S = round(datetime(9999, 12, 31, tzinfo=UTC).timestamp()) + DAY_S
"""The end of the year 9999."""
_COUNTED_S = 4_102_444_800
"""2100-01-01 UTC: farther from 1970 than this, in either direction, nobody counts in seconds."""
_FINER = {1_000: "milliseconds", 1_000_000: "microseconds", 1_000_000_000: "nanoseconds"}
_ISO_SHAPE = re.compile(
    r"(?:(?P<year>0000)-(?P<month>00)-(?P<day>00)|(?P<year_>0000)(?P<month_>00)(?P<day_>00))"
    r"(?:[T ](?:(?P<hour>00)(?::(?P<minute>00)(?::(?P<second>00)(?:[.,]0+)?)?)?"
    r"|(?P<hour_>00)(?P<minute_>00)(?:(?P<second_>00)(?:[.,]0+)?)?)"
    r"(?:Z|(?P<sign>[+-])(?P<zone_hour>00)(?::?(?P<zone_minute>00))?)?)?"
)
"""A time in ISO 8601 with every digit turned to 0."""


@dataclass(frozen=True)
class Times:
    """Distinct times, read."""

    seconds: np.ndarray
    """Whole seconds since 1970 UTC, int64 [n]; what is no time has any number."""
    valid: np.ndarray
    """Which of them are times, bool [n]."""


@dataclass(frozen=True)
class TimeFormat:
    """How times are written."""

    read: Callable[[pa.Array], Times]
    wanted: str
    """The form, for messages."""


def _unix(values: pa.Array) -> Times:
    stamps = np.asarray(values)
    return Times(stamps, (stamps >= -_COUNTED_S) & (stamps < _COUNTED_S))


def _digits(values: pa.Array) -> Times:
    """YYMMDDHH, of the years 2000 to 2099."""
    stamps = np.asarray(values)
    days, valid = _days(2000 + stamps // 10**6, stamps // 10**4 % 100, stamps // 100 % 100)
    hour = stamps % 100
    return Times(days * DAY_S + hour * 3600, valid & (stamps >= 0) & (stamps < 10**8) & (hour < 24))


def _days(year: np.ndarray, month: np.ndarray, day: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Days since 1970 of dates, int64 [n], and which of them are in the calendar."""
    valid = (year >= 1) & (year <= 9999) & (month >= 1) & (month <= 12) & (day >= 1)
    months = (np.where(valid, year, 1970) - 1970) * 12 + np.where(valid, month, 1) - 1
    first = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    after = (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    return first + day - 1, valid & (day <= after - first)


def _iso(values: pa.Array) -> Times:
    """ISO 8601; a fraction of a second is left out, and without a zone it is UTC."""
    n = len(values)
    seconds, valid = np.zeros(n, dtype=np.int64), np.ones(n, dtype=bool)
    for places, equally_long in _by_length(as_texts(values)):
        rows, letters = places, equally_long
        while len(rows):  # up to the first text of no known shape: the caller names the first that is no time
            shape = ["0" if chr(one) in "0123456789" else chr(one) for one in letters[:, 0]]
            found = _ISO_SHAPE.fullmatch("".join(shape))
            if found is None:
                valid[rows[0]] = False
                break
            alike = _of_shape(letters, shape)
            times = _moments(letters[:, alike], found)
            seconds[rows[alike]], valid[rows[alike]] = times.seconds, times.valid
            rows, letters = rows[~alike], letters[:, ~alike]
    return Times(seconds, valid)


def _by_length(texts: pa.Array) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The places of texts that are equally long, increasing, and their bytes, uint8 [length, n]."""
    wide = texts.cast(pa.large_string())
    _, offset_bytes, text_bytes = wide.buffers()
    offsets = np.frombuffer(offset_bytes, dtype=np.int64)[wide.offset : wide.offset + len(wide) + 1]
    data = np.frombuffer(text_bytes or b"", dtype=np.uint8)
    lengths = np.diff(offsets)
    for length in np.unique(lengths).tolist():
        rows = np.flatnonzero(lengths == length)
        yield rows, data[offsets[rows] + np.arange(length)[:, None]]


def _of_shape(letters: np.ndarray, shape: list[str]) -> np.ndarray:
    """Which texts have digits where ``shape`` has zeros, and its other letters; bool [n]."""
    alike = np.ones(letters.shape[1], dtype=bool)
    for row, wanted in zip(letters, shape, strict=True):
        alike &= row - np.uint8(ord("0")) <= 9 if wanted == "0" else row == ord(wanted)
    return alike


def _moments(letters: np.ndarray, shape: re.Match[str]) -> Times:
    """The times of texts of one shape.

    Args:
        letters: uint8 [length, n].
        shape: says where in them each part stands.
    """

    def number(name: str) -> np.ndarray:
        start, end = max(shape.span(name), shape.span(f"{name}_") if f"{name}_" in shape.re.groupindex else (-1, -1))
        value = np.zeros(letters.shape[1], dtype=np.int64)
        for row in letters[max(start, 0) : max(end, 0)]:
            value = value * 10 + row - ord("0")
        return value

    days, valid = _days(number("year"), number("month"), number("day"))
    hour, minute, second = number("hour"), number("minute"), number("second")
    zone_hour, zone_minute = number("zone_hour"), number("zone_minute")
    valid &= (hour < 24) & (minute < 60) & (second < 60) & (zone_hour < 24) & (zone_minute < 60)
    ahead = (zone_hour * 3600 + zone_minute * 60) * (-1 if shape["sign"] == "-" else 1)
    seconds = days * DAY_S + hour * 3600 + minute * 60 + second - ahead
    return Times(seconds, valid & (seconds >= FIRST_S) & (seconds < END_S))


FORMATS = {
    "unix": TimeFormat(_unix, "seconds since 1970"),
    "YYMMDDHH": TimeFormat(_digits, "YYMMDDHH"),
    ISO: TimeFormat(_iso, "2024-03-07 or 2024-03-07 21:18:27"),
}
"""By the name that a card gives them."""


def finer_unit(stamp: int) -> str:
    """Which unit a number too large for seconds since 1970 seems to count, with the mend; else nothing."""
    for factor, unit in _FINER.items():
        if _COUNTED_S <= abs(stamp) < _COUNTED_S * factor:
            return f"; it looks like {unit}: divide by {factor:,}"
    return ""


def time_part(seconds: np.ndarray, part: str) -> np.ndarray:
    """A part of the times ``seconds`` since 1970 UTC, int64 [n].

    Monday is weekday 0; weekend is 1 on Saturday and Sunday.
    """
    days = seconds // DAY_S
    if part == "hour":
        return seconds % DAY_S // 3600
    weekday = (days + 3) % 7
    if part == "weekday":
        return weekday
    if part == "weekend":
        return (weekday >= 5).astype(np.int64)
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    if part == "year":
        return months.astype(np.int64) // 12 + 1970
    if part == "month":
        return months.astype(np.int64) % 12 + 1
    day: np.ndarray = (dates - months.astype("datetime64[D]")).astype(np.int64) + 1
    return day
