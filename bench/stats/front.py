"""What nothing else beats in two things at once: the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["front"]


def front(cost: Sequence[float], gain: Sequence[float]) -> list[int]:
    """Points that no other beats: none is as good in both and better in one. By increasing cost.

    Args:
        cost: the lower the better, [n].
        gain: the higher the better, [n].
    """
    points = list(zip(cost, gain, strict=True))
    best = [i for i, (c, g) in enumerate(points) if not any(d <= c and h >= g and (d, h) != (c, g) for d, h in points)]
    return sorted(best, key=lambda i: points[i])
