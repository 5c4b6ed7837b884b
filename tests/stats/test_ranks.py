from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.stats.checks import NotTestable
from bench.stats.ranks import average_ranks, cliques, critical_difference, friedman, nemenyi_q


def test_average_ranks_by_hand() -> None:
    # block 1: 3 2 1; block 2: the first two share ranks 1 and 2
    np.testing.assert_allclose(average_ranks([[0.1, 0.2, 0.3], [0.9, 0.9, 0.5]]), [2.25, 1.75, 2.0])
    np.testing.assert_allclose(average_ranks([[0.1, 0.2, 0.3]], higher_is_better=False), [1, 2, 3])


@pytest.mark.parametrize("decimals", [1, 8])
def test_friedman_equals_scipy_with_and_without_ties(decimals: int) -> None:
    x = np.random.default_rng(2).normal(size=(9, 5)).round(decimals)
    expected = stats.friedmanchisquare(*x.T)
    found = friedman(x)
    assert (found.chi2, found.p) == pytest.approx((expected.statistic, expected.pvalue))
    f = 8 * found.chi2 / (9 * 4 - found.chi2)
    assert (found.f, found.f_p) == pytest.approx((f, stats.f.sf(f, 4, 32)))
    assert (found.n_blocks, found.n_methods) == (9, 5)


def test_friedman_by_hand_where_all_blocks_agree() -> None:
    # ranks 1 2 3 in both blocks: χ² = 12·2/(3·4) · (1 + 4 + 9 - 12) = 4, its largest value N (k - 1)
    found = friedman([[3.0, 2.0, 1.0], [30.0, 20.0, 10.0]])
    assert found.chi2 == pytest.approx(4.0)
    assert (found.f, found.f_p) == (math.inf, 0.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[1.0, 2.0, 3.0]], "blocks: 1 of at least 2"),
        ([[1.0, 2.0], [2.0, 1.0]], "methods: 2 of at least 3"),
        ([[1.0, 2.0, math.nan], [1.0, 2.0, 3.0]], "1 of 6 numbers are missing"),
        ([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]], "tie in every block"),
    ],
)
def test_friedman_refuses(values: list[list[float]], message: str) -> None:
    with pytest.raises(NotTestable, match=message):
        friedman(values)


def test_nemenyi_q_is_the_studentised_range_over_root_two() -> None:
    published = [1.960, 2.344, 2.569, 2.728, 2.850, 2.948, 3.031, 3.102, 3.164, 3.219, 3.268]
    """For k = 2 to 12 at the 5 % level."""
    for k, q in zip(range(2, 13), published, strict=True):
        assert nemenyi_q(k) == pytest.approx(q, abs=1.1e-3)
        # P(range of k standard normals < √2 q) = k ∫ φ(x) (Φ(x) - Φ(x - √2 q))^(k-1) dx
        x = np.linspace(-8, 8, 4001)
        within = stats.norm.cdf(x) - stats.norm.cdf(x - math.sqrt(2) * nemenyi_q(k))
        assert k * np.trapezoid(stats.norm.pdf(x) * within ** (k - 1), x) == pytest.approx(0.95, abs=1e-6)
    assert nemenyi_q(2) == pytest.approx(stats.norm.ppf(0.975)), "two methods: the normal quantile"


def test_critical_differences() -> None:
    # k = 10 methods: 7.8 ranks at 3 blocks, 3.5 at 15, 2.5 at 30
    for n, expected in ((3, 7.8), (15, 3.5), (30, 2.5)):
        assert critical_difference(10, n) == pytest.approx(nemenyi_q(10) * math.sqrt(110 / (6 * n)))
        assert critical_difference(10, n) == pytest.approx(expected, abs=0.05)
    for k, n in ((1, 5), (3, 1)):
        with pytest.raises(NotTestable, match="at least 2"):
            critical_difference(k, n)


def test_cliques_by_hand() -> None:
    assert cliques([1.0, 4.0, 2.0, 3.0], 1.0) == [[0, 2], [2, 3], [3, 1]]
    assert cliques([1.0, 4.0, 2.0, 3.0], 2.0) == [[0, 2, 3], [2, 3, 1]]
    assert cliques([1.0, 4.0, 2.0, 3.0], 9.0) == [[0, 2, 3, 1]]
    assert cliques([1.0, 4.0, 2.0, 3.0], 0.5) == []


@settings(deadline=None)
@given(
    st.lists(st.integers(2, 40).map(lambda r: r / 2), min_size=1, max_size=9), st.integers(0, 20).map(lambda d: d / 4)
)
def test_cliques_join_exactly_the_pairs_within_the_difference(ranks: list[float], difference: float) -> None:
    found = cliques(ranks, difference)
    joined = {frozenset((i, j)) for clique in found for i in clique for j in clique if i != j}
    n = len(ranks)
    within = {frozenset((i, j)) for i in range(n) for j in range(i) if abs(ranks[i] - ranks[j]) <= difference}
    assert joined == within
    sets = [set(clique) for clique in found]
    assert not any(a < b for a in sets for b in sets)
