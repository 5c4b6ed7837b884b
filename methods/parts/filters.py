"""Filters: methods that score each field by its table with the label, and see no two fields together."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from bench.api import Context, Method, Range, Rows, Selection
from methods.parts import shallow
from methods.parts.contingency import Table, label_tables

__all__ = ["FilterParams", "LabelFilter", "none_varies"]


@dataclass(frozen=True)
class FilterParams:
    """Values without a source are chosen here, and were not tuned."""

    min_count: Annotated[int, Range(1)] = 20
    """Values of fewer rows count as one: what corrects for chance holds for cells of more than a few rows."""
    buckets: Annotated[int, Range(2)] = 16
    """Ranges of a numeric field."""
    max_rows: Annotated[int | None, Range(100)] = None
    """Training rows at most; none: all of them, over which one pass is made."""
    time_budget_s: Annotated[float, Range(0, open_low=True)] = 600.0
    """Seconds after which the selection is given up."""


class LabelFilter(Method[FilterParams]):
    """Ranks fields by their tables with the label."""

    Params = FilterParams

    @abstractmethod
    def score(self, table: Table) -> float:
        """What a field is worth; equal tables, whatever the order of the codes, must have equal scores."""

    def select(self, ctx: Context[FilterParams], train: Rows, selection_rows: Rows) -> Selection:
        """Rank on ``train``; ``selection_rows`` are not looked at."""
        p, deadline = self.params, shallow.Deadline(self.params.time_budget_s)
        rows = train if p.max_rows is None else shallow.bound_rows(train, p.max_rows, ctx.rng("rows"))
        tables = list(label_tables(rows, p.buckets, p.min_count, deadline.check))
        scores = np.array([self.score(table) for table in tables])
        hint = None
        if np.ptp(scores) == 0:
            hint = none_varies(tables, p.min_count) or f"none tells more than chance on {len(rows):,} rows; give more"
        return Selection(scores=scores, hint=hint, rows_seen=len(rows), notes={"rows": len(rows)})


def none_varies(tables: Sequence[Table], min_count: int) -> str | None:
    """Why the tables say nothing of the label, if they cannot; and what would help."""
    if tables[0].rate in (0, 1):
        return f"the labels of all {tables[0].rows:,} rows are {tables[0].rate:.0f}; give more"
    if any(table.freedom for table in tables):
        return None
    return f"none has two values of {min_count} rows each on {tables[0].rows:,} rows; give more, or lower min_count"
