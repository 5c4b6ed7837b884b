"""Columns of a raw block -> its labels and one column of codes for each field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from bench.data.buckets import bucket_keys
from bench.data.columns import LocalColumn, recode
from bench.data.layout import ISO, Column, Layout
from bench.data.readers import RawBlock
from bench.data.sources import RawSource
from bench.data.texts import as_texts
from bench.errors import DataError

_NUMBER = pa.array(["number"])
"""The one value of a numeric field."""
_DAY_S = 86_400
_END_OF_TIME_S = 4_102_444_800
"""2100-01-01 UTC: what lies beyond was not counted in seconds."""


@dataclass(frozen=True)
class FieldBlock:
    """Consecutive rows as labels and field columns."""

    labels: np.ndarray
    """uint8 [n], 0 or 1."""
    columns: list[LocalColumn]
    """In the order of the fields; the codes of a numeric field are 0 (missing) and 1."""
    numbers: np.ndarray
    """float32 [n, numeric fields], NaN where missing."""


@dataclass(frozen=True)
class SideTable:
    """Values added to every row by looking up the value of one of its columns."""

    key: str
    """The raw column whose values are looked up."""
    columns: Mapping[str, Mapping[str, str]]
    """Field -> key's value -> the field's value; a key that is not there gives a missing value."""


SideTableRule = Callable[[RawSource], tuple[SideTable, ...]]


def make_fields(block: RawBlock, layout: Layout, sides: tuple[SideTable, ...], merged_buckets: bool) -> FieldBlock:
    """The fields of ``layout`` for the rows of ``block``.

    Raises:
        DataError: a label that is none, a time or a number that cannot be one; the message gives the line.
    """
    made: dict[str, LocalColumn] = {}
    numbers: dict[str, np.ndarray] = {}
    for column in layout.columns:
        if column.role == "categorical":
            made[column.field] = block.columns[column.name]
        elif column.role == "integer":
            made[column.field] = _bucketed(block.columns[column.name], merged_buckets)
        elif column.role == "numeric":
            numbers[column.field] = _numbers(block, column)
            present = ~np.isnan(numbers[column.field])
            made[column.field] = LocalColumn(present.astype(np.uint8), _NUMBER)
        elif column.role == "time":
            made |= _time_parts(block, column)
    for side in sides:
        keys = block.columns[side.key]
        texts = as_texts(keys.values).to_pylist()
        for name, values in side.columns.items():
            found = pa.array([values.get(text) for text in texts], type=pa.string())
            made[name] = recode(keys.codes, found)
    ordered = [numbers[name] for name in layout.fields if name in numbers]
    stacked = np.stack(ordered, axis=1) if ordered else np.empty((block.n_rows, 0), np.float32)
    return FieldBlock(_labels(block, layout), [made[name] for name in layout.fields], stacked)


def _bucketed(column: LocalColumn, merged_buckets: bool) -> LocalColumn:
    return recode(column.codes, pa.array(bucket_keys(np.asarray(column.values), merged_buckets)))


def _numbers(block: RawBlock, column: Column) -> np.ndarray:
    exact = block.numbers[column.name].fill_null(np.nan).to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):
        numbers: np.ndarray = exact.astype(np.float32)
    if np.isinf(numbers).any():
        row = int(np.isinf(numbers).argmax())
        value = block.numbers[column.name][row].as_py()
        raise _bad_value(block, column, row, f"{value!r} does not fit a 32-bit number; mend the value")
    return numbers


def _labels(block: RawBlock, layout: Layout) -> np.ndarray:
    column = block.columns[layout.label.name]
    texts = as_texts(column.values).to_pylist()
    labels = [layout.label_rule.label(text) for text in texts]
    table = np.array([2] + [2 if label is None else label for label in labels], dtype=np.uint8)
    found: np.ndarray = table[column.codes]
    if (found == 2).any():
        row = int((found == 2).argmax())
        code = int(column.codes[row])
        shown = f"is {texts[code - 1]!r}" if code else "is missing"
        wanted = layout.label_rule.wanted
        raise _bad_value(block, layout.label, row, f"the label {shown}, not {wanted}; mend the line or the label rule")
    return found


def _bad_value(block: RawBlock, column: Column, row: int, what: str) -> DataError:
    return DataError(f"{block.member}: line {block.line(row)}, column {column.name!r}: {what}.")


def _time_parts(block: RawBlock, column: Column) -> dict[str, LocalColumn]:
    codes, seconds = _seconds(block, column)
    return {name: recode(codes, pa.array(time_part(seconds, part)).cast(pa.string())) for name, part in column.parts}


def row_times(block: RawBlock, column: Column) -> np.ndarray:
    """Seconds since 1970 of every row, uint32 [n], which reaches to 2106.

    Raises:
        DataError: a time that is missing or none; the message gives the line.
    """
    codes, seconds = _seconds(block, column)
    missing = codes == 0
    if missing.any():
        what = "the time is missing, by which split=temporal orders the rows; mend the line or leave split=temporal out"
        raise _bad_value(block, column, int(missing.argmax()), what)
    times: np.ndarray = seconds.astype(np.uint32)[codes - 1]
    return times


def _seconds(block: RawBlock, column: Column) -> tuple[np.ndarray, np.ndarray]:
    """Codes of the rows, and the seconds since 1970 that each code stands for.

    Raises:
        DataError: a time that is none.
    """
    codes = block.columns[column.name].codes
    read, wanted = _TIMES[column.time_format]
    stamps = block.columns[column.name].values
    seconds, valid = read(stamps)
    if not valid.all():
        bad = int((~valid).argmax())
        row = int((codes == bad + 1).argmax())
        shown = as_texts(stamps)[bad].as_py() if column.time_format == ISO else stamps[bad].as_py()
        raise _bad_value(block, column, row, f"{shown} is no time of the form {wanted}")
    return codes, seconds


def _unix_seconds(values: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    stamps = np.asarray(values)
    return stamps, (stamps >= 0) & (stamps < _END_OF_TIME_S)


def _iso_seconds(values: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Whole seconds since 1970 of ISO 8601, and which of the texts are times."""
    import pandas as pd  # noqa: PLC0415 - slow to import, and few tables have such times

    times = pd.to_datetime(as_texts(values).to_pandas(), format="ISO8601", utc=True, errors="coerce")
    known = times.notna().to_numpy()
    seconds = np.zeros(len(known), dtype=np.int64)
    seconds[known] = times[known].dt.tz_localize(None).to_numpy().astype("datetime64[s]").astype(np.int64)
    return seconds, known & (seconds >= 0) & (seconds < _END_OF_TIME_S)


def _digits_seconds(values: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Seconds since 1970 of YYMMDDHH, and which of the numbers are times."""
    stamps = np.asarray(values)
    year, month, day, hour = stamps // 10**6, stamps // 10**4 % 100, stamps // 100 % 100, stamps % 100
    valid = (stamps >= 0) & (year < 100) & (month >= 1) & (month <= 12) & (day >= 1) & (hour < 24)
    months = (np.where(valid, year, 0) + 30) * 12 + np.where(valid, month, 1) - 1
    first = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    after = (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    valid &= day <= after - first
    return (first + day - 1) * _DAY_S + hour * 3600, valid


_TIMES: dict[str, tuple[Callable[[pa.Array], tuple[np.ndarray, np.ndarray]], str]] = {
    "unix": (_unix_seconds, "seconds since 1970"),
    "YYMMDDHH": (_digits_seconds, "YYMMDDHH"),
    ISO: (_iso_seconds, "2024-03-07 or 2024-03-07 21:18:27"),
}
"""How times are read, and their form in messages."""


def time_part(seconds: np.ndarray, part: str) -> np.ndarray:
    """A part of the times ``seconds`` since 1970 UTC, int64 [n].

    Monday is weekday 0; weekend is 1 on Saturday and Sunday.
    """
    days = seconds // _DAY_S
    if part == "hour":
        return seconds % _DAY_S // 3600
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
