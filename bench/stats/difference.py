"""How far two methods differ in AUC, where both the seeds and the test rows are a matter of chance.

With d_s the difference at seed s of S, V̄ the components of ``bench.stats.delong`` averaged over seeds:

    seeds   a = s_d² / S          s_d: sample standard deviation of the d_s
    rows    b = DeLong(V̄)        all seeds are tested on the same rows, so that more seeds do not lower it
    error = √(a + b),  degrees of freedom ν = (S - 1) ((a + b) / a)^q,  q = 1, with two seeds 1/2     (rows as known)
    interval = mean d ± t_{ν, 1-α/2} error

Welch and Satterthwaite have q = 2. That takes the share of the seeds for known, where a handful of them has estimated
it: where the seeds weigh about ten times the rows, 95 % intervals of three seeds held the truth 92.2 % of the time, of
two 87.2 %. With these q they hold it 94.2 to 96.3 % of the time with three seeds, 94.9 to 96.2 % with more and 93.5 to
98.3 % with two, whatever the share.

A little cautious: s_d² holds some of what the rows do to single seeds. What training on other rows would change is in
neither part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from bench.stats.checks import NotTestable
from bench.stats.delong import Components, components, covariance, mean_of

__all__ = ["Interval", "auc_difference", "interval_of", "rows_needed", "seeds_needed"]

_MOST_SEEDS = 10_000
_MOST_ROWS = 1e12
_STEPS = 4_000


@dataclass(frozen=True)
class Interval:
    """A difference in AUC with its confidence interval."""

    mean: float
    low: float
    high: float
    se: float
    """Standard error, √(seed_var + row_var)."""
    dof: float
    """Degrees of freedom; infinite where seeds have no part."""
    seeds: int
    rows: int
    """Test rows."""
    seed_var: float
    """Variance of the mean that comes from the seeds; 0 with one seed, whose part is not known."""
    row_var: float
    """Variance of the mean that comes from the test rows."""
    level: float = 0.95

    @property
    def seed_part(self) -> bool:
        """Whether the interval covers the seeds; False with one seed: then it is of these two models alone."""
        return self.seeds > 1

    @property
    def half_width(self) -> float:
        return self.high - self.mean

    @property
    def p(self) -> float:
        """Two-sided, of no difference; not corrected. 1 where the models order all rows alike at every seed."""
        return 2 * float(stats.t.sf(abs(self.mean) / self.se, self.dof)) if self.se > 0 else 1.0


def auc_difference(
    ours: Sequence[np.ndarray], baseline: Sequence[np.ndarray], labels: np.ndarray, level: float = 0.95
) -> Interval:
    """The mean over seeds of the AUC of one method less that of another.

    Args:
        ours: scores of the test rows, one array [N] a seed; any increasing transform of probabilities.
        baseline: those of the other method, at the same seeds in the same order.
        labels: 0 or 1, [N].
        level: of the interval.

    Raises:
        NotTestable: no seed, unequal numbers of seeds or rows, scores that are not finite, or fewer than two rows of a
            class.
    """
    if len(ours) != len(baseline) or not len(ours):
        raise NotTestable(f"{len(ours)} seeds against {len(baseline)}: the same seeds are needed, one at least")
    return interval_of(
        [components(a, labels) - components(b, labels) for a, b in zip(ours, baseline, strict=True)], level
    )


def interval_of(by_seed: Sequence[Components], level: float = 0.95) -> Interval:
    """The mean of the differences of every seed, at least one, all on the same rows.

    Raises:
        NotTestable: the level is none.
    """
    if not 0 < level < 1:
        raise NotTestable(f"level={level:g}: it must be between 0 and 1")
    mean, n_seeds = mean_of(by_seed), len(by_seed)
    seed_var = float(np.var([d.auc for d in by_seed], ddof=1)) / n_seeds if n_seeds > 1 else 0.0
    row_var = covariance(mean, mean)
    dof = float(_dof(seed_var, row_var, n_seeds))
    half = float(_half_width(seed_var, row_var, n_seeds, level))
    return Interval(
        mean=mean.auc,
        low=mean.auc - half,
        high=mean.auc + half,
        se=math.sqrt(seed_var + row_var),
        dof=dof,
        seeds=n_seeds,
        rows=len(mean.v10) + len(mean.v01),
        seed_var=seed_var,
        row_var=row_var,
        level=level,
    )


def rows_needed(interval: Interval, tolerance: float) -> int | None:
    """Fewest test rows with which half the interval's width would be at most ``tolerance``, with as many seeds.

    None: no number of rows would do, for what the seeds do alone is wider.
    """
    factors = np.geomspace(1 / interval.rows, _MOST_ROWS / interval.rows, _STEPS)
    halves = _half_width(interval.seed_var, interval.row_var / factors, interval.seeds, interval.level)
    fitting = np.flatnonzero(halves <= tolerance)  # not monotone: with few seeds a larger share of theirs widens it
    return math.ceil(interval.rows * factors[fitting[0]] - 1e-6) if len(fitting) else None


def seeds_needed(interval: Interval, tolerance: float) -> int | None:
    """Fewest seeds with which half the interval's width would be at most ``tolerance``, on the same test rows.

    None: no number of seeds would do, for what the rows do alone is wider; or there is one seed, which says nothing of
    how others would differ.
    """
    if not interval.seed_part:
        return None
    seeds = np.arange(2, _MOST_SEEDS + 1)
    halves = _half_width(interval.seed_var * interval.seeds / seeds, interval.row_var, seeds, interval.level)
    fitting = np.flatnonzero(halves <= tolerance)
    return int(seeds[fitting[0]]) if len(fitting) else None


def _dof(seed_var: float | np.ndarray, row_var: float | np.ndarray, seeds: int | np.ndarray) -> np.ndarray:
    a, b = np.broadcast_arrays(np.asarray(seed_var, dtype=np.float64), np.asarray(row_var, dtype=np.float64))
    share = np.divide(a, a + b, out=np.zeros(a.shape), where=a > 0)
    free = np.full(a.shape, np.inf)
    power = np.minimum(np.subtract(seeds, 1) / 2, 1.0)
    np.divide(np.subtract(seeds, 1), share**power, out=free, where=share > 0)
    return free


def _half_width(
    seed_var: float | np.ndarray, row_var: float | np.ndarray, seeds: int | np.ndarray, level: float
) -> np.ndarray:
    quantile = stats.t.ppf((1 + level) / 2, _dof(seed_var, row_var, seeds))
    return np.asarray(quantile * np.sqrt(np.add(seed_var, row_var)))
