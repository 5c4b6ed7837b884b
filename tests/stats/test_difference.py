from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from bench.stats.checks import NotTestable
from bench.stats.delong import components, covariance
from bench.stats.difference import Interval, _half_width, auc_difference, rows_needed, seeds_needed

SHIFT = 1.2
"""Mean of the positives' signal; that of the negatives is 0, both deviate by 1."""
NOISE = (0.5, 0.8)
"""What the two models add to it, in standard deviations, at their middle seed."""
VARIES = 0.3
"""Deviation over seeds of the logarithm of that."""


def true_difference() -> float:
    """E over seeds of Φ(SHIFT / √(2 (1 + σ²))) of one model less the other's, by Gauss and Hermite."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    means = [
        weights @ stats.norm.cdf(SHIFT / np.sqrt(2 * (1 + (noise * np.exp(VARIES * nodes)) ** 2))) / weights.sum()
        for noise in NOISE
    ]
    return float(means[0] - means[1])


def draw(rng: np.random.Generator, rows: int, seeds: int) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Scores of two models at each seed on one draw of test rows, and the labels."""
    labels = (rng.random(rows) < 0.3).astype(float)
    signal = SHIFT * labels + rng.normal(size=rows)
    first, second = (
        [signal + noise * np.exp(VARIES * rng.normal()) * rng.normal(size=rows) for _ in range(seeds)]
        for noise in NOISE
    )
    return first, second, labels


@pytest.mark.parametrize("seeds", [2, 5])
def test_intervals_cover_the_true_difference_as_often_as_they_say(seeds: int) -> None:
    rng, truth, repeats = np.random.default_rng(seeds), true_difference(), 200
    found = [auc_difference(*draw(rng, 500, seeds)) for _ in range(repeats)]
    covered = np.mean([interval.low <= truth <= interval.high for interval in found])
    assert covered >= 0.9
    assert np.mean([interval.mean for interval in found]) == pytest.approx(truth, abs=0.003)


def test_seeds_alone_or_rows_alone_cover_too_little() -> None:
    """What makes the two parts necessary, on the same draws."""
    rng, truth = np.random.default_rng(0), true_difference()
    by_seeds, by_rows, both = [], [], []
    for _ in range(200):
        found = auc_difference(*draw(rng, 500, 5))
        off = abs(found.mean - truth)
        by_seeds.append(off <= stats.t.ppf(0.975, 4) * np.sqrt(found.seed_var))
        by_rows.append(off <= stats.norm.ppf(0.975) * np.sqrt(found.row_var))
        both.append(off <= found.half_width)
    assert np.mean(both) > max(np.mean(by_seeds), np.mean(by_rows))
    assert np.mean(by_rows) < 0.9


def test_the_parts_are_those_of_their_definitions() -> None:
    first, second, labels = draw(np.random.default_rng(3), 300, 3)
    found = auc_difference(first, second, labels, level=0.9)
    by_seed = np.array(
        [roc_auc_score(labels, a) - roc_auc_score(labels, b) for a, b in zip(first, second, strict=True)]
    )
    assert found.mean == pytest.approx(by_seed.mean())
    assert found.seed_var == pytest.approx(by_seed.var(ddof=1) / 3)
    parts = [components(scores, labels) for scores in (*first, *second)]
    signs = np.array([1, 1, 1, -1, -1, -1]) / 3
    pairwise = np.array([[covariance(a, b) for b in parts] for a in parts])
    assert found.row_var == pytest.approx(signs @ pairwise @ signs)  # the mean is a contrast of the six AUCs
    assert found.se == pytest.approx(np.sqrt(found.seed_var + found.row_var))
    assert found.dof == pytest.approx(2 * found.se**2 / found.seed_var)
    half = stats.t.ppf(0.95, found.dof) * found.se
    assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half))
    assert (found.seeds, found.rows, found.seed_part) == (3, 300, True)


def test_one_seed_has_the_rows_alone() -> None:
    first, second, labels = draw(np.random.default_rng(4), 300, 1)
    found = auc_difference(first, second, labels)
    assert (found.seeds, found.seed_part, found.seed_var, found.dof) == (1, False, 0.0, np.inf)
    assert found.half_width == pytest.approx(stats.norm.ppf(0.975) * np.sqrt(found.row_var))


def test_equal_models_have_an_interval_of_no_width() -> None:
    first, _, labels = draw(np.random.default_rng(5), 100, 2)
    found = auc_difference(first, [np.exp(scores) for scores in first], labels)
    assert (found.mean, found.low, found.high, found.se) == (0.0, 0.0, 0.0, 0.0)


def interval(seed_var: float, row_var: float, seeds: int = 4, rows: int = 1000) -> Interval:
    se = float(np.sqrt(seed_var + row_var))
    dof = np.inf if seeds == 1 else (seeds - 1) * se**2 / seed_var if seed_var else np.inf
    half = float(stats.t.ppf(0.975, dof)) * se
    return Interval(0.0, -half, half, se, dof, seeds, rows, seed_var, row_var)


def test_rows_needed_follow_from_the_part_of_the_rows() -> None:
    # seeds have no part: half the width is 1.96 √(4e-6 · 1000 / N) ≤ 0.001 from N = 1.96² · 4e-3 / 1e-6 on
    exact = stats.norm.ppf(0.975) ** 2 * 4e-3 / 1e-6
    assert rows_needed(interval(0.0, 4e-6), 0.001) == pytest.approx(exact, rel=0.01)
    assert rows_needed(interval(0.0, 4e-6, seeds=1), 0.001) == pytest.approx(exact, rel=0.01)
    assert rows_needed(interval(1e-6, 4e-6), 0.0019) is None  # what the seeds leave alone is over 1.96 √1e-6
    enough = rows_needed(interval(1e-6, 4e-6), 0.0035)
    assert enough is not None
    assert interval(1e-6, 4e-6 * 1000 / enough).half_width == pytest.approx(0.0035, rel=0.01)


def test_seeds_needed_follow_from_the_part_of_the_seeds() -> None:
    needed = seeds_needed(interval(4e-6, 1e-7), 0.002)
    assert needed is not None
    widths = [interval(4e-6 * 4 / n, 1e-7, seeds=n).half_width for n in (needed - 1, needed)]
    assert widths[0] > 0.002 >= widths[1]
    assert seeds_needed(interval(4e-6, 4e-6), 0.003) is None  # 1.96 √4e-6 = 0.0039 is left with any number of seeds
    assert seeds_needed(interval(0.0, 1e-7, seeds=1), 0.1) is None


def test_what_cannot_be_tested_is_refused() -> None:
    scores, labels = [np.arange(4.0)], np.array([0, 1, 0, 1])
    with pytest.raises(NotTestable, match="1 seeds against 2"):
        auc_difference(scores, scores * 2, labels)
    with pytest.raises(NotTestable, match="0 seeds against 0"):
        auc_difference([], [], labels)
    with pytest.raises(NotTestable, match="level=95"):
        auc_difference(scores, scores, labels, level=95)


@pytest.mark.parametrize(("seeds", "least", "most"), [(2, 0.935, 0.9835), (3, 0.942, 0.9635), (4, 0.9485, 0.9625)])
def test_intervals_hold_the_truth_whatever_the_share_of_the_seeds(seeds: int, least: float, most: float) -> None:
    """Exactly, for normal parts and a known variance of the rows: over the quantiles of the seeds' sample variance."""
    middles = (np.arange(2000) + 0.5) / 2000
    spread = stats.chi2.ppf(middles, seeds - 1) / (seeds - 1)
    held = []
    for share in np.geomspace(1e-2, 1e3, 26):  # variance of the seeds over that of the rows
        halves = _half_width(share * spread, np.ones(len(spread)), seeds, 0.95)
        held.append(np.mean(1 - 2 * stats.norm.sf(halves / np.sqrt(share + 1))))
    assert least <= min(held) < 0.95
    assert 0.95 < max(held) <= most
