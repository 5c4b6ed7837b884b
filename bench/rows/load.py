"""From an encoded store to the three splits, as tensors or as rows that stay in the store."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from bench.data.card.card import DatasetCard
from bench.data.card.split_keys import SPLITS
from bench.data.schema import Schema
from bench.data.store import manifest as files
from bench.data.store.scaling import (
    CollapseError,
    Scaling,
    beyond_message,
    first_beyond,
    fit_scaling,
    standardise,
    standardise_all,
)
from bench.data.store.splits import TRAIN
from bench.data.store.store import ROWS_AT_ONCE, Store, StoreFacts
from bench.errors import DataError
from bench.rows.order import Blocks
from bench.rows.residency import MARGIN, fits, free_bytes
from bench.rows.rows import Rows
from bench.rows.stored import Columns, StoredRows

_GIB = 2**30
_COLUMN_BYTES = 64 << 20
"""Of columns of numbers that are looked at together."""


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
    """Why the rows are not on the device, or not in memory, if they are not."""

    def without_test(self) -> LoadedData:
        """The same data for what must not see the test split: no test rows, and no truth about them."""
        return replace(self, test=self.train.take(torch.arange(0)), test_truth=None)


def load(
    folder: Path, card: DatasetCard, rows: int | None = None, blocks: Blocks | None = None, room: int | None = None
) -> LoadedData:
    """Open the store of ``card`` in ``folder``, and read it into main memory, unless it is to be read in blocks.

    Args:
        folder: the store.
        card: the data set.
        rows: limits the data before the split.
        blocks: the order in which trainings read rows that stay in the store; None: all are read now.
        room: bytes of such rows that may be asked for at once; None: any.

    Raises:
        DataError: as of ``Store``; or a file is damaged, or the chosen rows hold numbers that cannot be standardised.
    """
    start = time.perf_counter()
    store = Store(folder, card, rows)
    store.verify()
    schema, new_ids = store.vocabulary()
    if blocks is None:
        splits = _read(store, schema, new_ids)
    else:
        splits = _left(store, schema, new_ids, blocks, sys.maxsize if room is None else room)
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


def _read(store: Store, schema: Schema, new_ids: np.ndarray | None) -> list[Rows]:
    """The rows of the three splits, in memory."""
    ids, pooled = files.read_array(store.folder / files.IDS, in_memory=False), None
    if files.POOLED in store.manifest["files"]:
        pooled = files.read_array(store.folder / files.POOLED, in_memory=False)
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
    return splits


def _left(store: Store, schema: Schema, new_ids: np.ndarray | None, blocks: Blocks, room: int) -> list[Rows]:
    """The rows of the three splits, of which labels and numbers are in memory."""

    def renumbered(ids: np.ndarray) -> np.ndarray:
        return ids if new_ids is None else np.asarray(new_ids[ids])

    both = (store.ids(files.IDS), store.ids(files.POOLED))
    ids, pooled = (None if array is None else Columns(array, renumbered) for array in both)
    numeric = None
    if schema.numeric_fields:
        found = scalings(store)  # of all rows, preparing has seen that none is beyond its limits
        columns = [found[schema.names[field]] for field in schema.numeric_fields]
        numeric = Columns(store.numbers, partial(standardise_all, scalings=columns))
    assert ids is not None
    splits: list[Rows] = []
    for split in range(len(SPLITS)):
        index = store.rows(split)
        places = index.astype(np.int32) if store.manifest["n_rows"] < 2**31 else index
        labels = torch.from_numpy(store.labels[store.splits == split].astype(np.float32))
        kept = StoredRows.of(
            schema, ids, numeric, pooled, labels, torch.from_numpy(places), blocks=blocks, room=room
        )  # fmt: skip
        splits.append(kept)
    return splits


def place(data: LoadedData, device: torch.device, beside: int) -> LoadedData:
    """Move ``data`` to ``device``, or page it in from main memory where it does not fit there.

    Args:
        data: as loaded, in main memory.
        device: where models are trained.
        beside: bytes that training takes there; a copy of the training rows, which selections make, comes on top.
    """
    start = time.perf_counter()
    if data.train.on_disk:
        train, valid, test = (rows.sent_to(device) for rows in (data.train, data.valid, data.test))
        return replace(data, train=train, valid=valid, test=test)
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
    scaled = np.empty((len(rows), len(schema.numeric_fields)), dtype=np.float32)
    for place, column, scaling in _scaled(store, schema, rows):
        scaled[:, place] = standardise(column, scaling)
    return scaled


def _scaled(store: Store, schema: Schema, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray, Scaling]]:
    """Each numeric column of ``rows``, float64 [n], with its place and how it is standardised.

    Raises:
        DataError: it cannot be, or a number is too far from the others.
    """
    array = store.numbers
    at_once = max(1, _COLUMN_BYTES // (array.dtype.itemsize * len(rows)))
    for first in range(0, array.columns, at_once):
        held = np.empty((min(at_once, array.columns - first), len(rows)), dtype=array.dtype)
        for start, part in array.parts(rows):
            held[:, start : start + len(part)] = part[:, first : first + at_once].T
        for place, column in enumerate(held, first):
            name = schema.names[schema.numeric_fields[place]]
            where = f"{store.what}: column {name!r}"
            scaling = _fit(store, column, where) if store.is_part else Scaling(**store.manifest["scaling"][name])
            row = first_beyond(column, scaling)
            if row is not None:
                what = beyond_message(float(column[row]), scaling)
                raise DataError(f"{where}, row {rows[row] + 1} of the table: {what}.")
            yield place, column, scaling


def scalings(store: Store) -> dict[str, Scaling]:
    """How the numeric fields of the rows used are standardised, by name.

    Raises:
        DataError: a file is damaged, or a column cannot be standardised.
    """
    if not store.is_part:
        return {name: Scaling(**values) for name, values in store.manifest["scaling"].items()}
    schema = files.schema_of(store.manifest)
    if not schema.numeric_fields:
        return {}
    names = [schema.names[field] for field in schema.numeric_fields]
    return {names[place]: scaling for place, _, scaling in _scaled(store, schema, store.rows())}


def _fit(store: Store, column: np.ndarray, where: str) -> Scaling:
    try:
        return fit_scaling(column, store.splits == TRAIN)[0]
    except CollapseError as error:
        raise DataError(f"{where}: {error}.") from None
