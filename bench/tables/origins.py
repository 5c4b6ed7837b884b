"""Which cells of a table were taken from other runs, and whence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from bench.flags import RECORDED
from bench.tables.cells import Block, GroupKey, RowKey
from bench.tables.model import Item, Note, NoteKind
from bench.tables.naming import Names, seeds_text

__all__ = ["of_origins"]


def of_origins(block: Block, places: Sequence[tuple[GroupKey, RowKey]], names: Names) -> list[Note]:
    """A note by source, day and machine, which names the rows of each column; those of most rows by the others."""
    found: dict[str, dict[GroupKey, dict[RowKey, list[int]]]] = defaultdict(lambda: defaultdict(dict))
    for group, row in places:
        for seed, cell in block.ok(group, row).items():
            if (detail := RECORDED.detail(cell)) is not None:
                found[detail][group].setdefault(row, []).append(seed)
    kind = NoteKind(RECORDED.name, RECORDED.symbol, joined=True)
    notes = []
    for detail, columns in found.items():
        items = tuple(_item(block, group, rows, places, names) for group, rows in columns.items())
        notes.append(Note(kind, f"{RECORDED.name}, {RECORDED.meaning}: {detail}", items))
    return notes


def _item(
    block: Block,
    group: GroupKey,
    rows: dict[RowKey, list[int]],
    places: Sequence[tuple[GroupKey, RowKey]],
    names: Names,
) -> Item:
    shown = [row for column, row in places if column == group and block.ok(group, row)]
    whole = [row for row, seeds in rows.items() if len(seeds) == len(block.ok(group, row))]
    others = [names.rows[row] for row in shown if row not in whole]
    parts = [names.rows[row] for row in whole]
    if len(others) < len(whole):
        parts = [f"all rows but {' and '.join(others)}" if others else "all rows"]
    parts += [f"{names.rows[row]} ({seeds_text(seeds)})" for row, seeds in rows.items() if row not in whole]
    titles = tuple(names.rows[row] for row in rows)
    return Item(f"{', '.join(parts)} on {names.groups[group]}", titles, names.groups[group])
