"""Two methods over the same seeds, and what a number of seeds can show at all.

With d_s the difference at seed s, n seeds, mean d̄ and sample standard deviation s_d:

    t = d̄ √n / s_d             two-sided p from Student's t with n - 1 degrees of freedom
    interval                   d̄ ± t_{n-1, 1-α/2} s_d / √n
    detectable difference      δ s_d / √n, δ the non-centrality at which the test rejects with the wanted power

Pairs of different methods on the same seeds share initial embeddings and batch order, hence the pairing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from bench.stats.checks import NotTestable, matrix, vector

__all__ = ["WILCOXON_SEEDS", "Paired", "detectable_difference", "holm", "pair_spreads", "paired_test"]

WILCOXON_SEEDS = 6
"""From here on Wilcoxon's test is a useful check: with 5 pairs its smallest two-sided p is 0.0625."""


@dataclass(frozen=True)
class Paired:
    """A paired t-test."""

    difference: float
    """Mean of first minus second."""
    low: float
    high: float
    """Confidence interval of the mean difference."""
    p: float
    """Two-sided, not corrected."""
    wilcoxon_p: float | None
    """Signed-rank test, not corrected; None under ``WILCOXON_SEEDS`` pairs."""
    n: int


def paired_test(first: ArrayLike, second: ArrayLike, alpha: float = 0.05) -> Paired:
    """Test whether two methods differ, seed by seed.

    Args:
        first: one number a seed, [n].
        second: the other method's numbers at the same seeds, [n].
        alpha: 1 - the level of the interval.

    Raises:
        NotTestable: fewer than two pairs, unequal lengths, missing numbers, or differences that do not vary.
    """
    a, b = vector(first, "pairs", 2), vector(second, "pairs", 2)
    if len(a) != len(b):
        raise NotTestable(f"{len(a)} numbers against {len(b)}: not the same seeds")
    d, n = a - b, len(a)
    mean, sd = float(d.mean()), float(d.std(ddof=1))
    if sd <= 8 * np.finfo(np.float64).eps * max(np.abs(a).max(), np.abs(b).max()):
        raise NotTestable("the differences of all seeds are equal, so that their spread is unknown")
    error = sd / math.sqrt(n)
    half = float(stats.t.ppf(1 - alpha / 2, n - 1)) * error
    p = 2 * float(stats.t.sf(abs(mean) / error, n - 1))
    return Paired(mean, mean - half, mean + half, p, _wilcoxon(d), n)


def _wilcoxon(d: np.ndarray) -> float | None:
    return float(stats.wilcoxon(d).pvalue) if len(d) >= WILCOXON_SEEDS else None


def holm(p: ArrayLike) -> np.ndarray:
    """p-values [k] corrected by Holm's step-down rule, in the order given: valid for any dependence between them.

    Raises:
        NotTestable: a missing p, or one outside of 0 to 1.
    """
    raw = vector(p, "p-values")
    if raw.min() < 0 or raw.max() > 1:
        raise NotTestable("p-values: not all between 0 and 1")
    order = np.argsort(raw, kind="stable")
    steps = raw[order] * np.arange(len(raw), 0, -1)
    corrected = np.empty_like(raw)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected


def pair_spreads(values: ArrayLike) -> np.ndarray:
    """Sample standard deviation over seeds of the difference of every two methods, [k (k - 1) / 2].

    What a seed does to all methods does not count.

    Args:
        values: [k methods, n seeds], k and n at least 2.

    Raises:
        NotTestable: fewer methods or seeds, or missing numbers.
    """
    x = matrix(values, "methods", 2)
    vector(x[0], "seeds", 2)
    first, second = np.triu_indices(len(x), 1)
    spreads: np.ndarray = (x[first] - x[second]).std(axis=1, ddof=1)
    return spreads


def detectable_difference(sd: float, n: int, alpha: float = 0.05, power: float = 0.8) -> float:
    """The smallest true difference that a paired t-test over ``n`` seeds finds with probability ``power``.

    Args:
        sd: standard deviation of the differences over seeds.
        n: number of seeds.
        alpha: two-sided level of the test.
        power: probability of rejecting on the right side.

    Raises:
        NotTestable: fewer than two seeds, or a deviation that is negative or no number.
    """
    if n < 2:
        raise NotTestable(f"seeds: {n} of at least 2")
    if not (math.isfinite(sd) and sd >= 0):
        raise NotTestable(f"standard deviation of the differences: {sd}")
    return sd * _detectable_effect(n, alpha, power)


@lru_cache(maxsize=256)
def _detectable_effect(n: int, alpha: float, power: float) -> float:
    """In standard deviations of the differences."""
    critical = stats.t.ppf(1 - alpha / 2, n - 1)
    return float(special.nctdtrinc(n - 1, 1 - power, critical)) / math.sqrt(n)
