"""Why a cell makes no sense, found out before its clock runs, and without its rows: so a forecast can ask too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from bench.data.schema import Schema
from bench.engine.clock import Clock
from bench.method import Method
from bench.registry import MethodEntry
from bench.run.context import CellContext
from bench.run.grid import Cell
from bench.run.job import ResolvedCell
from bench.run.match import lacking
from bench.run.session import Session
from bench.run.tuning import SEED

__all__ = ["foreseen", "why_skipped"]

_NAMES = 3
"""Fields that a reason names at most."""


def why_skipped(cell: ResolvedCell, method: Method[Any], ctx: CellContext[Any]) -> str | None:
    """The reason of a cell that will have no result, or None; ``method`` and ``ctx`` are those of the cell."""
    return _over_budget(cell) or _misfit(cell, method, ctx)


def foreseen(session: Session, cells: Iterable[Cell]) -> dict[Cell, str]:
    """The cells that a run would skip, with their reasons, as far as these can be told before it.

    What a cell is skipped for does not depend on its seed, except where it is held to the bytes of another cell.
    """
    known: dict[Cell, str | None] = {}
    found = {}
    for cell in cells:
        asked = replace(cell, seed=SEED) if session.held_to(cell) is None else cell
        if asked not in known:
            known[asked] = _foreseen(session, asked)
        if reason := known[asked]:
            found[cell] = reason
    return found


def _foreseen(session: Session, cell: Cell) -> str | None:
    other, resolved = session.held_to(cell), session.cell(cell)
    waits = other is not None and session.done(other) is None
    if other is not None and waits and (reason := _foreseen(session, other)):
        return lacking(other.method, f"is skipped: {reason}")
    if resolved.method.error is not None or resolved.backbone.error is not None:
        return None
    try:
        method, ctx = resolved.method.make(), resolved.context(Clock(resolved.device))
        return _misfit(resolved, method, ctx) if waits else why_skipped(resolved, method, ctx)
    except Exception:  # a plug-in may fail in any way: its cells will say why
        return None


def _misfit(cell: ResolvedCell, method: Method[Any], ctx: CellContext[Any]) -> str | None:
    """Why the method, or one that it ranks by, has no part in this cell: without one of them it would be another."""
    schema = cell.data.schema
    if reason := _blind(schema, cell.method.entry):
        return reason
    for member in cell.method.members:
        one = method.inner[member.text]
        if reason := _blind(schema, member.method.entry) or one.skip(ctx.inside(member.text)):
            return f"it ranks by {member.text}, which does not fit here: {reason}"
    return method.skip(ctx)


def _blind(schema: Schema, entry: MethodEntry) -> str | None:
    """Why a method that reads ids alone has no part in data with numbers, or with several values in a row."""
    if not entry.reads_numbers and schema.numeric_fields:
        return (
            f"the method reads ids alone, and {_named(schema, schema.numeric_fields)} are numeric: "
            "declare such columns integer (bucketed) in the card, or have the method call Rows.bucketed"
        )
    if not entry.reads_pooled and schema.pooled_fields:
        return (
            f"the method reads one value a row, and {_named(schema, schema.pooled_fields)} are pooled: "
            'give such columns multi = "combination" in the card, or have the method read Rows.pooled'
        )
    return None


def _named(schema: Schema, fields: Sequence[int]) -> str:
    more = len(fields) - _NAMES
    return ", ".join(schema.names[f] for f in fields[:_NAMES]) + (f" and {more} more" if more > 0 else "")


def _over_budget(cell: ResolvedCell) -> str | None:
    """Why no fields can be kept within the budget on the terms of the card, whatever their scores."""
    if cell.match is not None and cell.match.lacks is not None:
        return cell.match.lacks
    return cell.field_budget.impossible(cell.data.schema.names) if cell.method.budget == "field" else None
