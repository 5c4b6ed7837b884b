"""Blocks of a Parquet table, its columns brought to the types that a text table is parsed to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import parquet

from bench.data.columns import local_column
from bench.data.header import check_columns
from bench.data.layout import Column, Layout
from bench.data.readers import RawBlock, arrow_type
from bench.errors import DataError

_BYTES_PER_VALUE = 8
"""Rough size of a value as text, so that a chunk means the same for text and Parquet."""


@dataclass(frozen=True)
class Batch:
    """Consecutive rows as they are stored."""

    first_row: int
    """From 1."""
    columns: pa.RecordBatch


def is_parquet(path: Path) -> bool:
    """Whether ``path`` is a Parquet file."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


class ParquetReader:
    """A Parquet table in a file of its own."""

    def __init__(self, path: Path, layout: Layout) -> None:
        """Read the table's schema.

        Raises:
            DataError: damaged, or with other columns than the card's.
        """
        self._path = path
        self._columns = [column for column in layout.columns if column.role != "ignore"]
        try:
            with parquet.ParquetFile(path) as file:
                names = file.schema_arrow.names
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error) from None
        check_columns(names, layout, path.name)

    def batches(self, chunk_bytes: int) -> Iterator[Batch]:
        """The rows, about ``chunk_bytes`` at a time."""
        names = [column.name for column in self._columns]
        rows = max(1, chunk_bytes // (_BYTES_PER_VALUE * len(names)))
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
            DataError: a column that is not of its field's kind.
        """
        arrays = {column.name: self._typed(batch, column) for column in self._columns}
        numeric = {column.name for column in self._columns if column.role == "numeric"}
        return RawBlock(
            self._path.name,
            batch.first_row,
            batch.columns.num_rows,
            {name: local_column(array) for name, array in arrays.items() if name not in numeric},
            {name: array for name, array in arrays.items() if name in numeric},
        )

    def _typed(self, batch: Batch, column: Column) -> pa.Array:
        array = batch.columns.column(column.name)
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        if pa.types.is_boolean(array.type):
            array = array.cast(pa.int8())
        wanted = arrow_type(column)
        try:
            if not pa.types.is_dictionary(wanted):
                return array.cast(wanted)
            return pc.dictionary_encode(array.cast(wanted.value_type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DataError(
                f"{self._path.name}: rows from {batch.first_row} on, column {column.name!r} of type {array.type}: "
                f"cannot be read as {column.role} ({error}); mend the column or its kind."
            ) from None

    def _damaged(self, error: Exception) -> DataError:
        return DataError(f"{self._path.name}: the file is cut short or damaged ({error}); make it anew.")
