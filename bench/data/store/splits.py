"""Which row belongs to which split: exact, stratified, a function of (split seed, row number) alone.

h(row) is the output of splitmix64 for the state ``seed·c + (row + 1)·golden``: a bijection of the row number, so
that two rows never have the same hash. Within each class rows are ordered by h and cut: train takes the smallest
hashes, then valid, then test. A class of n rows is cut at c·n rounded to the nearest integer, c being the cumulated
share; a half is rounded up for positives and down for negatives. So totals are exact wherever c·N is an integer,
and a class's cut never moves down when rows are added: the train rows of a subset of smallest hashes are train
rows of the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from bench.errors import DataError

TRAIN, VALID, TEST = 0, 1, 2
GOLDEN = 0x9E3779B97F4A7C15
MIX_1 = 0xBF58476D1CE4E5B9
MIX_2 = 0x94D049BB133111EB
_MASK = 2**64 - 1
_BLOCK = 1 << 20
MIN_ROWS = 10
"""Fewest rows that can be split."""


def row_hash(seed: int, rows: np.ndarray) -> np.ndarray:
    """H of the row numbers ``rows``, uint64 [n]."""
    state = rows.astype(np.uint64) * np.uint64(GOLDEN)
    state += np.uint64(hash_start(seed))
    state ^= state >> np.uint64(30)
    state *= np.uint64(MIX_1)
    state ^= state >> np.uint64(27)
    state *= np.uint64(MIX_2)
    state ^= state >> np.uint64(31)
    return state


def hash_start(seed: int) -> int:
    """The state of row 0."""
    return (_mix_int((seed * GOLDEN + 1) & _MASK) + GOLDEN) & _MASK


def _mix_int(state: int) -> int:
    state = ((state ^ (state >> 30)) * MIX_1) & _MASK
    state = ((state ^ (state >> 27)) * MIX_2) & _MASK
    return state ^ (state >> 31)


def _blocks(n: int) -> Iterator[slice]:
    """Slices that cover ``n`` rows; hashes are made anew for each, so that they need not all be in memory."""
    return (slice(start, min(start + _BLOCK, n)) for start in range(0, n, _BLOCK))


def _hashes(seed: int, part: slice, rows: np.ndarray | None) -> np.ndarray:
    return row_hash(seed, np.arange(part.start, part.stop) if rows is None else rows[part])


def class_cuts(n: int, shares: Sequence[float], positive: bool) -> tuple[int, int]:
    """Where a class of ``n`` rows ends its train rows, and where its valid rows."""
    train = Fraction(str(shares[0])) * n
    valid = train + Fraction(str(shares[1])) * n
    half = Fraction(1, 2)
    if positive:
        return int((train + half) // 1), int((valid + half) // 1)
    return int(-((half - train) // 1)), int(-((half - valid) // 1))


def assign_splits(
    labels: np.ndarray,
    seed: int,
    shares: Sequence[float],
    rows: np.ndarray | None = None,
    own_test: np.ndarray | None = None,
) -> np.ndarray:
    """The split of each row, uint8 [n]: 0 train, 1 valid, 2 test.

    Args:
        labels: 0 or 1, [n].
        seed: the split seed.
        shares: of train, valid and test.
        rows: row numbers of ``labels``, int64 [n]; None: 0, 1, ….
        own_test: the rows that are the test split by the card's word, bool [n]; the others are cut by ``shares``, of
            which that of test is 0.
    """
    splits = np.full(len(labels), TRAIN, dtype=np.uint8)
    if own_test is not None:
        splits[own_test] = TEST

    def of_class(part: slice, label: int) -> np.ndarray:
        mine: np.ndarray = labels[part] == label
        return mine if own_test is None else mine & ~own_test[part]

    for label in (0, 1):
        parts = [_hashes(seed, part, rows)[of_class(part, label)] for part in _blocks(len(labels))]
        hashes = np.concatenate(parts) if parts else np.empty(0, np.uint64)
        del parts
        cuts = [cut for cut in class_cuts(len(hashes), shares, positive=label == 1) if cut < len(hashes)]
        if not cuts:
            continue
        hashes.partition(cuts)
        for part in _blocks(len(labels)):
            members = of_class(part, label)
            found = _hashes(seed, part, rows)
            for cut in cuts:
                splits[part] += members & (found >= hashes[cut])
    return splits


def smallest_hashes(n_rows: int, seed: int, wanted: int, rows: np.ndarray | None = None) -> np.ndarray:
    """The places of the ``wanted`` rows of smallest hash, increasing; int64 [min(wanted, n_rows)].

    Args:
        n_rows: how many there are.
        seed: the split seed.
        wanted: 1 at least.
        rows: their numbers, int64 [n_rows]; None: 0, 1, ….
    """
    if wanted >= n_rows:
        return np.arange(n_rows, dtype=np.int64)
    largest = nth_hash(n_rows, seed, wanted, rows)
    chosen = [np.flatnonzero(_hashes(seed, part, rows) <= np.uint64(largest)) + part.start for part in _blocks(n_rows)]
    return np.concatenate(chosen)


def nth_hash(n_rows: int, seed: int, wanted: int, rows: np.ndarray | None = None) -> int:
    """The hash that ``wanted`` of the rows do not exceed; arguments as of ``smallest_hashes``, fewer than all wanted.

    What is held in memory grows with ``wanted``, not with the rows: hashes are spread evenly, so that it is known
    about where the one asked for lies.
    """
    share = (wanted + 8 * wanted**0.5 + 64) / n_rows
    while True:
        limit = np.uint64(min(int(share * 2**64), _MASK))
        found = [hashes[hashes <= limit] for hashes in (_hashes(seed, part, rows) for part in _blocks(n_rows))]
        hashes = np.concatenate(found)
        if len(hashes) >= wanted:
            hashes.partition(wanted - 1)
            return int(hashes[wanted - 1])
        share *= 2


def check_splits(
    labels: np.ndarray, splits: np.ndarray, what: str, shares: Sequence[float] | None = None, group: str = ""
) -> None:
    """Make sure that every split can be learnt from and measured on.

    Args:
        labels: 0 or 1, [N].
        splits: of each row, [N].
        what: names the data in messages.
        shares: of train, valid and test, which rows were cut by within each class; None: not within classes.
        group: the column whose values were drawn instead of rows, if any.

    Raises:
        DataError: under 10 rows, or a split without both classes.
    """
    if len(labels) < MIN_ROWS:
        raise DataError(f"{what}: {len(labels)} rows are too few to split; give at least {MIN_ROWS}.")
    for split, name in ((TRAIN, "train"), (VALID, "valid"), (TEST, "test")):
        mine = labels[splits == split]
        positives = int(np.count_nonzero(mine))
        if positives in (0, len(mine)):
            found = int(np.count_nonzero(labels))
            raise DataError(
                f"{what}: the {name} split has {len(mine)} rows and {positives} of label 1; every split needs both "
                f"labels. All rows: {found} of label 1, {len(labels) - found} of label 0; {_mend(shares, group)}."
            )


def _mend(shares: Sequence[float] | None, group: str) -> str:
    """What a split without both labels needs."""
    if group:
        return f"all rows of one {group} are in one split: give more of them, another split_seed, or leave group out"
    if shares is None:
        return "rows are split by time: give more rows, change [split], or leave split=temporal out"
    if not shares[-1]:
        return "the test split is that of the card's test files, the others are drawn from the other rows: give more"
    ones, zeros = _fewest(shares, positive=True), _fewest(shares, positive=False)
    return f"these shares need at least {ones} of label 1 and {zeros} of label 0: give more rows, or change [split]"


def _fewest(shares: Sequence[float], positive: bool) -> int:
    """Fewest rows of a class that give each split one."""
    n = int(1 / (2 * min(shares)))
    while True:
        train, valid = class_cuts(n, shares, positive)
        if 0 < train < valid < n:
            return n
        n += 1
