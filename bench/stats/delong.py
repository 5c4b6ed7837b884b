"""Two models on the same test rows: their difference in AUC, and the error of it that comes from the rows.

With m positives and n negatives and, for each model, mid-ranks T(z) over all rows, T_X(x) over the positives and T_Y(y)
over the negatives (Sun and Xu, IEEE Signal Processing Letters 2014; DeLong et al., Biometrics 1988):

    V10_i = (T(x_i) - T_X(x_i)) / n         share of the negatives that positive i is above
    V01_j = 1 - (T(y_j) - T_Y(y_j)) / m     share of the positives that negative j is below
    AUC = mean V10 = mean V01
    error² of AUC_a - AUC_b = var(V10_a - V10_b) / m + var(V01_a - V01_b) / n

O(N log N) in the rows, exact with ties.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from bench.stats.checks import NotTestable, vector

__all__ = ["AucDifference", "auc_difference"]


@dataclass(frozen=True)
class AucDifference:
    """One model's AUC minus another's on the same rows."""

    difference: float
    error: float
    """Standard error over draws of the test rows; 0 where the models order the two classes alike."""


def auc_difference(first: ArrayLike, second: ArrayLike, labels: ArrayLike) -> AucDifference:
    """Compare two models by DeLong's method.

    Args:
        first: scores of one model, [N]; any increasing transform of probabilities.
        second: those of the other, of the same rows.
        labels: 0 or 1, [N].

    Raises:
        NotTestable: unequal lengths, scores that are not finite, or fewer than two rows of a class.
    """
    a, b, y = vector(first, "scores"), vector(second, "scores"), vector(labels, "labels")
    if not len(a) == len(b) == len(y):
        raise NotTestable(f"{len(a)} and {len(b)} scores for {len(y)} labels")
    positive = y > 0.5
    m, n = int(positive.sum()), int((~positive).sum())
    if min(m, n) < 2:
        raise NotTestable(f"{m} positive and {n} negative rows: at least two of each are needed")
    (a10, a01), (b10, b01) = _placements(a, positive), _placements(b, positive)
    variance = float(np.var(a10 - b10, ddof=1)) / m + float(np.var(a01 - b01, ddof=1)) / n
    return AucDifference(float(a10.mean() - b10.mean()), math.sqrt(variance))


def _placements(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """V10 [m] and V01 [n]."""
    above, below = scores[positive], scores[~positive]
    ranks = rankdata(scores)
    v10 = (ranks[positive] - rankdata(above)) / len(below)
    v01 = 1 - (ranks[~positive] - rankdata(below)) / len(above)
    return v10, v01
