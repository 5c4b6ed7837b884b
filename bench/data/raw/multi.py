"""Several values in one row: what becomes of lists, and of texts such as ``a|b|c``, by arithmetic on whole arrays.

A list is a set of values in which nothing counts twice and order says nothing (``combination``), or its first values
stand for themselves (``first``, ``mean``). Missing ones among its values are left out; of ``first`` they keep their
place.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

_JOINED_BY = "|"
"""Where the card names no separator."""


def is_list(kind: pa.DataType) -> bool:
    """Whether values of this type are lists."""
    return any(test(kind) for test in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list))


def split_texts(texts: pa.Array, separator: str, trim: bool = False) -> pa.Array:
    """The lists of large strings that ``texts`` are, cut at ``separator``, blanks around each taken off if wanted."""
    lists = pc.split_pattern(texts.cast(pa.large_string()), separator).cast(pa.large_list(pa.large_string()))
    if not trim:
        return lists
    return pa.LargeListArray.from_arrays(pa.array(offsets_of(lists)), pc.utf8_trim_whitespace(lists.flatten()))


def offsets_of(lists: pa.Array) -> np.ndarray:
    """Where each list begins among the values of all, and their number; int64 [n + 1]; a null is an empty list."""
    lengths = np.asarray(pc.fill_null(pc.list_value_length(lists).cast(pa.int64()), 0))
    return np.concatenate([[0], np.cumsum(lengths)])


def combinations(lists: pa.Array, separator: str, missing: Sequence[str]) -> pa.Array:
    """The set of each list as one text, its values in their order and ``separator`` between them.

    Args:
        lists: of large strings.
        separator: or nothing; inside a value it is written with a backslash before it, and that twice.
        missing: texts that stand for no value.

    Returns:
        Large strings; null where no value is there.
    """
    joint = separator or _JOINED_BY
    found = _present(lists.flatten(), missing)
    owners = np.repeat(np.arange(len(lists)), np.diff(offsets_of(lists)))[~np.asarray(found.is_null())]
    encoded = found.drop_null().dictionary_encode()
    order = np.asarray(pc.array_sort_indices(encoded.dictionary)).astype(np.int64)
    ranks = np.empty_like(order)
    ranks[order] = np.arange(len(order))
    n = max(1, len(order))
    pairs = np.sort(owners * n + ranks[np.asarray(encoded.indices)])
    pairs = pairs[np.append(True, pairs[1:] != pairs[:-1])[: len(pairs)]]  # what np.unique does, many times faster
    offsets = np.searchsorted(pairs // n, np.arange(len(lists) + 1))
    values = pc.replace_substring(encoded.dictionary.take(pa.array(order)), "\\", "\\\\")
    values = pc.replace_substring(values, joint, f"\\{joint}").take(pa.array(pairs % n))
    joined = pc.binary_join(
        pa.LargeListArray.from_arrays(pa.array(offsets), values), pa.scalar(joint, pa.large_string())
    )
    return pc.if_else(pa.array(np.diff(offsets) > 0), joined, pa.scalar(None, pa.large_string()))


def positions(lists: pa.Array, n: int, missing: Sequence[str]) -> list[pa.Array]:
    """The first, second, … ``n``-th values of all lists of large strings; null where missing or not there."""
    offsets, values = offsets_of(lists), _present(lists.flatten(), missing)
    found = []
    for place in range(n):
        at = offsets[:-1] + place
        found.append(values.take(pa.array(at, mask=at >= offsets[1:])))
    return found


def without_missing(lists: pa.Array, missing: Sequence[str]) -> pa.Array:
    """The lists of large strings without nulls and without values of ``missing``; a null becomes an empty list."""
    found = _present(lists.flatten(), missing)
    kept = np.concatenate([[0], np.cumsum(~np.asarray(found.is_null()))])
    return pa.LargeListArray.from_arrays(pa.array(kept[offsets_of(lists)]), found.drop_null())


def _present(values: pa.Array, missing: Sequence[str]) -> pa.Array:
    gone = pc.is_in(values, value_set=pa.array(missing, pa.large_string()))
    return pc.if_else(gone, pa.scalar(None, pa.large_string()), values)
