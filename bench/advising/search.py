"""Which numbers of kept fields K to train with, and which of them to choose; a group of fields counts as one.

A look at K is the interval of AUC(K) - AUC(all F fields) on validation rows:

    within   its lower end is above -tolerance: the loss is below the tolerance
    worse    its upper end is below -tolerance
    open     neither

Chosen is the smallest K that is within, with all larger ones that were looked at. Looks go from large K to small: on
the geometric grid K = F^(i/m), m = ceil(log2 F), down to the first that is not within, then by halves between it and
the smallest that is. This fixed sequence needs no correction for several looks down to where it first stops: to claim
a K that loses too much, the first such K must pass its own test. Each look by halves below that adds at most its own
error. Where the first look is not within, F - 1 comes next: if that is not, no other K need be tried.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Literal

from bench.budget import n_keep
from bench.stats.difference import Interval

__all__ = ["Outcome", "chosen", "grid", "next_k", "outcome", "tau_for"]

Outcome = Literal["within", "worse", "open"]


def grid(n_fields: int, floor: int = 1) -> list[int]:
    """Numbers of kept fields below ``n_fields``, decreasing to ``floor``, each about half of the one before."""
    steps = max(1, math.ceil(math.log2(n_fields)))
    points = {max(floor, round(n_fields ** (step / steps))) for step in range(steps)}
    return sorted(points - {n_fields}, reverse=True)


def tau_for(k: int, n_fields: int) -> float:
    """The prune ratio with the fewest decimals that keeps ``k`` of ``n_fields``."""
    scale = 1
    while True:
        scale *= 10
        tau = math.ceil(Fraction(n_fields - k, n_fields) * scale) / scale
        if tau < 1 and n_keep(tau, n_fields) == k:
            return tau


def outcome(interval: Interval, tolerance: float) -> Outcome:
    """What a look says."""
    if interval.low > -tolerance:
        return "within"
    return "worse" if interval.high < -tolerance else "open"


def chosen(seen: Mapping[int, Outcome]) -> int | None:
    """The smallest K that is within, with all larger ones; None where the largest is not."""
    found = None
    for k in sorted(seen, reverse=True):
        if seen[k] != "within":
            break
        found = k
    return found


def next_k(seen: Mapping[int, Outcome], n_fields: int, points: Sequence[int] | None = None) -> int | None:
    """Where to look next; None where no further look could change what is chosen.

    Args:
        seen: what was found, by K below ``n_fields``.
        n_fields: of the set that others are compared with.
        points: the grid, decreasing; by default that of ``n_fields``.
    """
    for k in grid(n_fields) if points is None else points:
        if k >= n_fields:
            continue
        if k not in seen:
            return k
        if seen[k] != "within":
            break
    below = max((k for k, found in seen.items() if found != "within"), default=None)
    if below is None or below == n_fields - 1:
        return None
    above = min((k for k in seen if k > below), default=None)
    if above is None:
        return n_fields - 1
    return (above + below) // 2 if above - below > 1 else None
