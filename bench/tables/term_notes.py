"""Notes on budgets that do not count fields, and on fields that scores did not decide on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from statistics import fmean
from typing import Any

from bench.tables.cells import Block, GroupKey, Values
from bench.tables.field_terms import COUNTED, listed
from bench.tables.model import REMARK, Item, Note
from bench.tables.naming import Names

__all__ = ["notes_of_terms"]


def notes_of_terms(block: Block, values: Values, names: Names) -> list[Note]:
    """What the prune ratio is a share of where it is not the fields, and which fields the scores did not decide on."""
    by: dict[str, list[str]] = defaultdict(list)
    said: dict[str, list[Item]] = defaultdict(list)
    for row in dict.fromkeys(row for _, row, _ in values):
        if row.budget in COUNTED:
            by[row.budget].append(names.rows[row])
    for group in dict.fromkeys(group for group, _, _ in values):
        for lead, text in _of_column(block, group).items():
            said[lead].append(Item(f"{text} on {names.groups[group]}", group=names.groups[group]))
    shares = [
        Note(REMARK, f"The prune ratio is the share given up of {COUNTED[rule]}", (Item.listing(rows),))
        for rule, rows in by.items()
    ]
    return shares + _matched(block, values, names) + [Note(REMARK, lead, tuple(items)) for lead, items in said.items()]


def _matched(block: Block, values: Values, names: Names) -> list[Note]:
    """Which rows are held to the embedding scalars of another one, and how many these are."""
    items = []
    for group, row in dict.fromkeys((group, row) for group, row, _ in values):
        said = [cell["match"] for cell in block.ok(group, row).values() if cell["match"]]
        if said:
            kept, whole = (fmean(one[key] for one in said) for key in ("scalars", "of"))
            over = f", mean of {len(said)} seeds" if len(said) > 1 else ""
            items.append(names.item(group, row, f" ({kept:,.0f} of {whole:,.0f}{over})"))
    return (
        [Note(REMARK, "At most as many embedding scalars as the row named in brackets keeps", tuple(items))]
        if items
        else []
    )


def _of_column(block: Block, group: GroupKey) -> dict[str, str]:
    """What the terms of a column's cells are, by what the note begins with; of several the one told last."""
    cells = [cell for row in block.rows for cell in block.ok(group, row).values() if not cell["is_baseline"]]
    said: Mapping[str, Any] = next((cell["field_terms"] for cell in reversed(cells) if cell["field_terms"]), {})
    found = {"Fields that the card keeps, whatever their scores": listed(said.get("locked", []))}
    groups = [f"{name} ({listed(fields)})" for name, fields in said.get("groups", {}).items()]
    found["Fields that are kept or dropped as one, by the highest of their scores"] = listed(groups)
    return {lead: text for lead, text in found.items() if text}
