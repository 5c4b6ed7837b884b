"""What the checks run on: 2,000 generated rows of every kind of field, and a network that learns them in a moment."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from bench.budget import Terms
from bench.data.prepare.prepare import prepare
from bench.data.store.store import store_folder
from bench.datasets import resolve_dataset
from bench.profiles import SMALL, Profile
from bench.rows.load import LoadedData, load
from bench.rows.rows import Rows

__all__ = ["DECISIVE", "PROFILE", "bucketed", "copy_of", "example_data", "on_terms", "shuffled"]

PROFILE: Profile = replace(SMALL, name="checks", batch_size=256, max_epochs=3, dim=4, dropout=0.0, mlp=(8,), cin=(4, 4))
DECISIVE = 5
"""Index of the numeric field that tells more of the label than all others together."""
BUCKETS = 16
"""Ranges that stand for a numeric field in a check of a method that reads ids alone."""
_ROWS = 2000
_CARD = """
name = "checks"
[raw]
files = ["rows.csv"]
[raw.columns]
click = "label"
city = "categorical"
device = "categorical"
left = "categorical"
right = "categorical"
twin = "categorical"
price = "numeric"
age = "numeric"
country = "categorical"
"""


@cache
def example_data() -> LoadedData:
    """The rows, made once a process and never handed out.

    Two main fields, one with missing values; two that tell by their pair; a twin of the first; the decisive number; a
    number of noise, with missing values; a constant.
    """
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "card.toml").write_text(_CARD, encoding="utf-8")
        (home / "rows.csv").write_text(_table(), encoding="utf-8")
        card = resolve_dataset(str(home / "card.toml"))
        store = store_folder(home, card)
        prepare(card, home, store)
        return copy_of(load(store, card))


def _table() -> str:
    """The raw rows as text."""
    rng = np.random.default_rng(7)
    city, device = rng.integers(0, 6, _ROWS), rng.integers(0, 4, _ROWS)
    left, right = rng.integers(0, 3, _ROWS), rng.integers(0, 3, _ROWS)
    price, age = rng.normal(size=_ROWS), rng.normal(size=_ROWS)
    pair = np.where((left + right) % 3 == 0, 1.0, -0.5)
    logit = 3.0 * price + 0.4 * (city - 2.5) + 0.5 * (device - 1.5) + pair - 1
    click = rng.random(_ROWS) < 1 / (1 + np.exp(-logit))
    unknown = rng.random((2, _ROWS)) < 0.1
    lines = ["click,city,device,left,right,twin,price,age,country"]
    for i in range(_ROWS):
        seen = "" if unknown[0, i] else f"d{device[i]}"
        years = "" if unknown[1, i] else f"{age[i]:.4f}"
        values = (int(click[i]), f"c{city[i]}", seen, left[i], right[i], f"t{city[i]}", f"{price[i]:.4f}", years, "x")
        lines.append(",".join(map(str, values)))
    return "\n".join(lines) + "\n"


def copy_of(data: LoadedData) -> LoadedData:
    """The same data in tensors of their own."""
    return replace(data, train=_copy(data.train), valid=_copy(data.valid), test=_copy(data.test))


def _copy(rows: Rows) -> Rows:
    numeric = None if rows.numeric is None else rows.numeric.clone()
    pooled = None if rows.pooled is None else rows.pooled.clone()
    return Rows(rows.schema, rows.ids.clone(), numeric, rows.labels.clone(), rows.index.clone(), pooled=pooled)


def bucketed(data: LoadedData) -> LoadedData:
    """The same data with ranges in the place of numbers."""
    parts = (data.train, data.valid, data.test)
    ids, labels, index = (torch.cat([getattr(rows, name) for rows in parts]) for name in ("ids", "labels", "index"))
    numbers = [rows.numeric for rows in parts if rows.numeric is not None]
    numeric = torch.cat(numbers) if numbers else None
    whole = Rows(data.schema, ids, numeric, labels, index).bucketed(BUCKETS)  # one set of edges for all splits
    ends = np.cumsum([len(rows) for rows in parts])
    train, valid, test = (whole.take(torch.arange(end - len(rows), end)) for end, rows in zip(ends, parts, strict=True))
    return replace(data, find_schema=lambda: whole.schema, train=train, valid=valid, test=test)


def on_terms(data: LoadedData) -> LoadedData:
    """The same data with its last field locked, the first two as one, and one in the middle dear.

    At prune ratio 0.5 each of them fits beside the locked one.
    """
    n = data.schema.n_fields
    return replace(data, field_terms=Terms((n - 1,), {"pair": (0, 1)}, {n // 2: 3.0}) if n > 3 else Terms())


def shuffled(data: LoadedData, numbers: bool) -> LoadedData:
    """The same data with the numbers, or else the ids of all other fields, of training rows dealt out anew."""
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(1))
    rows = _copy(data.train)
    if numbers:
        moved = replace(rows, numeric=None if rows.numeric is None else rows.numeric[order])
    else:
        columns = [f for f in range(data.schema.n_fields) if f not in data.schema.numeric_fields]
        rows.ids[:, columns] = data.train.ids[order][:, columns]
        moved = rows
    return replace(data, train=moved)
