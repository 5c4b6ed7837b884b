"""Chunks of a raw table -> blocks of typed columns, in bounded memory.

Columns of short values take a fast way (``words``); a parser reads the others, and explains what is wrong with a table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import csv as pa_csv

from bench.data.card.layout import Column, Layout
from bench.data.raw.columns import LocalColumn, code_numbers, local_column, recode
from bench.data.raw.decimals import decimal_hint
from bench.data.raw.dialect import SEPARATOR, Chunk, Dialect, RowStarts
from bench.data.raw.header import Header
from bench.data.raw.scratch import Scratch
from bench.data.raw.texts import (
    PIECE_BYTES,
    WIDTH,
    Bytes,
    as_texts,
    pack,
    parse_numbers,
    parse_whole,
    trimmed,
    whole_numbers,
)
from bench.data.raw.words import Words, split_words
from bench.errors import DataError, quoted

_PARSED_BYTES = 1 << 22
"""Text that the parser looks at, at a time, where every line is a row."""


@dataclass(frozen=True)
class LongRows:
    """Rows that run over several lines."""

    n_rows: int = 0
    most_lines: int = 0
    """Of the longest one."""
    line: int = 0
    """On which that begins."""

    def __add__(self, other: LongRows) -> LongRows:
        longest = other if other.most_lines > self.most_lines else self
        return LongRows(self.n_rows + other.n_rows, longest.most_lines, longest.line)


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
    starts: RowStarts | None = None
    """The lines on which rows begin; None: one line, or row of a table without lines, each."""
    unit: str = "line"
    """What ``line`` counts, for messages: ``row`` of a table without lines."""

    def line(self, row: int) -> int:
        """The line number, from 1, on which the row ``row`` of the block begins."""
        return self.first_line + (row if self.starts is None else self.starts.line(row))

    def long_rows(self) -> LongRows:
        """The rows that run over several lines."""
        if self.starts is None or self.starts.lines is None:
            return LongRows()
        sizes = np.diff(self.starts.lines)
        longest = int(sizes.argmax())
        return LongRows(int(np.count_nonzero(sizes > 1)), int(sizes[longest]), self.line(longest))


class BlockParser:
    """Turns the chunks of one raw table into blocks."""

    def __init__(self, layout: Layout, header: Header) -> None:
        self._layout = layout
        self._dialect = Dialect.of(layout)
        self._names = list(header.names)
        self._scratch = Scratch()
        held = set(header.names)
        self._columns = {
            column.name: column for column in layout.columns if column.role != "ignore" and column.name in held
        }
        self._label = next((column.name for column in layout.columns if column.role == "label"), "")
        words = [word for word in layout.missing if len(word.encode()) <= WIDTH and "\0" not in word]
        self._missing = np.unique(np.asarray(pack(pa.array(words, type=pa.string()))).byteswap())

    def parse(self, chunk: Chunk) -> RawBlock:
        """The rows of ``chunk``.

        Raises:
            DataError: a quote or a line end out of place, a row with the wrong number of columns, or a value that is
                not of its column's kind.
        """
        rows = self._dialect.rows(chunk)
        data = self._dialect.separated(chunk)
        coded = self._short_columns(data, rows.count) if rows.is_plain else {}
        names = [name for name in self._columns if name not in coded]
        numbers: dict[str, pa.Array] = {}
        if names:
            part = _Part(chunk, data, rows)
            table = self._parse_columns(part, names)
            for name in names:
                column, array = self._columns[name], table.column(name).combine_chunks()
                if column.role == "numeric":
                    numbers[name] = self._number_column(part, column, array) if self._layout.trim else array
                elif column.in_whole_numbers and pa.types.is_string(array.type.value_type):
                    coded[name] = self._whole_column(part, column, self._trimmed(local_column(array)))
                else:
                    coded[name] = self._trimmed(local_column(self._restored(array)))
        label = coded.get(self._label)  # which a folder may give, or rows to be scored lack
        if label is None or _has_nothing(label):
            self._dialect.check(chunk)
        return RawBlock(chunk.member, chunk.first_line, rows.count, coded, numbers, rows)

    def _trimmed(self, column: LocalColumn) -> LocalColumn:
        """The column, without blanks around its texts where the card says so."""
        if not self._layout.trim:
            return column
        return recode(column.codes, trimmed(as_texts(column.values), self._layout.missing))

    def _restored(self, array: pa.DictionaryArray) -> pa.DictionaryArray:
        """Texts in which a long delimiter, inside quotes, is what it was."""
        if len(self._dialect.delimiter) == 1 or not pa.types.is_string(array.dictionary.type):
            return array
        texts = pc.replace_substring(array.dictionary, SEPARATOR.decode(), self._layout.delimiter)
        return pa.DictionaryArray.from_arrays(array.indices, texts)

    def _short_columns(self, data: Bytes, n_rows: int) -> dict[str, LocalColumn]:
        """The columns of ``data``, in which every delimiter is one, that the fast way can read."""
        if not any(column.role != "numeric" for column in self._columns.values()):
            return {}
        words = split_words(data, self._dialect.separator[0], (n_rows, len(self._names)), self._scratch, self._missing)
        if words is None:
            return {}
        found = {}
        for place, name in enumerate(self._names):
            column = self._columns.get(name)
            if column is not None and column.role != "numeric" and words.longest[place] <= WIDTH:
                coded = self._code(words, place, column)
                if coded is not None:
                    found[name] = coded
        return found

    def _code(self, words: Words, place: int, column: Column) -> LocalColumn | None:
        codes, distinct = code_numbers(words.numbers[place], len(self._missing))
        distinct = distinct.byteswap()
        if not column.in_whole_numbers:
            return self._trimmed(LocalColumn(codes, pa.array(distinct)))
        numbers = whole_numbers(distinct)
        return None if numbers is None else LocalColumn(codes, pa.array(numbers))

    def _parse_columns(self, part: _Part, names: list[str]) -> pa.Table:
        bad_rows: list[pa_csv.InvalidRow] = []

        def note(row: pa_csv.InvalidRow) -> str:
            bad_rows.append(row)
            return "error"

        self._refuse_odd_nans(part, [name for name in names if self._columns[name].role == "numeric"])
        whole = [name for name in names if self._columns[name].in_whole_numbers]
        # The parser takes 0x10 for 16 and refuses 3.0: where there may be either, whole numbers are read as texts.
        read_as_texts = names if self._layout.trim else whole if whole and _has_hexadecimals(part.data) else []
        try:
            try:
                table = self._read(part.data, self._convert_options(names, read_as_texts), note, part.block_bytes)
            except pa.ArrowInvalid:
                if not whole or read_as_texts or bad_rows:
                    raise
                table = self._read(part.data, self._convert_options(names, whole), note, part.block_bytes)
        except pa.ArrowInvalid as error:
            self._dialect.check(part.chunk)
            raise self._explain(part, error, bad_rows) from None
        if table.num_rows != part.rows.count:
            self._dialect.check(part.chunk)
            raise DataError(
                f"{part.chunk.member}: the lines from {part.chunk.first_line} on hold {part.rows.count} rows by their "
                f"line ends and {table.num_rows} by the parser; check their quotes."
            )
        return table

    def _read(
        self, data: Bytes, convert: pa_csv.ConvertOptions, note: object, block_bytes: int | None = None
    ) -> pa.Table:
        if not data.endswith(b"\n"):
            data = b"".join(
                (data, b"\n")
            )  # the parser would cut the text at its last line feed, be that inside quotes or not
        return pa_csv.read_csv(
            pa.BufferReader(data),
            read_options=pa_csv.ReadOptions(
                use_threads=False, column_names=self._names, block_size=1 + (block_bytes or len(data)), encoding="utf8"
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter=self._dialect.separator.decode(),
                quote_char=self._layout.quote or False,
                escape_char=self._layout.escape or False,
                ignore_empty_lines=False,
                invalid_row_handler=note,
            ),
            convert_options=convert,
        )

    def _refuse_odd_nans(self, part: _Part, names: list[str]) -> None:
        """Make sure that no number is written as nan(x), which the parser would take for a missing one.

        Raises:
            DataError: one is; the message names its line.
        """
        if not names or b"(" not in part.data or b"nan(" not in part.data.lower():
            return
        options = pa_csv.ConvertOptions(include_columns=names, column_types=dict.fromkeys(names, pa.string()))
        try:
            table = self._read(part.data, options, None)
        except pa.ArrowInvalid:
            return  # it says the same of the columns as they are wanted
        for name in names:
            row = pc.index(pc.match_substring_regex(table.column(name), r"(?i)^\s*[+-]?nan\("), True).as_py()
            if row >= 0:
                raise self._bad_value(part, row, self._columns[name], table.column(name)[row].as_py())

    def _whole_column(self, part: _Part, column: Column, written: LocalColumn) -> LocalColumn:
        """A column of whole numbers from its texts.

        Raises:
            DataError: one is no whole number; the message names its line.
        """
        decimal = self._layout.decimal
        numbers = parse_whole(written.values, decimal)
        if numbers is None:
            bad = [parse_whole(written.values.slice(place, 1), decimal) is None for place in range(len(written.values))]
            row = int(np.isin(written.codes, np.flatnonzero(bad) + 1).argmax())
            raise self._bad_value(part, row, column, written.values[int(written.codes[row]) - 1].as_py())
        return recode(written.codes, numbers)

    def _number_column(self, part: _Part, column: Column, array: pa.DictionaryArray) -> pa.Array:
        """A column of numbers from its texts, blanks around them taken off, float64.

        Raises:
            DataError: one is no number; the message names its line.
        """
        written, decimal = self._trimmed(local_column(array)), self._layout.decimal
        numbers = parse_numbers(written.values, decimal)
        if numbers is None:
            bad = [
                parse_numbers(written.values.slice(place, 1), decimal) is None for place in range(len(written.values))
            ]
            row = int(np.isin(written.codes, np.flatnonzero(bad) + 1).argmax())
            raise self._bad_value(part, row, column, written.values[int(written.codes[row]) - 1].as_py())
        return numbers.take(pa.array(written.codes.astype(np.int64) - 1, mask=written.codes == 0))

    def _convert_options(self, names: list[str], read_as_texts: list[str]) -> pa_csv.ConvertOptions:
        texts = pa.dictionary(pa.int32(), pa.string())
        return pa_csv.ConvertOptions(
            include_columns=names,
            column_types={name: texts if name in read_as_texts else arrow_type(self._columns[name]) for name in names},
            null_values=list(self._layout.missing),
            decimal_point=self._layout.decimal,
            strings_can_be_null=True,
        )

    def _explain(self, part: _Part, error: pa.ArrowInvalid, bad: list[pa_csv.InvalidRow]) -> DataError:
        member = part.chunk.member
        if bad:
            row = bad[0]
            place = (row.number or 1) - 1
            shown = {"\t": "TAB"}.get(self._layout.delimiter, repr(self._layout.delimiter))
            hint = " Quotes are taken for letters: set quote in the card." if self._ignores_quotes(row.text) else ""
            one_more = row.actual_columns == row.expected_columns + 1
            if one_more and row.text.rstrip("\r\n").endswith(self._dialect.separator.decode()):
                hint = " A delimiter stands at its end: name one column more, of the kind 'ignore', or take it out."
            if self._splits_numbers(row.text):
                hint = " Its decimal commas are delimiters too: such numbers must stand in quotes."
            if more := row.text.count("\n"):
                hint = f" It runs on to line {part.line(place) + more}: is a quote not closed?"
            return DataError(
                f"{member}: line {part.line(place)} has {row.actual_columns} columns, the card wants "
                f"{row.expected_columns} ({shown} between them).{hint} Mend that line or the card's columns."
            )
        text = str(error)
        row_number = re.search(r"Row #(\d+)", text)
        column_number = re.search(r"column #(\d+)", text)
        if row_number is None or column_number is None:
            return DataError(
                f"{member}: lines from {part.chunk.first_line} on cannot be read ({text}); check them with an editor."
            )
        place = int(row_number[1]) - 1
        column = self._columns[self._names[int(column_number[1])]]
        if "UTF8" in text:
            return DataError(
                f"{member}: line {part.line(place)}, column {column.name!r}: not utf-8; set the card's encoding."
            )
        value = re.search(r"invalid value '(.*)'", text, re.DOTALL)
        return self._bad_value(part, place, column, value[1] if value else None)

    def _bad_value(self, part: _Part, row: int, column: Column, value: str | None) -> DataError:
        shown = "the value" if value is None else quoted(value)
        hint = ""
        if value is not None and self._ignores_quotes(value):
            hint = " (quotes are taken for letters; set quote in the card)"
        elif value is not None and (mend := decimal_hint(value, self._layout.decimal)):
            hint = f" ({mend})"
        elif value is not None and value.strip() in self._layout.missing:
            hint = (
                " (a missing value has no blanks around it; set trim = true in the card, or list it so under missing)"
            )
        elif value is not None and value.strip().lower() in _NOTHING:
            markers = ", ".join(f'"{word}"' for word in dict.fromkeys((*self._layout.missing, value)))
            hint = f" (if it stands for a missing value: missing = [{markers}])"
        return DataError(
            f"{part.chunk.member}: line {part.line(row)}, column {column.name!r}: {shown} is not "
            f"{_WANTED[column.role]}{hint}; mend the value or the column's kind."
        )

    def _splits_numbers(self, text: str) -> bool:
        return self._layout.decimal == self._layout.delimiter and re.search(r"\d,\d", text) is not None

    def _ignores_quotes(self, text: str) -> bool:
        return not self._layout.quote and '"' in text


@dataclass(frozen=True)
class _Part:
    """A chunk on its way through the parser."""

    chunk: Chunk
    data: Bytes
    """The chunk's text with one byte between two values."""
    rows: RowStarts

    @property
    def block_bytes(self) -> int | None:
        """How much text the parser may look at, at a time; None: only all of it.

        The columns of wide rows are gathered from all over a block, which is quick while it stays in the cache.
        """
        return _PARSED_BYTES if self.rows.is_plain and _has_short_lines(self.data) else None

    def line(self, row: int) -> int:
        """The line number, from 1, of a row."""
        return self.chunk.first_line + self.rows.line(row)


def _has_nothing(column: LocalColumn) -> bool:
    """Whether a value of a column of texts is missing or empty."""
    if not column.codes.all():
        return True
    values = column.values
    empty = np.asarray(values) == 0 if pa.types.is_uint64(values.type) else np.asarray(pc.equal(values, ""))
    return bool(empty.any())


def _has_short_lines(data: Bytes) -> bool:
    """Whether no line is so long that the parser could not look at it within a block."""
    half = _PARSED_BYTES // 2
    return all(data.find(b"\n", start, start + half) >= 0 for start in range(0, len(data) - half, half))


def _has_hexadecimals(data: Bytes) -> bool:
    """Whether 0x stands anywhere in ``data``."""
    if b"x" not in data and b"X" not in data:
        return False
    text = np.frombuffer(data, dtype=np.uint8)
    parts = (text[start : start + PIECE_BYTES + 1] for start in range(0, len(text), PIECE_BYTES))
    return any((((part[1:] | 0x20) == ord("x")) & (part[:-1] == ord("0"))).any() for part in parts)


_NOTHING = ("", "na", "n/a", "nan", "nil", "none", "null", "-", "--", "?", ".", "missing", "unknown")
"""What often stands for a missing value."""
_WANTED = {
    "integer": "an integer",
    "numeric": "a number",
    "time": "a time in whole numbers",
}


def arrow_type(column: Column) -> pa.DataType:
    """The type that a column is parsed to; those with few distinct values are dictionary-encoded at once."""
    if column.in_whole_numbers:
        return pa.dictionary(pa.int32(), pa.int64())
    if column.role == "numeric":
        return pa.float64()
    return pa.dictionary(pa.int32(), pa.string())
