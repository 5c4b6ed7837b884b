from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from bench.stats.checks import NotTestable
from bench.stats.delong import components, covariance, mean_of


def data(n: int, seed: int = 0, ties: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of two related models and labels, [n] each."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.3).astype(float)
    shared = labels + rng.normal(0, 1.2, n)
    first, second = shared + rng.normal(0, 0.5, n), shared + rng.normal(0, 0.8, n)
    return (first.round(1), second.round(1), labels) if ties else (first, second, labels)


@pytest.mark.parametrize("ties", [False, True])
def test_components_are_the_means_of_the_pairwise_kernel(ties: bool) -> None:
    first, second, labels = data(150, ties=ties)
    kernels = []
    for scores in (first, second):
        positives, negatives = scores[labels == 1], scores[labels == 0]
        gap = positives[:, None] - negatives[None, :]
        kernels.append((gap > 0) + 0.5 * (gap == 0))  # psi(x_i, y_j)
        found = components(scores, labels)
        assert found.auc == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
        np.testing.assert_allclose(found.v10, kernels[-1].mean(1), atol=1e-12)
        np.testing.assert_allclose(found.v01, kernels[-1].mean(0), atol=1e-12)
    m, n = kernels[0].shape
    by_positive = np.cov([kernel.mean(1) for kernel in kernels])
    by_negative = np.cov([kernel.mean(0) for kernel in kernels])
    expected = by_positive / m + by_negative / n
    a, b = components(first, labels), components(second, labels)
    np.testing.assert_allclose([[covariance(x, y) for y in (a, b)] for x in (a, b)], expected, rtol=1e-9)
    contrast = np.array([1, -1])
    assert covariance(a - b, a - b) == pytest.approx(contrast @ expected @ contrast, rel=1e-9)


def test_the_variance_is_that_of_drawing_other_rows() -> None:
    first, second, labels = data(400)
    rng = np.random.default_rng(1)
    differences = []
    for _ in range(2500):
        rows = rng.integers(0, len(labels), len(labels))
        y = labels[rows]
        differences.append(components(first[rows], y).auc - components(second[rows], y).auc)
    d = components(first, labels) - components(second, labels)
    # the deviation of 2500 draws has itself a relative error of 1 / √5000 = 1.4 %
    assert np.sqrt(covariance(d, d)) == pytest.approx(np.std(differences, ddof=1), rel=0.05)


def test_models_that_order_rows_alike_do_not_differ() -> None:
    first, _, labels = data(60)
    d = components(first, labels) - components(np.exp(first), labels)
    assert (d.auc, covariance(d, d)) == (0.0, 0.0)


def test_the_mean_over_seeds_is_by_rows() -> None:
    first, second, labels = data(80)
    a, b = components(first, labels), components(second, labels)
    both = mean_of([a, b])
    assert both.auc == pytest.approx((a.auc + b.auc) / 2)
    # var((A + B) / 2) = (var A + var B + 2 cov(A, B)) / 4
    expected = (covariance(a, a) + covariance(b, b) + 2 * covariance(a, b)) / 4
    assert covariance(both, both) == pytest.approx(expected, rel=1e-9)


def test_what_cannot_be_tested_is_refused() -> None:
    with pytest.raises(NotTestable, match="1 positive and 3 negative rows"):
        components([1, 2, 3, 4], [0, 0, 0, 1])
    with pytest.raises(NotTestable, match="2 scores for 3 labels"):
        components([1, 2], [0, 1, 1])
    with pytest.raises(NotTestable, match="not finite"):
        components([1, np.nan], [0, 1])
    with pytest.raises(NotTestable, match="different rows"):
        covariance(components([1, 2, 3, 4], [0, 0, 1, 1]), components([1, 2, 3, 4, 5], [0, 0, 0, 1, 1]))
