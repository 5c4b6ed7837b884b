"""What a data generator hands to the preparer.

A card that names ``generator = "module:callable"`` has no raw file: the callable receives the card's resolved
parameters and returns a ``GeneratedData``, whose rows pass through the same encoder as those of a file.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import numpy as np

from bench.data.card.card import DatasetCard
from bench.errors import ConfigError

NO_VALUE = -(2**63)
"""Stands for a missing value where -1 is a value."""
Content = Literal["code", "integer", "hex"]
"""What a column's numbers are: arbitrary codes, written in decimal; counts, bucketed by the encoder; or codes below
2^32 written as eight hexadecimal digits."""
ENCODING_PARAMS = ("min_count", "split_seed", "split", "numeric_buckets")
"""Parameters of the encoder, which a generator is not told."""


@dataclass(frozen=True)
class GeneratedBlock:
    """Consecutive rows."""

    columns: dict[str, np.ndarray]
    """Field name -> int64 [n]; one number stands for a missing value, anything else is a value."""
    labels: np.ndarray
    """uint8 [n], 0 or 1."""
    truth: np.ndarray
    """float32 [n], the probability from which the label was drawn."""


@dataclass(frozen=True)
class GeneratedData:
    """A whole generated data set; the blocks are made as they are asked for."""

    fields: tuple[str, ...]
    roles: dict[str, str]
    """Field name -> what the field was made to be."""
    blocks: Iterator[GeneratedBlock]
    contents: Mapping[str, Content] = field(default_factory=dict)
    """Field name -> what its numbers are; ``code`` where nothing is said."""
    missing: int = -1
    """The number that stands for a missing value."""
    n_rows: int | None = None
    """Rows of all blocks, where that is known."""

    def content(self, name: str) -> Content:
        """What the numbers of the field ``name`` are."""
        return self.contents.get(name, "code")


def generated_data(card: DatasetCard, device: str = "cpu") -> GeneratedData:
    """The data that the generator of ``card`` makes, which are the same wherever they are made.

    Args:
        card: a generated data set.
        device: passed on as the generator's ``device`` unless it is ``cpu``.

    Raises:
        ConfigError: there is no such generator or device, or it refuses the parameters.
    """
    params = {name: value for name, value in card.params.items() if name not in ENCODING_PARAMS}
    generate: Callable[..., GeneratedData] = load_callable(card.generator)
    if device == "cpu":
        return generate(params)
    if "device" not in inspect.signature(generate).parameters:
        raise ConfigError(f"device={device!r}: data set {card.name!r} is made on the CPU only; leave --device out.")
    return generate(params, device=device)


def load_callable(target: str) -> Callable[..., Any]:
    """What ``module:callable`` names.

    Raises:
        ConfigError: there is no such thing.
    """
    module, _, attribute = target.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{target!r} (named by the card) cannot be imported: {error}.") from None
    if not callable(found):
        raise ConfigError(f"{target!r} (named by the card) cannot be called.")
    return found  # type: ignore[no-any-return]


@cache
def _four_digits() -> np.ndarray:
    """The hexadecimal digits of 0 … 2^16 - 1, four bytes each as a little-endian number; uint32 [2^16]."""
    digits = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
    nibbles = np.arange(1 << 16)[:, None] >> np.array([12, 8, 4, 0]) & 15
    four: np.ndarray = digits[nibbles].view("<u4").ravel()
    return four


def hex_words(codes: np.ndarray) -> np.ndarray:
    """Eight hexadecimal digits of each code.

    Args:
        codes: int64 [n], below 2^32.

    Returns:
        uint64 [n]; its bytes in memory (little-endian) are the digits in reading order.
    """
    four = _four_digits()
    words = np.empty((len(codes), 2), dtype="<u4")
    words[:, 0] = four[codes >> 16]
    words[:, 1] = four[codes & 0xFFFF]
    return words.view("<u8").ravel()
