"""From an encoded store to the three splits as tensors."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from bench.data.card import SPLITS, DatasetCard
from bench.data.residency import MARGIN, fits, free_bytes
from bench.data.rows import Rows
from bench.data.schema import Schema
from bench.data.store import SplitArrays, open_store

_GIB = 2**30


@dataclass(frozen=True)
class LoadedData:
    """A data set ready for cells."""

    label: str
    """The data set as asked for, overrides included."""
    revision: str
    """Of the card and of what it was made from."""
    schema: Schema
    train: Rows
    valid: Rows
    test: Rows
    split_rows: dict[str, int]
    positives: dict[str, int]
    """Rows with label 1, by split."""
    roles: dict[str, str] | None
    """Known role of every field of generated data."""
    test_truth: np.ndarray | None
    """Known probabilities of the test rows of generated data, float32 [n]."""
    io_s: float
    """Seconds to read and check the store, and to move it to the device."""
    title: str | None = None
    """Of a user's own card."""
    warning: str | None = None
    """Why the rows are not on the device, if they are not."""

    def without_test(self) -> LoadedData:
        """The same data for what must not see the test split: no test rows, and no truth about them."""
        return replace(self, test=self.train.take(torch.arange(0)), test_truth=None)


def load(card: DatasetCard, folder: Path, rows: int | None) -> LoadedData:
    """Read the store of ``card`` in ``folder`` into main memory; ``rows`` limits the data before the split.

    Raises:
        DataError: the store is missing, damaged or of another revision.
    """
    start = time.perf_counter()
    opened = open_store(folder, card, rows)
    parts = (opened.train, opened.valid, opened.test)
    splits = [_tensors(opened.schema, part) for part in parts]
    return LoadedData(
        label=card.spec,
        title=card.own_title,
        revision=opened.revision,
        schema=opened.schema,
        train=splits[0],
        valid=splits[1],
        test=splits[2],
        split_rows=dict(opened.split_rows),
        positives={name: int(np.count_nonzero(part.labels)) for name, part in zip(SPLITS, parts, strict=True)},
        roles=None if opened.roles is None else dict(opened.roles),
        test_truth=opened.test.truth,
        io_s=time.perf_counter() - start,
    )


def place(data: LoadedData, device: torch.device, beside: int) -> LoadedData:
    """Move ``data`` to ``device``, or page it in from main memory where it does not fit there.

    Args:
        data: as loaded, in main memory.
        device: where models are trained.
        beside: bytes that training takes there; a copy of the training rows, which selections make, comes on top.
    """
    start = time.perf_counter()
    needed = data.train.n_bytes + sum(rows.n_bytes for rows in (data.train, data.valid, data.test)) + beside
    if fits(needed, device):
        train, valid, test = (rows.to(device) for rows in (data.train, data.valid, data.test))
        took = time.perf_counter() - start
        return replace(data, train=train, valid=valid, test=test, io_s=data.io_s + took)
    free = free_bytes(device) or 0
    train, valid, test = (replace(rows, goes_to=device) for rows in (data.train, data.valid, data.test))
    warning = (
        f"{data.label}: rows and table take {(needed + MARGIN) / _GIB:.1f} GiB, and {device} has {free / _GIB:.1f} GiB "
        f"free: rows stay in main memory and are paged in, which is slower."
    )
    return replace(data, train=train, valid=valid, test=test, warning=warning)


def _tensors(schema: Schema, part: SplitArrays) -> Rows:
    numeric = None if part.numeric is None else torch.from_numpy(part.numeric)
    return Rows(
        schema,
        torch.from_numpy(part.ids),
        numeric,
        torch.from_numpy(part.labels),
        torch.from_numpy(part.row_numbers),
    )
