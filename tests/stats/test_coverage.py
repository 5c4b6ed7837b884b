"""How often the interval over seeds and test rows holds a difference that is known, in experiments drawn for that.

The score of row i by method m at seed s is, with y the label, c, u, w standard normal and e a seed's luck:

    √2 (M_m + e_ms) y_i + √SHARED c_i + √(1 - SHARED) (√(1 - OWN) u_mi + √OWN w_msi)

c is what all models see in a row, u what one method sees at every seed (other fields), w what one seed sees in it. The
noise has variance 1 in both classes, so that the AUC of a model is Φ(M_m + e_ms); with e normal of variance ω², its
mean over seeds is Φ(M_m / √(1 + ω²)). Hence the true difference, over all seeds and rows, in closed form.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from bench.stats.difference import Interval, auc_difference

PROBITS = (0.72, 0.66)
"""M of the two methods: AUC .764 and .745 where seeds do not differ."""
SHARED, OWN = 0.8, 0.3
TOGETHER = 0.5
"""Correlation of a seed's luck between the methods: they share initial weights and the order of batches."""
EXPERIMENTS = 500
LEAST = 0.93


@dataclass(frozen=True)
class Setting:
    seeds: int
    rows: int
    positive: float
    luck: float
    """ω √rows: variances of seeds and of rows then keep their proportion with any number of rows."""

    @property
    def omega(self) -> float:
        return self.luck / float(np.sqrt(self.rows))

    @property
    def truth(self) -> float:
        first, second = (stats.norm.cdf(m / np.sqrt(1 + self.omega**2)) for m in PROBITS)
        return float(first - second)

    def draw(self, rng: np.random.Generator) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
        """Scores of both methods at each seed on one draw of test rows, and the labels."""
        labels = (rng.random(self.rows) < self.positive).astype(float)
        common = np.sqrt(SHARED) * rng.normal(size=self.rows)
        both = np.sqrt(TOGETHER) * rng.normal(size=self.seeds)
        first, second = (self._method(rng, m, both, labels, common) for m in PROBITS)
        return first, second, labels

    def _method(
        self, rng: np.random.Generator, m: float, both: np.ndarray, labels: np.ndarray, common: np.ndarray
    ) -> list[np.ndarray]:
        luck = self.omega * (both + np.sqrt(1 - TOGETHER) * rng.normal(size=self.seeds))
        same = np.sqrt(1 - OWN) * rng.normal(size=self.rows)
        return [
            np.sqrt(2) * (m + e) * labels
            + common
            + np.sqrt(1 - SHARED) * (same + np.sqrt(OWN) * rng.normal(size=self.rows))
            for e in luck
        ]

    def experiments(self, number: int = EXPERIMENTS) -> Iterator[Interval]:
        rng = np.random.default_rng([self.seeds, self.rows, round(100 * self.positive), round(100 * self.luck)])
        for _ in range(number):
            yield auc_difference(*self.draw(rng))

    def covered(self, found: list[Interval]) -> int:
        return sum(interval.low <= self.truth <= interval.high for interval in found)


FEW, MODERATE, MANY = 500, 2_000, 20_000
NO_LUCK, SOME_LUCK, MUCH_LUCK = 0.0, 2.0, 6.0
"""Of the seeds against the rows, as variances of the mean over three seeds: 0.1 (all of it from w), 1 to 2, 9 to 16."""


@pytest.mark.parametrize("setting", [Setting(3, FEW, 0.2, MUCH_LUCK), Setting(5, FEW, 0.5, SOME_LUCK)], ids=str)
def test_500_small_experiments_hold_the_known_difference(setting: Setting) -> None:
    found = list(setting.experiments())
    assert setting.covered(found) >= LEAST * EXPERIMENTS
    means = np.array([interval.mean for interval in found])
    assert abs(means.mean() - setting.truth) < 4 * means.std() / np.sqrt(EXPERIMENTS)  # the closed form is the truth


@pytest.mark.slow
@pytest.mark.parametrize("luck", [NO_LUCK, SOME_LUCK, MUCH_LUCK])
@pytest.mark.parametrize("seeds", [3, 5])
def test_every_number_of_rows_and_prevalence_holds_it(seeds: int, luck: float) -> None:
    """PROTOCOL states what is counted here; 500 experiments at a true 94.2 % come out under 93 % one time in eight."""
    settings = [Setting(seeds, rows, positive, luck) for rows in (FEW, MODERATE, MANY) for positive in (0.2, 0.5)]
    covered = [setting.covered(list(setting.experiments())) for setting in settings]
    for setting, number in zip(settings, covered, strict=True):
        assert stats.binomtest(number, EXPERIMENTS, LEAST, "less").pvalue > 0.01, (setting, number)
    assert sum(covered) >= LEAST * EXPERIMENTS * len(settings)


@pytest.mark.slow
@pytest.mark.parametrize("positive", [0.2, 0.5])
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_ten_times_the_experiments_leave_no_room_for_chance(seeds: int, positive: float) -> None:
    setting, experiments = Setting(seeds, FEW, positive, MUCH_LUCK), 10 * EXPERIMENTS
    assert setting.covered(list(setting.experiments(experiments))) >= LEAST * experiments
