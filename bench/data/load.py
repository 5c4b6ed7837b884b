"""From an encoded store to the three splits as tensors on a device."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bench.data.card import DatasetCard
from bench.data.rows import Rows
from bench.data.schema import Schema
from bench.data.store import SplitArrays, open_store


@dataclass(frozen=True)
class LoadedData:
    """A data set ready for cells."""

    label: str
    """The data set as asked for, overrides included."""
    revision: str
    schema: Schema
    train: Rows
    valid: Rows
    test: Rows
    split_rows: dict[str, int]
    roles: dict[str, str] | None
    """Known role of every field of generated data."""
    test_truth: np.ndarray | None
    """Known probabilities of the test rows of generated data, float32 [n]."""
    io_s: float
    """Seconds to read and check the store."""


def load(card: DatasetCard, folder: Path, rows: int | None, device: torch.device) -> LoadedData:
    """Read the store of ``card`` in ``folder``; ``rows`` limits the data before the split.

    Raises:
        DataError: the store is missing, damaged or of another revision.
    """
    start = time.perf_counter()
    opened = open_store(folder, card, rows)
    splits = [_tensors(opened.schema, part, device) for part in (opened.train, opened.valid, opened.test)]
    return LoadedData(
        label=card.spec,
        revision=str(opened.revision),
        schema=opened.schema,
        train=splits[0],
        valid=splits[1],
        test=splits[2],
        split_rows=dict(opened.split_rows),
        roles=None if opened.roles is None else dict(opened.roles),
        test_truth=opened.test.truth,
        io_s=time.perf_counter() - start,
    )


def _tensors(schema: Schema, part: SplitArrays, device: torch.device) -> Rows:
    numeric = None if part.numeric is None else torch.from_numpy(part.numeric)
    rows = Rows(
        schema,
        torch.from_numpy(part.ids),
        numeric,
        torch.from_numpy(part.labels),
        torch.from_numpy(part.row_numbers),
    )
    return rows.to(device)
