"""Whether a method's AUC differs from the baseline's and from its best rival's, seed by seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from bench.stats.checks import NotTestable
from bench.stats.paired import WILCOXON_SEEDS, Paired, holm, paired_test
from bench.tables.cells import Block, GroupKey, RowKey, blocks
from bench.tables.metrics import AUC, Metric, p_value, signed
from bench.tables.model import REMARK, Item, Note, Table, Value
from bench.tables.naming import Names, caption, names_of, seeds_text, table_name, table_title
from bench.tables.notes import notes_of
from bench.tables.overall import column_of, group_of, rows_of
from bench.tables.titles import Titles

if TYPE_CHECKING:
    from bench.tables.cells import Run

__all__ = ["significance_tables"]

_MEANING = (
    "Gain: mean over seeds of the AUC less that of {reference} at the same seed; Lead: less that of the best rival, "
    "the other method of the highest mean AUC. From, to: 95 % confidence interval."
)
_P = " p: two-sided paired t-test, corrected by Holm's rule over the pairs that the column tests."
_FEW = " With two seeds there is no p: the test could find next to nothing."
_WILCOXON = " Wilcoxon p: signed-rank test, corrected alike."
_PARTS = ("", "_low", "_high", "_p", "_wilcoxon_p")


def _columns(kind: str, title: str) -> dict[str, Metric]:
    """The columns of one comparison, by part."""
    titles = dict(zip(_PARTS, (title, "from", "to", "p", "Wilcoxon p"), strict=True))
    return {
        part: Metric(kind + part, heading, None, p_value if part.endswith("_p") else signed(4))
        for part, heading in titles.items()
    }


_GAIN, _LEAD = _columns("gain", "Gain"), _columns("lead", "Lead")


@dataclass
class _Column:
    """Tests of the rows of one data set against one opponent each."""

    metrics: Mapping[str, Metric]
    """By part."""
    found: dict[RowKey, Paired] = field(default_factory=dict)
    pairs: dict[RowKey, frozenset[RowKey]] = field(default_factory=dict)
    """Who is tested against whom; two methods that are each other's rivals are one test."""
    refused: list[Item] = field(default_factory=list)


def significance_tables(run: Run, titles: Titles | None = None) -> list[Table]:
    """Paired tests of AUC: one table by backbone, τ and data set with at least two methods and two seeds.

    Args:
        run: as ``bench.records.load_frame`` returns it, or its blocks.
        titles: names and order of data sets and backbones in print; by default those that are registered.
    """
    titles = Titles.registered() if titles is None else titles
    found = []
    for block in blocks(run, titles):
        for group in block.groups:
            rows = [row for row in block.rows if block.at(group, row)]
            if len(rows) > 1 and len(block.seeds(group)) > 1:
                found.append(_table(block, group, rows, titles))
    return found


def _table(block: Block, group: GroupKey, rows: Sequence[RowKey], titles: Titles) -> Table:
    names = names_of(block, titles)
    reference, seeds = block.baseline(group), block.seeds(group)
    whole = _whole(block, group, rows)
    columns = [_column(_GAIN, rows, whole, names, lambda row: reference if row != reference else None)]
    if sum(row != reference for row in rows) > 1:
        columns.append(_column(_LEAD, rows, whole, names, lambda row: _rival(row, whole, reference)))
    parts = _PARTS if len(seeds) >= WILCOXON_SEEDS else _PARTS[:-1] if len(seeds) > 2 else _PARTS[:-2]
    values = column_of(block, group, AUC, rows)
    for column in columns:
        for part, numbers in _numbers(column, parts).items():
            metric = column.metrics[part]
            for row in rows:
                shown = _value(metric, numbers[row], seeds) if row in numbers else Value()
                values[group, row, metric] = Value(text="") if row == reference else shown
    metrics = (AUC, *(column.metrics[part] for column in columns for part in parts))
    who = names.rows[reference] if reference else "a method that keeps every field, which was not run"
    meaning = _MEANING.format(reference=who) + (_P if "_p" in parts else _FEW)
    meaning += _WILCOXON if parts == _PARTS else ""
    lacking = [_lacking(block, group, row, names) for row in rows if row not in whole]
    return Table(
        name=table_name(block, [group]),
        backbone=block.backbone,
        tau=block.tau,
        title=table_title(names, block.tau, "Significance of differences in AUC"),
        caption=caption(block, [group], names, meaning.replace("{", "{{").replace("}", "}}")),
        groups=(group_of(block, group, names, metrics),),
        rows=rows_of(block, rows, names, [group], values),
        notes=(*notes_of(block, values, names, titles), *_notes(columns, lacking)),
    )


def _whole(block: Block, group: GroupKey, rows: Sequence[RowKey]) -> dict[RowKey, np.ndarray]:
    """AUC by seed [n] of the rows that have one at every seed of the table."""
    seeds = block.seeds(group)
    found = {row: block.by_seed(group, row, AUC) for row in rows}
    return {row: np.array(list(numbers.values())) for row, numbers in found.items() if list(numbers) == seeds}


def _lacking(block: Block, group: GroupKey, row: RowKey, names: Names) -> Item:
    missing = sorted(set(block.seeds(group)) - set(block.by_seed(group, row, AUC)))
    return Item(f"{names.rows[row]} lacks {seeds_text(missing)}", (names.rows[row],))


def _rival(row: RowKey, whole: dict[RowKey, np.ndarray], reference: RowKey | None) -> RowKey | None:
    """The other method of the highest mean AUC; the baseline has no rival and is none."""
    others = [other for other in whole if other not in (row, reference)]
    return max(others, key=lambda other: float(whole[other].mean()), default=None) if row != reference else None


def _column(
    metrics: Mapping[str, Metric],
    rows: Sequence[RowKey],
    whole: dict[RowKey, np.ndarray],
    names: Names,
    opponent: Callable[[RowKey], RowKey | None],
) -> _Column:
    column = _Column(metrics)
    for row in rows:
        other = opponent(row)
        if row in whole and other in whole:
            try:
                column.found[row] = paired_test(whole[row], whole[other])
                column.pairs[row] = frozenset((row, other))
            except NotTestable as reason:
                column.refused.append(
                    Item(f"{names.rows[row]} against {names.rows[other]}: {reason}", (names.rows[row],))
                )
    return column


def _numbers(column: _Column, parts: Sequence[str]) -> dict[str, dict[RowKey, float]]:
    """What the table shows of each test, by part and row."""
    tests = column.found
    numbers = {
        "": {row: test.difference for row, test in tests.items()},
        "_low": {row: test.low for row, test in tests.items()},
        "_high": {row: test.high for row, test in tests.items()},
        "_p": _corrected({row: test.p for row, test in tests.items()}, column.pairs),
        "_wilcoxon_p": _corrected(
            {r: t.wilcoxon_p for r, t in tests.items() if t.wilcoxon_p is not None}, column.pairs
        ),
    }
    return {part: numbers[part] for part in parts}


def _corrected(p: dict[RowKey, float], pairs: dict[RowKey, frozenset[RowKey]]) -> dict[RowKey, float]:
    """Holm's correction over the distinct pairs."""
    by_pair = {pairs[row]: number for row, number in p.items()}
    corrected = dict(zip(by_pair, holm(list(by_pair.values())).tolist(), strict=True)) if p else {}
    return {row: corrected[pairs[row]] for row in p}


def _value(metric: Metric, number: float, seeds: Sequence[int]) -> Value:
    return Value(number, None, tuple(seeds), text=metric.text(number))


def _notes(columns: Sequence[_Column], lacking: Sequence[Item]) -> list[Note]:
    refused = list(dict.fromkeys(item for column in columns for item in column.refused))
    leads = {"Not tested, nor anything against it, for want of cells": lacking, "Not tested": refused}
    return [Note(REMARK, lead, tuple(items)) for lead, items in leads.items() if items]
