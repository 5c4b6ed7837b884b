"""Whether predicted rates are the rates that come: selection can keep AUC, which knows order alone, and lose this.

    PCOC = mean p / mean y                                    predicted over observed clicks; 1 is calibrated
    ECE  = Σ_b n_b / N · |mean of p in b - mean of y in b|    b: bins of equal mass by p, equal p in one bin

Naeini et al., AAAI 2015, with bins of equal mass, since predicted rates crowd near zero.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from bench.stats.checks import NotTestable, vector

__all__ = ["BINS", "ece", "pcoc"]

BINS = 20


def pcoc(logits: ArrayLike, labels: ArrayLike) -> float:
    """Mean prediction over the observed rate.

    Args:
        logits: of the predicted probabilities, [N].
        labels: 0 or 1, [N].

    Raises:
        NotTestable: unequal lengths, a number that is missing, or no row of label 1.
    """
    p, y = _checked(logits, labels)
    if not y.any():
        raise NotTestable("no row has label 1, so that there is no rate to compare with")
    return float(p.mean() / y.mean())


def ece(logits: ArrayLike, labels: ArrayLike, bins: int = BINS) -> float:
    """Expected calibration error over ``bins`` bins of equal mass; arguments as of ``pcoc``.

    Raises:
        NotTestable: unequal lengths, or a number that is missing.
    """
    p, y = _checked(logits, labels)
    starts = np.sort(p)[np.arange(1, bins) * len(p) // bins]
    of_row = np.searchsorted(starts, p, side="right")
    gaps = np.bincount(of_row, weights=p - y, minlength=bins)
    return float(np.abs(gaps).sum() / len(p))


def _checked(logits: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    z, y = vector(logits, "logits"), vector(labels, "labels")
    if len(z) != len(y):
        raise NotTestable(f"{len(z)} logits for {len(y)} labels")
    return expit(z), y
