"""From an encoded store to the three splits as tensors."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch

from bench.data.card.card import DatasetCard
from bench.data.card.split_keys import SPLITS
from bench.data.schema import Schema
from bench.data.store import manifest as files
from bench.data.store.scaling import CollapseError, Scaling, beyond_message, first_beyond, fit_scaling, standardise
from bench.data.store.splits import TRAIN
from bench.data.store.store import ROWS_AT_ONCE, Store, StoreFacts
from bench.errors import DataError
from bench.rows.residency import MARGIN, fits, free_bytes
from bench.rows.rows import Rows

_GIB = 2**30


@dataclass(frozen=True)
class LoadedData(StoreFacts):
    """A data set ready for cells: its facts, and the rows, in the order of the raw file."""

    train: Rows
    valid: Rows
    test: Rows
    test_truth: np.ndarray | None
    """Known probabilities of the test rows of generated data, float32 [n]."""
    io_s: float
    """Seconds to read and check the store, and to move it to the device."""
    warning: str | None = None
    """Why the rows are not on the device, if they are not."""

    def without_test(self) -> LoadedData:
        """The same data for what must not see the test split: no test rows, and no truth about them."""
        return replace(self, test=self.train.take(torch.arange(0)), test_truth=None)


def load(folder: Path, card: DatasetCard, rows: int | None = None) -> LoadedData:
    """Read the store of ``card`` in ``folder`` into main memory; ``rows`` limits the data before the split.

    Raises:
        DataError: as of ``Store``; or a file is damaged, or the chosen rows hold numbers that cannot be standardised.
    """
    start = time.perf_counter()
    store = Store(folder, card, rows)
    store.verify()
    schema, new_ids = store.vocabulary()
    ids, pooled = files.read_array(folder / files.IDS, in_memory=False), store.ids(files.POOLED)
    numeric = _numbers(store, schema)
    splits = []
    for split in range(len(SPLITS)):
        mine = store.splits == split
        index = store.rows(split)
        part = Rows(
            schema,
            torch.from_numpy(_take_ids(ids, index, new_ids)),
            None if numeric is None else torch.from_numpy(numeric[mine]),
            torch.from_numpy(store.labels[mine].astype(np.float32)),
            torch.from_numpy(index),
            pooled=None if pooled is None else torch.from_numpy(_take_ids(pooled, index, new_ids)),
        )
        splits.append(part)
    train, valid, test = splits
    facts = store.facts(lambda: schema)
    truth = files.read_array(folder / files.TRUTH) if files.TRUTH in store.manifest["files"] else None
    return LoadedData(
        **{item.name: getattr(facts, item.name) for item in fields(facts)},
        train=train,
        valid=valid,
        test=test,
        test_truth=None if truth is None else truth[test.index.numpy()],
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


def _take_ids(ids: np.ndarray, rows: np.ndarray, new_ids: np.ndarray | None) -> np.ndarray:
    """The ids of ``rows``, int32 [n, columns]; each replaced by its place in ``new_ids`` [V] where that is given."""
    taken = np.empty((len(rows), ids.shape[1]), dtype=np.int32)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = ids[rows[start : start + ROWS_AT_ONCE]]
        taken[start : start + len(part)] = part if new_ids is None else new_ids[part]
    return taken


def _numbers(store: Store, schema: Schema) -> np.ndarray | None:
    """Standardised numbers of the N rows used, float32 [N, numeric fields]; None without numeric fields.

    Of all rows they are scaled as the manifest says; of fewer, by the train rows among them.
    """
    if not schema.numeric_fields:
        return None
    rows = store.rows()
    numbers = files.read_array(store.folder / files.NUMERIC, in_memory=False)
    scaled = np.empty((len(rows), numbers.shape[1]), dtype=np.float32)
    for place, field in enumerate(schema.numeric_fields):
        name, column = schema.names[field], numbers[rows, place]
        where = f"{store.what}: column {name!r}"
        scaling = _fit(store, column, where) if store.is_part else Scaling(**store.manifest["scaling"][name])
        row = first_beyond(column, scaling)
        if row is not None:
            what = beyond_message(float(column[row]), scaling)
            raise DataError(f"{where}, row {rows[row] + 1} of the table: {what}.")
        scaled[:, place] = standardise(column, scaling)
    return scaled


def scalings(store: Store) -> dict[str, Scaling]:
    """How the numeric fields of the rows used are standardised, by name.

    Raises:
        DataError: a file is damaged, or a column cannot be standardised.
    """
    if not store.is_part:
        return {name: Scaling(**values) for name, values in store.manifest["scaling"].items()}
    schema, rows = files.schema_of(store.manifest), store.rows()
    if not schema.numeric_fields:
        return {}
    numbers = files.read_array(store.folder / files.NUMERIC, in_memory=False)
    names = [schema.names[field] for field in schema.numeric_fields]
    return {
        name: _fit(store, numbers[rows, place], f"{store.what}: column {name!r}") for place, name in enumerate(names)
    }


def _fit(store: Store, column: np.ndarray, where: str) -> Scaling:
    try:
        return fit_scaling(column, store.splits == TRAIN)[0]
    except CollapseError as error:
        raise DataError(f"{where}: {error}.") from None
