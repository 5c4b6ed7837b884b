"""What the card of a data set says of dropping its fields, as rows and columns of numbers need it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from bench.tables.metrics import Cell

__all__ = ["COUNTED", "kept_cost", "listed", "terms_text"]

COUNTED = {
    "bytes": "the bytes of the embeddings",
    "cost": "the cost of the fields",
    "groups": "the groups of fields, a field without one being its own",
}
"""Budgets of fields that count something else than fields, and what a prune ratio is then a share of."""
_NAMES = 5
"""Fields that a note names at most."""


def kept_cost(cell: Cell, baseline: Cell | None) -> float | None:
    """Share of the cost of all fields that the kept ones have, in per cent; None where the card names no costs."""
    costs = (cell["field_terms"] or {}).get("costs")
    if not costs or cell["kept_fields"] is None:
        return None
    by_place = [costs.get(name, 1.0) for name in cell["field_names"]]
    whole = sum(by_place)
    return 100 * sum(by_place[place] for place in cell["kept_fields"]) / whole if whole else None


def terms_text(cell: Cell) -> str:
    """What tells a row from another of the same data that was made on other terms."""
    said = {} if cell["is_baseline"] else cell["field_terms"] or {}
    parts = [f"{listed(said['locked'])} locked"] if "locked" in said else []
    parts += [" + ".join(fields) for fields in said.get("groups", {}).values()]
    if cell["budget"] == "cost":
        text = json.dumps(said.get("costs", {}), sort_keys=True)
        parts.append(f"costs {hashlib.sha256(text.encode()).hexdigest()[:6]}")
    return ", ".join(parts) or "no fields locked"


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many there are more."""
    more = len(names) - _NAMES
    return ", ".join(names[:_NAMES]) + (f" and {more} more" if more > 0 else "")
