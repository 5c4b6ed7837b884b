"""What a data generator hands to the preparer.

A card that names ``generator = "module:callable"`` has no raw file: the callable receives the card's resolved
parameters and returns a ``GeneratedData``, whose rows pass through the same encoder as those of a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class GeneratedBlock:
    """Consecutive rows."""

    columns: dict[str, np.ndarray]
    """Field name -> int64 [n]; -1 stands for a missing value, anything else is a value."""
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


Generator = Callable[[Mapping[str, object]], GeneratedData]
