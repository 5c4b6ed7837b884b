"""Whether several files can be the parts of one table, found out before any of their rows are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from bench.data.card.layout import Layout
from bench.data.prepare.tables import Tables
from bench.data.raw.arrow_texts import finest
from bench.data.raw.header import read_names
from bench.data.raw.names import shown
from bench.data.raw.parquet import ParquetReader, column_names, value_types
from bench.data.raw.signatures import is_parquet, refuse_binary
from bench.data.raw.sources import RawSource
from bench.data.raw.text_stream import TextStream
from bench.errors import DataError, quoted

_HEADER_BYTES = 1 << 16
"""Text read at a time until a header is whole."""
_SAY = (
    "Pass the file that is the table with --raw, or say under [raw] of the card which files are parts, as "
    'files = ["part-*.csv"].'
)


@dataclass(frozen=True)
class _Columns:
    """What one file holds."""

    member: str
    names: frozenset[str]
    types: Mapping[str, str] = field(default_factory=dict)
    """Of Parquet: what values are; see ``value_types``."""
    path: Path | None = None
    """Of Parquet: where it can be read."""


def check_alike(source: RawSource, tables: Tables, folder: Path) -> dict[str, str]:
    """Make sure that all files of a table have the columns of the first.

    Left to their reader, which compares them with the card, are members of archives, files that the card itself calls
    parts, and test files.

    Returns:
        The finest unit of each column of timestamps in Parquet files, which decides on all of its texts.

    Raises:
        DataError: two files with other columns, or with values whose texts differ; the message names both.
    """
    layout = tables.layout
    if len(tables.members) + len(tables.tests) < 2 or not source.lies_open or layout.format != "table":
        return {}
    first, units = None, dict[str, str]()
    for member in (*tables.members, *tables.tests):
        try:
            found = _columns_of(source, member, layout, folder)
        except DataError as error:
            raise DataError(f"{error} (It is one of {len(tables.members)} files taken for parts. {_SAY})") from None
        if found is None:
            continue
        first = first or found
        if not layout.join and member in tables.members:
            _compare_names(first, found)
        _compare_types(first, found, layout)
        _add_units(units, layout, found)
    return units


def _columns_of(source: RawSource, member: str, layout: Layout, folder: Path) -> _Columns | None:
    """What a file holds; None of text without a header."""
    with source.stream(member) as raw:
        if is_parquet(raw.head):
            return _of_parquet(source, source.seekable_file(member, folder), member, layout)
        if not layout.header:
            return None
        refuse_binary(raw.head, raw.name, layout.encoding, layout.delimiter)
        header, _ = read_names(TextStream(raw, layout), layout, _HEADER_BYTES)
        return _Columns(member, frozenset(header.names) | source.partition(member).keys())


def _of_parquet(source: RawSource, path: Path, member: str, layout: Layout) -> _Columns:
    try:
        schema = parquet.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{shown(member)}: the file is cut short or damaged ({error}); make it anew.") from None
    names = frozenset(column_names(schema, layout)) | source.partition(member).keys()
    return _Columns(member, names, value_types(schema), path)


def _add_units(units: dict[str, str], layout: Layout, found: _Columns) -> None:
    timed = [name for name, what in found.types.items() if what == "times"]
    if found.path and any(column.name in timed and column.role == "categorical" for column in layout.columns):
        for name, unit in ParquetReader(found.path, layout, shown(found.member), found.names).units.items():
            if unit:
                units[name] = finest((units.get(name, unit), unit))


def _both(first: _Columns, other: _Columns) -> str:
    return f"{shown(first.member)} and {shown(other.member)}"


def _compare_names(first: _Columns, other: _Columns) -> None:
    lacks, more = sorted(first.names - other.names), sorted(other.names - first.names)
    if lacks or more:
        said = [f"lacks {_some(lacks)}"] if lacks else []
        said += [f"has {_some(more)} besides"] if more else []
        raise DataError(
            f"{_both(first, other)} are no parts of one table: {shown(other.member)} {' and '.join(said)}. {_SAY}"
        )


def _compare_types(first: _Columns, other: _Columns, layout: Layout) -> None:
    for column in layout.columns:
        one, two = first.types.get(column.name, ""), other.types.get(column.name, "")
        if column.role == "categorical" and one and two and one != two:
            raise DataError(
                f"{_both(first, other)}: column {column.name!r} holds {one} in the first and {two} in the other, of "
                f"which the same value has two texts, as 5 and 5.0; write both with one type."
            )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(map(quoted, names[:5])) + more
