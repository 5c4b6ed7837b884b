"""Columns of the planted data: how the values of a field are drawn, and which codes a file has for them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bench.seeds import seed as derive_seed

__all__ = ["Column", "uniform"]

ZIPF_EXPONENT = 1.1


def uniform(seed: int, stream: str, numbers: np.ndarray) -> np.ndarray:
    """Draws from [0, 1) by SplitMix64, started by (seed, stream) and counted by ``numbers``; float64 [n]."""
    start = np.uint64(derive_seed(seed=seed, stream=stream))
    state = start + (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    draws: np.ndarray = (state >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return draws


def _zipf(size: int) -> np.ndarray:
    weights = np.arange(1, size + 1, dtype=np.float64) ** -ZIPF_EXPONENT
    shares: np.ndarray = weights / weights.sum()
    return shares


@dataclass(frozen=True)
class Column:
    """One field before it has a name and a place: how its values are drawn and coded."""

    seed: int
    key: str
    """Names the field's random streams; for a copy, ``origin`` names the stream that it copies."""
    role: str
    size: int
    """Number of different values."""
    origin: str = ""
    """Key of the partner (interaction) or of the source (redundant)."""
    unique: bool = False
    """Nearly unique ids: uniform over the domain."""
    has_missing: bool = False
    """The second most common value is stored as missing."""
    noise: float | None = None
    """Of a copy: probability that a value is drawn afresh."""
    paired: bool = False
    """Values come in pairs of equal probability."""
    parts: tuple[Column, ...] = ()
    """The two fields whose values make up this one's."""

    @cached_property
    def shares(self) -> np.ndarray:
        """Probability of each value, float64 [size]."""
        if self.paired:
            return np.repeat(_zipf(self.size // 2), 2) / 2
        return _zipf(self.size)

    @cached_property
    def _codes(self) -> np.ndarray:
        codes = np.argsort(uniform(self.seed, f"codes {self.key}", np.arange(self.size)), kind="stable")
        if self.has_missing:
            codes[1] = -1
        return codes.astype(np.int64)

    @cached_property
    def _cumulated(self) -> np.ndarray:
        return np.cumsum(self.shares)[:-1]

    def _drawn(self, stream: str, rows: np.ndarray) -> np.ndarray:
        draws = uniform(self.seed, stream, rows)
        if self.unique:
            return (draws * self.size).astype(np.int64)
        return np.searchsorted(self._cumulated, draws, side="right")

    def values(self, rows: np.ndarray) -> np.ndarray:
        """Values in [0, size), of single fields by falling probability, int64 [n]."""
        if self.parts:
            first, second = self.parts
            joined: np.ndarray = first.values(rows) * second.size + second.values(rows)
            return joined
        own = self._drawn(f"values {self.key}", rows)
        if self.noise is None:
            return own
        copied = uniform(self.seed, f"copies {self.key}", rows) >= self.noise
        return np.where(copied, self._drawn(f"values {self.origin}", rows), own)

    def codes(self, values: np.ndarray) -> np.ndarray:
        """What the file holds for ``values``: arbitrary codes, -1 for missing, int64 [n]."""
        if not self.parts:
            return values if self.unique else self._codes[values]
        first, second = self.parts
        missing = (first.codes(values // second.size) < 0) | (second.codes(values % second.size) < 0)
        found: np.ndarray = np.where(missing, -1, self._codes[values])
        return found

    def effects(self, variance: float) -> np.ndarray:
        """Effect of each value on the logit: mean 0 and the given variance over rows, float64 [size]."""
        raw = uniform(self.seed, f"effects {self.key}", np.arange(self.size))
        raw -= self.shares @ raw
        raw *= np.sqrt(variance / (self.shares @ raw**2))
        return raw
