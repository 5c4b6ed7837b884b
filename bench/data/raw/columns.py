"""One column of one block of rows, coded by a dictionary of the block's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class LocalColumn:
    """Codes and the values they stand for."""

    codes: np.ndarray
    """Unsigned integers [n]: 0 is a missing value, i + 1 stands for ``values[i]``."""
    values: pa.Array
    """Distinct values in any order: texts, short texts as numbers (see ``texts``), or int64."""


def smallest_unsigned(largest: int) -> np.dtype[np.unsignedinteger]:
    """The narrowest unsigned type that holds ``largest``."""
    return np.min_scalar_type(largest)


def local_column(array: pa.DictionaryArray) -> LocalColumn:
    """The codes of a dictionary array."""
    codes = np.empty(len(array), dtype=smallest_unsigned(len(array.dictionary)))
    np.add(_places(array), 1, out=codes, casting="unsafe")
    return LocalColumn(codes, array.dictionary)


def _places(array: pa.DictionaryArray) -> np.ndarray:
    """The place in the dictionary of each value, -1 of a null; int32 [n]."""
    indices = array.indices
    found: np.ndarray = np.asarray(indices.fill_null(-1) if indices.null_count else indices)
    return found


def code_numbers(numbers: np.ndarray, n_missing: int) -> tuple[np.ndarray, np.ndarray]:
    """Code a column of numbers.

    Blocks of wide tables are short, and their columns many: what is done for each must be little. Standing first, what
    is missing has its places in the dictionary before anybody looks.

    Args:
        numbers: [n_missing + n].
        n_missing: so many at their beginning, no two of them equal, are the numbers that stand for a missing value.

    Returns:
        codes as in ``LocalColumn``, [n], and the distinct numbers that are no missing ones, by code.
    """
    encoded = pa.array(numbers).dictionary_encode()
    distinct, places = np.asarray(encoded.dictionary)[n_missing:], np.asarray(encoded.indices)[n_missing:]
    if n_missing != 1:
        places = np.maximum(places - (n_missing - 1), 0)
    return places.astype(smallest_unsigned(len(distinct))), distinct


def recode_all(codes: np.ndarray, derived: Sequence[pa.Array]) -> list[LocalColumn]:
    """``recode`` by each of several arrays of one length, with one dictionary for all of them."""
    encoded = pa.concat_arrays(derived).dictionary_encode()
    size = smallest_unsigned(len(encoded.dictionary))
    found = (_places(encoded) + 1).astype(size).reshape(len(derived), -1)
    tables = np.concatenate([np.zeros((len(derived), 1), size), found], axis=1)
    return [LocalColumn(table.take(codes), encoded.dictionary) for table in tables]


def recode(codes: np.ndarray, derived: pa.Array) -> LocalColumn:
    """Replace each code's value by another.

    Args:
        codes: unsigned integers [n], 0 = missing.
        derived: the new value of code i + 1 at place i, null = missing; values may repeat.
    """
    encoded = derived.dictionary_encode()
    table = np.zeros(len(derived) + 1, dtype=smallest_unsigned(len(encoded.dictionary)))
    np.add(_places(encoded), 1, out=table[1:], casting="unsafe")
    return LocalColumn(table.take(codes), encoded.dictionary)
