from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad

from bench.stats.checks import NotTestable
from bench.stats.paired import detectable_difference, holm, pair_spreads, paired_test

FINITE = st.floats(-10, 10)


def test_paired_test_equals_scipy() -> None:
    rng = np.random.default_rng(0)
    for n in (2, 3, 5, 12):
        a, b = rng.normal(0.1, 1, n), rng.normal(0, 1, n)
        expected = stats.ttest_rel(a, b)
        interval = expected.confidence_interval(0.95)
        found = paired_test(a, b)
        assert found.difference == pytest.approx((a - b).mean())
        assert found.p == pytest.approx(expected.pvalue)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
        assert found.n == n


def test_paired_test_by_hand_for_three_seeds() -> None:
    # differences 1, 2, 3: mean 2, sd 1, t = 2 √3; with 2 degrees of freedom p = 1 - t / √(2 + t²) = 1 - √12 / √14
    found = paired_test([1.0, 3.0, 5.0], [0.0, 1.0, 2.0])
    assert found.p == pytest.approx(1 - math.sqrt(12 / 14))
    assert found.wilcoxon_p is None, "3 seeds are too few"


def test_wilcoxon_checks_from_six_seeds_on() -> None:
    d = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    # all six of one sign: the most extreme of 2⁶ sign patterns, on both sides
    assert paired_test(d, 0 * d).wilcoxon_p == pytest.approx(2 / 2**6)
    assert paired_test(d[:5], 0 * d[:5]).wilcoxon_p is None
    # one zero is dropped, the five that remain are of one sign; two of one size share a rank
    assert paired_test([0, 1, 1, 2, 3, 4], np.zeros(6)).wilcoxon_p == pytest.approx(2 / 2**5)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([0.5], [0.4], "1 of at least 2"),
        ([0.5, 0.6], [0.4, 0.5, 0.6], "not the same seeds"),
        ([0.5, math.nan], [0.4, 0.5], "1 of 2 numbers are missing"),
        ([0.5, 0.6, 0.7], [0.4, 0.5, 0.6], "differences of all seeds are equal"),
        ([0.5, 0.6], [0.5, 0.6], "differences of all seeds are equal"),
        ([[0.5, 0.6]], [[0.5, 0.6]], "2 dimensions"),
    ],
)
def test_paired_test_refuses(first: list[float], second: list[float], message: str) -> None:
    with pytest.raises(NotTestable, match=message):
        paired_test(first, second)


def test_holm_by_hand() -> None:
    # sorted .01 .02 .03 .04 times 4 3 2 1 is .04 .06 .06 .04; never below the one before
    np.testing.assert_allclose(holm([0.04, 0.01, 0.03, 0.02]), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.6, 0.7]), [1.0, 1.0])
    with pytest.raises(NotTestable, match="missing"):
        holm([0.1, math.nan])
    with pytest.raises(NotTestable, match="between 0 and 1"):
        holm([1.5])


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_holm_lies_between_raw_and_bonferroni_and_knows_no_order(p: list[float], random) -> None:
    corrected = holm(p)
    assert (corrected >= np.array(p)).all()
    assert (corrected <= np.minimum(1, len(p) * np.array(p))).all()
    order = random.sample(range(len(p)), len(p))
    np.testing.assert_array_equal(holm([p[i] for i in order]), corrected[order])
    rejected = sum(sorted(p)[i] * (len(p) - i) <= 0.05 for i in range(len(p)))
    assert (corrected <= 0.05).sum() <= rejected


def test_pair_spreads_are_those_of_the_differences() -> None:
    x = np.random.default_rng(1).normal(size=(4, 6))
    pairs = [
        np.std([a - b for a, b in zip(x[i], x[j], strict=True)], ddof=1) for i in range(4) for j in range(i + 1, 4)
    ]
    np.testing.assert_allclose(pair_spreads(x), pairs)
    np.testing.assert_allclose(pair_spreads(x + np.arange(6)), pairs, err_msg="what a seed does to all does not count")
    for bad in (x[:1], x[:, :1]):
        with pytest.raises(NotTestable, match="1 of at least 2"):
            pair_spreads(bad)


@pytest.mark.parametrize("n", [2, 3, 5, 10, 30])
def test_detectable_difference_is_found_with_the_power_asked_for(n: int) -> None:
    shift = detectable_difference(1.0, n) * math.sqrt(n)
    critical = stats.t.ppf(0.975, n - 1)

    def rejects(variance: float) -> float:
        """P(Z + shift > critical √(variance / df)), weighted by the density of the variance."""
        bar = critical * math.sqrt(variance / (n - 1))
        return float(stats.norm.sf(bar - shift) * stats.chi2.pdf(variance, n - 1))

    power = quad(lambda s: 2 * s * rejects(s * s), 0, 4 * math.sqrt(n + 20))[0]
    assert power == pytest.approx(0.8, abs=1e-4)


def test_detectable_difference_agrees_with_known_spreads() -> None:
    # standard deviations of AUC over seeds of public runs, of one model; a difference of two has √2 of it
    criteo, avazu = math.sqrt(2) * 9.5e-5, math.sqrt(2) * 4.4e-4
    assert detectable_difference(criteo, 3) == pytest.approx(4.4e-4, rel=0.01)
    assert detectable_difference(criteo, 5) == pytest.approx(2.3e-4, rel=0.02)
    assert detectable_difference(avazu, 3) == pytest.approx(2.0e-3, rel=0.02)
    assert detectable_difference(avazu, 10) == pytest.approx(6e-4, rel=0.04)
    assert detectable_difference(0.0, 3) == 0
    with pytest.raises(NotTestable, match="seeds: 1"):
        detectable_difference(1.0, 1)
    with pytest.raises(NotTestable, match="nan"):
        detectable_difference(math.nan, 3)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(FINITE, FINITE), min_size=2, max_size=10), st.floats(0.1, 10))
def test_paired_test_is_antisymmetric_and_scale_free(pairs: list[tuple[float, float]], scale: float) -> None:
    a, b = np.array(pairs).T
    try:
        found = paired_test(a, b)
    except NotTestable:
        return
    back = paired_test(b, a)
    assert back.p == pytest.approx(found.p)
    assert (back.difference, back.low, back.high) == pytest.approx((-found.difference, -found.high, -found.low))
    if np.ptp(a - b) > 1e-6:
        assert paired_test(scale * a, scale * b).p == pytest.approx(found.p, rel=1e-4)
