"""Rows of each field by value and label, counted once, and what such a table says of the label; rows of two fields.

With w_iv the share of value v among the values of row i (1 or 0 but for pooled fields, whose rows have several), N rows
with labels y_i, G the share of clicks, and

    n_v = Σ_i w_iv,   c_v = Σ_i w_iv y_i,   q_v = Σ_i w_iv²

a table of the field and the label has the cells c_v and n_v - c_v. Of a pooled field it is the table of one value of
the row, drawn at random. Where value and label are independent, Σ_v (c_v - n_v G)² / (n_v G (1 - G)) has the mean

    d = Σ_v q_v / n_v - 1        the degrees of freedom; without pooling, values that occur, less one

(times N / (N - 1), exactly), because c_v - n_v G has the variance G (1 - G) Σ_i (w_iv - n_v / N)². Terms are summed in
order of size: a table says the same, to the last bit, whatever the order of the codes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from bench.api import Rows
from methods.parts.shallow import further_codes, labels_of, local_codes

__all__ = ["Frequent", "Table", "frequent_values", "label_tables", "pair_information", "sorted_sum"]

_CELLS = 1 << 24
"""Ids at once: what is copied of them stays below half a gigabyte."""

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Table:
    """One field's values that occur, C of them."""

    counts: np.ndarray
    """n_v, float64 [C]."""
    clicks: np.ndarray
    """c_v, float64 [C]."""
    freedom: float
    """d."""
    rows: int
    """N."""
    rate: float
    """G."""

    @property
    def phi2(self) -> float:
        """Pearson's χ² over N; 0 where all labels are equal."""
        variance = self.rate * (1 - self.rate)
        if variance == 0:
            return 0.0
        return sorted_sum((self.clicks - self.counts * self.rate) ** 2 / self.counts) / (variance * self.rows)

    @property
    def information(self) -> float:
        """Mutual information of value and label in nats, as the shares in the table have it."""
        if not self.freedom or self.rate in (0, 1):  # exactly, where rounding would leave more than nothing
            return 0.0
        cells = np.stack([self.clicks, np.maximum(self.counts - self.clicks, 0.0)])
        expected = self.counts * np.array([[self.rate], [1 - self.rate]])
        there = cells > 0
        return sorted_sum(cells[there] * np.log(cells[there] / expected[there])) / self.rows

    @property
    def corrected_information(self) -> float:
        """The same less d / (2 N), what chance gives where labels differ; see ``methods/mutual_information.py``."""
        if self.rate in (0, 1):
            return 0.0
        return self.information - self.freedom / (2 * self.rows)


def label_tables(rows: Rows, buckets: int, min_count: int, check: Callable[[str], None]) -> Iterator[Table]:
    """The tables of all fields in their order; some columns are copied at a time.

    Args:
        rows: training rows.
        buckets: ranges of equally many rows that stand for the numbers of a numeric field.
        min_count: values of fewer rows share a cell, the one of rare values.
        check: told what comes next, and raises when the time is spent.
    """
    positive, rate = labels_of(rows) > 0.5, rows.positive_rate
    for block in _blocks(rows, buckets, check):
        part = block.merge_rare(min_count)
        codes = local_codes(part)
        for f, field in enumerate(part.schema.fields):
            count = _count_pooled if field.positions > 1 else _count
            yield count(part, f, codes[:, f], positive, rate)


@dataclass(frozen=True)
class Frequent:
    """One field by its most frequent values, renumbered from the most frequent one on; the others share a number."""

    codes: np.ndarray
    """Integers [N]."""
    counts: np.ndarray
    """Rows of each number, int64 [C], all above 0."""


def frequent_values(rows: Rows, buckets: int, limit: int, check: Callable[[str], None]) -> Iterator[Frequent]:
    """All fields in their order, with at most ``limit`` numbers each.

    Of values with equally many rows the one that comes first in the rows is kept, whatever their codes. A pooled
    field's sets of values are its values. ``buckets`` and ``check`` are as in ``label_tables``.
    """
    for part in _blocks(rows, buckets, check):
        codes = local_codes(part)
        for f, field in enumerate(part.schema.fields):
            yield _frequent(_sets(part, f, codes[:, f]) if field.positions > 1 else codes[:, f], limit)


def pair_information(one: Frequent, other: Frequent) -> float:
    """Mutual information of two fields in nats, less (R - 1)(C - 1) / (2 n), what chance gives."""
    n, width = len(one.codes), len(other.counts)
    cells = np.bincount(one.codes * np.int64(width) + other.codes)
    entropies = np.log(n) + (_n_log_n(cells) - _n_log_n(one.counts) - _n_log_n(other.counts)) / n
    return float(entropies - (len(one.counts) - 1) * (width - 1) / (2 * n))


def sorted_sum(terms: np.ndarray) -> float:
    """The sum in order of size, which does not depend on the order given."""
    return float(np.sort(terms).sum())


def _blocks(rows: Rows, buckets: int, check: Callable[[str], None]) -> Iterator[Rows]:
    """Some of the fields at a time, numbers as ranges."""
    width = max(1, _CELLS // max(1, len(rows)))
    for start in range(0, rows.schema.n_fields, width):
        check(f"field {start + 1}")
        yield rows.keep(range(start, min(start + width, rows.schema.n_fields))).bucketed(buckets)


def _frequent(codes: np.ndarray, limit: int) -> Frequent:
    n, counts = len(codes), np.bincount(codes)
    first = np.full(len(counts), n)
    first[codes[::-1]] = np.arange(n)[::-1]  # the last write stays: the first row
    order = np.lexsort((first, -counts))[: np.count_nonzero(counts)]
    number = np.full(len(counts), limit - 1, dtype=np.min_scalar_type(limit - 1))
    kept = order if len(order) <= limit else order[: limit - 1]
    number[kept] = np.arange(len(kept))
    renumbered = number[codes]
    return Frequent(renumbered, np.bincount(renumbered))


def _sets(part: Rows, field: int, codes: np.ndarray) -> np.ndarray:
    """A number for each set of values, int64 [N]."""
    values = np.sort(np.column_stack([codes, further_codes(part, field)]), axis=1)
    return np.unique(values, axis=0, return_inverse=True)[1].reshape(-1)


def _n_log_n(counts: np.ndarray) -> float:
    there = counts[counts > 0]
    return float((there * np.log(there)).sum())


def _count(part: Rows, field: int, codes: np.ndarray, positive: np.ndarray, rate: float) -> Table:
    counts = np.bincount(codes)
    there = counts > 0
    clicks = np.bincount(codes[positive], minlength=len(counts))[there].astype(np.float64)
    return Table(counts[there].astype(np.float64), clicks, float(there.sum()) - 1, len(codes), rate)


def _count_pooled(part: Rows, field: int, codes: np.ndarray, positive: np.ndarray, rate: float) -> Table:
    further, size = further_codes(part, field), part.schema.fields[field].cardinality
    owners, places = np.nonzero(further >= 0)
    row = np.concatenate([np.arange(len(codes)), owners])
    value = np.concatenate([codes, further[owners, places]])
    pairs, times = np.unique(row * np.int64(size) + value, return_counts=True)
    row, value = pairs // size, pairs % size
    share = times / (1 + np.bincount(owners, minlength=len(codes)))[row]
    counts, squares = np.bincount(value, share, size), np.bincount(value, share**2, size)
    clicks = np.bincount(value, share * positive[row], size)
    there = counts > 0
    freedom = sorted_sum(squares[there] / counts[there]) - 1
    freedom = freedom if freedom > _ROUNDING else 0.0  # rows that all have the same values
    return Table(counts[there], clicks[there], freedom, len(codes), rate)
