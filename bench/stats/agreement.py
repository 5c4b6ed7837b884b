"""How alike the rankings of fields by several runs or methods are: mean correlations over pairs.

With s_ij(a) the sign of a_i - a_j, over all pairs i < j of fields:

    Kendall's τ-b   Σ s_ij(a) s_ij(b) / √(Σ s_ij(a)² · Σ s_ij(b)²)
    Spearman's ρ    Pearson's correlation of the ranks, ties sharing the mean of theirs
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from bench.stats.checks import matrix

__all__ = ["Agreement", "kendall", "kendall_matrix", "ranking_agreement", "spearman_matrix"]


@dataclass(frozen=True)
class Agreement:
    """Means over pairs of rankings; NaN where a ranking does not tell any field from another."""

    spearman: float
    kendall: float
    n_pairs: int


def ranking_agreement(scores: ArrayLike) -> Agreement:
    """Mean pairwise rank correlations of scores [M, F], ties sharing their ranks.

    Raises:
        NotTestable: fewer than two rankings, or a field without a score.
    """
    x = matrix(scores, "rankings", 2)
    pairs = np.triu_indices(len(x), 1)
    return Agreement(float(spearman_matrix(x)[pairs].mean()), float(kendall_matrix(x)[pairs].mean()), len(pairs[0]))


def kendall(a: np.ndarray, b: np.ndarray) -> float:
    """Kendall's τ-b; NaN where either side is constant."""
    return float(kendall_matrix(np.stack([a, b]))[0, 1])


def kendall_matrix(scores: np.ndarray) -> np.ndarray:
    """Kendall's τ-b of all pairs of M rankings [M, F], as [M, M]; NaN where either side is constant."""
    first, second = np.triu_indices(scores.shape[1], 1)
    return _cosines(np.sign(scores[:, first] - scores[:, second]))


def spearman_matrix(scores: np.ndarray) -> np.ndarray:
    """Spearman's ρ of all pairs of M rankings [M, F], as [M, M]; NaN where either side is constant."""
    ranks = stats.rankdata(scores, axis=1)
    return _cosines(ranks - ranks.mean(axis=1, keepdims=True))


def _cosines(x: np.ndarray) -> np.ndarray:
    """Cosines of the angles between the rows of ``x`` [M, P], as [M, M]; NaN for a row of zeros."""
    lengths = np.sqrt((x**2).sum(axis=1))
    products = np.outer(lengths, lengths)
    return np.where(products > 0, (x @ x.T) / np.where(products > 0, products, 1), np.nan)
