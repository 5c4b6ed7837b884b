"""A raw table -> blocks of typed columns, in bounded memory.

The byte stream is cut at line ends into chunks, each parsed on its own: chunks can be parsed in any order and by any
number of threads, and a row's line number is known for messages. Columns of short values take a fast way (``words``);
a parser reads the others, and explains what is wrong with a table.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import pyarrow as pa
from pyarrow import csv as pa_csv

from bench.data.columns import LocalColumn, code_numbers, local_column
from bench.data.layout import Column, Layout
from bench.data.sources import RawStream
from bench.data.texts import WIDTH, pack, whole_numbers
from bench.data.words import Words, split_words
from bench.errors import DataError

CHUNK_BYTES = 3 << 23
"""Text parsed at a time: about 100,000 rows of 40 columns."""
_LONGEST_LINE = 1 << 26
_SEPARATOR = b"\x1f"
_DELIMITERS = (",", ";", "\t", "|")
"""Stands for a delimiter of several characters, which the parser does not know."""
_UTF8_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Chunk:
    """Whole lines of a raw table."""

    member: str
    first_line: int
    """Line number of the first row, from 1."""
    data: bytes


@dataclass(frozen=True)
class RawBlock:
    """Consecutive rows of a raw table, columns by name."""

    member: str
    first_line: int
    n_rows: int
    columns: Mapping[str, LocalColumn]
    """Values of integer columns and of times in whole numbers are int64, those of all others texts."""
    numbers: Mapping[str, pa.Array]
    """The numeric columns, float64."""


@dataclass(frozen=True)
class Header:
    """The columns of a raw table in the order of the file."""

    names: tuple[str, ...]
    lines: int
    """Lines before the first row."""


def chunks(stream: RawStream, chunk_bytes: int, header: Header, rest: bytes) -> Iterator[Chunk]:
    """Cut a stream at line ends.

    Args:
        stream: positioned behind ``rest``.
        chunk_bytes: the size of a chunk, up to the line that it ends in.
        header: says how many lines came before.
        rest: bytes already read from the stream that belong to the rows.
    """
    line = header.lines + 1
    while True:
        data = stream.read(chunk_bytes)
        end = data.rfind(b"\n") + 1
        if data and not end:
            rest += data
            if len(rest) > _LONGEST_LINE:
                raise DataError(
                    f"{stream.name}: line {line} is longer than {_LONGEST_LINE} bytes; is this a text table?"
                )
            continue
        whole, held = _hold_blank_lines(b"".join((rest, memoryview(data)[:end])))
        rest = held + data[end:]
        if whole:
            yield Chunk(stream.name, line, whole)
            line += whole.count(b"\n")
        if not data:
            return


def _hold_blank_lines(data: bytes) -> tuple[bytes, bytes]:
    """Split off blank lines at the end: they are rows only if other rows follow."""
    kept = len(data)
    while kept and data[kept - 1] in b"\r\n":
        kept -= 1
    if not kept:
        return b"", data
    kept += 2 if data[kept : kept + 2] == b"\r\n" else 1
    return data[:kept], data[kept:]


def read_header(stream: RawStream, layout: Layout, chunk_bytes: int) -> tuple[Header, bytes]:
    """The table's columns, and the bytes read beyond the header line.

    Raises:
        DataError: an empty file, or a header that lacks a column of the card or has one the card does not know.
    """
    data = b""
    while b"\n" not in data and (more := stream.read(chunk_bytes)):
        data += more
        if len(data) > _LONGEST_LINE:
            break
    if not data.strip():
        raise DataError(f"{stream.name}: the file is empty; check the download and pass the file with the rows.")
    data = data.removeprefix(_UTF8_BOM)
    if not layout.header:
        return Header(tuple(column.name for column in layout.columns), 0), data
    line, _, rest = data.partition(b"\n")
    try:
        text = line.decode(layout.encoding).rstrip("\r")
    except UnicodeDecodeError:
        raise DataError(f"{stream.name}: the header (line 1) is not {layout.encoding} text.") from None
    names = _split(text, layout)
    check_columns(names, layout, stream.name)
    return Header(tuple(names), 1), rest


def _split(text: str, layout: Layout) -> list[str]:
    if layout.quote and len(layout.delimiter) == 1:
        return next(csv.reader([text], delimiter=layout.delimiter, quotechar=layout.quote))
    return text.split(layout.delimiter)


def _meant(name: str, names: list[str], layout: Layout) -> str:
    """What may be wrong where a header has no column ``name``: the delimiter, or a letter."""
    if len(names) == 1:
        others = [one for one in _DELIMITERS if one != layout.delimiter and one in names[0]]
        if others:
            most = max(others, key=names[0].count)
            return f" With delimiter = {layout.delimiter!r} it is one column; its own seems to be {most!r}."
    near = get_close_matches(name, names, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def check_columns(names: list[str], layout: Layout, member: str) -> None:
    """Compare the columns of a table with those of the card.

    Raises:
        DataError: a column is missing, is there twice, or is one the card does not name.
    """
    declared = [column.name for column in layout.columns]
    for name in declared:
        if name not in names:
            read = ", ".join(names)
            shown = read if len(read) <= 100 else f"{read[:100]}…"
            raise DataError(
                f"{member}: the header lacks the column {name!r}; it reads: {shown}. Mend file or card."
                f"{_meant(name, names, layout)}"
            )
    unknown = [name for name in names if name not in declared]
    if unknown:
        raise DataError(
            f"{member}: the header has columns that the card does not name: {', '.join(map(repr, unknown[:5]))}; "
            f"add them under [raw.columns], with the kind 'ignore' if they are no fields."
        )
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{member}: the header names the column {name!r} twice; rename one.")


class BlockParser:
    """Turns the chunks of one raw table into blocks."""

    def __init__(self, layout: Layout, header: Header) -> None:
        self._layout = layout
        self._names = list(header.names)
        self._columns = {column.name: column for column in layout.columns if column.role != "ignore"}
        plain = layout.encoding.lower().replace("-", "") in ("utf8", "ascii")
        self._encoding = None if plain else layout.encoding
        self._long_delimiter = layout.delimiter.encode(layout.encoding) if len(layout.delimiter) > 1 else b""
        self._delimiter = _SEPARATOR if self._long_delimiter else layout.delimiter.encode()
        words = [word for word in layout.missing if len(word.encode()) <= WIDTH and "\0" not in word]
        self._missing = np.asarray(pack(pa.array(words, type=pa.string()))).byteswap()

    def parse(self, chunk: Chunk) -> RawBlock:
        """The rows of ``chunk``.

        Raises:
            DataError: a row with the wrong number of columns, or a value that is not of its column's kind.
        """
        data = self._plain(chunk)
        coded, n_rows = self._short_columns(data)
        names = [name for name in self._columns if name not in coded]
        numbers: dict[str, pa.Array] = {}
        if names:
            table = self._parse_columns(chunk, data, names)
            n_rows = table.num_rows
            for name in names:
                array = table.column(name).combine_chunks()
                if self._columns[name].role == "numeric":
                    numbers[name] = array
                else:
                    coded[name] = local_column(array)
        return RawBlock(chunk.member, chunk.first_line, n_rows, coded, numbers)

    def _short_columns(self, data: bytes) -> tuple[dict[str, LocalColumn], int]:
        """The columns that the fast way can read, and the number of rows if there are any such columns."""
        if len(self._delimiter) != 1 or not any(column.role != "numeric" for column in self._columns.values()):
            return {}, 0
        words = split_words(data, self._delimiter[0], self._layout.quote, len(self._names))
        if words is None:
            return {}, 0
        found = {}
        for place, name in enumerate(self._names):
            column = self._columns.get(name)
            if column is not None and column.role != "numeric" and words.longest[place] <= WIDTH:
                coded = self._code(words, place, column)
                if coded is not None:
                    found[name] = coded
        return found, words.n_rows

    def _code(self, words: Words, place: int, column: Column) -> LocalColumn | None:
        codes, distinct = code_numbers(words.numbers[place], self._missing)
        distinct = distinct.byteswap()
        if not column.in_whole_numbers:
            return LocalColumn(codes, pa.array(distinct))
        numbers = whole_numbers(distinct)
        return None if numbers is None else LocalColumn(codes, pa.array(numbers))

    def _parse_columns(self, chunk: Chunk, data: bytes, names: list[str]) -> pa.Table:
        bad_rows: list[pa_csv.InvalidRow] = []

        def note(row: pa_csv.InvalidRow) -> str:
            bad_rows.append(row)
            return "error"

        try:
            return pa_csv.read_csv(
                pa.BufferReader(data),
                read_options=pa_csv.ReadOptions(
                    use_threads=False, column_names=self._names, block_size=len(data) + 1, encoding="utf8"
                ),
                parse_options=self._parse_options(note),
                convert_options=self._convert_options(names),
            )
        except pa.ArrowInvalid as error:
            raise self._explain(chunk, error, bad_rows) from None

    def _plain(self, chunk: Chunk) -> bytes:
        data = chunk.data
        if self._long_delimiter:
            data = data.replace(self._long_delimiter, _SEPARATOR)
        return data.decode(self._encoding).encode() if self._encoding else data

    def _parse_options(self, note: object) -> pa_csv.ParseOptions:
        return pa_csv.ParseOptions(
            delimiter=_SEPARATOR.decode() if self._long_delimiter else self._layout.delimiter,
            quote_char=self._layout.quote or False,
            ignore_empty_lines=False,
            invalid_row_handler=note,
        )

    def _convert_options(self, names: list[str]) -> pa_csv.ConvertOptions:
        return pa_csv.ConvertOptions(
            include_columns=names,
            column_types={name: arrow_type(self._columns[name]) for name in names},
            null_values=list(self._layout.missing),
            strings_can_be_null=True,
        )

    def _explain(self, chunk: Chunk, error: pa.ArrowInvalid, bad: list[pa_csv.InvalidRow]) -> DataError:
        if bad:
            row = bad[0]
            line = chunk.first_line + (row.number or 1) - 1
            shown = {"\t": "TAB"}.get(self._layout.delimiter, repr(self._layout.delimiter))
            quotes = ""
            if self._layout.quote and row.text.count(self._layout.quote) % 2:
                quotes = " A quote is not closed on that line; line ends inside quotes cannot be read."
            return DataError(
                f"{chunk.member}: line {line} has {row.actual_columns} columns, the card wants "
                f"{row.expected_columns} ({shown} between them).{quotes} Mend that line or the card's columns."
            )
        text = str(error)
        row_number = re.search(r"Row #(\d+)", text)
        column_number = re.search(r"column #(\d+)", text)
        if row_number is None or column_number is None:
            return DataError(f"{chunk.member}: lines from {chunk.first_line} on cannot be read: {text}.")
        line = chunk.first_line + int(row_number[1]) - 1
        column = self._columns[self._names[int(column_number[1])]]
        if "UTF8" in text:
            return DataError(
                f"{chunk.member}: line {line}, column {column.name!r}: not utf-8; set the card's encoding."
            )
        value = re.search(r"invalid value '(.*)'", text, re.DOTALL)
        shown_value = repr(value[1]) if value else "the value"
        point = column.role == "integer" and value is not None and re.fullmatch(r"-?\d+\.0+", value[1])
        where = " (pandas writes whole numbers with gaps so; its type Int64 does not)" if point else ""
        return DataError(
            f"{chunk.member}: line {line}, column {column.name!r}: {shown_value} is not {_WANTED[column.role]}{where}; "
            f"mend the value or the column's kind."
        )


_WANTED = {
    "integer": "an integer",
    "numeric": "a number",
    "time": "a time in whole numbers",
    "label": "a label",
}


def arrow_type(column: Column) -> pa.DataType:
    """The type that a column is parsed to; those with few distinct values are dictionary-encoded at once."""
    if column.in_whole_numbers:
        return pa.dictionary(pa.int32(), pa.int64())
    if column.role == "numeric":
        return pa.float64()
    return pa.dictionary(pa.int32(), pa.string())
