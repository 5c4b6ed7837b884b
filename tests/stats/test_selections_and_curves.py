from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.stats.agreement import kendall, ranking_agreement
from bench.stats.checks import NotTestable
from bench.stats.curve import aukc
from bench.stats.stability import jaccard, kuncheva, nogueira


def lots(n_runs: int, n_fields: int, k: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    z = np.zeros((n_runs, n_fields))
    for row in z:
        row[rng.permutation(n_fields)[:k]] = 1
    return z


@settings(deadline=None)
@given(st.integers(2, 8), st.integers(2, 39), st.data())
def test_nogueira_is_kuncheva_for_equal_sizes(n_runs: int, n_fields: int, data: st.DataObject) -> None:
    z = lots(n_runs, n_fields, data.draw(st.integers(1, n_fields - 1)), data.draw(st.integers(0, 99)))
    assert nogueira(z).value == pytest.approx(kuncheva(z), abs=1e-12)


def test_stability_by_hand() -> None:
    # 4 fields, runs {0,1} and {0,2}: common 1, union 3; (1·4 - 4) / (2·2) = 0, as many as chance would have
    z = [[1, 1, 0, 0], [1, 0, 1, 0]]
    assert kuncheva(z) == 0
    assert nogueira(z).value == pytest.approx(0)
    assert jaccard(z) == pytest.approx(1 / 3)
    # unequal sizes, runs {0} and {0,1} of 4: p = 1 ½ 0 0, mean p(1-p) = 1/16, k̄/F = 3/8
    # Φ = 1 - 2 · (1/16) / (15/64) = 1 - 8/15
    assert nogueira([[1, 0, 0, 0], [1, 1, 0, 0]]).value == pytest.approx(7 / 15)


def test_interval_of_nogueira() -> None:
    same = nogueira(np.tile([1, 0, 1, 0], (5, 1)))
    assert (same.value, same.variance, same.low, same.high) == pytest.approx((1, 0, 1, 1))
    # runs {0,1}, {0,1}, {0,2} of 4: p = 1 ⅔ ⅓ 0, chance ¼, mean p(1-p) = 1/9, Φ = 1 - 3/2 · 4/9 = 1/3
    # φ = 4 (mean_f z_f p_f - ¼ + Φ/2 · (½ - ½ - ½ + 1)) with mean_f z_f p_f = 5/12, 5/12, ⅓
    found = nogueira([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0]])
    phi = [4 * (share - 1 / 4 + 1 / 6 * 1 / 2) for share in (5 / 12, 5 / 12, 1 / 3)]
    variance = 4 / 9 * sum((x - np.mean(phi)) ** 2 for x in phi)
    assert found.value == pytest.approx(1 / 3)
    assert found.variance == pytest.approx(variance)
    half = stats.norm.ppf(0.975) * math.sqrt(variance)
    assert (found.low, found.high) == pytest.approx((1 / 3 - half, 1 / 3 + half))


def test_a_few_different_runs_whose_variance_vanishes_have_no_interval() -> None:
    """Three runs, any two of which share one of their two fields: exchangeable, so that no run stands out."""
    found = nogueira([[1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 1, 0]])
    assert found.variance == pytest.approx(0, abs=1e-12)
    assert math.isfinite(found.value)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    same = nogueira([[1, 1, 0, 0]] * 3)
    assert (same.low, same.value, same.high) == (1, 1, 1)


def test_the_interval_covers_chance_for_selections_by_lot() -> None:
    found = [nogueira(lots(30, 39, 20, seed)) for seed in range(100)]
    assert np.mean([s.value for s in found]) == pytest.approx(0, abs=0.01)
    assert np.mean([s.low <= 0 <= s.high for s in found]) > 0.85


def test_jaccard_of_lots_is_not_zero() -> None:
    # 20 of 39: expected common 400/39 = 10.3 of about 29.7 united, 0.35
    assert jaccard(lots(60, 39, 20, 0)) == pytest.approx(0.35, abs=0.01)
    assert jaccard([[0, 0], [0, 0]]) == 1


def test_stability_is_undefined_or_refused() -> None:
    for value in (0, 1):
        z = np.full((3, 4), value)
        assert math.isnan(nogueira(z).value)
        assert math.isnan(nogueira(z).low)
        assert math.isnan(kuncheva(z))
    with pytest.raises(NotTestable, match="runs: 1 of at least 2"):
        nogueira([[1, 0]])
    with pytest.raises(NotTestable, match="other than 0 and 1"):
        jaccard([[1, 0.5], [1, 0]])
    with pytest.raises(NotTestable, match="unequal sizes"):
        kuncheva([[1, 0, 0], [1, 1, 0]])


def test_ranking_agreement_is_the_mean_over_pairs() -> None:
    x = np.random.default_rng(3).normal(size=(4, 12)).round(1)
    pairs = [(x[i], x[j]) for i in range(4) for j in range(i)]
    found = ranking_agreement(x)
    assert found.spearman == pytest.approx(np.mean([stats.spearmanr(a, b).statistic for a, b in pairs]))
    assert found.kendall == pytest.approx(np.mean([stats.kendalltau(a, b).statistic for a, b in pairs]))
    assert found.n_pairs == 6
    with pytest.raises(NotTestable, match="1 of 4 numbers are missing"):
        ranking_agreement([[1.0, math.nan], [1.0, 2.0]])


def test_kendall_by_hand_with_a_tie() -> None:
    # pairs of (1,1,2) against (1,2,3): one tied in the first, two concordant: 2 / √(2 · 3)
    assert kendall(np.array([1.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])) == pytest.approx(2 / math.sqrt(6))
    assert math.isnan(ranking_agreement([[1.0, 1.0], [1.0, 2.0]]).kendall)
    assert math.isnan(ranking_agreement([[1.0, 1.0], [1.0, 2.0]]).spearman)


AVAZU = ([5, 10, 15, 17, 19, 21], [0.7573, 0.7786, 0.7855, 0.7861, 0.7861, 0.7860])
CRITEO = ([5, 10, 15, 20, 25, 30, 33, 36], [0.6887, 0.7515, 0.7847, 0.7896, 0.7928, 0.7964, 0.7995, 0.7993])
"""Public results of a χ² ranking with DeepFM, on 22 and 39 fields."""


@pytest.mark.parametrize(
    ("curve", "n_fields", "expected"),
    [(AVAZU, 22, (0.4865, 0.4644, 0.5582, 0.7791)), (CRITEO, 39, (0.5039, 0.4651, 0.5547, 0.7773))],
)
def test_aukc_on_public_curves(curve, n_fields: int, expected: tuple[float, ...]) -> None:
    k, auc = curve
    scales = [{}, {"k_max": n_fields}, {"include_origin": False}, {"include_origin": False, "baseline": 0.0}]
    for scale, value in zip(scales, expected, strict=True):
        assert aukc(k, auc, **scale) == pytest.approx(value, abs=1.1e-4), "the AUCs are rounded to 4 decimals"


def test_aukc_by_hand() -> None:
    # from (0, .5) to (2, .7) to (4, .9): (2·.2 + 2·.6) / 4
    assert aukc([2, 4], [0.7, 0.9]) == pytest.approx(0.4)
    assert aukc([2, 4], [0.7, 0.9], k_max=8) == pytest.approx(0.2)
    assert aukc([3], [0.5]) == 0
    assert aukc([1, 9], [1.0, 1.0], include_origin=False) == pytest.approx(1)


@pytest.mark.parametrize(
    ("k", "auc", "options", "message"),
    [
        ([1, 2], [0.6], {}, "2 numbers of fields for 1 AUCs"),
        ([2, 1], [0.6, 0.7], {}, "not positive and increasing"),
        ([0, 1], [0.6, 0.7], {}, "not positive and increasing"),
        ([1, 2], [0.6, math.nan], {}, "1 of 2 numbers are missing"),
        ([1, 5], [0.6, 0.7], {"k_max": 3}, "k_max=3 is below"),
        ([5], [0.7], {"include_origin": False}, "1 of at least 2"),
        ([], [], {}, "0 of at least 1"),
    ],
)
def test_aukc_refuses(k: list[int], auc: list[float], options: dict[str, object], message: str) -> None:
    with pytest.raises(NotTestable, match=message):
        aukc(k, auc, **options)
