"""The distinct values of one field over all blocks, and where each block's own values stand among them.

Two ways, chosen by what the blocks bring. Numbers (integers, and texts short enough to be numbers) are sorted and
merged, which is fast and needs no memory but the numbers. Texts go through a hash table. A field that begins with
short texts and meets a long one changes over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa

from bench.data.prepare.spill import Slot, Spill
from bench.data.raw.texts import as_texts

MERGE_VALUES = 1 << 19
"""Values that wait at least before they are merged, of a field among ``_FIELDS``."""
_FIELDS = 40
"""Fields of which all together bound the values that wait."""
WAITING_BYTES = 1 << 28
"""Bytes of the values of all fields up to which they wait in any case: what is merged once is merged fastest."""


def waiting_values(n_fields: int) -> int:
    """Values that wait at least before they are merged, of each of so many fields."""
    return max(MERGE_VALUES * _FIELDS // max(n_fields, _FIELDS), 1)


def due(dictionaries: Sequence[Dictionary]) -> list[Dictionary]:
    """Those whose values should be merged now."""
    if sum(dictionary.waiting_bytes for dictionary in dictionaries) < WAITING_BYTES:
        return []
    return [dictionary for dictionary in dictionaries if dictionary.is_due]


class Dictionary(Protocol):
    """What the encoder asks of either kind."""

    @property
    def values(self) -> pa.Array:
        """The distinct values, by provisional code; only after ``finish``."""

    def add(self, values: pa.Array, slot: Slot | None) -> None:
        """Take in the distinct values of the next block; ``slot``: where they are parked, of numbers."""

    @property
    def waiting_bytes(self) -> int:
        """Memory of the values that wait to be merged."""

    @property
    def is_due(self) -> bool:
        """Whether enough values wait to be merged."""

    def merge(self) -> None:
        """Merge the waiting values."""

    def finish(self) -> None:
        """Merge what waits; afterwards ``table`` answers for every block added."""

    def table(self, block: int) -> np.ndarray:
        """Provisional code + 1 of each code of a block's own dictionary, int32; 0 of a missing value."""


class _Waiting:
    """Values not merged yet; waiting for as many as are known keeps the cost of all merges linear in them."""

    def __init__(self, least: int) -> None:
        self.parts: list[pa.Array] = []
        self.size = self.n_bytes = 0
        self.least = least or MERGE_VALUES

    def add(self, values: pa.Array) -> None:
        self.parts.append(values)
        self.size += len(values)
        self.n_bytes += values.nbytes

    def is_due(self, n_known: int) -> bool:
        return self.size >= max(n_known, self.least)

    def clear(self) -> None:
        self.parts, self.size, self.n_bytes = [], 0, 0


class NumberDictionary:
    """Distinct numbers; the provisional code of a number is its place in their order."""

    def __init__(self, spill: Spill, wait: int = 0) -> None:
        """Each block's values lie in ``spill``; ``wait`` of them at least before they are merged."""
        self._spill = spill
        self._known: np.ndarray | None = None
        self._waiting = _Waiting(wait)
        self._blocks: list[Slot] = []
        self._codes: list[np.ndarray] = []
        """Of every block, where they were found together with the values."""

    def add(self, values: pa.Array, slot: Slot | None = None) -> None:
        """Take in numbers, all of one type; they are parked unless they lie in ``slot``."""
        self._waiting.add(values)
        self._blocks.append(slot or self._spill.append(np.asarray(values)))

    @property
    def waiting_bytes(self) -> int:
        return self._waiting.n_bytes

    @property
    def is_due(self) -> bool:
        return self._waiting.is_due(0 if self._known is None else len(self._known))

    def merge(self) -> None:
        if not self._waiting.parts:
            return
        parts = [] if self._known is None else [self._known]
        numbers = np.concatenate(parts + [np.asarray(part) for part in self._waiting.parts])
        self._waiting.clear()
        numbers.sort()
        is_new = np.ones(len(numbers), dtype=bool)
        np.not_equal(numbers[1:], numbers[:-1], out=is_new[1:])
        self._known = numbers[is_new]

    def finish(self) -> None:
        if self._known is None and self._waiting.parts:
            self._merge_once()
        self.merge()

    def _merge_once(self) -> None:
        """``merge`` all there is, and find every value's place on the way: one sort in the place of one a block."""
        parts = self._waiting.parts
        numbers = np.concatenate([np.asarray(part) for part in parts])
        self._waiting.clear()
        order = np.argsort(numbers)
        numbers = numbers[order]
        is_new = np.ones(len(numbers), dtype=bool)
        np.not_equal(numbers[1:], numbers[:-1], out=is_new[1:])
        codes = np.empty(len(numbers), dtype=np.int32)
        codes[order] = np.cumsum(is_new)
        self._known = numbers[is_new]
        ends = np.cumsum([len(part) for part in parts]).tolist()
        self._codes = [codes[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]

    def table(self, block: int) -> np.ndarray:
        if self._codes:
            return _with_missing(self._codes[block])
        numbers = self._spill.read(self._blocks[block])
        # Looking up in increasing order keeps the search in the processor's cache.
        order = np.argsort(numbers)
        places = np.empty(len(numbers), dtype=np.int32)
        places[order] = np.searchsorted(self._known, numbers[order])  # type: ignore[arg-type]
        places += 1
        return _with_missing(places)

    @property
    def values(self) -> pa.Array:
        return pa.array(self._known)

    def to_texts(self) -> TextDictionary:
        """The same values in a dictionary that takes texts of any length."""
        texts = TextDictionary(self._spill, self._waiting.least)
        for slot in self._blocks:
            texts.add(pa.array(self._spill.read(slot)))
            if texts.is_due:
                texts.merge()
        return texts


class TextDictionary:
    """Distinct texts; the provisional code of a text is the order in which it was met."""

    def __init__(self, spill: Spill, wait: int = 0) -> None:
        """Park what each block's own codes stand for in ``spill``; ``wait`` as for numbers."""
        self._spill = spill
        self._known: pa.Array | None = None
        self._waiting = _Waiting(wait)
        self._maps: list[Slot] = []

    def add(self, values: pa.Array, slot: Slot | None = None) -> None:
        """Take in texts, as strings or as numbers."""
        self._waiting.add(as_texts(values))

    @property
    def waiting_bytes(self) -> int:
        return self._waiting.n_bytes

    @property
    def is_due(self) -> bool:
        return self._waiting.is_due(0 if self._known is None else len(self._known))

    def merge(self) -> None:
        if not self._waiting.parts:
            return
        # The known values come first, so that they keep their codes.
        parts = ([] if self._known is None else [self._known]) + self._waiting.parts
        encoded = pa.concat_arrays(parts).dictionary_encode()
        codes = np.asarray(encoded.indices)
        start = len(codes) - self._waiting.size
        for values in self._waiting.parts:
            self._maps.append(self._spill.append(codes[start : start + len(values)]))
            start += len(values)
        self._known = encoded.dictionary
        self._waiting.clear()

    def finish(self) -> None:
        self.merge()

    @property
    def values(self) -> pa.Array:
        return self._known

    def table(self, block: int) -> np.ndarray:
        codes = self._spill.read(self._maps[block])
        codes += 1
        return _with_missing(codes)


def _with_missing(codes: np.ndarray) -> np.ndarray:
    """``codes`` behind that of a missing value."""
    table = np.empty(len(codes) + 1, dtype=np.int32)
    table[0] = 0
    table[1:] = codes
    return table
