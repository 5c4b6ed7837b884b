"""The columns of a raw table, and whether they are those of the card."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from bench.data.card.layout import Layout
from bench.data.raw.dialect import SEPARATOR, Chunk, Dialect
from bench.data.raw.names import shown
from bench.data.raw.text_stream import TextStream
from bench.errors import DataError, quoted

LONGEST_ROW = 1 << 26
"""Bytes of a row beyond which a file is taken for something other than a table."""
_DELIMITERS = (",", ";", "\t", "|")
"""What stands between columns in most tables: the one that a card may have meant."""


_INDEX = re.compile(r"(Unnamed: \d+.*)?")


def is_index_name(name: str) -> bool:
    """Whether a column has no name, or the one that pandas gives it then."""
    return _INDEX.fullmatch(name) is not None


@dataclass(frozen=True)
class Header:
    """The columns of a raw table in the order of the file."""

    names: tuple[str, ...]
    lines: int
    """Lines before the first row."""


def read_header(
    stream: TextStream, layout: Layout, chunk_bytes: int, elsewhere: Collection[str] = ()
) -> tuple[Header, bytes]:
    """The table's columns, and the bytes read beyond the header.

    Args:
        stream: at its beginning.
        layout: the card's columns.
        chunk_bytes: how much is read at a time.
        elsewhere: columns that the file may lack; one without a header has none of them.

    Raises:
        DataError: an empty file, or a header that lacks a column of the card or has one the card does not know.
    """
    header, rest = read_names(stream, layout, chunk_bytes, elsewhere)
    if layout.header:
        check_columns(list(header.names), layout, stream.name, elsewhere)
    return header, rest


def read_names(
    stream: TextStream, layout: Layout, chunk_bytes: int, elsewhere: Collection[str] = ()
) -> tuple[Header, bytes]:
    """The names in the header, whatever they are, and the bytes read beyond it; without a header the card's.

    Raises:
        DataError: an empty file, or a header that cannot be read.
    """
    dialect = Dialect.of(layout)
    data, end = b"", 0
    while not end and (more := stream.read(chunk_bytes)):
        data += more
        end = dialect.first_row_end(data)
        if not end and len(data) > LONGEST_ROW:
            dialect.check(Chunk(stream.name, 1, data, data.count(b"\n")))
            raise DataError(f"{stream.name}: line 1 is longer than {LONGEST_ROW} bytes; check that it is a text table.")
    if not data.strip(b"\r\n"):
        raise DataError(f"{stream.name}: the file is empty; check the download and pass the file with the rows.")
    if data.startswith((b"\n", b"\r\n")):
        raise DataError(f"{stream.name}: line 1 is blank; take it out.")
    if not layout.header:
        return Header(tuple(column.name for column in layout.columns if column.name not in elsewhere), 0), data
    line = data[: end or len(data)]
    first = Chunk(stream.name, 1, line, line.count(b"\n"))
    dialect.separated(first)
    dialect.check(first)
    try:
        text = line.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise DataError(f"{stream.name}: the header (line 1) is not utf-8 text; set the card's encoding.") from None
    try:
        names = split_row(text, layout)
    except csv.Error as error:
        raise DataError(f"{stream.name}: the header (line 1) cannot be read: {error}; mend its quotes.") from None
    names = [name.strip() for name in names] if layout.trim else names
    return Header(tuple(names), line.count(b"\n")), data[len(line) :]


def split_row(text: str, layout: Layout) -> list[str]:
    """The values of one row of text."""
    one = layout.delimiter if len(layout.delimiter) == 1 else SEPARATOR.decode()
    rows = csv.reader(
        io.StringIO(text.replace(layout.delimiter, one), newline=""),
        delimiter=one,
        quotechar=layout.quote or None,
        quoting=csv.QUOTE_MINIMAL if layout.quote else csv.QUOTE_NONE,
        escapechar=layout.escape or None,
        strict=True,
    )
    return [name.replace(one, layout.delimiter) for name in next(rows, [])]


def _meant(name: str, names: list[str], layout: Layout) -> str:
    """What may be wrong where a header has no column ``name``: the delimiter, the quotes, or a letter."""
    if len(names) == 1:
        others = [one for one in _DELIMITERS if one != layout.delimiter and one in names[0]]
        if others:
            most = max(others, key=names[0].count)
            return f" With delimiter = {layout.delimiter!r} it is one column; its own seems to be {most!r}."
    if not layout.quote and any(one.strip("'\"") == name for one in names):
        return " Its names stand in quotes: set quote in the card."
    if any(one.strip() == name for one in names):
        return " Its names have blanks around them: set trim = true in the card."
    if not any(column.name in names for column in layout.columns):
        return " If the file has no header, set header = false in the card."
    near = get_close_matches(name, names, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def check_columns(names: list[str], layout: Layout, member: str, elsewhere: Collection[str] = ()) -> None:
    """Compare the columns of a table with those of the card.

    Raises:
        DataError: a column is missing, is there twice, or is one the card does not name.
    """
    for _, fault in column_faults(names, layout, member, elsewhere):
        raise fault


def column_faults(
    names: list[str], layout: Layout, member: str, elsewhere: Collection[str] = ()
) -> Iterator[tuple[str, DataError]]:
    """All that ``check_columns`` may raise, in its order, each with the column that it is about."""
    declared = {column.name: None for column in layout.columns}
    times = Counter(names)
    for twice in (name for name in times if times[name] > 1):
        yield twice, DataError(f"{member}: the header names the column {quoted(twice)} twice; rename one.")
    for name in declared:
        if name not in times and name not in elsewhere:
            read = ", ".join(map(shown, names))
            short = read if len(read) <= 100 else f"{read[:100]}…"
            lacks = f"{member}: the header lacks the column {name!r}; it reads: {short}. Mend file or card."
            yield name, DataError(f"{lacks}{_meant(name, names, layout)}")
    unknown = [name for name in names if name not in declared]
    if unknown:
        index = [name for name in unknown if is_index_name(name)]
        hint = f' The index that pandas writes is one of them: {json.dumps(index[0])} = "ignore".' if index else ""
        yield (
            "",
            DataError(
                f"{member}: the header has columns that the card does not name: {', '.join(map(quoted, unknown[:5]))}; "
                f"add them under [raw.columns], with the kind 'ignore' if they are no fields.{hint}"
            ),
        )
