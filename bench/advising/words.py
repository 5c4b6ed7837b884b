"""The answer in sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.advising.advice import Look, Saving
from bench.stats.difference import Interval, rows_needed, seeds_needed

__all__ = ["chance", "confirmed", "difference", "leaks", "minimised", "needed", "sentence", "signed"]

_SEEDS = (2, 4, 8, 16, 32, 64, 128, 256)
"""Times the seeds that are tried where more rows alone would not do."""
_FEW = 6
"""Names that a sentence lists."""


def decimals(tolerance: float) -> int:
    """Decimals in which a difference is told: two digits of the tolerance, four at least."""
    return max(4, 1 - math.floor(math.log10(tolerance)))


def signed(number: float, digits: int = 4) -> str:
    """A difference with its sign; a true minus."""
    text = f"{number:+.{digits}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("+-")


def difference(interval: Interval, tolerance: float) -> str:
    """``AUC −0.0003 (95 %: −0.0011 … +0.0005)``."""
    digits = decimals(tolerance)
    mean, low, high = (signed(end, digits) for end in (interval.mean, interval.low, interval.high))
    return f"AUC {mean} ({interval.level:.0%}: {low} … {high})".replace("%", " %")


def percent(share: float) -> str:
    """``−61 %``."""
    return f"{signed(100 * share, 0)} %"


def sentence(look: Look, n_fields: int, savings: Sequence[Saving], tolerance: float) -> str:
    """What dropping costs and saves."""
    told = [f"{saving.name} {percent(saving.share)}" for saving in savings if saving.share is not None]
    parts = [difference(look.test, tolerance), *told]
    return f"Drop {n_fields - look.k} of {n_fields} fields: {', '.join(parts)}."


def leaks(aucs: Mapping[str, float]) -> str:
    """Of fields that may say the label, by their AUC alone."""
    one = len(aucs) == 1
    named = listed([f"{name} (AUC {auc:.3f})" for name, auc in aucs.items()])
    says, it, known, column = (
        ("says", "it", "it is", "its column") if one else ("say", "them", "they are", "their columns")
    )
    return (
        f"{named} alone {says} the label: a leak? All numbers here rest on {it}. If {known} known only after the "
        f'label, give {column} the kind "ignore" in the card, prepare again, and repeat.'
    )


def minimised(by: str) -> str:
    """What was to be small, where that is not the number of fields."""
    return {
        "bytes": "Small was to be what the kept fields take in bytes.",
        "cost": "Small was to be what the kept fields cost.",
        "groups": "Small was to be the number of groups, a field without one being its own.",
    }.get(by, "")


def confirmed(look: Look, tolerance: float, best: bool) -> str:
    """How the choice was made, and whether rows that had no part in it agree; ``best``: against the best set too."""
    reference = "all fields and the best set found" if best else "all fields"
    chosen = (
        f"Chosen by validation rows, where the loss against {reference} is below {tolerance:g}: there "
        f"{difference(look.valid, tolerance)} against all."
    )
    if look.test.low > -tolerance:
        return f"{chosen} Test rows, which no choice has seen, say the same."
    worse = look.test.high < -tolerance
    return f"{chosen} Test rows, which no choice has seen, " + (
        "do not confirm it: there the loss is larger." if worse else "are not enough to confirm it."
    )


def chance(above: Interval, n_fields: int) -> str:
    """Of a model that is no better than chance."""
    low, mean, high = (f"{0.5 + end:.4f}" for end in (above.low, above.mean, above.high))
    return (
        f"Nothing can be told: with all {n_fields} fields the AUC is {mean} (95 %: {low} … {high}), "
        "not above 0.5 for certain."
    )


def needed(interval: Interval, tolerance: float, valid_rows: int, all_rows: int) -> str:
    """How many rows or seeds it would take for half the interval to be the tolerance.

    Args:
        interval: on validation rows.
        tolerance: of the loss.
        valid_rows: of validation.
        all_rows: of all splits.
    """
    scale = all_rows / valid_rows
    now = f"now {all_rows:,} rows and {interval.seeds} seeds"
    rows, seeds = rows_needed(interval, tolerance), seeds_needed(interval, tolerance)
    ways = [f"{_about(rows * scale)} rows"] if rows is not None else []
    ways += [f"{seeds:,} seeds"] if seeds is not None else []
    if not ways:
        for times in _SEEDS:
            more = replace(
                interval, seeds=times * interval.seeds, seed_var=interval.seed_var / times, row_var=interval.row_var
            )
            rows = rows_needed(more, tolerance)
            if rows is not None:
                ways = [f"{_about(rows * scale)} rows with {more.seeds} seeds"]
                break
    if not ways:
        return f"No number of rows that we reckon with would do ({now}); allow a larger tolerance."
    return f"To tell a loss of {tolerance:g} takes about {' or '.join(ways)} ({now})."


def _about(number: float) -> str:
    """Two digits are all that such a reckoning is worth."""
    digits = max(0, math.floor(math.log10(max(number, 1))) - 1)
    return f"{math.ceil(number / 10**digits) * 10**digits:,}"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence."""
    more = len(names) - _FEW
    return ", ".join(names[:_FEW]) + (f" and {more} more" if more > 0 else "")
