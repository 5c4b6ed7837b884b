"""How alike the rankings of fields by several runs or methods are: mean correlations over pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from bench.recovery import spearman
from bench.stats.checks import matrix

__all__ = ["Agreement", "kendall", "ranking_agreement"]


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
    return Agreement(_mean_over_pairs(spearman, x), _mean_over_pairs(kendall, x), len(x) * (len(x) - 1) // 2)


def kendall(a: np.ndarray, b: np.ndarray) -> float:
    """Kendall's τ-b; NaN where either side is constant."""
    return float(stats.kendalltau(a, b).statistic)


def _mean_over_pairs(measure: Callable[[np.ndarray, np.ndarray], float], x: np.ndarray) -> float:
    return float(np.mean([measure(a, b) for a, b in combinations(x, 2)]))
