from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from bench.stats.checks import NotTestable
from bench.stats.delong import auc_difference


def data(n: int, seed: int = 0, ties: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of two related models and labels, [n] each."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.3).astype(float)
    shared = labels + rng.normal(0, 1.2, n)
    first, second = shared + rng.normal(0, 0.5, n), shared + rng.normal(0, 0.8, n)
    return (first.round(1), second.round(1), labels) if ties else (first, second, labels)


@pytest.mark.parametrize("ties", [False, True])
def test_it_is_delong_s_covariance_of_the_pairwise_kernel(ties: bool) -> None:
    first, second, labels = data(150, ties=ties)
    kernels = []
    for scores in (first, second):
        positives, negatives = scores[labels == 1], scores[labels == 0]
        gap = positives[:, None] - negatives[None, :]
        kernels.append((gap > 0) + 0.5 * (gap == 0))  # psi(x_i, y_j)
    m, n = kernels[0].shape
    by_positive = np.cov([kernel.mean(1) for kernel in kernels])
    by_negative = np.cov([kernel.mean(0) for kernel in kernels])
    covariance = by_positive / m + by_negative / n
    found = auc_difference(first, second, labels)
    assert found.difference == pytest.approx(roc_auc_score(labels, first) - roc_auc_score(labels, second), abs=1e-12)
    contrast = np.array([1, -1])
    assert found.error == pytest.approx(np.sqrt(contrast @ covariance @ contrast), rel=1e-9)


def test_the_error_is_that_of_drawing_other_rows() -> None:
    first, second, labels = data(1500)
    rng = np.random.default_rng(1)
    differences = []
    for _ in range(400):
        rows = rng.integers(0, len(labels), len(labels))
        differences.append(roc_auc_score(labels[rows], first[rows]) - roc_auc_score(labels[rows], second[rows]))
    # the deviation of 400 draws has a relative error of 1 / √800 = 3.5 %
    assert auc_difference(first, second, labels).error == pytest.approx(np.std(differences, ddof=1), rel=0.12)


def test_models_that_order_rows_alike_do_not_differ() -> None:
    first, _, labels = data(60)
    found = auc_difference(first, np.exp(first), labels)
    assert (found.difference, found.error) == (0.0, 0.0)


def test_what_cannot_be_tested_is_refused() -> None:
    with pytest.raises(NotTestable, match="1 positive and 3 negative rows"):
        auc_difference([1, 2, 3, 4], [1, 2, 3, 4], [0, 0, 0, 1])
    with pytest.raises(NotTestable, match="2 and 2 scores for 3 labels"):
        auc_difference([1, 2], [1, 2], [0, 1, 1])
    with pytest.raises(NotTestable, match="not finite"):
        auc_difference([1, np.nan], [1, 2], [0, 1])
