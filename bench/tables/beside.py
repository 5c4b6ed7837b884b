"""Our tables beside the paper's: ours, the printed number and the difference, where rows and columns match."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.tables.adaptability import adaptability_tables
from bench.tables.cells import blocks
from bench.tables.kinds import KINDS
from bench.tables.metrics import Metric, signed
from bench.tables.model import ABSENT, REMARK, Group, Item, Note, Row, Table, Value
from bench.tables.overall import tables_of
from bench.tables.paper import paper_rows, paper_table2, paper_table3
from bench.tables.titles import Titles

if TYPE_CHECKING:
    from bench.tables.cells import Run

__all__ = ["paper_tables"]

_CAPTION = (
    "Paper: {place} as printed, means of three runs on {rows} rows, timed on another machine; difference: ours less "
    "the paper's. Training settings that the paper does not print are chosen here."
)


@dataclass(frozen=True)
class _Place:
    """One data set of one of our tables, and the paper's table that it is put beside."""

    ours: Table
    group: Group
    theirs: Table
    pairs: Sequence[tuple[Row, Row]]
    """Our row and the paper's."""
    name: str
    """Of the paper's table, in its files."""


def paper_tables(run: Run, titles: Titles | None = None) -> list[Table]:
    """Tables 2 and 3 beside the paper's: by data set, what both have of rows, in the paper's columns.

    Args:
        run: as ``bench.records.load_frame`` returns it, or its blocks.
        titles: names and order of data sets and backbones in print; by default those that are registered.
    """
    titles = Titles.registered() if titles is None else titles
    table2, table3, placed = paper_table2(), paper_table3(), blocks(run, titles)
    names = {row.backbone for row in table3.rows}
    here = [block for block in placed if (block.backbone, block.tau) == (table2.backbone, table2.tau)]
    paired = [block for block in placed if block.backbone in names and block.tau == table3.tau]
    plain = replace(titles, sections="off")  # the paper has none
    two = _methods(tables_of(replace(KINDS["overall"], columns=table2.groups[0].metrics), here, plain), table2)
    three = _backbones(adaptability_tables(paired, titles, table3.groups[0].metrics), table3)
    return [_beside(place) for place in (*two, *three)]


def _methods(ours: Sequence[Table], theirs: Table) -> Iterator[_Place]:
    printed = {row.method: row for row in theirs.rows}
    datasets = {group.dataset for group in theirs.groups}
    for table in ours:
        pairs = [(row, printed[row.method]) for row in _first_set(table) if row.method in printed]
        for group in table.groups:
            if group.dataset in datasets and pairs:
                yield _Place(table, group, theirs, pairs, "table2")


def _first_set(table: Table) -> Iterator[Row]:
    """Rows above the first heading: the paper has no forms held to whole fields."""
    for row in table.rows:
        if row.heading:
            return
        yield row


def _backbones(ours: Sequence[Table], theirs: Table) -> Iterator[_Place]:
    """Rows match by backbone and label: the baseline's has none, the method's its name."""
    printed = {(row.backbone, row.label): row for row in theirs.rows}
    datasets = {group.dataset for group in theirs.groups}
    for table in ours:
        (group,) = table.groups
        pairs = [(row, found) for row in table.rows if (found := printed.get((row.backbone, row.label)))]
        labels = {row.label for row, _ in pairs} - {""}
        if labels and table.tau == theirs.tau and group.dataset in datasets:
            yield _Place(table, group, theirs, pairs, "table3")


def _beside(place: _Place) -> Table:
    table, group = place.ours, place.group
    metrics = tuple(column for metric in group.metrics for column in (metric, metric.paper, metric.gap))
    number = place.name.removeprefix("table")
    return replace(
        table,
        name=f"{place.name}-{table.name}-{group.dataset}",
        title=f"{table.title}, beside the paper's Table {number}",
        caption=f"{table.caption} {_CAPTION.format(place=f'Table {number}', rows=_sizes(group.dataset))}",
        groups=(replace(group, metrics=metrics),),
        rows=tuple(_row(place, ours, theirs) for ours, theirs in place.pairs),
        notes=(*table.notes, *_notes(place)),
    )


def _row(place: _Place, ours: Row, theirs: Row) -> Row:
    values: list[Value] = []
    printed = dict(zip(((g.dataset, metric) for g, metric in place.theirs.columns), theirs.values, strict=True))
    for (group, metric), value in zip(place.ours.columns, ours.values, strict=True):
        if group is place.group:
            other = printed[group.dataset, metric]
            values += [value, replace(other, rankable=False), _gap(value, other, metric, ours.gain)]
    return replace(ours, values=tuple(values))


def _gap(ours: Value, theirs: Value, metric: Metric, gain: bool) -> Value:
    if ours.mean is None or theirs.mean is None:
        return Value()
    gap = ours.mean - theirs.mean
    text = signed(2)(gap, gap) if gain else metric.gap.text(gap)
    return Value(gap, None, ours.seeds, cells=ours.cells, text=text)


def _sizes(dataset: str) -> str:
    line = next(line for line in paper_rows("table1") if line["dataset"] == dataset)
    return "/".join(line[split] for split in ("train", "valid", "test"))


def _notes(place: _Place) -> Iterator[Note]:
    """The paper's rows that are not here, and what does not fit together in the paper."""
    shown = [theirs for _, theirs in place.pairs]
    leads = [row for row in place.theirs.rows if row.opens] or place.theirs.rows
    absent = [row.title for row in leads if row not in shown]
    if absent:
        yield Note(ABSENT, "in the paper, but not in this table", (Item.listing(absent),))
    title = next(group.title for group in place.theirs.groups if group.dataset == place.group.dataset)
    for note in place.theirs.notes:
        if items := tuple(item for item in note.items if item.group in ("", title)):
            yield Note(note.kind, "Paper", items)
    for line in paper_rows("notes"):
        if line["place"] == place.name and line["dataset"] in ("", place.group.dataset):
            yield Note(REMARK, "Paper", (Item(line["note"].removesuffix(".")),))
