"""How one column of codes says another, or the label: of single fields and of pairs of them, without any model.

With n_ij the rows of code i in one column and j in the other, of R and C codes, and n = Σ n_ij:

    φ²    = Σ_ij n_ij² / (n_i. n_.j) - 1
    φ̃²    = max(0, φ² - (R - 1)(C - 1) / (n - 1)),   R̃ = R - (R - 1)² / (n - 1),   C̃ likewise
    V     = √(φ̃² / min(R̃ - 1, C̃ - 1))    Cramér's V, its bias corrected (Bergsma, J. Korean Stat. Soc. 42, 2013)

V is near 1 already where one column says the other, as a city says its country. Near-duplicates say each other: besides
V above a bound, the best renaming of either column gives the other in at least ``AGREEMENT`` of the rows.

Codes are integers of any size and sign; all functions take time linear in the rows, but for sorting wide-spread codes.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bench.stats.checks import NotTestable

__all__ = [
    "NearPair",
    "Twins",
    "corrected_v",
    "cramers_v",
    "lists_auc",
    "partition_signature",
    "same_partition",
    "single_field_auc",
    "twins",
]

NEAR = 0.95
"""Cramér's V above which two columns may be near-duplicates."""
AGREEMENT = 0.95
"""Share of rows in which the best renaming of one near-duplicate gives the other, and the other way round."""
NEAR_ROWS = 20_000
"""Rows, evenly spaced, on which pairs are compared."""
_GLANCE_ROWS = 1_000
"""Rows of those on which a pair is first looked at."""
_GLANCE = AGREEMENT - 4 * math.sqrt(AGREEMENT * (1 - AGREEMENT) / _GLANCE_ROWS)
"""Agreement below which the first look ends a pair: four standard errors below the bound."""
_COLUMNS_AT_ONCE = 1_000
"""Columns that one is compared with at a time, so that memory does not grow with their number."""
_ROUNDING = 1e-6
_TOPS = 2 ** np.arange(11)
"""Numbers of most frequent codes whose shares must be alike in near-duplicates."""
SMOOTHING = 10.0
"""Rows at the mean click rate that are added to those of every code."""
_GOLDEN = np.uint64(0x9E3779B1)
"""2³² over the golden ratio: its multiples spread over folds evenly, whatever period the rows have."""


@dataclass(frozen=True)
class NearPair:
    """Two columns, by their places, that are nearly the same up to renaming."""

    first: int
    second: int
    v: float


@dataclass(frozen=True)
class Twins:
    """Which columns say the same."""

    groups: tuple[tuple[int, ...], ...]
    """Places of columns that are equal up to renaming; groups of two and more."""
    near: tuple[NearPair, ...]
    """Near-duplicates; of a group of twins, its first column alone is compared."""


def cramers_v(a: ArrayLike, b: ArrayLike) -> float:
    """Cramér's V, 0 to 1, its bias corrected; NaN where a column is constant or has no code twice.

    Args:
        a: codes [n].
        b: codes [n].

    Raises:
        NotTestable: the columns are of unequal lengths, empty, or no integers.
    """
    return _v(_pairs(*_dense_pair(a, b)))


def corrected_v(phi2: float, shape: tuple[int, int], n: int, freedom: float | None = None) -> float:
    """Cramér's V, 0 to 1, of a contingency table that one has counted oneself.

    Args:
        phi2: φ², as it comes from the table.
        shape: R and C, two or more, fewer than ``n``.
        n: rows.
        freedom: n φ² on average where the columns are independent; none: (R - 1)(C - 1).
    """
    a, b = (size - 1 for size in shape)
    phi2 = max(0.0, phi2 - (a * b if freedom is None else freedom) / (n - 1))
    return min(1.0, math.sqrt(phi2 / min(a - a**2 / (n - 1), b - b**2 / (n - 1))))


def same_partition(a: ArrayLike, b: ArrayLike) -> bool:
    """Whether ``b`` is ``a`` with its codes renamed, none joined and none divided; exact.

    Raises:
        NotTestable: as for ``cramers_v``.
    """
    (x, n_x), (y, n_y) = _dense_pair(a, b)
    if n_x != n_y:
        return False
    beside = np.empty(n_x, dtype=y.dtype)
    beside[x] = y
    return bool((beside[x] == y).all())  # a function from n codes onto n codes is one-to-one


def partition_signature(codes: ArrayLike) -> bytes:
    """A hash that columns share which are equal up to renaming, and (but for a chance of 2⁻¹²⁸) no others."""
    dense, n_codes = _dense(codes)
    first = np.empty(n_codes, dtype=np.uint32 if len(dense) < 2**32 else np.uint64)
    first[dense[::-1]] = np.arange(len(dense), dtype=first.dtype)[::-1]  # the last write stays: the first row
    return hashlib.blake2b(first[dense].tobytes(), digest_size=16).digest()


def single_field_auc(codes: ArrayLike, labels: ArrayLike, folds: int = 5) -> float:
    """AUC of the click rates of the codes, each row ranked by rates of the other folds; the mean over folds.

    Rates are smoothed by ``SMOOTHING`` rows at the mean rate. Folds depend on row numbers alone.

    Args:
        codes: [n].
        labels: 0 or 1, [n].
        folds: two or more.

    Returns:
        About 0.5 where codes do not say the label, however many there are; NaN where no fold has both labels.

    Raises:
        NotTestable: columns of unequal lengths, empty or no integers, labels other than 0 and 1, fewer than two folds.
    """
    (x, n_codes), clicked = _dense(codes), np.asarray(labels)
    if len(clicked) != len(x) or folds < 2:
        raise NotTestable(f"{len(x)} codes, {len(clicked)} labels, {folds} folds")
    if not np.isin(clicked, (0, 1)).all():
        raise NotTestable("labels other than 0 and 1")
    key = (x * folds + _folds(len(x), folds)) * 2 + clicked.astype(np.int64)
    counts = np.bincount(key, minlength=n_codes * folds * 2).reshape(n_codes, folds, 2)
    found = [_fold_auc(counts, fold) for fold in range(folds)]
    defined = [auc for auc in found if not math.isnan(auc)]
    return float(np.mean(defined)) if defined else math.nan


def lists_auc(values: np.ndarray, labels: ArrayLike, folds: int = 5) -> float:
    """``single_field_auc`` where a row has several values: it is ranked by the mean of their rates.

    Args:
        values: codes from 0 on, [n, most values]; negative where a row has no more.
        labels: 0 or 1, [n].
        folds: two or more.
    """
    clicked, own = np.asarray(labels).astype(np.int64), _folds(len(values), folds)
    rows, places = np.nonzero(values >= 0)
    codes, n_codes = values[rows, places].astype(np.int64), int(values.max(initial=0)) + 1
    key = (codes * folds + own[rows]) * 2 + clicked[rows]
    counts = np.bincount(key, minlength=n_codes * folds * 2).reshape(n_codes, folds, 2)
    found = []
    for fold in range(folds):
        mine = own[rows] == fold
        sums = np.bincount(rows[mine], _fold_rates(counts, fold)[codes[mine]], len(values))
        held = own == fold
        means = sums[held] / np.maximum(np.bincount(rows[mine], minlength=len(values))[held], 1)
        by_label = np.stack([clicked[held] == 0, clicked[held] == 1], axis=1)
        found.append(_rates_auc(np.round(means, 12), by_label))  # one set of values, one rate, whatever their order
    defined = [auc for auc in found if not math.isnan(auc)]
    return float(np.mean(defined)) if defined else math.nan


def twins(columns: Sequence[ArrayLike], near: float = NEAR, rows: int = NEAR_ROWS) -> Twins:
    """Columns that are equal up to renaming (on all rows, exact), and near-duplicates (on at most ``rows`` rows).

    Constant columns and those without any code twice are nobody's twins.

    Args:
        columns: codes [n] each.
        near: near-duplicates have a larger Cramér's V, and agree in ``AGREEMENT`` of the rows.
        rows: on how many rows, evenly spaced, near-duplicates are looked for.

    Raises:
        NotTestable: columns of unequal lengths, empty, or no integers.
    """
    arrays = [np.asarray(column) for column in columns]
    if len({len(array) for array in arrays}) > 1:
        raise NotTestable("columns of unequal lengths")
    alike: dict[bytes, list[int]] = defaultdict(list)
    for place, array in enumerate(arrays):
        if 1 < _dense(array)[1] < len(array):
            alike[partition_signature(array)].append(place)
    groups = tuple(tuple(group) for group in alike.values() if len(group) > 1)
    firsts = [group[0] for group in alike.values()]
    n_rows = len(arrays[0]) if arrays else 0
    chosen = np.linspace(0, n_rows - 1, rows).astype(np.int64) if n_rows > rows else slice(None)
    return Twins(groups, tuple(_near_pairs({place: _dense(arrays[place][chosen]) for place in firsts}, near)))


_Dense = tuple[np.ndarray, int]
"""Codes from 0 on without gaps, int64 [n], and how many there are."""


def _dense(codes: ArrayLike) -> _Dense:
    array = np.asarray(codes)
    if array.ndim != 1 or not len(array) or array.dtype.kind not in "iub":
        raise NotTestable(f"a column of codes is a list of integers, not {array.dtype} {list(array.shape)}")
    low, high = int(array.min()), int(array.max())
    if high - low > 4 * len(array) + 1024:
        values, dense = np.unique(array, return_inverse=True)
        return dense, len(values)
    shifted = (array - low).astype(np.int64) if array.dtype.kind == "u" else array.astype(np.int64) - low
    present = np.zeros(high - low + 1, dtype=np.bool_)
    present[shifted] = True
    number = np.cumsum(present) - 1
    return number[shifted], int(number[-1]) + 1


def _dense_pair(a: ArrayLike, b: ArrayLike) -> tuple[_Dense, _Dense]:
    x, y = _dense(a), _dense(b)
    if len(x[0]) != len(y[0]):
        raise NotTestable(f"columns of {len(x[0])} and {len(y[0])} rows")
    return x, y


@dataclass(frozen=True)
class _Pairs:
    """The cells of a contingency table that are not empty."""

    first: np.ndarray
    second: np.ndarray
    rows: np.ndarray
    shape: tuple[int, int]


def _pairs(x: _Dense, y: _Dense) -> _Pairs:
    (a, n_a), (b, n_b) = x, y
    key = a * n_b + b
    if n_a * n_b <= 4 * len(key) + 1024:
        counts = np.bincount(key, minlength=n_a * n_b)
        cells = np.flatnonzero(counts)
        return _Pairs(cells // n_b, cells % n_b, counts[cells], (n_a, n_b))
    cells, counts = np.unique(key, return_counts=True)
    return _Pairs(cells // n_b, cells % n_b, counts, (n_a, n_b))


def _v(pairs: _Pairs) -> float:
    n, (n_a, n_b) = int(pairs.rows.sum()), pairs.shape
    if min(n_a, n_b) < 2 or max(n_a, n_b) == n:
        return math.nan
    by_a, by_b = np.bincount(pairs.first, pairs.rows), np.bincount(pairs.second, pairs.rows)
    phi2 = float((pairs.rows**2 / (by_a[pairs.first] * by_b[pairs.second])).sum()) - 1
    return corrected_v(phi2, pairs.shape, n)


def _agreement(pairs: _Pairs) -> float:
    """Share of rows in which the best function of one column gives the other; the smaller of both directions."""
    best = []
    for codes, n_codes in zip((pairs.first, pairs.second), pairs.shape, strict=True):
        most = np.zeros(n_codes, dtype=np.int64)
        np.maximum.at(most, codes, pairs.rows)
        best.append(int(most.sum()))
    return min(best) / int(pairs.rows.sum())


def _near_pairs(columns: dict[int, _Dense], near: float) -> list[NearPair]:
    """Pairs whose V is above ``near``; a look at the shares and at a few rows ends most before their table is made."""
    places = list(columns)
    tops = np.array([_top_shares(columns[place]) for place in places]).reshape(len(places), len(_TOPS))
    found = []
    glances = {place: _dense(dense[:: max(1, len(dense) // _GLANCE_ROWS)]) for place, (dense, _) in columns.items()}
    rows = np.array([dense for dense, _ in glances.values()], dtype=np.int32)
    for i, first in enumerate(places):
        # k codes of one, renamed, are at most k of the other: their shares differ by what does not agree, at most
        alike = (np.abs(tops[i + 1 :] - tops[i]) <= 1 - AGREEMENT).all(axis=1)
        for j in _may_agree(rows, i, np.flatnonzero(alike) + i + 1):
            second = places[j]
            if _agreement(_pairs(glances[first], glances[second])) < _GLANCE:
                continue
            pairs = _pairs(columns[first], columns[second])
            if _agreement(pairs) >= AGREEMENT and (v := _v(pairs)) > near:
                found.append(NearPair(first, second, v))
    return found


def _may_agree(rows: np.ndarray, first: int, others: np.ndarray) -> np.ndarray:
    """Those of ``others`` whose agreement with the column ``first`` can reach ``_GLANCE``; few that do not are left.

    Of two rows with one code in the first column and two in the other, one at least is against any function from the
    first to the other. Pairs of rows that share none count such rows from below, all columns at once.

    Args:
        rows: codes, int32 [columns, rows].
        first: a column.
        others: columns, increasing.
    """
    order = np.argsort(rows[first], kind="stable")
    codes = rows[first][order]
    starts = np.flatnonzero(np.append(True, codes[1:] != codes[:-1]))
    within = np.arange(len(codes)) - np.repeat(starts, np.diff(np.append(starts, len(codes))))
    pairs = np.flatnonzero((within[:-1] % 2 == 0) & (within[1:] > within[:-1]))
    kept = [np.empty(0, dtype=np.int64)]
    for start in range(0, len(others), _COLUMNS_AT_ONCE):
        some = others[start : start + _COLUMNS_AT_ONCE]
        codes = rows[some]
        against = (codes[:, order[pairs]] != codes[:, order[pairs + 1]]).sum(axis=1)
        kept.append(some[against <= (1 - _GLANCE) * len(order) + _ROUNDING])
    return np.concatenate(kept)


def _top_shares(column: _Dense) -> np.ndarray:
    """Share of rows that the 1, 2, 4, … most frequent codes hold."""
    counts = np.sort(np.bincount(column[0]))[::-1].cumsum()
    return np.asarray(counts[np.minimum(_TOPS, len(counts)) - 1] / len(column[0]))


def _folds(n_rows: int, folds: int) -> np.ndarray:
    spread = (np.arange(n_rows, dtype=np.uint64) * _GOLDEN) & np.uint64(0xFFFFFFFF)
    return ((spread * np.uint64(folds)) >> np.uint64(32)).astype(np.int64)


def _fold_auc(counts: np.ndarray, fold: int) -> float:
    """AUC in one fold of rates from the others; ``counts`` is [codes, folds, 2], rows by label."""
    return _rates_auc(_fold_rates(counts, fold), counts[:, fold])


def _fold_rates(counts: np.ndarray, fold: int) -> np.ndarray:
    """Smoothed click rates of the codes outside one fold, [codes]."""
    other = counts.sum(axis=1) - counts[:, fold]  # [codes, 2]
    total = other.sum(axis=0)
    mean = total[1] / max(1, total.sum())
    return np.asarray((other[:, 1] + SMOOTHING * mean) / (other.sum(axis=1) + SMOOTHING))


def _rates_auc(rates: np.ndarray, counts: np.ndarray) -> float:
    """AUC of ``rates`` [n], of which each stands for ``counts`` [n, 2] rows by label."""
    values, tied = np.unique(rates, return_inverse=True)
    not_clicked, clicked = (np.bincount(tied, counts[:, label], len(values)) for label in (0, 1))
    if not clicked.sum() or not not_clicked.sum():
        return math.nan
    below = np.cumsum(not_clicked) - not_clicked / 2  # ties count half
    return float((clicked * below).sum() / (clicked.sum() * not_clicked.sum()))
