"""The parts of an AUC that each test row is answerable for, and the covariance of paired AUCs that follows from them.

With m positives and n negatives and, for each model, mid-ranks T(z) over all rows, T_X(x) over the positives and T_Y(y)
over the negatives (Sun and Xu, IEEE Signal Processing Letters 2014; DeLong et al., Biometrics 1988):

    V10_i = (T(x_i) - T_X(x_i)) / n         share of the negatives that positive i is above
    V01_j = 1 - (T(y_j) - T_Y(y_j)) / m     share of the positives that negative j is below
    AUC = mean V10 = mean V01
    cov(AUC_a, AUC_b) = cov(V10_a, V10_b) / m + cov(V01_a, V01_b) / n

A mid-rank less that within the class is the number of rows of the other class below, ties as halves, which is counted
in their sorted scores: O(N log N) in the rows, exact with ties. Both parts are linear: those of a difference are the
differences, those of a mean over seeds the means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bench.stats.checks import NotTestable, vector

__all__ = ["Components", "components", "covariance", "mean_of"]


@dataclass(frozen=True)
class Components:
    """An AUC, or a mean or difference of AUCs, by test rows."""

    auc: float
    v10: np.ndarray
    """Of the positives, in the order of the rows: float64 [m]."""
    v01: np.ndarray
    """Of the negatives: float64 [n]."""

    def __sub__(self, other: Components) -> Components:
        """The difference of two models on the same rows."""
        return Components(self.auc - other.auc, self.v10 - other.v10, self.v01 - other.v01)


def components(scores: ArrayLike, labels: ArrayLike) -> Components:
    """Take the AUC of a model apart by test rows.

    Args:
        scores: [N]; any increasing transform of probabilities.
        labels: 0 or 1, [N].

    Raises:
        NotTestable: unequal lengths, scores that are not finite, or fewer than two rows of a class.
    """
    z, y = vector(scores, "scores"), vector(labels, "labels")
    if len(z) != len(y):
        raise NotTestable(f"{len(z)} scores for {len(y)} labels")
    positive = y > 0.5
    m, n = int(positive.sum()), int((~positive).sum())
    if min(m, n) < 2:
        raise NotTestable(f"{m} positive and {n} negative rows: at least two of each are needed")
    v10, positives_below = _below(z[positive], z[~positive])
    v01 = 1 - positives_below
    return Components(float(v10.mean()), v10, v01)


def _below(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each number of ``x`` the share of ``y`` that is below, a tie as half, and of each of ``y`` that of ``x``."""
    orders = np.argsort(x), np.argsort(y)
    ascending = x[orders[0]], y[orders[1]]
    shares = []
    for order, own, other in zip(orders, ascending, reversed(ascending), strict=True):
        found = np.empty(len(own))  # searched in order, so that neighbours end at neighbouring places
        found[order] = sum(np.searchsorted(other, own, side) for side in ("left", "right")) / (2 * len(other))
        shares.append(found)
    return shares[0], shares[1]


def mean_of(parts: Sequence[Components]) -> Components:
    """The mean of AUCs on the same rows, such as those of one method's seeds."""
    v10, v01 = (np.mean([getattr(part, name) for part in parts], axis=0) for name in ("v10", "v01"))
    return Components(float(np.mean([part.auc for part in parts])), v10, v01)


def covariance(a: Components, b: Components) -> float:
    """Covariance of two AUCs on the same rows, over draws of those; of one with itself, its variance.

    The variance of a difference is best taken of the difference, ``covariance(a - b, a - b)``: it is 0 where two models
    order the classes alike, where a sum of covariances is left with rounding.

    Raises:
        NotTestable: the rows are not the same.
    """
    if (len(a.v10), len(a.v01)) != (len(b.v10), len(b.v01)):
        raise NotTestable("two models on different rows have no covariance")
    return _covariance(a.v10, b.v10) / len(a.v10) + _covariance(a.v01, b.v01) / len(a.v01)


def _covariance(x: np.ndarray, y: np.ndarray) -> float:
    return float((x - x.mean()) @ (y - y.mean())) / (len(x) - 1)
