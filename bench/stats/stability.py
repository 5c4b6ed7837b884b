"""How alike the selections of M runs over F fields are: seeds, subsamples or prune ratios of one method.

With p_f the share of runs that keep field f, k_i the number kept by run i, k̄ its mean, r the common fields of two runs:

    Nogueira   Φ = 1 - [M / (M - 1) · mean_f p_f (1 - p_f)] / [k̄ / F (1 - k̄ / F)]       (JMLR 2018)
    Kuncheva   mean over pairs of (r F - k²) / (k (F - k)), for equal sizes k: the same number as Φ
    Jaccard    mean over pairs of r / |A ∪ B|: not corrected for chance

Φ is 0 on average for selections by lot and at most 1; above 0.75 is usually read as excellent, below 0.4 as poor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from bench.stats.checks import NotTestable, matrix

__all__ = ["Stability", "jaccard", "kuncheva", "nogueira"]

_NO_VARIANCE = 1e-15
"""Variance below which it is zero but for rounding."""


@dataclass(frozen=True)
class Stability:
    """Nogueira's measure with its asymptotic confidence interval; NaN where they are undefined."""

    value: float
    variance: float
    low: float
    high: float


def nogueira(kept: ArrayLike, alpha: float = 0.05) -> Stability:
    """Stability of selections of any sizes, corrected for chance.

    Args:
        kept: whether run i kept field f, [M, F] of 0 and 1.
        alpha: 1 - the level of the interval.

    Returns:
        The measure and its interval; NaN where every run keeps all fields, or none. The interval is NaN where the
        variance comes out as zero though the runs differ, as it may with few of them.

    Raises:
        NotTestable: fewer than two runs, or entries other than 0 and 1.
    """
    z = _selections(kept)
    n_runs, n_fields = z.shape
    p, k = z.mean(axis=0), z.sum(axis=1)  # [F], [M]
    mean_k = float(k.mean())
    chance = mean_k / n_fields * (1 - mean_k / n_fields)
    if chance == 0:
        return Stability(math.nan, math.nan, math.nan, math.nan)
    value = 1 - n_runs / (n_runs - 1) * float((p * (1 - p)).mean()) / chance
    sizes = k / n_fields * (mean_k / n_fields)
    phi = (z @ p / n_fields - sizes + value / 2 * (2 * sizes - k / n_fields - mean_k / n_fields + 1)) / chance
    variance = 4 / n_runs**2 * float(((phi - phi.mean()) ** 2).sum())
    if variance < _NO_VARIANCE and bool((z != z[0]).any()):
        return Stability(value, variance, math.nan, math.nan)
    half = float(stats.norm.ppf(1 - alpha / 2)) * math.sqrt(variance)
    return Stability(value, variance, value - half, value + half)


def kuncheva(kept: ArrayLike) -> float:
    """Kuncheva's consistency, the mean over pairs of runs; NaN where every run keeps all fields, or none.

    Args:
        kept: as for ``nogueira``, with equally many fields in every run.

    Raises:
        NotTestable: as for ``nogueira``, or runs of unequal sizes.
    """
    z = _selections(kept)
    n_fields, sizes = z.shape[1], set(z.sum(axis=1).tolist())
    if len(sizes) > 1:
        raise NotTestable("selections of unequal sizes have no consistency of Kuncheva's")
    k = sizes.pop()
    if k in (0, n_fields):
        return math.nan
    common = [float(a @ b) for a, b in combinations(z, 2)]
    return float((np.mean(common) * n_fields - k**2) / (k * (n_fields - k)))


def jaccard(kept: ArrayLike) -> float:
    """Mean over pairs of runs of common over united fields; two empty selections are alike.

    Args:
        kept: as for ``nogueira``.
    """
    z = _selections(kept)
    pairs = [(float(a @ b), float(np.maximum(a, b).sum())) for a, b in combinations(z, 2)]
    return float(np.mean([common / union if union else 1.0 for common, union in pairs]))


def _selections(kept: ArrayLike) -> np.ndarray:
    z = matrix(kept, "runs", 2)
    if not np.isin(z, (0.0, 1.0)).all():
        raise NotTestable("selections: entries other than 0 and 1")
    return z
