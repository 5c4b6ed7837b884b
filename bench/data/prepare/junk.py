"""Junk beside the fields of a real table: columns that are known to be of no use, made from its store.

``share`` of all fields are junk, each made from a field of the table that has one id a row; with more junk than such
fields, these are taken again. Labels, splits and the table's own columns are those of the plain store.

    random          the field's values, shuffled among all rows of a split: nothing is left but the frequencies
    corrupted:NAME  a copy, of which half of the rows are shuffled among themselves: the same frequencies
    twin:NAME       a copy: of the two, one is of no use

Junk has codes of its own. What decides is a hash of the junk's name and the row's number, never the label.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.card.card import DatasetCard
from bench.data.prepare.workspace import Workspace
from bench.data.schema import FIRST_VALUE, Field, Schema
from bench.data.store import manifest as files
from bench.data.store.splits import row_hash
from bench.data.store.store import Store, store_folder, verify_store
from bench.errors import DataError, storage_error
from bench.files import file_sha256
from bench.seeds import seed
from bench.stats.recovery import CORRUPTED, RANDOM, REAL, TWIN

__all__ = ["add_junk", "is_stale"]

_HALF = np.uint64(1 << 63)
_HELD_BYTES = 1 << 30
_ROLES = {"random": RANDOM, "corrupted": CORRUPTED, "twins": TWIN}
_PLAIN = "plain"
"""Key of the manifest: checksum of the ids that the junk was made from."""


def add_junk(card: DatasetCard, out: Path) -> Path:
    """Make the store ``out`` of ``card`` from that of the same card without junk, which lies beside it.

    Raises:
        DataError: that is not prepared or is damaged, or has no field to make junk from.
    """
    plain = store_folder(out.parent, card.plain)
    verify_store(plain, card.plain)
    store = Store(plain, card.plain)
    junk = _planned(card, files.schema_of(store.manifest))
    with Workspace(out) as work:
        try:
            for name in store.manifest["files"]:
                if name != files.IDS:
                    shutil.copyfile(plain / name, work.folder / name)
            _write_ids(store, junk, work.folder / files.IDS)
            files.write_manifest(work.folder, _described(card, store, junk, file_sha256(work.folder / files.IDS)))
            return work.publish()
        except OSError as error:
            raise storage_error(error, None if error.filename else out.parent, "--data-dir") from error


def is_stale(card: DatasetCard, folder: Path) -> bool:
    """Whether the plain store was made anew, from other data, since the store in ``folder`` was made of it."""
    plain = store_folder(folder.parent, card.plain)
    if not (plain / files.MANIFEST).exists():
        return False
    made_from = files.read_manifest(folder, "").get(_PLAIN)
    return bool(files.read_manifest(plain, "")["files"][files.IDS] != made_from)


@dataclass(frozen=True)
class _Junk:
    name: str
    kind: str
    source: int
    """Index of the field that it is made from."""
    field: Field
    role: str

    def values(self, local: np.ndarray, rows: np.ndarray, splits: np.ndarray) -> np.ndarray:
        """Ids that begin at 0, int32 [N].

        Args:
            local: those of the source, [N].
            rows: numbers of the rows, [N].
            splits: of each row, [N]; shuffled within them, so that a value keeps its rows in train.
        """
        found = local.copy()
        if self.kind != "twins":
            places = row_hash(seed(junk=self.name, use="places"), rows)
            moved = np.ones(len(rows), dtype=bool)
            if self.kind == "corrupted":
                moved = row_hash(seed(junk=self.name, use="moved"), rows) < _HALF
            for split in np.unique(splits):
                mine = np.flatnonzero(moved & (splits == split))
                found[mine] = local[mine[np.argsort(places[mine], kind="stable")]]
        codes = np.arange(self.field.cardinality, dtype=np.int32)
        order = np.argsort(row_hash(seed(junk=self.name, use="codes"), codes[FIRST_VALUE:]), kind="stable")
        codes[FIRST_VALUE:] = order + FIRST_VALUE
        return np.asarray(codes[found])


def _planned(card: DatasetCard, schema: Schema) -> list[_Junk]:
    """The junk fields in their order: sources by a hash of their names, so that it does not follow the table's.

    Raises:
        DataError: no field has one id a row, or a field has the name of a junk field.
    """
    sources = [i for i, one in enumerate(schema.fields) if one.kind != "numeric" and one.positions == 1]
    if not sources:
        raise DataError(f"data set {card.spec!r}: junk is made from fields with one value a row that are not numeric.")
    sources.sort(key=lambda i: seed(junk="sources", field=schema.names[i]))
    n_junk = max(1, round(card.junk_share / (1 - card.junk_share) * schema.n_fields))
    planned = []
    for i in range(n_junk):
        name, source = f"junk{i + 1:02}", sources[i % len(sources)]
        if name in schema.names:
            raise DataError(f"data set {card.spec!r}: a field is called {name}, as junk is; rename it in the card.")
        role = _ROLES[card.junk] if card.junk == "random" else f"{_ROLES[card.junk]}:{schema.names[source]}"
        planned.append(
            _Junk(name, card.junk, source, Field(name, "categorical", schema.fields[source].cardinality), role)
        )
    return planned


def _write_ids(store: Store, junk: list[_Junk], path: Path) -> None:
    """The ids of the table, and behind them those of the junk, int32 [N, fields]; junk some columns at a time."""
    schema = files.schema_of(store.manifest)
    plain = files.read_array(store.folder / files.IDS, in_memory=False)
    numbers = np.arange(len(plain))
    if files.ROWS in store.manifest["files"]:
        numbers = files.read_array(store.folder / files.ROWS)
    offsets = Schema((*schema.fields, *(one.field for one in junk))).offsets
    shape = (len(plain), schema.n_fields + len(junk))
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.int32, shape=shape, version=(1, 0))
    out[:, : schema.n_fields] = plain
    at_once = max(1, _HELD_BYTES // (4 * len(plain)))
    for first in range(0, len(junk), at_once):
        group = junk[first : first + at_once]
        held = np.empty((len(plain), len(group)), dtype=np.int32)
        for place, one in enumerate(group):
            local = plain[:, one.source] - np.int32(schema.offsets[one.source])
            values = one.values(local, numbers, store.splits)
            held[:, place] = values + np.int32(offsets[schema.n_fields + first + place])
        out[:, schema.n_fields + first :][:, : len(group)] = held
    out.flush()


def _described(card: DatasetCard, store: Store, junk: list[_Junk], ids: str) -> dict[str, Any]:
    made = store.manifest
    schema = files.schema_of(made)
    roles = dict.fromkeys(schema.names, REAL) | {one.name: one.role for one in junk}
    return made | {
        "params": card.params,
        "fields": files.described(Schema((*schema.fields, *(one.field for one in junk)))),
        "files": made["files"] | {files.IDS: ids},
        "roles": roles,
        _PLAIN: made["files"][files.IDS],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
