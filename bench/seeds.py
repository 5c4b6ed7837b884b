"""Seeds from named axes: no global seed exists, every consumer owns a generator.

A seed is the sha256 of exactly the axes it may depend on, so two cells that share those axes share the draw:
the embedding rows of one (data set, seed) are the same for every method and backbone.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def seed(**axes: str | int | float | None) -> int:
    """Derive a 63-bit seed from exactly these axes, e.g. ``seed(dataset="x", seed=2, use="batches")``."""
    text = json.dumps(axes, sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(**axes: str | int | float | None) -> torch.Generator:
    """A CPU generator seeded from ``axes``; draws are made on the CPU so that devices agree."""
    import torch  # noqa: PLC0415

    return torch.Generator().manual_seed(seed(**axes))
