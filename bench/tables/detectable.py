"""The line under a table that says which differences its number of seeds can show at all.

It is the median over pairs of methods: pooled, one erratic method would speak for all.
"""

from __future__ import annotations

import math
from collections import defaultdict
from statistics import median

from bench.tables.cells import Block, GroupKey, Values
from bench.tables.metrics import Metric
from bench.tables.model import Item, Note, NoteKind
from bench.tables.naming import Names

__all__ = ["detectable"]

_KIND = NoteKind("detectable difference", joined=True)
_LEAD = (
    "Smallest difference of two methods that {n} seeds can detect "
    "(paired t-test at 5 %, power 80 %; the median over all pairs)"
)


def detectable(block: Block, values: Values, names: Names) -> list[Note]:
    """One note by number of seeds: the smallest difference of two methods in every ranked measurement.

    Nothing for a single seed, for fewer than two comparable methods, and where the seeds change nothing.
    """
    found: dict[int, dict[GroupKey, list[str]]] = defaultdict(lambda: defaultdict(list))
    for group, metric in dict.fromkeys((group, metric) for group, _, metric in values):
        if (number := _smallest(block, group, metric, values)) is not None:
            n_seeds, difference = number
            found[n_seeds][group].append(f"{metric.title} {_text(difference, metric)}")
    notes = []
    for n_seeds, groups in sorted(found.items()):
        titled = [(names.groups[group], ", ".join(texts)) for group, texts in groups.items()]
        items = tuple(Item(f"{text} on {title}", group=title) for title, text in titled)
        notes.append(Note(_KIND, _LEAD.format(n=n_seeds), items))
    return notes


def _smallest(block: Block, group: GroupKey, metric: Metric, values: Values) -> tuple[int, float] | None:
    """(seeds, difference in the record's unit) of one column, from the rows that have every seed."""
    if metric.better is None or metric.counted:
        return None
    rows = [row for (g, row, m), value in values.items() if (g, m) == (group, metric) and value.rankable]
    numbers = [list(block.by_seed(group, row, metric).values()) for row in rows]
    if len(rows) < 2 or len(numbers[0]) < 2:
        return None
    from bench.stats.paired import detectable_difference, pair_spreads  # noqa: PLC0415 - a single seed needs no SciPy

    spread = median(pair_spreads(numbers).tolist())
    rounding = 1e-12 * max(abs(number) for found in numbers for number in found)
    return (len(numbers[0]), detectable_difference(spread, len(numbers[0]))) if spread > rounding else None


def _text(difference: float, metric: Metric) -> str:
    """Two significant digits in the metric's unit, or a duration."""
    if metric.has_units:
        return metric.text(difference)
    shown = difference / metric.scale
    decimals = max(0, 1 - math.floor(math.log10(shown)))
    return f"{shown:,.{decimals}f}{f' {metric.unit}' if metric.unit else ''}"
