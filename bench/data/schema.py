"""What an encoded data set looks like: its fields, their tables' sizes and where each begins.

Every field owns a block of rows in one fused embedding table. Row 0 of a block stands for rare and unseen
values, row 1 for a missing value; both always exist. Ids in the store already carry the block's offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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

    def bucketed(self, buckets: int) -> Schema:
        """The schema with ``buckets`` values in the place of numbers."""
        bucket = FIRST_VALUE + buckets
        return Schema(tuple(Field(f.name, "integer", bucket) if f.kind == "numeric" else f for f in self.fields))

    def keep(self, kept: Sequence[int]) -> Schema:
        """The schema of the fields ``kept`` (indices, increasing)."""
        return Schema(tuple(self.fields[i] for i in kept))
