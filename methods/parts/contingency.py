"""Rows of each field by value and label, counted once, and what such a table says of the label.

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

__all__ = ["Table", "label_tables", "sorted_sum"]

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
        cells = np.stack([self.clicks, np.maximum(self.counts - self.clicks, 0.0)])
        expected = self.counts * np.array([[self.rate], [1 - self.rate]])
        there = cells > 0
        return sorted_sum(cells[there] * np.log(cells[there] / expected[there])) / self.rows

    @property
    def corrected_information(self) -> float:
        """The same less d / (2 N), what chance gives; see ``methods/mutual_information.py``."""
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
    width = max(1, _CELLS // max(1, len(rows)))
    for start in range(0, rows.schema.n_fields, width):
        check(f"field {start + 1}")
        block = range(start, min(start + width, rows.schema.n_fields))
        part = rows.keep(block).bucketed(buckets).merge_rare(min_count)
        codes = local_codes(part)
        for f, field in enumerate(part.schema.fields):
            count = _count_pooled if field.positions > 1 else _count
            yield count(part, f, codes[:, f], positive, rate)


def sorted_sum(terms: np.ndarray) -> float:
    """The sum in order of size, which does not depend on the order given."""
    return float(np.sort(terms).sum())


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
