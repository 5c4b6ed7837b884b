"""Splits that keep all rows of one value in one place: a function of (split seed, value) alone.

u(value) is a hash of seed and value, as a share of its range: train where it is below the share of train, then valid,
then test. So the splits of a part of the rows are those of the whole, whatever the order, the chunks or the files, and
shares hold as far as many groups of like size make them. Rows without a value are not known to belong together: each is
drawn by itself, by its number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np

from bench.data.store.splits import TEST, TRAIN, VALID, row_hash

UNKNOWN = 3
"""In the place of a split: the row has no value."""
_BITS = 64
_OTHER = 0x5DEECE66D
"""Sets the draw of rows without a value apart from that of ``--rows``, which would take train rows first."""


def split_of_values(values: Iterable[str], seed: int, shares: Sequence[float]) -> np.ndarray:
    """The split of each value, uint8 [values]."""
    key = seed.to_bytes(8, "little")
    digests = [hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8, key=key) for value in values]
    hashes = np.frombuffer(b"".join(digest.digest() for digest in digests), dtype="<u8")
    return _cut(hashes.astype(np.uint64), shares)


def with_rows_alone(splits: np.ndarray, seed: int, shares: Sequence[float]) -> np.ndarray:
    """``splits`` [N] with each row of no value drawn by its number."""
    alone = np.flatnonzero(splits == UNKNOWN)
    found = splits.copy()
    found[alone] = _cut(row_hash(seed ^ _OTHER, alone), shares)
    return found


def _cut(hashes: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """The split of each hash, uint64 [n]; shares are of train, valid and test."""
    train = Fraction(str(shares[0]))
    valid = train + Fraction(str(shares[1]))
    first, second = (np.uint64(int(share * 2**_BITS)) for share in (train, valid))
    return np.where(hashes < first, TRAIN, np.where(hashes < second, VALID, TEST)).astype(np.uint8)
