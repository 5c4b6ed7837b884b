"""Stability selection: how often another method's ranking of half the rows puts a field among the best q.

Meinshausen and Bühlmann, Stability Selection, JRSS B 2010 (arXiv:0809.2932): subsamples of half the rows. Shah and
Samworth, Variable Selection with Error Control, JRSS B 2013 (arXiv:1105.5578): in complementary pairs, two halves of
one split.

    Pi_f     share of the 2R half-samples in whose ranking field f is among the first q
    score_f  Pi_f, and less than the worth of one half-sample more by which fields of equal Pi_f are told apart:
             (1 - (mean rank - 1) / F) / (2R + 1)

Both papers bound the fields of no worth, V, that reach a threshold: with one above 1/2 and exchangeable fields
E V <= q^2 / ((2 threshold - 1) F). The bound at a threshold of .9, and how many fields reach it, are in the notes.

Departures: q is given or the cell's K, where the papers run through penalties and take a field's greatest frequency; a
ranking has no penalty. The rows that decisions are checked on are halved too, so that no half-sample shares any with
its complement; halves keep the share of positives. Every half-sample has random numbers of its own. It costs R
rankings of all rows, and PT is what they took.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch

from bench.api import Axis, Context, Method, Range, Rows, Selection, ranks_of, stratified_sample

_THRESHOLD = 0.9


@dataclass(frozen=True)
class StabilityParams:
    """What is ranked by, and how often."""

    method: str = "xgboost"
    """The method that ranks, parameters in brackets."""
    pairs: Annotated[int, Range(1, 1000)] = 10
    """R, splits into two halves; Shah and Samworth take 50, which cost as much as 50 rankings (chosen here)."""
    size: Annotated[int | None, Range(1)] = None
    """q, fields that a half-sample selects; none: K, and the scores then depend on the prune ratio."""


class Stability(Method[StabilityParams]):
    """Ranks fields by how often half of the rows select them."""

    Params = StabilityParams

    def members(self) -> Mapping[str, float]:
        return {self.params.method: float(self.params.pairs)}

    def depends_on(self) -> frozenset[Axis]:
        return frozenset({"seed"}) if self.params.size is not None else frozenset({"seed", "tau"})

    def skip(self, ctx: Context[StabilityParams]) -> str | None:
        q, n_fields = self.params.size, ctx.schema.n_fields
        return f"size={q} is more than the {n_fields} fields there are" if q is not None and q > n_fields else None

    def select(self, ctx: Context[StabilityParams], train: Rows, selection_rows: Rows) -> Selection:
        p, n_fields = self.params, ctx.schema.n_fields
        q = p.size or ctx.n_keep
        draw = ctx.rng("halves")
        ranks: list[np.ndarray] = []
        for _ in range(p.pairs):
            for half, held in zip(halves(train, draw), halves(selection_rows, draw), strict=True):
                found = ctx.rank(p.method, half, held, draw=len(ranks) + 1)
                ranks.append(ranks_of(np.asarray(found.scores).tolist()))
        frequency, scores = frequencies(np.stack(ranks), q)
        notes = {
            "half_samples": len(ranks),
            "selected_by_each": q,
            "stable_fields": int((frequency >= _THRESHOLD).sum()),
            "false_fields_at_most": min(float(n_fields), q**2 / ((2 * _THRESHOLD - 1) * n_fields)),
        }
        return Selection(scores=scores, hint=f"{p.method} never tells them apart", notes=notes)


def halves(rows: Rows, generator: torch.Generator) -> tuple[Rows, Rows]:
    """Two halves of ``rows`` that share none and keep the share of positives; of an odd number one is left over."""
    half = len(rows) // 2
    first = stratified_sample(rows.labels, half, generator)
    left = torch.ones(len(rows), dtype=torch.bool)
    left[first] = False
    rest = rows.take(left.nonzero().squeeze(1))
    return rows.take(first), rest.take(stratified_sample(rest.labels, half, generator))


def frequencies(ranks: np.ndarray, q: int) -> tuple[np.ndarray, np.ndarray]:
    """How often a field is among the first ``q``, and its score, float64 [F] each.

    A field whose tie reaches across the cut counts by its mean rank, and so may be out with all that tie with it.

    Args:
        ranks: of each half-sample, 1 is best, ties share their mean, [2R, F].
        q: fields that a half-sample selects.
    """
    n, n_fields = ranks.shape
    frequency = (ranks <= q).mean(axis=0)
    return frequency, frequency + (1 - (ranks.mean(axis=0) - 1) / n_fields) / (n + 1)
