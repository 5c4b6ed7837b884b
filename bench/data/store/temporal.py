"""Splits by time: the earliest rows are for training, then come validation and test.

Rows of equal time keep the order of the file. The order is cut where the card's shares of the rows end; ``day`` moves
both cuts to the nearest midnight (UTC) that leaves each split a day, if there are three days or more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.data.card.time_order import DAY_S
from bench.data.store.splits import TEST, class_cuts


def temporal_splits(n_rows: int, shares: Sequence[float], times: np.ndarray | None, cut: str = "row") -> np.ndarray:
    """The split of each row, uint8 [N]: 0 train, 1 valid, 2 test.

    Args:
        n_rows: N.
        shares: of train, valid and test.
        times: seconds since 1970, [N]; None: rows are in order.
        cut: ``row``, or ``day`` to cut between days.
    """
    train, valid = class_cuts(n_rows, shares, positive=True)
    if times is None:
        rows = np.arange(n_rows)
        return (rows >= train).astype(np.uint8) + (rows >= valid)
    moments, counts = np.unique(times, return_counts=True)
    ends = np.cumsum(counts)
    if cut == "day":
        train, valid = _between_days(moments // DAY_S, ends, train, valid)
    splits = np.full(n_rows, TEST, dtype=np.uint8)
    for wanted in (train, valid):
        splits -= _earliest(times, moments, ends, wanted)
    return splits


def _between_days(days: np.ndarray, ends: np.ndarray, train: int, valid: int) -> tuple[int, int]:
    """The cuts moved to the nearest ends of days; as they are where there are fewer than three days.

    Args:
        days: of each moment, increasing.
        ends: rows up to each moment, that moment included.
        train: rows before the first cut.
        valid: rows before the second cut.
    """
    midnights = ends[np.flatnonzero(days[1:] != days[:-1])]
    if len(midnights) < 2:
        return train, valid
    first = int(np.abs(midnights[:-1] - train).argmin())
    second = first + 1 + int(np.abs(midnights[first + 1 :] - valid).argmin())
    return int(midnights[first]), int(midnights[second])


def _earliest(times: np.ndarray, moments: np.ndarray, ends: np.ndarray, wanted: int) -> np.ndarray:
    """Which rows are the ``wanted`` earliest ones, those of equal time in file order; bool [N]."""
    last = int(np.searchsorted(ends, wanted))
    found: np.ndarray = times < moments[last]
    before = int(ends[last - 1]) if last else 0
    found[np.flatnonzero(times == moments[last])[: wanted - before]] = True
    return found
