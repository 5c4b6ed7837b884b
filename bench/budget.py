"""From a prune ratio and field scores to the fields that stay. The harness alone makes this choice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np


def n_keep(tau: float, n: int) -> int:
    """Units that stay of ``n`` at prune ratio ``tau``: n - floor(tau · n), computed exactly in decimals."""
    return n - math.floor(Fraction(repr(float(tau))) * n)


@dataclass(frozen=True)
class Kept:
    """The kept fields."""

    fields: tuple[int, ...]
    """Increasing indices."""
    ties: int
    """Fields that share the score at the cut, where the cut falls among them; else 0."""


def keep_top(scores: np.ndarray, k: int) -> Kept:
    """The ``k`` fields with the highest scores [F]; ties go to the lower index.

    Raises:
        ValueError: a score that is not finite.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(scores).all():
        bad = np.flatnonzero(~np.isfinite(scores)).tolist()
        raise ValueError(f"field scores must be finite; fields {bad} have {scores[bad].tolist()}")
    order = np.argsort(-scores, kind="stable")
    kept, dropped = order[:k], order[k:]
    ties = 0
    if len(kept) and len(dropped) and scores[kept[-1]] == scores[dropped[0]]:
        ties = int((scores == scores[dropped[0]]).sum())
    return Kept(tuple(sorted(kept.tolist())), ties)
