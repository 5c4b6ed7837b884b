"""The texts of typed values: what pandas writes into a CSV file for them, so that both formats mean the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

_TEXT_TYPES: tuple[Callable[[pa.DataType], bool], ...] = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
    pa.types.is_fixed_size_binary,
)
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_UNITS = ("D", *_PER_SECOND)


def is_text(kind: pa.DataType) -> bool:
    """Whether values of this type are texts, or bytes that may be UTF-8."""
    return any(test(kind) for test in _TEXT_TYPES)


def is_number(kind: pa.DataType) -> bool:
    """Whether values of this type are numbers; booleans are 0 and 1."""
    numbers = (pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    return any(test(kind) for test in numbers)


def has_texts(kind: pa.DataType) -> bool:
    """Whether there are texts for the values of this type."""
    times = (pa.types.is_date, pa.types.is_time, pa.types.is_timestamp, pa.types.is_null)
    return is_text(kind) or is_number(kind) or any(test(kind) for test in times)


def texts(values: pa.Array, unit: str = "") -> pa.Array:
    """The text of each value, large strings; null where it is null or NaN.

    Args:
        values: of a type that ``has_texts``; best distinct ones, which are few.
        unit: of timestamps, the finest that the whole column needs (see ``finest_unit``).

    Raises:
        pa.ArrowInvalid: bytes that are not UTF-8, a day beyond the calendar, or a time of day in nanoseconds.
    """
    kind = values.type
    if is_text(kind):
        return values.cast(pa.large_binary()).cast(pa.large_string())  # texts are not checked otherwise
    if pa.types.is_boolean(kind):
        return pc.if_else(values, "True", "False").cast(pa.large_string())
    if pa.types.is_floating(kind):
        # Each value's shortest text in its own precision: 0.1 is 0.1 in 32 bits too.
        numbers = values.to_numpy(zero_copy_only=False)
        return pa.array(numbers.astype(str).tolist(), pa.large_string(), mask=np.isnan(numbers))
    if pa.types.is_decimal(kind):
        return _by_python(values)
    return _times(values, unit) if pa.types.is_temporal(kind) else values.cast(pa.large_string())


def _times(values: pa.Array, unit: str) -> pa.Array:
    if pa.types.is_timestamp(values.type):
        return _timestamps(values, unit)
    if pa.types.is_date(values.type):
        written = values.cast(pa.date32()).cast(pa.large_string())
        if pc.any(pc.starts_with(written, "<"), min_count=0).as_py():
            raise pa.ArrowInvalid("a day beyond the calendar")
        return written
    return _by_python(values.cast(pa.time64("us")))


def _by_python(values: pa.Array) -> pa.Array:
    written = [None if value is None else str(value) for value in values.to_pylist()]
    return pa.array(written, pa.large_string())


def finest_unit(parts: Iterable[pa.Array]) -> str:
    """The finest unit that the timestamps of a column need: D (all at midnight), s, ms, us or ns."""
    return finest(map(_unit_of, parts))


def finest(units: Iterable[str]) -> str:
    """The finest of some units."""
    return max(units, key=_UNITS.index, default="D")


def _unit_of(values: pa.Array) -> str:
    numbers = np.asarray(_naive(values).drop_null().cast(pa.int64()))
    units = _UNITS if values.type.tz is None else _UNITS[1:]
    return next(unit for unit in units if not (numbers % _step(unit, values.type.unit)).any())


def _step(unit: str, stored: str) -> int:
    """How many of the ``stored`` unit make one ``unit``; 1 where it is the finer one."""
    if unit == "D":
        return 86_400 * _PER_SECOND[stored]
    return max(1, _PER_SECOND[stored] // _PER_SECOND[unit])


def _naive(values: pa.Array) -> pa.Array:
    return pc.local_timestamp(values) if values.type.tz is not None else values


def _timestamps(values: pa.Array, unit: str) -> pa.Array:
    stamps = np.asarray(_naive(values))
    gone = np.isnat(stamps)
    written = np.char.replace(stamps.astype(f"datetime64[{unit}]").astype(str), "T", " ").astype(object)
    if values.type.tz is not None:
        written += np.array(_offsets(values), dtype=object)
    return pa.array(written.tolist(), pa.large_string(), mask=gone)


def _offsets(values: pa.Array) -> list[str]:
    """The distance of local time from UTC, as +01:00, or +00:53:28 before there were zones."""
    utc = values.cast(pa.timestamp(values.type.unit))
    seconds = np.asarray(pc.subtract(_naive(values), utc).cast(pa.duration("s"))).astype(np.int64)
    return [_offset(one) for one in seconds.tolist()]


def _offset(seconds: int) -> str:
    ahead, rest = abs(seconds) // 60, abs(seconds) % 60
    return f"{'-' if seconds < 0 else '+'}{ahead // 60:02d}:{ahead % 60:02d}" + (f":{rest:02d}" if rest else "")
