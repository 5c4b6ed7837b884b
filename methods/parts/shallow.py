"""What the shallow selectors share: bounds on rows and time, rows as a matrix of numbers, permutation importance.

Shapes: N rows, F fields. Matrices are column-major, because fields are counted and encoded one at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from bench.api import Rows, Schema, stratified_sample

__all__ = [
    "CELLS",
    "CHUNK",
    "Deadline",
    "bound_rows",
    "category_matrix",
    "code_matrix",
    "draw_number",
    "each_field",
    "frequency_matrix",
    "further_codes",
    "labels_of",
    "local_codes",
    "new_matrix",
    "permutation_importance",
    "pooled_means",
    "put_numeric",
    "refuse_pooled",
    "standardise",
]

CHUNK = 1 << 16
"""Rows of a matrix product at once: what a cache holds."""
CELLS = 1 << 24
"""Ids or numbers that are copied at once: 64 MB."""


class Deadline:
    """The end of a selection's time, counted from the moment it is made."""

    def __init__(self, budget_s: float) -> None:
        self.budget_s, self.end = budget_s, time.perf_counter() + budget_s

    def check(self, doing: str) -> None:
        """Say what comes next or has just been done.

        Raises:
            TimeoutError: the time is spent; the cell ends as ``timeout`` and keeps no ranking.
        """
        if time.perf_counter() > self.end:
            raise TimeoutError(f"time_budget_s={self.budget_s:g} was spent at {doing}: raise it or lower max_rows")


def bound_rows(rows: Rows, limit: int, generator: torch.Generator) -> Rows:
    """At most ``limit`` of the rows, drawn uniformly within each class: the share of positives stays."""
    if len(rows) <= limit:
        return rows
    return rows.take(stratified_sample(rows.labels, limit, generator))


def draw_number(generator: torch.Generator) -> int:
    """A number below 2^31, the seed of what does not take a generator."""
    return int(torch.randint(2**31 - 1, (1,), generator=generator))


def labels_of(rows: Rows) -> np.ndarray:
    """Labels on the host, float32 [N]."""
    return np.asarray(rows.labels.cpu().numpy())


def local_codes(rows: Rows) -> np.ndarray:
    """Ids counted from 0 within each field, int32 [N, F], column-major; of a pooled field that of the first value."""
    return _local_codes(rows, 0, rows.schema.n_fields)


def each_field(*parts: Rows) -> Iterator[tuple[int, list[np.ndarray]]]:
    """The number of each field and its codes in each of ``parts``, int32 [N], as in ``local_codes``.

    Some fields are copied at a time, so that there is no second copy of all rows.
    """
    n_fields = parts[0].schema.n_fields
    width = max(1, CELLS // max(1, *map(len, parts)))
    for start in range(0, n_fields, width):
        blocks = [_local_codes(part, start, min(start + width, n_fields)) for part in parts]
        for f in range(blocks[0].shape[1]):
            yield start + f, [block[:, f] for block in blocks]


def _local_codes(rows: Rows, start: int, stop: int) -> np.ndarray:
    columns = rows.ids[:, start:stop].t().contiguous().cpu().numpy()
    return np.asarray((columns - rows.schema.offsets[start:stop, None].astype(np.int32)).T)


def refuse_pooled(schema: Schema, what: str) -> str | None:
    """Why ``what``, which reads one code a row and field, has no part in data with pooled fields."""
    if not schema.pooled_fields:
        return None
    first, more = schema.names[schema.pooled_fields[0]], len(schema.pooled_fields) - 1
    return (
        f"{what} reads one value a row, and {first}{f' and {more} more' if more else ''} may have several: "
        'take variant=sound, or give such columns multi = "combination" in the card'
    )


def further_codes(rows: Rows, field: int) -> np.ndarray:
    """The further values of a pooled field, counted from 0, int32 [N, positions - 1]; -1 where there is none."""
    assert rows.pooled is not None
    schema = rows.schema
    columns = np.flatnonzero(schema.column_fields[schema.n_fields :] == field)
    ids = rows.pooled[:, columns.tolist()].cpu().numpy()
    return np.where(ids == schema.padding[columns], -1, ids - np.int32(schema.offsets[field]))


def pooled_means(first: np.ndarray, further: np.ndarray) -> np.ndarray:
    """Means over the values of each row, float64 [N].

    Args:
        first: a number of each row's first value, [N].
        further: numbers of the others, [N, P], NaN where there is none.
    """
    counts = 1 + np.count_nonzero(~np.isnan(further), axis=1)
    return np.asarray((first + np.nansum(further, axis=1, dtype=np.float64)) / counts)


def put_numeric(matrix: np.ndarray, rows: Rows) -> None:
    """Overwrite the columns of numeric fields, whose ids say nothing, with their values."""
    if rows.numeric is not None:
        matrix[:, list(rows.schema.numeric_fields)] = rows.numeric.cpu().numpy()


def code_matrix(rows: Rows) -> np.ndarray:
    """Codes taken for numbers, float32 [N, F], exact below 2^24; numeric fields give their values."""
    matrix = new_matrix(rows)
    for f, (codes,) in each_field(rows):
        matrix[:, f] = codes
    put_numeric(matrix, rows)
    return matrix


def new_matrix(rows: Rows, spare: int = 0) -> np.ndarray:
    """Room for a number a row and field, and for ``spare`` more columns, float32 [N, F + spare], column-major."""
    return np.empty((len(rows), rows.schema.n_fields + spare), dtype=np.float32, order="F")


def frequency_matrix(rows: Rows) -> np.ndarray:
    """log(1 + how often the value occurs in ``rows``), float32 [N, F]; numeric fields give their values.

    Of pooled fields the mean over the values of a row.
    """
    matrix = new_matrix(rows)
    for f, (codes,) in each_field(rows):
        if f not in rows.schema.pooled_fields:
            matrix[:, f] = np.log1p(np.bincount(codes))[codes]
            continue
        further = further_codes(rows, f)
        size = rows.schema.fields[f].cardinality
        counts = np.bincount(codes, minlength=size) + np.bincount(further[further >= 0], minlength=size)
        table = np.append(np.log1p(counts), np.nan)  # the last one is that of -1
        matrix[:, f] = pooled_means(table[codes], table[further])
    put_numeric(matrix, rows)
    return matrix


def standardise(matrix: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and variance 1, float32 [N, F]; a constant column becomes 0."""
    mean = matrix.mean(axis=0, dtype=np.float64)
    deviation = matrix.std(axis=0, dtype=np.float64)
    constant = deviation <= 1e-7 * np.maximum(np.abs(mean), 1e-30)
    scaled = (matrix - mean.astype(np.float32)) / np.where(constant, np.inf, deviation).astype(np.float32)
    return np.asarray(scaled, dtype=np.float32)


def category_matrix(train: Rows, others: Rows, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes renumbered by frequency in ``train``, float32 [N, F] and [M, F]; numeric fields keep values.

    The ``limit`` most frequent values of a field get 0, 1, ... (ties: the lower code first), the others share
    ``limit``; a value without rows in ``train`` is NaN.
    """
    matrix, other_matrix = new_matrix(train), new_matrix(others)
    for f, (codes, other_codes) in each_field(train, others):
        size = train.schema.fields[f].cardinality
        counts = np.bincount(codes, minlength=size)
        number = np.full(size, limit, dtype=np.float32)
        order = np.argsort(-counts, kind="stable")[:limit]
        number[order] = np.arange(len(order))
        number[counts == 0] = np.nan
        matrix[:, f], other_matrix[:, f] = number[codes], number[other_codes]
    put_numeric(matrix, train)
    put_numeric(other_matrix, others)
    return matrix, other_matrix


def permutation_importance(
    margin: Callable[[np.ndarray], np.ndarray],
    matrix: np.ndarray,
    labels: np.ndarray,
    columns: Sequence[int],
    repeats: int,
    generator: torch.Generator,
) -> np.ndarray:
    """Log loss that a model loses when one column is shuffled, float64 [repeats, F].

    Args:
        margin: maps a row-major matrix [N, F] to logits [N].
        matrix: rows that the model was not fitted on, [N, F].
        labels: 0 or 1, [N].
        columns: the columns to shuffle; all others get 0, so leave out only what the model does not use.
        repeats: orders that are drawn; every column is shuffled once by each of them.
        generator: draws the orders.
    """
    orders = [torch.randperm(len(labels), generator=generator).numpy() for _ in range(repeats)]
    work = np.array(matrix, order="C")
    base = _log_loss(margin(work), labels)
    losses = np.zeros((repeats, matrix.shape[1]))
    for column in columns:
        for repeat, order in enumerate(orders):
            work[:, column] = matrix[order, column]
            losses[repeat, column] = _log_loss(margin(work), labels) - base
        work[:, column] = matrix[:, column]
    return losses


def _log_loss(margin: np.ndarray, labels: np.ndarray) -> float:
    margin = margin.astype(np.float64)
    return float(np.mean(np.logaddexp(0.0, margin) - labels * margin))
