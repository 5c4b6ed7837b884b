"""What the checks run on: 2,000 generated rows of eight fields, and a network that trains on them in a moment."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

from bench.data.prepare.prepare import prepare
from bench.data.store.store import store_folder
from bench.datasets import EXAMPLE, resolve_dataset
from bench.profiles import SMALL, Profile
from bench.rows.load import LoadedData, load
from bench.rows.rows import Rows

__all__ = ["PROFILE", "copy_of", "example_data"]

PROFILE: Profile = replace(SMALL, name="checks", batch_size=128, max_epochs=3, dim=4, dropout=0.0, mlp=(8,), cin=(4, 4))


@cache
def example_data() -> LoadedData:
    """Four main, two interacting, one redundant field and one of noise; made once a process, never handed out."""
    card = resolve_dataset(f"{EXAMPLE}[rows=2000,fields=8,main=4,interaction=2,redundant=1]")
    with tempfile.TemporaryDirectory() as folder:
        store = store_folder(Path(folder), card)
        prepare(card, None, store)
        return copy_of(load(store, card))


def copy_of(data: LoadedData) -> LoadedData:
    """The same data in tensors of their own."""
    return replace(data, train=_copy(data.train), valid=_copy(data.valid), test=_copy(data.test))


def _copy(rows: Rows) -> Rows:
    numeric = None if rows.numeric is None else rows.numeric.clone()
    return Rows(rows.schema, rows.ids.clone(), numeric, rows.labels.clone(), rows.index.clone())
