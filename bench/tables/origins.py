"""Which cells of a table were taken from other runs: whence, and when and on what machine they were recorded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.flags import RECORDED
from bench.tables.cells import Block, GroupKey, Record, RowKey
from bench.tables.model import Item, Note, NoteKind
from bench.tables.naming import Names, seeds_text

__all__ = ["of_origins"]

_COMMIT = 7
Places = Sequence[tuple[GroupKey, RowKey]]


@dataclass
class _Source:
    """The cells of one source and machine."""

    cells: list[Record] = field(default_factory=list)
    rows: dict[GroupKey, dict[RowKey, list[int]]] = field(default_factory=lambda: defaultdict(dict))


def of_origins(block: Block, places: Places, names: Names) -> list[Note]:
    """A note by source and machine, which names the rows of each column; those of most rows by the others."""
    found: dict[tuple[str, str, str], _Source] = defaultdict(_Source)
    for group, row in places:
        for seed, cell in block.ok(group, row).items():
            if (origin := cell.get("origin")) is not None:
                times = "" if origin["times"] else "; their times, measured under other circumstances, are left out"
                one = found[str(origin["source"]), _machine(cell["host"] or {}), times]
                one.cells.append(cell)
                one.rows[group].setdefault(row, []).append(seed)
    kind, notes = NoteKind(RECORDED.name, RECORDED.symbol, joined=True), []
    for (source, machine, times), one in found.items():
        lead = f"{RECORDED.name}, {RECORDED.meaning}: from {source}, recorded {_when(one.cells)} on {machine}{times}"
        items = (_item(block, group, rows, places, names) for group, rows in one.rows.items())
        notes.append(Note(kind, lead, tuple(items)))
    return notes


def _when(cells: Sequence[Record]) -> str:
    """Days of records; of older ones, which do not hold them, commits."""
    days = sorted({cell["recorded"] for cell in cells if cell["recorded"]})
    commits = sorted({(cell["git"] or "unknown")[:_COMMIT] for cell in cells if not cell["recorded"]})
    parts = [days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"] if days else []
    if commits:
        parts.append(f"at commit{'s' if len(commits) > 1 else ''} {', '.join(commits)}")
    return " and ".join(parts)


def _machine(host: Mapping[str, object]) -> str:
    cores = host.get("cores")
    parts = (host.get("cpu"), f"{cores} core{'' if cores == 1 else 's'}" if cores else "", host.get("gpu"))
    return ", ".join(str(part) for part in parts if part) or "an unknown machine"


def _item(block: Block, group: GroupKey, rows: Mapping[RowKey, Sequence[int]], places: Places, names: Names) -> Item:
    shown = [row for column, row in places if column == group and block.ok(group, row)]
    whole = [row for row, seeds in rows.items() if len(seeds) == len(block.ok(group, row))]
    others = [names.rows[row] for row in shown if row not in whole]
    parts = [names.rows[row] for row in whole]
    if len(others) < len(whole):
        parts = [f"all rows but {' and '.join(others)}" if others else "all rows"]
    parts += [f"{names.rows[row]} ({seeds_text(seeds)})" for row, seeds in rows.items() if row not in whole]
    titles = tuple(names.rows[row] for row in rows)
    return Item(f"{', '.join(parts)} on {names.groups[group]}", titles, names.groups[group])
