"""What a person should know of a table's columns before training on them: twins, near-duplicates, leaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.data.look.kinds import Guess
from bench.stats.association import single_field_auc, twins

LEAK_AUC = 0.95
"""Single-field AUC above which a column seems to say the label."""
_BINS = 64
"""Numbers of more distinct values are cut into so many parts of equal rows."""


@dataclass(frozen=True)
class Flags:
    """Columns by name."""

    twins: tuple[tuple[str, ...], ...]
    """Equal up to renaming."""
    near: tuple[tuple[str, str, float], ...]
    """Near-duplicates, and their Cramér's V."""
    leaks: tuple[tuple[str, float], ...]
    """Columns that say the label, and their AUC; the clearest first."""


def find_flags(guesses: Sequence[Guess], labels: np.ndarray, markers: Sequence[str], decimal: str) -> Flags:
    """Look at all columns that make fields.

    Args:
        guesses: of all columns.
        labels: 0 or 1 of every row looked at, [n].
        markers: texts that stand for a missing value.
        decimal: what stands before the fraction of a number.
    """
    looked_at = [one for one in guesses if one.makes_field]
    codes = [one.values.present_codes(markers) for one in looked_at]
    found = twins([*codes])
    names = [one.name for one in looked_at]
    near = [(names[one.first], names[one.second], one.v) for one in found.near]
    aucs = [
        (one.name, single_field_auc(_coarse(one, code, decimal), labels))
        for one, code in zip(looked_at, codes, strict=True)
    ]
    leaks = sorted((one for one in aucs if one[1] > LEAK_AUC), key=lambda one: -one[1])
    groups = tuple(tuple(names[place] for place in group) for group in found.groups)
    return Flags(groups, tuple(near), tuple(leaks))


def _coarse(guess: Guess, codes: np.ndarray, decimal: str) -> np.ndarray:
    """``codes``; those of many numbers and times in ``_BINS`` parts of equal rows: neighbours count together."""
    if guess.kind not in ("numeric", "integer", "time") or guess.present.distinct <= _BINS:
        return codes
    numbers = guess.present.numbers(decimal) if guess.seconds is None else guess.seconds.astype(np.float64)
    if numbers is None:
        return codes
    table = np.full(int(codes.max(initial=0)) + 1, np.nan)
    table[1 + guess.present.places] = numbers
    rows = table[codes]
    known = ~np.isnan(rows)
    edges = np.unique(np.quantile(rows[known], np.linspace(0, 1, _BINS + 1)[1:-1]))
    found: np.ndarray = np.where(known, 1 + np.searchsorted(edges, rows, side="right"), 0)
    return found
