"""Blocks of a Parquet table, its columns brought to the types that a text table is parsed to.

A value means what it would mean in the CSV file that pandas writes of the same table (see ``arrow_texts``). Since
Parquet knows what a number is, a few values are read here that text refuses: true is 1 in columns of numbers, and a
label 1.0 or true is 1 where lists of the card name 1.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import parquet

from bench.data.card.layout import MULTI_MEND, Column, Layout
from bench.data.raw.arrow_texts import finest_unit, has_texts, is_number, is_text, texts
from bench.data.raw.columns import LocalColumn, recode, smallest_unsigned
from bench.data.raw.compression import Bound, ExpansionError
from bench.data.raw.decimals import decimal_hint
from bench.data.raw.header import check_columns
from bench.data.raw.multi import is_list, offsets_of
from bench.data.raw.readers import RawBlock
from bench.data.raw.texts import parse_numbers, parse_whole, trimmed
from bench.errors import DataError, quoted

_BYTES_PER_VALUE = 8
"""Rough size of a value as text, so that a chunk means the same for text and Parquet."""
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")
"""A column that pandas adds for an index without a name, which no CSV of the table has."""
_EXTENSION = b"ARROW:extension:name"
_ROWS_AT_ONCE = 1 << 18
_WANTED = {"integer": "an integer", "numeric": "a number", "time": "a time in whole numbers"}


@dataclass(frozen=True)
class Batch:
    """Consecutive rows as they are stored."""

    first_row: int
    """From 1."""
    columns: pa.RecordBatch


class ParquetReader:
    """A Parquet table in a file of its own.

    Attributes:
        names: its columns.
        units: the unit in which the timestamps of a column are written; parts of one table must share the finest.
        faults: of a lenient reader, what is wrong with the columns that it leaves out.
    """

    def __init__(
        self, path: Path, layout: Layout, name: str, elsewhere: Collection[str] = (), *, lenient: bool = False
    ) -> None:
        """Read the table's schema.

        Args:
            path: the file.
            layout: the card's columns.
            name: the table's, for messages.
            elsewhere: columns that the file may lack.
            lenient: leave out columns whose type cannot be of their kind, in place of raising.

        Raises:
            DataError: damaged, with other columns than the card's, or a column whose type cannot be of its kind.
        """
        self.faults: dict[str, DataError] = {}
        self._path, self._layout, self._name = path, layout, name
        self._columns = [column for column in layout.columns if column.role != "ignore"]
        try:
            with parquet.ParquetFile(path) as file:
                schema = file.schema_arrow
                names = column_names(schema, layout)
                check_columns(names, layout, name, elsewhere)
                held = self.names = frozenset(names)
                self._columns = [column for column in self._columns if column.name in held]
                self._check_size(file.metadata)
                fields = {column.name: schema.field(column.name) for column in self._columns}
                self._check_types(fields, lenient)
                self.units = {column.name: self._unit(file, column, fields[column.name]) for column in self._columns}
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise self._damaged(error) from None

    def narrowed(self, layout: Layout) -> ParquetReader:
        """The same table with the columns of ``layout``, some of its own; its file is not opened again."""
        kinds = {column.name: column for column in layout.columns if column.role != "ignore"}
        found = copy.copy(self)
        found._layout = layout
        found._columns = [kinds[column.name] for column in self._columns if column.name in kinds]
        return found

    def _check_types(self, fields: Mapping[str, pa.Field], lenient: bool) -> None:
        for column in self._columns:
            try:
                self._check_type(column, fields[column.name])
            except DataError as error:
                if not lenient:
                    raise
                self.faults[column.name] = error
        self._columns = [column for column in self._columns if column.name not in self.faults]

    def _check_size(self, found: parquet.FileMetaData) -> None:
        """Hold the table to the bound of compressed files; its text would have two bytes a value or more."""
        groups = (found.row_group(place) for place in range(found.num_row_groups))
        unpacked = max(2 * found.num_rows * found.num_columns, sum(group.total_byte_size for group in groups))
        try:
            Bound(self._path.stat().st_size, self._layout.max_expansion).check(unpacked)
        except ExpansionError as error:
            raise DataError(f"{self._name}: {error}.") from None

    def _check_type(self, column: Column, field: pa.Field) -> None:
        if is_list(field.type) and not column.multi:
            raise DataError(
                f"{self._name}: column {column.name!r} holds lists ({field.type}): give it the kind "
                f'"categorical" and say what several values become: {MULTI_MEND}.'
            )
        kind = value_type(field.type)
        extension = extension_of(field)
        wanted = "text or numbers"
        fits = has_texts(kind) and not extension
        if fits and (column.in_whole_numbers or column.role == "numeric"):
            wanted = "numbers" if column.role != "time" else 'whole numbers, or give it the format "iso" in the card'
            fits = is_number(kind) or is_text(kind) or pa.types.is_null(kind)
        if fits and pa.types.is_timestamp(kind) and kind.tz is not None and not _is_zone(kind.tz):
            raise DataError(
                f"{self._name}: column {column.name!r} has times of the zone {kind.tz!r}, which is unknown here; "
                f"write them in UTC."
            )
        if not fits:
            shown = f"{field.type} ({extension})" if extension else f"{field.type}"
            raise DataError(
                f"{self._name}: column {column.name!r} of type {shown} cannot be read as {column.role}; write it as "
                f"{wanted}, or mend its kind."
            )

    def _unit(self, file: parquet.ParquetFile, column: Column, field: pa.Field) -> str:
        """What ``texts`` has to know of a column of timestamps; nothing of others."""
        kind = value_type(field.type)
        if not pa.types.is_timestamp(kind):
            return ""
        if column.role == "time":  # read back at once, so that any will do
            return str(kind.unit)
        parts = file.iter_batches(_ROWS_AT_ONCE, columns=[column.name])
        return finest_unit(_plain(_items(part.column(0))) for part in parts)

    def batches(self, chunk_bytes: int) -> Iterator[Batch]:
        """The rows, about ``chunk_bytes`` at a time."""
        names = [column.name for column in self._columns]
        rows = max(1, chunk_bytes // (_BYTES_PER_VALUE * max(1, len(names))))
        first = 1
        try:
            with parquet.ParquetFile(self._path) as file:
                for batch in file.iter_batches(rows, columns=names):
                    yield Batch(first, batch)
                    first += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error) from None

    def block(self, batch: Batch) -> RawBlock:
        """The rows of ``batch``, typed.

        Raises:
            DataError: a value that is not of its column's kind.
        """
        return RawBlock(
            self._name,
            batch.first_row,
            batch.columns.num_rows,
            {column.name: self._coded(batch, column) for column in self._columns if column.role != "numeric"},
            {column.name: self._numbers(batch, column) for column in self._columns if column.role == "numeric"},
            unit="row",
        )

    def _coded(self, batch: Batch, column: Column) -> LocalColumn:
        if is_list(batch.columns.column(column.name).type):
            return self._lists(batch, column)
        codes, values = _distinct(batch.columns.column(column.name))
        if column.in_whole_numbers:
            return recode(codes, self._parsed(batch, column, codes, values))
        if column.role == "time" and pa.types.is_timestamp(values.type) and values.type.tz is not None:
            values = values.cast(pa.timestamp(values.type.unit, "UTC"))  # the moment counts, not how a zone writes it
        written = self._texts(batch, column, codes, values)
        if column.role == "label" and is_number(values.type):
            known = [text is None or self._layout.label_rule.label(text) is not None for text in written.to_pylist()]
            written = pc.if_else(pa.array(known), written, _whole_texts(values, written))
        return recode(codes, written)

    def _lists(self, batch: Batch, column: Column) -> LocalColumn:
        """A column of lists, their values as texts; the codes are the rows."""
        lists = batch.columns.column(column.name)
        offsets = offsets_of(lists)
        codes, values = _distinct(_items(lists))
        owners = np.repeat(np.arange(len(lists)), np.diff(offsets))
        written = self._texts(batch, column, codes, values, owners)
        items = written.take(pa.array(codes.astype(np.int64) - 1, mask=codes == 0))
        of_texts = pa.LargeListArray.from_arrays(pa.array(offsets), items)
        return LocalColumn(np.arange(1, len(lists) + 1, dtype=smallest_unsigned(len(lists))), of_texts)

    def _numbers(self, batch: Batch, column: Column) -> pa.Array:
        array = batch.columns.column(column.name)
        kind = array.type
        if pa.types.is_float64(kind):
            return array
        if pa.types.is_float32(kind):  # by its shortest text, as everywhere: 0.1, not 0.10000000149
            return array.cast(pa.string()).cast(pa.float64())
        if pa.types.is_integer(kind):
            return array.cast(pa.float64(), safe=False)
        codes, values = _distinct(array)
        found = self._parsed(batch, column, codes, values)
        return found.take(pa.array(codes.astype(np.int64) - 1, mask=codes == 0))

    def _texts(
        self, batch: Batch, column: Column, codes: np.ndarray, values: pa.Array, owners: np.ndarray | None = None
    ) -> pa.Array:
        """The text of each distinct value, null where it stands for a missing one; ``owners``: rows of the codes."""
        unit = self.units[column.name]
        try:
            written = texts(values, unit)
        except pa.ArrowException:
            bad = next(place for place in range(len(values)) if not _has_text(values.slice(place, 1), unit))
            what = _without_text(values.slice(bad, 1))
            raise self._bad_value(batch, column, codes, bad, what, owners) from None
        if self._layout.trim and is_text(values.type):
            return trimmed(written, self._layout.missing)
        missing = pc.is_in(written, value_set=pa.array(self._layout.missing, pa.large_string()))
        return pc.if_else(missing, pa.scalar(None, pa.large_string()), written)

    def _parsed(self, batch: Batch, column: Column, codes: np.ndarray, values: pa.Array) -> pa.Array:
        """The distinct values as int64, or float64 for a numeric column; null where missing."""
        whole = column.in_whole_numbers
        if whole and pa.types.is_integer(values.type) and not pa.types.is_uint64(values.type):
            return values.cast(pa.int64())
        written = self._texts(batch, column, codes, values)
        if is_number(values.type) and (whole or pa.types.is_boolean(values.type)):
            written = _whole_texts(values, written)
        decimal = self._layout.decimal if is_text(values.type) else "."
        found = _parse(written, whole, decimal)
        if found is None:
            bad = next(
                place for place in range(len(written)) if _parse(written.slice(place, 1), whole, decimal) is None
            )
            hint = decimal_hint(written[bad].as_py(), decimal)
            what = f"{quoted(written[bad].as_py())} is not {_WANTED[column.role]}{hint and f' ({hint})'}"
            raise self._bad_value(batch, column, codes, bad, what)
        return found

    def _bad_value(
        self, batch: Batch, column: Column, codes: np.ndarray, place: int, what: str, owners: np.ndarray | None = None
    ) -> DataError:
        first = int((codes == place + 1).argmax())
        row = batch.first_row + (first if owners is None else int(owners[first]))
        return DataError(
            f"{self._name}: row {row}, column {column.name!r}: {what}; mend the value or the column's kind."
        )

    def _damaged(self, error: Exception) -> DataError:
        """What the file's own library says of it."""
        return DataError(f"{self._name}: the file is cut short or damaged ({error}); make it anew.")


def column_names(schema: pa.Schema, layout: Layout) -> list[str]:
    """The columns that the CSV file of the same table would have."""
    declared = {column.name for column in layout.columns}
    return [one for one in schema.names if one in declared or not _PANDAS_INDEX.fullmatch(one)]


def value_types(schema: pa.Schema) -> dict[str, str]:
    """What the values of each column are, where that decides on their texts: 5 is not 5.0."""
    return {field.name: _type_name(value_type(field.type)) for field in schema}


def _type_name(kind: pa.DataType) -> str:
    names = (
        (pa.types.is_boolean, "booleans"),
        (pa.types.is_integer, "whole numbers"),
        (pa.types.is_floating, "floating-point numbers"),
        (pa.types.is_decimal, "decimals"),
        (pa.types.is_date, "days"),
        (pa.types.is_timestamp, "times"),
    )
    return next((name for test, name in names if test(kind)), "")


def extension_of(field: pa.Field) -> str:
    """The name of the extension type that a column is of, such as a period of pandas; nothing of plain columns."""
    kind = value_type(field.type)
    return str((field.metadata or {}).get(_EXTENSION, b"").decode() or getattr(kind, "extension_name", ""))


def value_type(kind: pa.DataType) -> pa.DataType:
    """What the values of a column, or of its lists, are."""
    if is_list(kind):
        return kind.value_type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_zone(name: str) -> bool:
    try:
        pc.local_timestamp(pa.array([0], pa.timestamp("s", name)))
    except pa.ArrowInvalid:
        return False
    return True


def _items(array: pa.Array) -> pa.Array:
    return array.flatten() if is_list(array.type) else array


def _plain(array: pa.Array) -> pa.Array:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _distinct(array: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """Codes as in ``LocalColumn``, and the values they stand for, all of which occur; a value may be null."""
    encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
    codes: np.ndarray = np.asarray(encoded.indices.cast(pa.int64()).fill_null(-1)) + 1
    used = np.flatnonzero(np.bincount(codes, minlength=len(encoded.dictionary) + 1)[1:])
    if len(used) == len(encoded.dictionary):
        return codes.astype(smallest_unsigned(len(used))), encoded.dictionary
    table = np.zeros(len(encoded.dictionary) + 1, dtype=smallest_unsigned(len(used)))
    table[used + 1] = np.arange(1, len(used) + 1)
    return table[codes], encoded.dictionary.take(pa.array(used))


def _without_text(value: pa.Array) -> str:
    """What is wrong with the one value of an array that has no text."""
    if is_text(value.type):
        return f"{value.cast(pa.large_binary())[0].as_py()[:40]!r} is not utf-8 text"
    if pa.types.is_date(value.type):
        return f"the day {value.cast(pa.date32()).cast(pa.int32())[0].as_py()} since 1970 is beyond the calendar"
    return f"{value.cast(pa.time64('ns')).cast(pa.int64())[0].as_py()} ns of the day is finer than microseconds"


def _has_text(value: pa.Array, unit: str) -> bool:
    try:
        texts(value, unit)
    except pa.ArrowException:
        return False
    return True


def _whole_texts(values: pa.Array, written: pa.Array) -> pa.Array:
    """``written`` without the point of whole numbers: 3 for 3.0, and 1 for true."""
    if pa.types.is_integer(values.type):
        return written
    pairs = zip(values.to_pylist(), written.to_pylist(), strict=True)
    return pa.array([text if text is None else _whole_text(value, text) for value, text in pairs], pa.large_string())


def _whole_text(value: float | Decimal, text: str) -> str:
    return str(int(value)) if math.isfinite(value) and value == int(value) else text


def _parse(written: pa.Array, whole: bool, decimal: str) -> pa.Array | None:
    """Numbers of texts, as the text reader reads them: int64 where ``whole``, else float64; None if one is none."""
    return parse_whole(written, decimal) if whole else parse_numbers(written, decimal)
