"""From what a method returns to the fields that stay: scores are cut to the budget, under the terms of the card.

Methods know nothing of either. One that chooses fields itself is held to both here, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.budget import Budget, Kept, Terms
from bench.method import Selection
from bench.run.context import CellContext

OWN_CHOICE = "own_choice"
"""Key of a record's notes: the fields that a method chose itself, where budget or card made another choice of it."""


class NoRankingError(Exception):
    """All fields have the same score: what a cut keeps would say nothing of the method."""


def choose(selection: Selection, ctx: CellContext[Any], budget: Budget, terms: Terms) -> Kept | None:
    """Fill in the kept fields; None where the method kept everything, or its own choice stands.

    Raises:
        NoRankingError: fields are to go, and all scores are equal.
        ValueError: scores that are not finite, or a choice that is none.
    """
    _check_form(selection, ctx)
    own = None if selection.kept is None else tuple(selection.kept)
    if ctx.budget != "field":
        if own is not None:
            selection.kept = terms.complete(own)
            _tell(selection, ctx, own)
        return None
    if own is not None and budget.plain:
        _check_count(own, ctx)
        return None
    if own is None and selection.scores is None:
        return None
    ranked = budget.choose(_scores(selection, ctx.schema.n_fields, own))
    if own is None and ranked.ties == budget.free_fields:
        raise NoRankingError(_no_ranking(selection, ctx, budget))
    selection.kept = ranked.fields
    if own is not None:
        _tell(selection, ctx, own)
    return ranked


def _scores(selection: Selection, n_fields: int, own: tuple[int, ...] | None) -> np.ndarray:
    """What fields are ranked by, [F]: their scores; of a choice, first what it holds, then by scores if it has some."""
    scores = np.zeros(n_fields) if selection.scores is None else np.asarray(selection.scores, dtype=np.float64)
    if own is None or not np.isfinite(scores).all():
        return scores
    ranks = np.unique(scores, return_inverse=True)[1].astype(np.float64)
    ranks[list(own)] += n_fields
    return ranks


def _tell(selection: Selection, ctx: CellContext[Any], own: tuple[int, ...]) -> None:
    if selection.kept != own:
        selection.notes[OWN_CHOICE] = [ctx.schema.names[place] for place in own]


def _no_ranking(selection: Selection, ctx: CellContext[Any], budget: Budget) -> str:
    which = "" if budget.plain else " that may go"
    n = budget.free_fields
    why = selection.hint or "more rows or other parameters may tell them apart"
    return f"no ranking, all {n} fields{which} have the same score: {why}"


def _check_form(selection: Selection, ctx: CellContext[Any]) -> None:
    """Make sure that what the method chose itself are fields."""
    if selection.kept is None:
        return
    kept, n_fields = list(selection.kept), ctx.schema.n_fields
    if kept != sorted(set(kept) & set(range(n_fields))):
        raise ValueError(f"select kept fields {kept}; wanted increasing indices below {n_fields}")


def _check_count(kept: tuple[int, ...], ctx: CellContext[Any]) -> None:
    """Hold a method that chooses the kept fields itself to K."""
    if len(kept) != ctx.n_keep:
        wanted = f"K = {ctx.n_keep} of {ctx.schema.n_fields} at prune ratio {ctx.tau:g}"
        raise ValueError(f"select kept {len(kept)} fields; a field budget keeps {wanted}")
