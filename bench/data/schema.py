"""What an encoded data set looks like: its fields, their tables' sizes and where each begins.

Every field owns a block of rows in one fused embedding table. Row 0 of a block stands for rare and unseen
values, row 1 for a missing value; both always exist. Ids in the store already carry the block's offset.

A row has one id of each of its F fields. Of a pooled field it may have more: they have columns of their own, P for all
such fields, in the order of fields and of values, filled up with the id of a missing value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

RARE = 0
"""Local id of a value that is rare in the training split or absent from it."""
MISSING = 1
"""Local id of a missing value."""
FIRST_VALUE = 2
"""Local id of the first kept value."""

Kind = Literal["categorical", "integer", "numeric"]


@dataclass(frozen=True)
class Field:
    """One input column after encoding."""

    name: str
    kind: Kind
    """categorical: ids; integer: bucketed, then ids; numeric: one id whose vector is multiplied by the value."""
    cardinality: int
    """Rows of the embedding table, the two reserved ones included; at least 2."""
    positions: int = 1
    """Values that a row has at most; of more than one the field is pooled: their embeddings' mean stands for them."""


@dataclass(frozen=True)
class Schema:
    """The fields of an encoded data set, in order."""

    fields: tuple[Field, ...]

    @property
    def n_fields(self) -> int:
        return len(self.fields)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields)

    @cached_property
    def cardinalities(self) -> np.ndarray:
        """Rows of each field's table, int64 [F]."""
        return np.array([field.cardinality for field in self.fields], dtype=np.int64)

    @cached_property
    def offsets(self) -> np.ndarray:
        """First row of each field in the fused table and, last, the number of rows V; int64 [F + 1]."""
        return np.concatenate([[0], np.cumsum(self.cardinalities)])

    @property
    def vocabulary_rows(self) -> int:
        """V, the rows of the fused table."""
        return int(self.offsets[-1])

    @cached_property
    def numeric_fields(self) -> tuple[int, ...]:
        """Indices of the fields whose vector is multiplied by a value, in the order of the numeric columns."""
        return tuple(i for i, field in enumerate(self.fields) if field.kind == "numeric")

    @cached_property
    def pooled_fields(self) -> tuple[int, ...]:
        """Indices of the fields with several values in a row."""
        return tuple(i for i, field in enumerate(self.fields) if field.positions > 1)

    @cached_property
    def column_fields(self) -> np.ndarray:
        """The field of each column of ids, int64 [F + P]: the F fields, then the P columns of further values."""
        further = [i for i in self.pooled_fields for _ in range(self.fields[i].positions - 1)]
        return np.array([*range(self.n_fields), *further], dtype=np.int64)

    @cached_property
    def padding(self) -> np.ndarray:
        """What stands in each column of further values where a row has no more of them, int32 [P]."""
        return np.asarray(self.offsets[self.column_fields[self.n_fields :]] + MISSING, dtype=np.int32)

    def resized(self, cardinalities: Sequence[int]) -> Schema:
        """The same fields with tables of other sizes."""
        return Schema(tuple(replace(f, cardinality=size) for f, size in zip(self.fields, cardinalities, strict=True)))

    def bucketed(self, buckets: int) -> Schema:
        """The schema with ``buckets`` values in the place of numbers."""
        bucket = FIRST_VALUE + buckets
        return Schema(tuple(Field(f.name, "integer", bucket) if f.kind == "numeric" else f for f in self.fields))

    def keep(self, kept: Sequence[int]) -> Schema:
        """The schema of the fields ``kept`` (indices, increasing)."""
        return Schema(tuple(self.fields[i] for i in kept))
