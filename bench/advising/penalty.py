"""The L2 of a table of one's own, chosen within a share of the time.

``run`` tries a grid of L2 with all fields before its first cell. Advice does so too where that fits into a quarter of
its time; otherwise it tries as many values as do, the profile's own first; and where two do not fit, it keeps that one.
All rows are used: the fewer there are, the larger is the L2 that they want. What was decided is kept in the run folder,
so that a command that goes on trains with the same.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import DataError
from bench.files import read_text, write_atomically

__all__ = ["SHARE", "Decision", "choose", "next_value", "read_decision", "write_decision"]

SHARE = 0.25
"""Of the time, at most, for the trials."""
MARGIN = 1.1
"""Times the mean of trials so far that one more is reckoned with."""


@dataclass(frozen=True)
class Decision:
    """Which values of L2 the cells of an advice choose from."""

    key: str
    """Identity of the trial of the profile's own value: data, rows, backbone and settings."""
    grid: tuple[float, ...]
    """Values that were tried; one alone is kept without a trial."""
    said: str
    """In a sentence."""


def next_value(tried: dict[float, float], own: float, ladder: Sequence[float]) -> float | None:
    """Which value to try next; None where all were.

    The profile's own comes first, then one two steps away, where a difference shows; then the neighbours of the best so
    far, smaller ones first, then the rest.

    Args:
        tried: validation AUC by value.
        own: the profile's.
        ladder: all values, increasing.
    """
    left = [value for value in ladder if value not in tried]
    if own in left or not left:
        return own if left else None
    centre = ladder.index(max(tried, key=lambda value: (tried[value], value == own)))
    aim = 2 if len(tried) == 1 else 1
    return min(left, key=lambda value: (abs(abs(ladder.index(value) - centre) - aim), value))


def choose(
    own: float, ladder: Sequence[float], room_s: float, trial_s: float | None, attempt: Callable[[float], float | None]
) -> dict[float, float]:
    """Try what fits; validation AUC by value, empty where two values do not.

    Args:
        own: the profile's value.
        ladder: all values, increasing.
        room_s: seconds for all trials.
        trial_s: seconds that one is expected to take; None: not known.
        attempt: trains with a value and returns its validation AUC, None without a result.
    """
    if trial_s is not None and 2 * trial_s > room_s:
        return {}
    began, tried = time.monotonic(), dict[float, float]()
    while (value := next_value(tried, own, ladder)) is not None:
        spent = time.monotonic() - began
        if tried and spent + MARGIN * spent / len(tried) > room_s:
            break
        found = attempt(value)
        tried[value] = float("-inf") if found is None else found
    return tried


def read_decision(file: Path, key: str) -> Decision | None:
    """What was decided for the same data and settings; None where nothing was.

    Raises:
        DataError: the file is not readable.
    """
    text = read_text(file)
    if text is None:
        return None
    try:
        kept = json.loads(text)
        found = Decision(str(kept["key"]), tuple(float(l2) for l2 in kept["grid"]), str(kept["said"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{file} does not say which L2 was chosen ({error}). Delete it and repeat.") from None
    return found if found.key == key and found.grid else None


def write_decision(file: Path, decision: Decision) -> None:
    """Keep what was decided.

    Raises:
        StorageError: it cannot be written.
    """
    with write_atomically(file) as out:
        json.dump({"key": decision.key, "grid": list(decision.grid), "said": decision.said}, out, ensure_ascii=False)
        out.write("\n")
