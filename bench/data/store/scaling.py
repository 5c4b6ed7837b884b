"""Standardising numeric fields by the mean and standard deviation of their train rows.

Numbers are centred and scaled in float64 and become float32 last. Two things cannot be standardised and are errors, not
other numbers: a column most of whose variety is lost on that way, and a number too far from the mean for training.
Where less of it is lost, a note says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

LIMIT = 1e9
"""Standard deviations from the mean that a number may have: the product of four such numbers still fits a float32."""
NOTED_SHARE = 0.05
"""Of the train rows: where more become equal to others of another value, a note says so."""
LOST_SHARE = 0.5
"""Of the train rows without the column's most frequent value: where more become so, it is an error."""
_ROUNDING_ULPS = 8
"""Numbers as near as this many steps of a float64 are one number with the rounding of some calculation."""
_EXACT = 2.0**53
"""Up to here whole numbers are exact in a float64."""
_APART_ULPS = 64
"""Steps of a float64 that a column of larger whole numbers must span."""
_ROWS_AT_ONCE = 1 << 18
"""Fixed, so that sums do not depend on how the rows were read."""
_SAMPLE = 1 << 15
"""Train rows in which a collapse is looked for."""


class CollapseError(ValueError):
    """Different numbers would become equal; says what happens and the mend."""


@dataclass(frozen=True)
class Scaling:
    """One numeric field's standardisation."""

    mean: float
    sd: float
    """1 where the field is constant or always missing."""

    def scores(self, numbers: np.ndarray) -> np.ndarray:
        """``numbers`` in standard deviations from the mean, float64."""
        with np.errstate(over="ignore"):
            scores: np.ndarray = (numbers - self.mean) / self.sd
        return scores


def fit_scaling(numbers: np.ndarray, in_train: np.ndarray) -> tuple[Scaling, str | None]:
    """Mean and (population) standard deviation over the train rows, missing ones apart; and a note, if need be.

    Args:
        numbers: float64 [N], NaN where missing.
        in_train: bool [N].

    Raises:
        CollapseError: most values that differ in the table would not any more.
    """
    train = np.array(numbers[in_train], dtype=np.float64)
    train = train[~np.isnan(train)]
    if not len(train):
        return Scaling(0.0, 1.0), None
    low, high = float(train.min()), float(train.max())
    largest = max(-low, high)
    if largest >= _EXACT and (high - low) / np.spacing(largest) < _APART_ULPS:
        raise CollapseError(
            f"the column's values lie between {low!r} and {high!r}, so close together that 64 bits do not tell them "
            f"apart: subtract a constant from the column, or make it categorical ('ignore' if it is constant)"
        )
    if low == high:
        return Scaling(low, 1.0), None
    scaling = _moments(train, low, high)
    if not scaling.sd:  # too little for a float64: as good as constant
        return Scaling(low, 1.0), None
    return scaling, _check_variety(train, scaling)


def _moments(train: np.ndarray, low: float, high: float) -> Scaling:
    """Mean and standard deviation of numbers from ``low`` to ``high``.

    They are counted from the middle of their range, in a power of two of their size: sums neither overflow nor lose
    what numbers far from zero differ in.
    """
    exponent = int(np.frexp(max(-low, high))[1])
    middle = np.ldexp(low, -exponent) / 2 + np.ldexp(high, -exponent) / 2
    offset = squares = 0.0
    for part in _parts(train):
        offset += float((np.ldexp(part, -exponent) - middle).sum()) / len(train)
    for part in _parts(train):
        squares += float(np.square(np.ldexp(part, -exponent) - middle - offset).sum()) / len(train)
    return Scaling(float(np.ldexp(middle + offset, exponent)), float(np.ldexp(np.sqrt(squares), exponent)))


def _parts(numbers: np.ndarray) -> Iterator[np.ndarray]:
    return (numbers[start : start + _ROWS_AT_ONCE] for start in range(0, len(numbers), _ROWS_AT_ONCE))


def _check_variety(train: np.ndarray, scaling: Scaling) -> str | None:
    """Make sure that the numbers of most train rows are still told apart as float32; a note where many are not.

    What counts are the rows whose numbers one float32 stands for, those with the most frequent of them left out. Of
    many rows a sample is looked at, always the same one.

    Raises:
        CollapseError: they are most of those by which the column tells rows apart.
    """
    if len(train) > _SAMPLE:
        train = train[np.random.default_rng(0).integers(len(train), size=_SAMPLE)]
    train = np.sort(train)
    merged = scaling.scores(train).astype(np.float32)
    new_run = np.flatnonzero(np.append(True, merged[1:] != merged[:-1]))
    with np.errstate(over="ignore"):
        new_value = np.append(True, np.diff(train) > _ROUNDING_ULPS * np.spacing(np.abs(train[1:])))
    new_value[new_run] = True
    starts = np.flatnonzero(new_value)
    n_rows = np.diff(np.append(new_run, len(train)))
    most = np.maximum.reduceat(np.diff(np.append(starts, len(train))), np.searchsorted(starts, new_run))
    worst = int((n_rows - most).argmax())
    lost = (n_rows - most)[worst] / len(train)
    if lost <= NOTED_SHARE:
        return None
    first, last = new_run[worst], new_run[worst] + n_rows[worst] - 1
    share = n_rows[worst] / len(train)
    what = (
        f"the column's values from {train[first]} to {train[last]}, {share:.0%} of the train rows, become one number "
        f"when it is standardised (mean {scaling.mean:g}, standard deviation {scaling.sd:g}): mend, cap or list under "
        f"missing what lies far out, take logarithms or ranks, or make the column categorical"
    )
    if lost * len(train) > LOST_SHARE * (len(train) - most.max()):
        raise CollapseError(what)
    return what


def first_beyond(numbers: np.ndarray, scaling: Scaling) -> int | None:
    """The first place in ``numbers``, float64 [n], whose number is farther from the mean than ``LIMIT``; else None."""
    beyond = np.abs(scaling.scores(numbers)) > LIMIT  # of a missing number, NaN, not
    return int(beyond.argmax()) if beyond.any() else None


def beyond_message(value: float, scaling: Scaling) -> str:
    """What is wrong with a number beyond ``LIMIT``, and the mend."""
    return (
        f"{value!r} is more than {LIMIT:g} standard deviations from the mean of the train rows (mean {scaling.mean:g}, "
        f"standard deviation {scaling.sd:g}), too far to train with; mend the value, cap the column or take logarithms"
    )


def standardise(numbers: np.ndarray, scaling: Scaling) -> np.ndarray:
    """The standardised numbers, float32; a missing one becomes 1, the factor of the missing value's own vector."""
    scores = scaling.scores(numbers)
    return np.where(np.isnan(scores), 1.0, scores).astype(np.float32)


def standardise_all(numbers: np.ndarray, scalings: Sequence[Scaling]) -> np.ndarray:
    """The same of several columns, float64 [n, C]."""
    found = np.empty(numbers.shape, dtype=np.float32)
    for place, scaling in enumerate(scalings):
        found[:, place] = standardise(numbers[:, place], scaling)
    return found
