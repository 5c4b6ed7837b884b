"""Which cells of bundles may be shown beside each other: rows that have every seed of their column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from bench.folders.union import Taken
from bench.records import to_frame
from bench.tables.cells import Block, GroupKey, Record, blocks_of, records_of
from bench.tables.naming import names_of, seeds_text
from bench.tables.titles import Titles

__all__ = ["Line", "complete"]


@dataclass(frozen=True)
class Line:
    """A method on a data set with a backbone and a prune ratio."""

    dataset: str
    backbone: str
    tau: float | None
    method: str
    cells: tuple[Record, ...]
    """One by seed, in the order of seeds; empty of what is left out."""
    why: str = ""
    """Why it is left out."""


def complete(taken: Sequence[Taken], titles: Titles) -> tuple[list[Line], list[Line]]:
    """The rows that are shown, and those that are left out.

    Those are shown which have a result at every seed of their column, if a method that keeps every field is one of them
    and another is beside it.
    """
    cells = records_of(to_frame(one.record for one in taken))
    shown: list[Line] = []
    left: list[Line] = []
    for block in blocks_of(cells, titles):
        for group in block.groups:
            lines = list(_lines(block, group, titles))
            whole = [line for line in lines if not line.why]
            why = _incomparable(whole)
            shown += [] if why else whole
            left += [replace(line, cells=(), why=line.why or why) for line in lines if line.why or why]
    return shown, left


def _incomparable(whole: Sequence[Line]) -> str:
    """Why the complete rows of a column say nothing; empty where they do."""
    if not any(line.cells[0]["is_baseline"] for line in whole):
        return "no method that keeps every field has all seeds"
    return "nothing is there to compare it with" if len(whole) < 2 else ""


def _lines(block: Block, group: GroupKey, titles: Titles) -> Iterator[Line]:
    names, seeds = names_of(block, titles), block.seeds(group)
    for row in block.rows:
        if block.at(group, row):
            found = block.ok(group, row)
            cells = tuple(found[seed] for seed in sorted(found))
            there = seeds_text(found) if found else "no seed"
            why = "" if found and len(found) == len(seeds) else f"it has {there}, and others {seeds_text(seeds)}"
            yield Line(names.groups[group], names.backbone, block.tau, names.rows[row], cells, why)
