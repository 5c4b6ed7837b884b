"""The distinct values of one field over all blocks, and where each block's own values stand among them.

Two ways, chosen by what the blocks bring. Numbers (integers, and texts short enough to be numbers) are sorted and
merged, which is fast and needs no memory but the numbers. Texts go through a hash table. A field that begins with
short texts and meets a long one changes over.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pyarrow as pa

from bench.data.prepare.spill import Slot, Spill
from bench.data.raw.texts import as_texts

MERGE_VALUES = 1 << 19
"""Values that wait at least before they are merged."""


class Dictionary(Protocol):
    """What the encoder asks of either kind."""

    @property
    def values(self) -> pa.Array:
        """The distinct values, by provisional code; only after ``finish``."""

    def add(self, values: pa.Array, slot: Slot | None) -> None:
        """Take in the distinct values of the next block; ``slot``: where they are parked, of numbers."""

    @property
    def is_due(self) -> bool:
        """Whether enough values wait to be merged."""

    def merge(self) -> None:
        """Merge the waiting values."""

    def finish(self) -> None:
        """Merge what waits; afterwards ``codes`` answers for every block added."""

    def codes(self, block: int) -> np.ndarray:
        """Provisional code of each value of a block's own dictionary, int32."""


class _Waiting:
    """Values not merged yet; waiting for as many as are known keeps the cost of all merges linear in them."""

    def __init__(self) -> None:
        self.parts: list[pa.Array] = []
        self.size = 0

    def add(self, values: pa.Array) -> None:
        self.parts.append(values)
        self.size += len(values)

    def is_due(self, n_known: int) -> bool:
        return self.size >= max(n_known, MERGE_VALUES)

    def clear(self) -> None:
        self.parts, self.size = [], 0


class NumberDictionary:
    """Distinct numbers; the provisional code of a number is its place in their order."""

    def __init__(self, spill: Spill) -> None:
        """Each block's values lie in ``spill``."""
        self._spill = spill
        self._known: np.ndarray | None = None
        self._waiting = _Waiting()
        self._blocks: list[Slot] = []

    def add(self, values: pa.Array, slot: Slot | None = None) -> None:
        """Take in numbers, all of one type; they are parked unless they lie in ``slot``."""
        self._waiting.add(values)
        self._blocks.append(slot or self._spill.append(np.asarray(values)))

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
        self.merge()

    def codes(self, block: int) -> np.ndarray:
        numbers = self._spill.read(self._blocks[block])
        # Looking up in increasing order keeps the search in the processor's cache.
        order = np.argsort(numbers)
        places = np.empty(len(numbers), dtype=np.int32)
        places[order] = np.searchsorted(self._known, numbers[order])  # type: ignore[arg-type]
        return places

    @property
    def values(self) -> pa.Array:
        return pa.array(self._known)

    def to_texts(self) -> TextDictionary:
        """The same values in a dictionary that takes texts of any length."""
        texts = TextDictionary(self._spill)
        for slot in self._blocks:
            texts.add(pa.array(self._spill.read(slot)))
            if texts.is_due:
                texts.merge()
        return texts


class TextDictionary:
    """Distinct texts; the provisional code of a text is the order in which it was met."""

    def __init__(self, spill: Spill) -> None:
        """Park what each block's own codes stand for in ``spill``."""
        self._spill = spill
        self._known: pa.Array | None = None
        self._waiting = _Waiting()
        self._maps: list[Slot] = []

    def add(self, values: pa.Array, slot: Slot | None = None) -> None:
        """Take in texts, as strings or as numbers."""
        self._waiting.add(as_texts(values))

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

    def codes(self, block: int) -> np.ndarray:
        return self._spill.read(self._maps[block])
