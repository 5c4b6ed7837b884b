"""Paths of penalised logistic regression, from the penalty that closes every field down to a share of it.

Both minimise, with an intercept b that is not penalised and N rows,

    1/N sum_i [log(1 + exp(η_i)) - y_i η_i] + λ · penalty

    l1      η = b + X β                   penalty = sum_f |β_f|               X standardised, [N, F]
    group   η = b + sum_f θ_f[x_f] / sqrt(n_v / N)
                                          penalty = sum_f sqrt(df_f) ||θ_f||  one weight a value of field f

In the group form a value with n_v rows has its weight scaled by the root of its share, so that the columns of a field
are orthonormal (Simon and Tibshirani, Statistica Sinica 2012): the gradient of a field without effect then has length
sqrt(df_f · p(1 - p) / N) whatever its vocabulary, which is what sqrt(df_f) weighs against. df_f counts the values that
occur, less one. Each step is warm-started from the one before.

Of more than ``NARROW`` fields the l1 form works on those that the sequential strong rule lets in (Tibshirani et al.,
Strong Rules for Discarding Predictors, JRSS B 2012): |gradient at the last λ| >= 2 λ - last λ. What the rule leaves out
is checked at the minimum found, where a closed column has |gradient| <= λ, and let in if it fails: it is the minimum
over all columns, to the same tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from methods.parts.shallow import CHUNK

__all__ = ["NARROW", "Column", "Path", "Values", "group_path", "l1_path", "objective"]

_TOLERANCE = 1e-4
_NOTHING = 1e-12  # a gradient that is rounding
_MAX_NEWTON, _MAX_SWEEPS = 25, 200
_SMALLEST_WEIGHT, _SMALLEST_STEP = 1e-6, 1e-3
_DRIFT = 0.25  # share of the rows' weight that moves before a large curvature is counted anew

NARROW = 256
"""Fields up to which all are worked on: what leaving some out would save is less than it costs."""
_CELLS = CHUNK * (NARROW + 1)  # that are weighted at once

Check = Callable[[str], None]
"""Called between steps with what is being done; raises to end the path."""


@dataclass(frozen=True)
class Path:
    """What a path found at each penalty."""

    penalties: np.ndarray
    """λ, decreasing, [L]."""
    sizes: np.ndarray
    """|β_f| or ||θ_f|| at each, [L, F]."""

    def scores(self) -> np.ndarray:
        """The step at which a field enters, counted from the end, plus its share of the last sizes; [F].

        A field that never enters gets 0; one that enters earlier ranks higher, and the sizes at the smallest
        penalty order those that enter together.
        """
        active = self.sizes > 0
        steps = np.where(active.any(axis=0), len(self.penalties) - active.argmax(axis=0), 0)
        last = self.sizes[-1]
        return np.asarray(steps + last / (1 + last.max(initial=0.0)))


def objective(margin: np.ndarray, labels: np.ndarray) -> float:
    """Mean log loss of logits [N]."""
    return float(np.mean(np.logaddexp(0.0, margin) - labels * margin))


def l1_path(design: np.ndarray, labels: np.ndarray, steps: int, smallest: float, check: Check) -> Path:
    """Newton steps, each solved by coordinate descent on a model of the columns that are worked on.

    Args:
        design: columns of mean 0 and variance 1, or all 0, and last one of ones, float32 [N, F + 1]; where F is above
            ``NARROW`` their order is changed in place, so that no second copy is needed.
        labels: 0 or 1, [N].
        steps: penalties, evenly spaced in their logarithm.
        smallest: the last penalty as a share of the first.
        check: called before every penalty.
    """
    state = _L1(design, labels)
    penalties = _grid(state.first, steps, smallest)
    sizes = np.zeros((steps, design.shape[1]))
    if penalties[0] < _NOTHING:
        return Path(penalties, sizes[:, :-1])
    for number, penalty in enumerate(penalties):
        check(f"penalty {number + 1} of {steps}")
        state.solve(float(penalty), float(penalties[max(number - 1, 0)]))
        sizes[number, state.order] = np.abs(state.beta)
    return Path(penalties, sizes[:, :-1])


def _grid(first: float, steps: int, smallest: float) -> np.ndarray:
    return first * np.geomspace(1.0, smallest, steps)


def _logit(rate: float) -> float:
    rate = min(max(rate, 1e-6), 1 - 1e-6)
    return math.log(rate / (1 - rate))


class _L1:
    """One path: the first ``width`` columns are worked on, the others are closed and only looked at.

    Attributes:
        order: the field that each column now is, F for the ones, int64 [F + 1].
        beta: their weights, float64 [F + 1].
        first: the penalty that closes all.
        slopes: gradient of the closed columns, float64 [F + 1 - width].
    """

    def __init__(self, design: np.ndarray, labels: np.ndarray) -> None:
        f = design.shape[1] - 1
        self.design, self.labels = design, labels.astype(np.float64)
        self.order, self.beta, self.width = np.arange(f + 1), np.zeros(f + 1), f + 1
        self.beta[f] = _logit(self.labels.mean())
        slopes = _gradient(design, self.labels - self.labels.mean())[:f]
        self.first = float(np.abs(slopes).max(initial=0.0))
        if f > NARROW:
            self.width = 0
            self._work_on(np.arange(f + 1) == f)
        self.slopes = slopes[self.order[self.width :]]
        self.hessian, self.weight = np.empty((0, 0)), np.empty(0)

    def solve(self, penalty: float, last: float) -> None:
        """Minimise at ``penalty``, from the minimum at ``last``."""
        self._work_on(np.abs(self.slopes) >= 2 * penalty - last)
        while True:
            residual = self._newton(penalty)
            self.slopes = _gradient(self.design[:, self.width :], residual)
            missed = np.abs(self.slopes) > penalty
            if not missed.any():
                return
            self._work_on(missed)

    def _work_on(self, more: np.ndarray) -> None:
        """Move those of the closed columns, bool [F + 1 - width], behind the ones that are worked on."""
        for column in self.width + np.flatnonzero(more):
            pair, swapped = [self.width, column], [column, self.width]
            if column != self.width:
                self.design[:, pair] = self.design[:, swapped]
                self.order[pair], self.beta[pair] = self.order[swapped], self.beta[swapped]
            self.width += 1

    def _newton(self, penalty: float) -> np.ndarray:
        """Newton steps over the columns worked on; one that does not descend is halved. Returns the residual, [N]."""
        columns, beta = self.design[:, : self.width], self.beta[: self.width]
        penalties = np.where(self.order[: self.width] < len(self.order) - 1, penalty, 0.0)
        margin = _margin(columns, beta)
        value = objective(margin, self.labels) + float(penalties @ np.abs(beta))
        p = expit(margin)
        self._bend(np.maximum(p * (1 - p), _SMALLEST_WEIGHT))
        for _ in range(_MAX_NEWTON):
            residual = p - self.labels
            step = _descend(self.hessian, _gradient(columns, residual), beta, penalties) - beta
            along, size = _margin(columns, step), 1.0
            while size > _SMALLEST_STEP:
                moved = beta + size * step
                moved_value = objective(margin + size * along, self.labels) + float(penalties @ np.abs(moved))
                if moved_value <= value:
                    break
                size /= 2
            else:
                return np.asarray(residual)
            beta[:], margin, value = moved, margin + size * along, moved_value
            p = expit(margin)
            if np.abs(size * step).max() < _TOLERANCE:
                break
        return np.asarray(p - self.labels)

    def _bend(self, weight: np.ndarray) -> None:
        """Curvature of the columns worked on.

        Of many columns only that of new ones is counted, with the weights of the rest, until rows weigh otherwise: a
        step then falls short by about that share, which the next one mends.
        """
        narrow, drift = self.width <= NARROW + 1, 0.0
        if len(self.hessian):
            drift = float(np.abs(weight - self.weight).mean() / self.weight.mean())
        if narrow or not len(self.hessian) or drift > _DRIFT:
            self.weight, self.hessian = weight, np.empty((0, 0))
        if len(self.hessian) < self.width:
            self.hessian = _hessian(self.design[:, : self.width], self.weight, self.hessian)


def _margin(columns: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """Weighted sum of the columns [N, F]; float64 [N]."""
    return np.asarray((columns @ beta.astype(np.float32)).astype(np.float64))


def _gradient(columns: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """Mean of the rows weighted by ``residual`` [N]; float64 [F]."""
    residual = residual.astype(np.float32)
    parts = [columns[i : i + CHUNK].T @ residual[i : i + CHUNK] for i in range(0, len(columns), CHUNK)]
    return np.asarray(np.sum(parts, axis=0, dtype=np.float64) / len(columns))


def _hessian(columns: np.ndarray, weight: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Mean outer product of the rows weighted by ``weight`` [N]; float64 [F, F].

    ``known`` is that of the first columns, [G, G], where G may be 0.
    """
    (n, f), g = columns.shape, len(known)
    root = np.sqrt(weight, dtype=np.float32)[:, None]
    total = np.zeros((f, f))
    rows = min(CHUNK, max(1, _CELLS // f))
    for i in range(0, n, rows):
        scale, part = root[i : i + rows], columns[i : i + rows]
        new = part[:, g:] * scale
        total[g:, g:] += new.T @ new
        if g:
            total[g:, :g] += (new * scale).T @ part[:, :g]
    total /= n
    if g:
        total[:g, :g], total[:g, g:] = known, total[g:, :g].T
    return total


def _descend(hessian: np.ndarray, gradient: np.ndarray, beta: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    """Coordinate descent on g·(x - β) + ½ (x - β)·H (x - β) + sum penalty |x|, from x = β."""
    x, slope, curvatures = beta.tolist(), gradient.copy(), hessian.diagonal().tolist()
    turns = [(j, curvatures[j], float(penalty[j])) for j in range(len(x)) if curvatures[j] > 0]
    for _ in range(_MAX_SWEEPS):
        largest = 0.0
        for j, curvature, least in turns:
            target = curvature * x[j] - slope.item(j)
            new = math.copysign(max(abs(target) - least, 0.0), target) / curvature
            change = new - x[j]
            if change != 0.0:
                x[j] = new
                slope += hessian[j] * change
                largest = max(largest, abs(change))
        if largest < _TOLERANCE / 10:
            break
    return np.array(x)


class Values:
    """The columns of a categorical field, one a value that occurs."""

    def __init__(self, codes: np.ndarray, cardinality: int) -> None:
        """Count ``codes``, int [N], below ``cardinality``."""
        counts = np.bincount(codes, minlength=cardinality)
        self.codes, self.n = codes, len(codes)
        self.scale = np.where(counts > 0, np.sqrt(len(codes) / np.maximum(counts, 1)), 0.0)
        self.width = cardinality
        self.freedom = max(int((counts > 0).sum()) - 1, 1)

    def gradient(self, residual: np.ndarray) -> np.ndarray:
        return np.asarray(np.bincount(self.codes, residual, self.width) * self.scale / self.n)

    def margin(self, theta: np.ndarray) -> np.ndarray:
        return np.asarray((theta * self.scale)[self.codes])


class Column:
    """A numeric field: one standardised column [N]."""

    width, freedom = 1, 1

    def __init__(self, column: np.ndarray) -> None:
        self.column = column.astype(np.float64)

    def gradient(self, residual: np.ndarray) -> np.ndarray:
        return np.array([self.column @ residual / len(residual)])

    def margin(self, theta: np.ndarray) -> np.ndarray:
        return np.asarray(self.column * theta[0])


class _Groups:
    """Descent a field at a time; no update ascends, because p(1 - p) <= 1/4 bounds the curvature of a field's block."""

    def __init__(self, groups: Sequence[Values | Column], labels: np.ndarray) -> None:
        self.groups, self.labels = groups, labels
        self.theta = [np.zeros(group.width) for group in groups]
        self.weights = np.sqrt([group.freedom for group in groups])
        self.margin = np.full(len(labels), _logit(labels.mean()))

    def norms(self) -> np.ndarray:
        return np.array([float(np.linalg.norm(theta)) for theta in self.theta])

    def entry_penalties(self) -> np.ndarray:
        """The penalty above which each field stays closed while the others do not move, [F]."""
        residual = expit(self.margin) - self.labels
        lengths = [np.linalg.norm(group.gradient(residual)) for group in self.groups]
        return np.asarray(np.array(lengths) / self.weights)

    def update(self, f: int, penalty: float) -> float:
        """Minimise the bound over field ``f``; return the length of the change."""
        group, theta = self.groups[f], self.theta[f]
        target = theta / 4 - group.gradient(expit(self.margin) - self.labels)
        length = float(np.linalg.norm(target))
        shrunk = max(1 - penalty * float(self.weights[f]) / length, 0.0) if length > 0 else 0.0
        new = 4 * shrunk * target
        change = new - theta
        size = float(np.linalg.norm(change))
        if size > 0:
            self.margin += group.margin(change)
            self.theta[f] = new
        return size

    def solve(self, penalty: float, most: int) -> None:
        """Sweep over the open fields until they rest, then look at all; at most ``most`` sweeps."""
        fields: Sequence[int] = range(len(self.groups))
        for _ in range(most):
            self.margin -= 4 * float(np.mean(expit(self.margin) - self.labels))
            change = max((self.update(f, penalty) for f in fields), default=0.0)
            everything = len(fields) == len(self.groups)
            if change < _TOLERANCE * 10:
                if everything:
                    return
                fields = range(len(self.groups))
            elif everything:
                fields = np.flatnonzero(self.norms()).tolist()


def group_path(
    groups: Sequence[Values | Column], labels: np.ndarray, steps: int, smallest: float, check: Check, sweeps: int = 20
) -> Path:
    """Block descent over fields, each field's update in closed form.

    Args:
        groups: the columns of each field.
        labels: 0 or 1, [N].
        steps: penalties, evenly spaced in their logarithm.
        smallest: the last penalty as a share of the first.
        check: called before every penalty.
        sweeps: passes over the fields at one penalty, at most.
    """
    state = _Groups(groups, labels.astype(np.float64))
    penalties = _grid(float(state.entry_penalties().max(initial=0.0)), steps, smallest)
    sizes = np.zeros((steps, len(groups)))
    if penalties[0] < _NOTHING or labels.min() == labels.max():
        return Path(penalties, sizes)
    for number, penalty in enumerate(penalties):
        check(f"penalty {number + 1} of {steps}")
        state.solve(float(penalty), sweeps)
        sizes[number] = state.norms()
    return Path(penalties, sizes)
