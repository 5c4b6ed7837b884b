"""mRMR: fields one after another, each the one that tells most of the label and least of what is chosen already.

Peng, Long and Ding, Feature Selection Based on Mutual Information: Criteria of Max-Dependency, Max-Relevance, and
Min-Redundancy, IEEE TPAMI 27, 2005. With S the fields chosen so far, the next is the f of the largest

    difference   I(f; y) - R_f,    R_f = (1 / |S|) Σ_{g ∈ S} I(f; g)     the paper's
    quotient     I(f; y) / R_f      Ding and Peng, Journal of Bioinformatics and Computational Biology 3, 2005

The order of choices is the ranking. A copy of a chosen field says all of it and comes late, where filters that look at
fields one at a time keep both. Of click data mind the scales: I(f; y) is at most the entropy of the label and mostly
thousandths of a nat, I(f; g) may be several nats. So ``difference`` prefers a field that says little to one that says
much and has something in common with those before it; ``quotient`` knows no scale.

I(f; y) is that of ``methods/mutual_information.py``, whose ``min_count`` and ``buckets`` these are. I(f; g) is that of
the most frequent values, the others pooled, in ``max_rows`` rows: at most 256 values a field with the pool, and so
few that an even table has five rows a cell (Cochran's rule; 256 from 327,680 rows on). Of equally frequent values the
one that comes first in the rows is kept: the names of codes have no part. What chance gives, (R - 1)(C - 1) / (2 n), is
taken off, and what is then below 0 is 0. Of a pooled field the set of a row's values counts as one value here.

Deviations: the paper knows no correction, and no fields that tell no more than chance. These, I(f; y) ≤ 0, are chosen
when no other is left: a constant field has no redundancy either, and would be chosen before many a good one.

Costs F² / 2 tables of n rows each: some 8 ms of one core for a million rows. More than ``comparisons`` of rows are not
made: the last fields are then ranked by the criterion as it stands. At 1,000,000 rows all of 200 fields have their
turn, at 100,000 rows all of 632, or 40 of 5,000.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from bench.api import Context, Method, Range, Rows, Selection
from methods.parts import shallow
from methods.parts.contingency import frequent_values, label_tables, pair_information
from methods.parts.filters import none_varies

_VALUES = 256
_ROWS_A_CELL = 5
_LEAST = 1e-6  # nats; a redundancy below that is none, and cannot be divided by


@dataclass(frozen=True)
class MRMRParams:
    """Values without a source are chosen here, and were not tuned."""

    criterion: Literal["difference", "quotient"] = "difference"
    """How what a field tells and what it repeats are weighed: the default is the paper's."""
    steps: Annotated[int | None, Range(1)] = None
    """Fields that are chosen one after another; none: all, or as many as ``comparisons`` allow."""
    comparisons: Annotated[float, Range(1)] = 2e10
    """Rows times pairs of fields at most: three minutes."""
    max_rows: Annotated[int, Range(100)] = 1_000_000
    """Training rows at most for tables of two fields; those of a field and the label take all."""
    min_count: Annotated[int, Range(1)] = 20
    """As of ``mutual-information``."""
    buckets: Annotated[int, Range(2)] = 16
    """As of ``mutual-information``."""
    time_budget_s: Annotated[float, Range(0, open_low=True)] = 600.0
    """Seconds after which the selection is given up."""


class MRMR(Method[MRMRParams]):
    """Ranks fields by the order in which they are chosen."""

    Params = MRMRParams

    def select(self, ctx: Context[MRMRParams], train: Rows, selection_rows: Rows) -> Selection:
        """Rank on ``train``; ``selection_rows`` are not looked at."""
        p, deadline = self.params, shallow.Deadline(self.params.time_budget_s)
        tables = list(label_tables(train, p.buckets, p.min_count, deadline.check))
        relevance = np.array([table.corrected_information for table in tables])
        notes = {"rows": len(train)}
        reason = none_varies(tables, p.min_count)
        if reason:
            return Selection(scores=np.zeros(len(tables)), hint=reason, rows_seen=len(train), notes=notes)
        rows = shallow.bound_rows(train, p.max_rows, ctx.rng("rows"))
        limit = max(2, min(_VALUES, int((len(rows) / _ROWS_A_CELL) ** 0.5)))
        fields = list(frequent_values(rows, p.buckets, limit, deadline.check))
        steps = min(p.steps or self._affordable(len(fields), len(rows)), len(fields))

        def redundancy(chosen: int, others: np.ndarray) -> np.ndarray:
            deadline.check(f"a table with {train.schema.names[chosen]}")
            return np.array([max(0.0, pair_information(fields[chosen], fields[f])) for f in others])

        order = choose(relevance, redundancy, steps, p.criterion == "quotient")
        scores = np.empty(len(order))
        scores[order] = np.arange(len(order), 0, -1)
        notes |= {"pair_rows": len(rows), "values": limit, "steps": steps}
        return Selection(scores=scores, rows_seen=len(train), notes=notes)

    def _affordable(self, n_fields: int, n_rows: int) -> int:
        """Choices whose tables with all fields left cost no more than ``comparisons``; at least one."""
        left = np.arange(n_fields - 1, -1, -1, dtype=np.float64)  # fields beside the one chosen
        return max(1, int((np.cumsum(left) * n_rows <= self.params.comparisons).sum()))


def choose(
    relevance: np.ndarray, redundancy: Callable[[int, np.ndarray], np.ndarray], steps: int, quotient: bool
) -> np.ndarray:
    """Fields in the order of choice, int64 [F]; those that are not chosen follow by the criterion as it stands.

    Args:
        relevance: I(f; y), [F].
        redundancy: of a chosen field and others [n], I(f; g) of each of these, [n].
        steps: fields to choose, at most F.
        quotient: weigh by ``I(f; y) / R_f``.
    """
    repeated, left = np.zeros(len(relevance)), np.arange(len(relevance))
    chosen: list[int] = []
    while len(left):
        mean = repeated[left] / max(1, len(chosen))
        worth = relevance[left] / np.maximum(mean, _LEAST) if quotient and chosen else relevance[left] - mean
        best_first = np.lexsort((-worth, relevance[left] <= 0))
        if len(chosen) == steps:
            return np.array([*chosen, *left[best_first]])
        chosen.append(int(left[best_first[0]]))
        left = np.delete(left, best_first[0])
        if len(left):
            repeated[left] += redundancy(chosen[-1], left)
    return np.array(chosen)
