"""The tables of a run: results across data sets; and what each method costs and leaves, by data set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.tables.cells import Block, GroupKey, RowKey, Values, blocks
from bench.tables.doubts import elsewhere
from bench.tables.kinds import KINDS, TableKind
from bench.tables.levels import HEADINGS, level_rank, wants_sections
from bench.tables.metrics import AUC, Metric, as_timed
from bench.tables.model import (
    BELOW_ANCHOR,
    BELOW_LINEAR,
    FEWER_SEEDS,
    OTHER_OPTIMIZER,
    RESUMED,
    Flag,
    Group,
    Row,
    Table,
    Value,
    ranked,
)
from bench.tables.naming import Names, caption, names_of, table_name, table_title
from bench.tables.notes import cell_flags, notes_of, optimizers
from bench.tables.titles import Titles

if TYPE_CHECKING:
    from bench.tables.cells import Run

__all__ = [
    "FIELD_FORMS",
    "column_of",
    "efficiency_tables",
    "group_of",
    "interval_of",
    "overall_tables",
    "recovery_tables",
    "rows_of",
    "size_tables",
    "tables_of",
]

FIELD_FORMS = "Held to whole fields (budget=field)"
"""Heading of the rows below the others."""


def tables_of(kind: TableKind, run: Run, titles: Titles | None = None) -> list[Table]:
    """The tables of one kind: one by backbone and τ, and where the kind says so by data set.

    Args:
        kind: what they show.
        run: as ``bench.records.load_frame`` returns it, or its blocks.
        titles: names and order of data sets and backbones in print; by default those that are registered.
    """
    titles = Titles.registered() if titles is None else titles
    found = []
    for block in blocks(run, titles):
        for groups in [[group] for group in block.groups] if kind.by_dataset else [block.groups]:
            if _wanted(block, groups, kind):
                found.append(_table(block, groups, kind, titles))
    return found


def overall_tables(run: Run, titles: Titles | None = None) -> list[Table]:
    """Results on all data sets, AUC first; arguments as above."""
    return tables_of(KINDS["overall"], run, titles)


def efficiency_tables(run: Run, titles: Titles | None = None) -> list[Table]:
    """Times, epochs, operations and memory of every method; arguments as above."""
    return tables_of(KINDS["efficiency"], run, titles)


def size_tables(run: Run, titles: Titles | None = None) -> list[Table]:
    """Fields, parameters and bytes of every method; arguments as above."""
    return tables_of(KINDS["size"], run, titles)


def recovery_tables(run: Run, titles: Titles | None = None) -> list[Table]:
    """What of a known truth every method found, on generated data sets; arguments as above."""
    return tables_of(KINDS["recovery"], run, titles)


def _wanted(block: Block, groups: Sequence[GroupKey], kind: TableKind) -> bool:
    """Whether any cell has what the table needs; most kinds show where everything failed, too."""
    cells = (cell for group in groups for row in block.rows for cell in block.ok(group, row).values())
    return kind.needs is None or any(kind.needs(cell) for cell in cells)


def _concerned(block: Block, groups: Sequence[GroupKey], row: RowKey, kind: TableKind, titles: Titles) -> bool:
    """Whether a row belongs into a table of one level, or is held to the bytes of another; so does one that failed."""
    sample = block.row_sample(row)
    if kind.level is None or sample["is_baseline"] or titles.level(sample) == kind.level:
        return True
    cells = [cell for group in groups for cell in block.ok(group, row).values()]
    return any((kind.needs is not None and kind.needs(cell)) or cell["match"] for cell in cells)


def _table(block: Block, groups: Sequence[GroupKey], kind: TableKind, titles: Titles) -> Table:
    names = names_of(block, titles)
    rows = [row for row in block.rows if any(block.at(group, row) for group in groups)]
    rows = [row for row in rows if _concerned(block, groups, row, kind, titles)]
    values: Values = {}
    for group in groups:
        for metric in kind.columns:
            values.update(column_of(block, group, metric, rows))
    shown = _shown(kind.columns, values)
    by_group = {group: _of_group(shown, values, group) for group in groups}
    values = {place: value for place, value in values.items() if place[2] in by_group[place[0]]}
    meaning = " ".join(
        text for text in (kind.meaning, *(metric.meaning for metric in shown), _repeats_text(block, values)) if text
    )
    return Table(
        name=table_name(block, groups if kind.by_dataset else []),
        backbone=block.backbone,
        tau=block.tau,
        title=table_title(names, block.tau, kind.heading),
        caption=caption(block, groups, names, meaning),
        groups=tuple(group_of(block, group, names, by_group[group]) for group in groups),
        rows=_by_level(block, rows_of(block, rows, names, groups, values), rows, titles),
        notes=notes_of(block, values, names, titles),
    )


def _shown(columns: Sequence[Metric], values: Values) -> tuple[Metric, ...]:
    """The columns without those that no cell has measured or that repeat another."""

    def means(metric: Metric) -> list[float | None]:
        return [value.mean for (_, _, other), value in values.items() if other is metric]

    def needed(metric: Metric) -> bool:
        found = means(metric)
        measured = not metric.optional or any(number is not None for number in found)
        return measured and (metric.unless_equal is None or found != means(metric.unless_equal))

    return tuple(metric for metric in columns if needed(metric))


def _of_group(shown: Sequence[Metric], values: Values, group: GroupKey) -> tuple[Metric, ...]:
    """The columns of one data set: without those that its kind of data does not have."""
    measured = {metric for (other, _, metric), value in values.items() if other == group and value.mean is not None}
    return tuple(metric for metric in shown if not metric.of_data or metric in measured)


def _repeats_text(block: Block, values: Values) -> str:
    """What the ranges in brackets are; nothing where no time was measured more than once."""
    counts = {
        cell["timing"]["repeats"]
        for (group, row, _), value in values.items()
        if value.range_text
        for cell in block.ok(group, row).values()
        if cell["timing"]
    }
    if not counts:
        return ""
    many = f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
    over = ", means over seeds" if any(len(value.seeds) > 1 for value in values.values() if value.range_text) else ""
    return (
        f"Times with brackets: median of {many} repeats, interleaved; in brackets the smallest and the largest{over}."
    )


def interval_of(value: Value) -> tuple[float, float] | None:
    """Student's 95 % interval of a mean over seeds; None under two seeds and where all are equal."""
    if len(value.numbers) < 2 or not value.sd:
        return None
    from bench.stats.checks import NotTestable  # noqa: PLC0415 - tables that show none need no SciPy
    from bench.stats.paired import paired_test  # noqa: PLC0415

    try:
        found = paired_test(value.numbers, [0.0] * len(value.numbers))
    except NotTestable:
        return None
    return found.low, found.high


def column_of(block: Block, group: GroupKey, metric: Metric, rows: Sequence[RowKey]) -> Values:
    """The flagged and ranked numbers of one column."""
    values = {row: block.value(group, row, metric) for row in rows}
    seeds = {seed for value in values.values() for seed in value.seeds}
    other = _other_optimizer(block, group, rows) if metric.clock == "training" else set()
    below = {BELOW_ANCHOR.symbol: block.below_anchor(group), BELOW_LINEAR.symbol: block.below_line(group)}
    apart = elsewhere(block, group) if metric.clock is not None else {}
    for row, value in values.items():
        flags: list[Flag] = []
        if value.seeds and set(value.seeds) != seeds:
            flags.append(FEWER_SEEDS.symbol)
        if metric.clock and any(as_timed(cell)["resumed"] for cell in block.ok(group, row).values()):
            flags.append(RESUMED.symbol)
        if metric is AUC:
            flags += [flag.symbol for flag in cell_flags(block, [group], row)]
        if value.seeds and row in other:
            flags.append(OTHER_OPTIMIZER.symbol)
        if metric is AUC and value.seeds:
            flags += [symbol for symbol, numbers in below.items() if numbers is not None]
        rankable = bool(value.seeds) and not {FEWER_SEEDS.symbol, OTHER_OPTIMIZER.symbol} & set(flags)
        rankable &= row not in apart
        values[row] = replace(value, flags=tuple(flags), rankable=rankable)
    marked = ranked(list(values.values()), metric)
    return {(group, row, metric): value for row, value in zip(rows, marked, strict=True)}


def _other_optimizer(block: Block, group: GroupKey, rows: Iterable[RowKey]) -> set[RowKey]:
    """Rows whose optimizer is not the baseline's; without a baseline, all rows unless they agree."""
    used = {row: optimizers(cells.values()) for row in rows if (cells := block.ok(group, row))}
    reference = block.baseline(group)
    if reference in used:
        return {row for row, found in used.items() if found != used[reference]}
    return set(used) if len({tuple(found) for found in used.values()}) > 1 else set()


def rows_of(
    block: Block, keys: Sequence[RowKey], names: Names, groups: Sequence[GroupKey], values: Values
) -> tuple[Row, ...]:
    """Rows in table order; the first of those held to whole fields opens a set of its own."""
    rows = [_row_of(block, key, names, groups, values) for key in keys]
    first = next((i for i, key in enumerate(keys) if key in block.field_forms), None)
    if first is not None:
        rows[first] = replace(rows[first], opens=True, heading=FIELD_FORMS)
    return tuple(rows)


def _by_level(block: Block, rows: Sequence[Row], keys: Sequence[RowKey], titles: Titles) -> tuple[Row, ...]:
    """The rows under headings by level, where that is wanted; those held to whole fields stay last."""
    levels = [titles.level(block.row_sample(key)) for key in keys]
    if not wants_sections(levels, titles.sections):
        return tuple(rows)
    forms = [key in block.field_forms for key in keys]
    order = sorted(range(len(rows)), key=lambda i: (forms[i], level_rank(levels[i])))
    found: list[Row] = []
    before = "none"
    for i in order:
        opens = levels[i] != before and not forms[i]
        before = levels[i]
        row = replace(rows[i], place=i)
        found.append(replace(row, opens=True, heading=HEADINGS[levels[i]]) if opens else row)
    return tuple(found)


def _row_of(block: Block, key: RowKey, names: Names, groups: Sequence[GroupKey], values: Values) -> Row:
    sample = block.row_sample(key)
    columns = sorted(dict.fromkeys((group, metric) for group, _, metric in values), key=lambda at: groups.index(at[0]))
    flagged = [] if AUC in (metric for _, metric in columns) else cell_flags(block, groups, key)
    return Row(
        method=sample["method"],
        label=key.label,
        budget=key.budget,
        title=names.rows[key],
        values=tuple(values[group, key, metric] for group, metric in columns),
        flags=tuple(flag.symbol for flag in flagged if not flag.of_data),
        uses_tau=sample["tau"] is not None,
    )


def group_of(block: Block, key: GroupKey, names: Names, metrics: tuple[Metric, ...]) -> Group:
    sample = block.sample(key)
    facts: dict[str, str | int | None] = {"revision": key.revision, "profile": sample["profile"].get("name")}
    facts.update({f"{split}_rows": n for split, n in sample["split_rows"].items()})
    return Group(key.dataset, names.groups[key], metrics, tuple(block.seeds(key)), facts)
