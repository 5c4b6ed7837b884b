"""Buckets of integer fields: x > 2 falls into bucket floor(ln(x)²), values up to 2 stay as they are.

Boundaries are computed exactly, so that no platform's logarithm moves a value from one bucket to another.
"""

from __future__ import annotations

import decimal
from functools import cache

import numpy as np

LAST_LITERAL = 2
"""The largest integer that keeps a value of its own."""
_SMALL = 1 << 16
"""Integers below it are most of those that there are."""


@cache
def lower_bounds() -> np.ndarray:
    """Smallest integer of the buckets 1, 2, …, int64 [number of buckets]: ceil(exp(sqrt(b)))."""
    bounds = []
    with decimal.localcontext() as context:
        context.prec = 50
        bucket = 1
        while (bound := decimal.Decimal(bucket).sqrt().exp()) < 2**63 - 1:
            bounds.append(int(bound.to_integral_value(decimal.ROUND_CEILING)))
            bucket += 1
    return np.array(bounds, dtype=np.int64)


@cache
def _small_buckets() -> np.ndarray:
    """The bucket of 0, 1, …: found by their place in the time of a few steps of a search; int64."""
    return np.searchsorted(lower_bounds(), np.arange(_SMALL), side="right")


def bucket_keys(values: np.ndarray, merged: bool) -> np.ndarray:
    """The sort key of each value's id.

    Args:
        values: int64 [n].
        merged: let bucket b share the key of the literal b; else its key is 2 + b, beyond all literals.

    Returns:
        int64 [n]; keys up to 2 are literals, unless merged.
    """
    small = _small_buckets()
    buckets = small.take(np.clip(values, 0, len(small) - 1))
    if len(values) and values.max() >= len(small):
        large = values >= len(small)
        buckets[large] = np.searchsorted(lower_bounds(), values[large], side="right")
    return np.where(values > LAST_LITERAL, buckets if merged else LAST_LITERAL + buckets, values)


def key_texts(keys: np.ndarray, merged: bool) -> list[str]:
    """How the vocabulary shows each key: a literal, or the range of its bucket such as ``5..7``."""
    if merged:
        return [str(key) for key in keys.tolist()]
    return [str(key) if key <= LAST_LITERAL else _range_text(key - LAST_LITERAL) for key in keys.tolist()]


@cache
def _range_text(bucket: int) -> str:
    bounds = lower_bounds()
    low = int(bounds[bucket - 1])
    high = int(bounds[bucket]) - 1 if bucket < len(bounds) else 2**63 - 1
    return f"{low}..{high}"
