"""Facts of the fields of a prepared data set, from its training rows.

What is dear is measured on some of the rows, evenly spaced: at most ``MOST_ROWS``, and of wide tables so many that
their cells are at most ``MOST_CELLS``. What is then called constant or one-to-one is so on every training row.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bench.data.schema import FIRST_VALUE, MISSING, Schema
from bench.data.store import manifest as files
from bench.data.store.splits import TRAIN
from bench.data.store.store import ROWS_AT_ONCE, Store
from bench.stats.association import cramers_v, lists_auc, single_field_auc, twins

__all__ = ["LEAK", "MOST_CELLS", "MOST_ROWS", "FieldFacts", "Measured", "measure"]

MOST_ROWS = 200_000
MOST_CELLS = 100_000_000
LEAK = 0.95
"""AUC of a single field above which it may say the label."""
_BUCKETS = 100
"""Ranges of equal numbers of rows that stand for the numbers of a numeric field."""


@dataclass(frozen=True)
class FieldFacts:
    """One field."""

    name: str
    kind: str
    values: int
    """With an embedding of their own; of a numeric field, different numbers in the rows looked at."""
    missing: float
    """Share of the rows looked at."""
    top: float
    """Share of those that the most frequent value has."""
    auc: float | None
    """Of the field alone, out of fold; None where it cannot be measured."""
    constant: bool = False
    twins: tuple[str, ...] = ()
    """Fields that are one-to-one with it; of numbers, those that rise or fall with it."""
    near: tuple[tuple[str, float], ...] = ()
    """Near-duplicates, with Cramér's V."""

    @property
    def leak(self) -> bool:
        """Whether the field alone says the label nearly always."""
        return self.auc is not None and self.auc > LEAK


@dataclass(frozen=True)
class Measured:
    """All fields, in the order of the schema."""

    rows: int
    """Training rows looked at."""
    train_rows: int
    fields: tuple[FieldFacts, ...]


@dataclass(frozen=True)
class _Sample:
    """Some training rows, column by column."""

    schema: Schema
    labels: np.ndarray
    """uint8 [n]."""
    local: np.ndarray
    """Ids that begin at 0 in every field, int32 [F, n]."""
    numbers: dict[int, np.ndarray]
    """By numeric field, float32 [n]."""
    lists: dict[int, np.ndarray]
    """By pooled field: the ids of a row's values in increasing order, int64 [n, positions]; -1 where it has no more."""

    def codes(self, field: int) -> np.ndarray:
        """What stands for the field in every statistic, [n]: ids, or ranges of numbers, missing ones apart."""
        if field in self.lists:
            return np.unique(self.lists[field], axis=0, return_inverse=True)[1].reshape(-1)
        if field not in self.numbers:
            return np.asarray(self.local[field])
        missing, numbers = self.local[field] == MISSING, self.numbers[field]
        if missing.all():
            return np.zeros(len(numbers), dtype=np.int64)
        edges = np.unique(np.quantile(numbers[~missing], np.linspace(0, 1, _BUCKETS + 1)[1:-1]))
        return np.asarray(np.where(missing, 0, 1 + np.searchsorted(edges, numbers, side="right")))


def measure(store: Store) -> Measured:
    """The facts of all fields of ``store``, or of those of its rows that are used.

    Raises:
        DataError: a file of the store is missing or cut short.
    """
    train = store.rows(TRAIN)
    schema, new_ids = store.vocabulary()
    columns = _Columns(store, schema, new_ids)
    n = min(len(train), MOST_ROWS, max(1, MOST_CELLS // schema.n_fields))
    chosen = np.linspace(0, len(train) - 1, n).astype(np.int64)
    labels = store.labels[store.splits == TRAIN][chosen]
    local = np.empty((schema.n_fields, n), dtype=np.int32)
    for start, block in columns.blocks(train[chosen], range(schema.n_fields)):
        local[:, start : start + len(block)] = block.T
    sample = _Sample(schema, labels, local, columns.numbers(train[chosen]), columns.lists(train[chosen]))
    found = [_alone(sample, field) for field in range(schema.n_fields)]
    return Measured(n, len(train), _related(found, sample, columns, train))


class _Columns:
    """The columns of a store, of which any rows and fields can be read."""

    def __init__(self, store: Store, schema: Schema, new_ids: np.ndarray | None) -> None:
        """Nothing is read yet."""
        self.schema, self._store, self._new_ids = schema, store, new_ids
        ids = store.ids(files.IDS)
        assert ids is not None
        self._ids = ids

    def blocks(self, rows: np.ndarray, fields: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """(number of the first, local ids [n, fields]) of ``rows``, some at a time."""
        offsets = self.schema.offsets[:-1][list(fields)]
        for start in range(0, len(rows), ROWS_AT_ONCE):
            ids = self._ids.take(rows[start : start + ROWS_AT_ONCE])[:, list(fields)]
            yield start, (ids if self._new_ids is None else self._new_ids[ids]) - offsets

    def further(self, rows: np.ndarray, field: int) -> np.ndarray:
        """Local ids of the further values of a pooled field in ``rows``, int64 [n, positions - 1]; -1 for none."""
        pooled = self._store.ids(files.POOLED)
        assert pooled is not None
        owners = self.schema.column_fields[self.schema.n_fields :]
        ids = pooled.take(rows)[:, owners == field]
        local = (ids if self._new_ids is None else self._new_ids[ids]) - self.schema.offsets[field]
        return np.where(local == MISSING, -1, local)

    def lists(self, rows: np.ndarray) -> dict[int, np.ndarray]:
        """Local ids of all values of ``rows`` by pooled field, in increasing order; -1 for none."""
        found = {}
        for field in self.schema.pooled_fields:
            first = np.concatenate([block for _, block in self.blocks(rows, [field])])
            found[field] = np.sort(np.concatenate([first, self.further(rows, field)], axis=1), axis=1)
        return found

    def numbers(self, rows: np.ndarray) -> dict[int, np.ndarray]:
        """The numbers of ``rows`` by numeric field."""
        if not self.schema.numeric_fields:
            return {}
        numbers = self._store.numbers.take(rows)
        return {field: numbers[:, place] for place, field in enumerate(self.schema.numeric_fields)}


def _alone(sample: _Sample, field: int) -> FieldFacts:
    spec, local = sample.schema.fields[field], sample.local[field]
    codes, lists = sample.codes(field), sample.lists.get(field)
    auc = single_field_auc(codes, sample.labels) if lists is None else lists_auc(lists, sample.labels)
    missing = float((local == MISSING).mean())
    if field in sample.numbers:
        counts = np.unique(sample.numbers[field][local != MISSING], return_counts=True)[1]
        values, top = len(counts), max(missing, float(counts.max(initial=0)) / len(local))
    else:
        values, top = spec.cardinality - FIRST_VALUE, float(np.bincount(codes).max()) / len(local)
    return FieldFacts(spec.name, spec.kind, values, missing, top, None if math.isnan(auc) else auc)


def _related(
    found: Sequence[FieldFacts], sample: _Sample, columns: _Columns, train: np.ndarray
) -> tuple[FieldFacts, ...]:
    """The facts with what holds between fields; what some rows suggest is looked up in all of them."""
    codes = [sample.codes(field) for field in range(len(found))]
    same = twins(codes)
    constant = {field for field, facts in enumerate(found) if facts.top == 1.0}
    pairs = [(group[0], other) for group in same.groups for other in group[1:]]
    if len(sample.labels) < len(train):
        constant &= _constant(columns, train, sorted(constant))
    holds = _one_to_one(columns, train, pairs)
    alike: dict[int, list[int]] = defaultdict(list)
    near: dict[int, list[tuple[str, float]]] = defaultdict(list)
    for first, other in pairs:
        if (first, other) in holds:
            alike[first].append(other)
    close = [(pair.first, pair.second, pair.v) for pair in same.near]
    close += [(a, b, cramers_v(codes[a], codes[b])) for a, b in pairs if (a, b) not in holds]
    for a, b, v in close:
        near[a].append((found[b].name, v))
        near[b].append((found[a].name, v))
    groups = {one: (first, *rest) for first, rest in alike.items() for one in (first, *rest)}
    return tuple(
        FieldFacts(
            facts.name, facts.kind, facts.values, facts.missing, facts.top, facts.auc, field in constant,
            tuple(found[other].name for other in groups.get(field, ()) if other != field), tuple(near[field]),
        )
        for field, facts in enumerate(found)
    )  # fmt: skip


def _constant(columns: _Columns, train: np.ndarray, fields: Sequence[int]) -> set[int]:
    """Those of ``fields`` that have one value on all rows."""
    ids = [field for field in fields if field not in columns.schema.numeric_fields]
    left = set(ids)
    first: np.ndarray | None = None
    for _, block in columns.blocks(train, ids) if ids else ():
        first = block[0] if first is None else first
        left -= {ids[place] for place in np.flatnonzero((block != first).any(axis=0))}
    for field in sorted(left & set(columns.schema.pooled_fields)):
        further = columns.further(train, field)
        if (further != further[0]).any():
            left.discard(field)
    numbers = columns.numbers(train) if len(ids) < len(fields) else {}
    return left | {field for field in fields if field in numbers and len(np.unique(numbers[field])) == 1}


def _one_to_one(columns: _Columns, train: np.ndarray, pairs: Iterable[tuple[int, int]]) -> set[tuple[int, int]]:
    """Those of ``pairs`` that are one-to-one on all rows: ids with ids, numbers with numbers; pooled ones are not."""
    numeric, pooled = set(columns.schema.numeric_fields), set(columns.schema.pooled_fields)
    by_ids = [pair for pair in pairs if not (numeric | pooled) & set(pair)]
    by_number = [pair for pair in pairs if numeric >= set(pair)]
    return _same_ids(columns, train, by_ids) | _same_order(columns, train, by_number)


def _same_ids(columns: _Columns, train: np.ndarray, pairs: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
    fields = sorted({field for pair in pairs for field in pair})
    place = {field: i for i, field in enumerate(fields)}
    sizes = columns.schema.cardinalities
    beside = {(a, b): np.full(sizes[a], -1, dtype=np.int64) for pair in pairs for a, b in (pair, pair[::-1])}
    left = set(pairs)
    for _, block in columns.blocks(train, fields) if fields else ():
        for pair in tuple(left):
            for a, b in (pair, pair[::-1]):
                x, y, known = block[:, place[a]], block[:, place[b]], beside[a, b]
                new = known[x] < 0
                known[x[new]] = y[new]
                if (known[x] != y).any():
                    left.discard(pair)
    return left


def _same_order(columns: _Columns, train: np.ndarray, pairs: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
    """Pairs of numeric fields of which one rises, or falls, wherever the other rises, missing together."""
    if not pairs:
        return set()
    fields = sorted({field for pair in pairs for field in pair})
    numbers = columns.numbers(train)
    missing = np.concatenate([block == MISSING for _, block in columns.blocks(train, fields)])  # [n, fields]
    lost = {field: missing[:, i] for i, field in enumerate(fields)}
    found = set()
    for a, b in pairs:
        if not np.array_equal(lost[a], lost[b]):
            continue
        x, y = (np.unique(numbers[field][~lost[a]], return_inverse=True)[1] for field in (a, b))
        if np.array_equal(x, y) or np.array_equal(x, y.max(initial=0) - y):
            found.add((a, b))
    return found
