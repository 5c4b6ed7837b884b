"""Missing markers that are numbers: in columns of numbers they hold for the number, however it is written."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pyarrow as pa

from bench.data.card.labels import NUMBER
from bench.data.raw.columns import LocalColumn, recode
from bench.data.raw.decimals import with_point
from bench.data.raw.readers import RawBlock


def number_markers(missing: tuple[str, ...], decimal: str = ".") -> tuple[Decimal, ...]:
    """Those of the markers that are finite numbers, written with ``decimal``."""
    found = (_number(with_point(text, decimal)) for text in missing)
    return tuple(number for number in found if number is not None)


def _number(text: str) -> Decimal | None:
    return Decimal(text) if NUMBER.fullmatch(text) else None


def without_markers(block: RawBlock, markers: tuple[Decimal, ...]) -> RawBlock:
    """``block`` with the numbers that ``markers`` stand for taken out of its numeric, integer and time columns.

    So ``-999`` holds for -999.0 too, which is how a column with gaps is often written.
    """
    if not markers:
        return block
    floats = pa.array([float(marker) for marker in markers], type=pa.float64())
    whole = np.array([int(marker) for marker in markers if _is_int64(marker)], dtype=np.int64)
    return replace(
        block,
        columns={name: _without(column, whole) for name, column in block.columns.items()},
        numbers={name: _null_where_in(array, floats) for name, array in block.numbers.items()},
    )


def _is_int64(marker: Decimal) -> bool:
    return -(2**63) <= marker < 2**63 and marker == marker.to_integral_value()


def _without(column: LocalColumn, markers: np.ndarray) -> LocalColumn:
    if not pa.types.is_int64(column.values.type):
        return column
    gone = np.isin(np.asarray(column.values), markers)
    return recode(column.codes, pa.array(np.asarray(column.values), mask=gone)) if gone.any() else column


def _null_where_in(array: pa.Array, markers: pa.Array) -> pa.Array:
    numbers = array.fill_null(np.nan).to_numpy(zero_copy_only=False)
    return pa.array(numbers, mask=np.isnan(numbers) | np.isin(numbers, np.asarray(markers)))
