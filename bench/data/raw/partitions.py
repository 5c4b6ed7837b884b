"""Columns that stand in the names of folders, one value for all rows of a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa

from bench.data.card.layout import Column, Layout
from bench.data.raw.columns import LocalColumn
from bench.data.raw.readers import RawBlock
from bench.data.raw.texts import parse_numbers, parse_whole
from bench.errors import DataError, quoted


class Partition:
    """The columns that a file does not hold and its folders do."""

    def __init__(self, layout: Layout, values: Mapping[str, str | None], member: str) -> None:
        """Read the values.

        Args:
            layout: the card's columns.
            values: column -> its text; None: missing.
            member: the file, for messages.

        Raises:
            DataError: a value that is not of its column's kind.
        """
        self._columns = {
            column.name: (column, _value(column, _present(values[column.name], layout), member))
            for column in layout.columns
            if column.name in values and column.role != "ignore"
        }

    def add_to(self, block: RawBlock) -> RawBlock:
        """``block`` with these columns."""
        columns, numbers = dict(block.columns), dict(block.numbers)
        for name, (column, value) in self._columns.items():
            if column.role == "numeric":
                numbers[name] = pa.repeat(value, block.n_rows)
            else:
                known = value.is_valid
                codes = np.full(block.n_rows, known, dtype=np.uint8)
                columns[name] = LocalColumn(codes, pa.array([value.as_py()] if known else [], value.type))
        return replace(block, columns=columns, numbers=numbers)


def _present(text: str | None, layout: Layout) -> str | None:
    return None if text in layout.missing else text


def _value(column: Column, text: str | None, member: str) -> pa.Scalar:
    texts = pa.array([text], pa.large_string())
    found = texts
    if column.in_whole_numbers:
        found = parse_whole(texts)
    elif column.role == "numeric":
        found = parse_numbers(texts)
    if found is None:
        wanted = "a number" if column.role == "numeric" else "a whole number"
        raise DataError(
            f"{member}: its folder says that column {column.name!r} is {quoted(text or '')}, which is not {wanted}; "
            f"mend the folder's name or the column's kind."
        )
    return found[0]
