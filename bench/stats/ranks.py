"""All methods over several blocks: do they differ, and which ones (Demšar, JMLR 2006).

With k methods, N blocks and R_j the mean rank of method j (1 = best, ties share the mean of their ranks):

    χ²_F = 12 N / (k (k + 1)) · (Σ R_j² - k (k + 1)² / 4), divided by 1 - Σ(t³ - t) / (N (k³ - k)) for ties of size t
    F    = (N - 1) χ²_F / (N (k - 1) - χ²_F), with k - 1 and (k - 1)(N - 1) degrees of freedom (Iman and Davenport)
    CD   = q_α √(k (k + 1) / (6 N)), q_α = the studentised range's 1 - α quantile for k groups and ∞, over √2

A block is a data set with a backbone, the mean over seeds taken first: seeds of one block are no blocks of their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from bench.stats.checks import NotTestable, matrix

__all__ = ["Friedman", "average_ranks", "block_ranks", "cliques", "critical_difference", "friedman", "nemenyi_q"]


@dataclass(frozen=True)
class Friedman:
    """Friedman's test and Iman and Davenport's sharper form of it."""

    chi2: float
    p: float
    f: float
    """Infinite where all blocks rank the methods alike."""
    f_p: float
    n_blocks: int
    n_methods: int


def block_ranks(values: ArrayLike, higher_is_better: bool = True) -> np.ndarray:
    """Ranks within every block [N, k] of ``values`` [N, k]; 1 = best, ties share the mean of their ranks."""
    x = matrix(values, "blocks")
    return np.asarray(stats.rankdata(-x if higher_is_better else x, axis=1))


def average_ranks(values: ArrayLike, higher_is_better: bool = True) -> np.ndarray:
    """Mean rank of every method over the blocks, [k]; arguments as for ``friedman``."""
    return np.asarray(block_ranks(values, higher_is_better).mean(axis=0))


def friedman(values: ArrayLike, higher_is_better: bool = True) -> Friedman:
    """Test whether any of the methods differ.

    Args:
        values: one number a block and method, [N, k].
        higher_is_better: direction of the numbers.

    Raises:
        NotTestable: fewer than two blocks or three methods, missing numbers, or ties everywhere.
    """
    ranks = block_ranks(matrix(values, "blocks", 2), higher_is_better)
    n, k = ranks.shape
    if k < 3:
        raise NotTestable(f"methods: {k} of at least 3")
    ties = sum(float((t**3 - t).sum()) for row in ranks for t in [np.unique(row, return_counts=True)[1]])
    untied = 1 - ties / (n * (k**3 - k))
    if untied <= 0:
        raise NotTestable("all methods tie in every block")
    spread = float(((ranks.mean(axis=0) - (k + 1) / 2) ** 2).sum())
    chi2 = 12 * n / (k * (k + 1)) * spread / untied
    rest = n * (k - 1) - chi2
    f = (n - 1) * chi2 / rest if rest > 1e-12 * n * k else math.inf
    return Friedman(chi2, float(stats.chi2.sf(chi2, k - 1)), f, float(stats.f.sf(f, k - 1, (k - 1) * (n - 1))), n, k)


def critical_difference(n_methods: int, n_blocks: int, alpha: float = 0.05) -> float:
    """Nemenyi's critical difference: mean ranks that are further apart differ at the family-wise level ``alpha``.

    Raises:
        NotTestable: fewer than two methods or two blocks.
    """
    if n_methods < 2 or n_blocks < 2:
        raise NotTestable(f"{n_methods} methods over {n_blocks} blocks: at least 2 of both are needed")
    return nemenyi_q(n_methods, alpha) * math.sqrt(n_methods * (n_methods + 1) / (6 * n_blocks))


@lru_cache(maxsize=64)
def nemenyi_q(n_methods: int, alpha: float = 0.05) -> float:
    """q_α: the studentised range's quantile over √2."""
    return float(stats.studentized_range.ppf(1 - alpha, n_methods, np.inf)) / math.sqrt(2)


def cliques(ranks: ArrayLike, difference: float) -> list[list[int]]:
    """The largest groups of methods whose mean ranks lie within ``difference``, as indices from best to worst.

    Groups of one, and groups inside another, are left out.
    """
    x = np.asarray(ranks, dtype=np.float64)
    order = np.argsort(x, kind="stable")
    found: list[list[int]] = []
    last_end = 0
    for start in range(len(order)):
        end = start + int((x[order[start:]] - x[order[start]] <= difference).sum())
        if end - start > 1 and end > last_end:
            found.append([int(i) for i in order[start:end]])
        last_end = max(last_end, end)
    return found
