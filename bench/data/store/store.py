"""An encoded store before its rows are read: checked, split, and, when asked, cut down to fewer rows.

What a cell's identity needs (revision, rows of each split, positives) follows from manifest, labels and splits; ids and
numbers, all that is large, are left to ``load``.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bench.budget import Terms
from bench.data.card.card import DatasetCard
from bench.data.card.split_keys import SPLITS
from bench.data.schema import FIRST_VALUE, Schema
from bench.data.store import manifest as files
from bench.data.store.array import StoredArray
from bench.data.store.splits import MIN_ROWS, TEST, TRAIN, assign_splits, check_splits, smallest_hashes
from bench.errors import DataError

ROWS_AT_ONCE = 1 << 18
_READ_FIRST = (files.LABELS, files.SPLIT)


@dataclass(frozen=True)
class StoreFacts:
    """What is known of a data set, or of some of its rows, while the rows lie on the disk."""

    label: str
    """The data set as asked for, overrides included."""
    title: str | None
    """Of a user's own card."""
    revision: str
    """See ``manifest.revision_of``."""
    split_rows: dict[str, int]
    """Rows of train, valid and test."""
    positives: dict[str, int]
    """Rows with label 1, by split."""
    roles: dict[str, str] | None
    """What each field of generated data was made to be."""
    find_schema: Callable[[], Schema] = field(repr=False, compare=False)
    """Of fewer rows it counts their ids."""
    names: tuple[str, ...]
    """Of the fields."""
    field_terms: Terms
    """On what terms fields may be dropped."""
    row_bytes: int
    """What a row takes as training reads it: ids, numbers and label."""

    @cached_property
    def schema(self) -> Schema:
        """The fields; their vocabularies are those of the rows used.

        Raises:
            DataError: the ids must be counted, and are damaged.
        """
        return self.find_schema()


def read_facts(folder: Path, card: DatasetCard, rows: int | None = None) -> StoreFacts:
    """What is known of the store of ``card`` without its ids and numbers; arguments and errors as of ``Store``."""
    store = Store(folder, card, rows)
    manifest = store.manifest

    def count() -> Schema:
        again = Store(folder, card, rows)
        again.verify([name for name in (files.IDS, files.POOLED) if name in manifest["files"]])
        return again.vocabulary()[0]

    # neither holds on to labels and splits, which are as long as the data
    return store.facts(count if store.is_part else lambda: files.schema_of(manifest))


class Store:
    """The store of a data set with the N rows of it that are used; of its arrays, labels and splits are read.

    Attributes:
        manifest: as written.
        labels: 0 or 1, uint8 [N].
        splits: of each row, uint8 [N]: 0 train, 1 valid, 2 test.
        what: names the data in messages.
    """

    def __init__(self, folder: Path, card: DatasetCard, rows: int | None = None) -> None:
        """Open the store of ``card``.

        Args:
            folder: the store.
            card: the data set, with the parameters it was prepared with.
            rows: use the rows of smallest hash only, with the splits and vocabularies that preparing them alone would
                give; rows split by time or by group keep their split. More rows than there are means all of them.

        Raises:
            DataError: not prepared, damaged, made from another revision or other parameters of the card, or too few
                rows.
        """
        self.folder, self._card = folder, card
        self.manifest = read_checked(folder, card)
        self.verify(_READ_FIRST)
        self.labels: np.ndarray = files.read_array(folder / files.LABELS)
        self.splits: np.ndarray = files.read_array(folder / files.SPLIT)
        self.what = f"data set {card.name!r}" if rows is None else f"data set {card.name!r} with rows={rows}"
        self._subset: np.ndarray | None = None
        if rows is not None:
            self._take(rows)
        shares = self.manifest["shares"] if card.in_whole_classes else None
        check_splits(self.labels, self.splits, self.what, shares, card.group)

    def _take(self, rows: int) -> None:
        if rows < MIN_ROWS:
            raise DataError(f"{self.what}: too few rows to split; give at least {MIN_ROWS}.")
        if rows >= len(self.labels):
            return
        seed, shares = self.manifest["split_seed"], self.manifest["shares"]
        numbers = self._numbers()
        subset = smallest_hashes(len(self.labels), seed, rows, numbers)
        self.labels = self.labels[subset]
        kept = self.splits[subset]
        own_test = kept == TEST if self._card.test_files else None
        places = subset if numbers is None else numbers[subset]
        drawn = self._card.in_whole_classes
        self.splits = assign_splits(self.labels, seed, shares, places, own_test) if drawn else kept
        self._subset = subset

    def _numbers(self) -> np.ndarray | None:
        """The numbers that the rows have in the raw table, int64 [N]; None where they are all of its rows."""
        if files.ROWS not in self.manifest["files"]:
            return None
        self.verify([files.ROWS])
        return files.read_array(self.folder / files.ROWS)

    @property
    def is_part(self) -> bool:
        """Whether only some rows of the store are used."""
        return self._subset is not None

    def rows(self, split: int | None = None) -> np.ndarray:
        """Places in the store of the rows of ``split``, or of all rows used, increasing; int64 [n]."""
        mine = np.arange(len(self.labels)) if split is None else np.flatnonzero(self.splits == split)
        return mine if self._subset is None else self._subset[mine]

    def verify(self, names: Iterable[str] | None = None) -> None:
        """Compare the files ``names``, or all that opening has not looked at, with the manifest's checksums.

        Raises:
            DataError: a file is missing or was changed.
        """
        if names is None:
            names = [name for name in self.manifest["files"] if name not in _READ_FIRST]
        files.verify_files(self.folder, self.manifest, names, remake_command(self.folder, self._card, self.manifest))

    def facts(self, find_schema: Callable[[], Schema]) -> StoreFacts:
        """What is known of the rows used; ``find_schema`` is asked for their schema when it is needed."""
        rows = [self.splits == split for split in range(len(SPLITS))]
        names, schema = tuple(one["name"] for one in self.manifest["fields"]), files.schema_of(self.manifest)
        return StoreFacts(
            label=self._card.spec,
            title=self._card.own_title,
            revision=files.revision_of(self.manifest),
            split_rows={name: int(np.count_nonzero(mine)) for name, mine in zip(SPLITS, rows, strict=True)},
            positives={name: int(np.count_nonzero(self.labels[mine])) for name, mine in zip(SPLITS, rows, strict=True)},
            roles=self.manifest["roles"],
            names=names,
            field_terms=self._card.terms_of_fields(names),
            row_bytes=4 * (len(schema.column_fields) + len(schema.numeric_fields) + 1),
            find_schema=find_schema,
        )

    def vocabulary(self) -> tuple[Schema, np.ndarray | None]:
        """The schema of the rows used, and the new id of every id of the store, int32 [V]; None where ids stay.

        Vocabularies of fewer rows are fitted to the train rows among them. These are train rows of the whole as well
        (see ``splits``; by time or group a row keeps its split), so every value that is frequent enough among them has
        an id already, and leaving out the others keeps the order of the values.
        """
        schema = files.schema_of(self.manifest)
        if not self.is_part:
            return schema, None
        kept = self._count(schema.vocabulary_rows) >= self.manifest["min_count"]
        first_rows = schema.offsets[:-1]
        reserved = np.concatenate([first_rows + i for i in range(FIRST_VALUE)])
        numeric = first_rows[list(schema.numeric_fields)] + FIRST_VALUE
        kept[np.concatenate([reserved, numeric])] = True
        places = np.cumsum(kept) - 1
        rare = np.repeat(first_rows, schema.cardinalities)
        new_ids = np.where(kept, places, places[rare]).astype(np.int32)
        sizes = np.add.reduceat(kept.astype(np.int64), first_rows)
        return schema.resized(sizes.tolist()), new_ids

    def _count(self, vocabulary_rows: int) -> np.ndarray:
        """How often each id of the store occurs in the train rows used, int64 [V]."""
        train = self.rows(TRAIN)
        counts = np.zeros(vocabulary_rows, dtype=np.int64)
        both = (self.ids(files.IDS), self.ids(files.POOLED))
        for ids in (one for one in both if one is not None):
            for start in range(0, len(train), ROWS_AT_ONCE):
                part = ids.take(train[start : start + ROWS_AT_ONCE])
                counts += np.bincount(part.ravel(), minlength=vocabulary_rows)
        return counts

    def ids(self, name: str) -> StoredArray | None:
        """The ids in the file ``name`` of all rows of the store, read as they are used; None where there are none."""
        return StoredArray(self.folder / name) if name in self.manifest["files"] else None

    @property
    def numbers(self) -> StoredArray:
        """The numbers of all rows of a store with numeric fields, as they were before they are standardised."""
        return StoredArray(self.folder / files.NUMERIC)


def verify_store(folder: Path, card: DatasetCard) -> None:
    """Compare every file of the store of ``card`` with the manifest's checksums.

    Raises:
        DataError: not prepared, damaged, or made from another revision or other parameters of the card.
    """
    manifest = read_checked(folder, card)
    files.verify_files(folder, manifest, manifest["files"], remake_command(folder, card, manifest))


def store_folder(data_dir: Path, card: DatasetCard) -> Path:
    """Where the store of ``card`` lies."""
    return data_dir / card.key


def read_checked(folder: Path, card: DatasetCard) -> dict[str, Any]:
    """The manifest of the store, which must be that of ``card``; arrays are not looked at.

    Raises:
        DataError: not prepared, or made from another revision or other parameters of the card.
    """
    if not (folder / files.MANIFEST).exists():
        raise DataError(unprepared_message(folder, card))
    manifest = files.read_manifest(folder, remake_command(folder, card, None))
    remake = remake_command(folder, card, manifest)
    if manifest["name"] != card.name:
        raise DataError(f"{folder}: is the store of {manifest['name']!r}, not of {card.name!r}. Make it: {remake}")
    if manifest["revision"] != card.revision:
        raise DataError(
            f"{folder}: the store is of another revision: {manifest['revision']}, the card is {card.revision}. "
            f"Make it anew: {remake}"
        )
    if manifest["definition"] != card.definition:
        changed = f"the card was changed since the store was made, or another card of the name {card.name!r} made it"
        raise DataError(f"{folder}: {changed}. Make it anew: {remake}")
    defaults = {parameter.name: parameter.default for parameter in card.parameters}
    for name in (*card.params, *(name for name in manifest["params"] if name in defaults.keys() - card.params.keys())):
        value = card.params.get(name, defaults[name])
        found = manifest["params"].get(name, defaults[name])  # a store older than the parameter
        if found != value:
            raise DataError(f"{folder}: was made with {name}={found}, not {value}. Make it anew: {remake}")
    return manifest


def remake_command(folder: Path, card: DatasetCard, manifest: dict[str, Any] | None) -> str:
    """The command that makes the store anew, with the name of the raw file it was made from where that is known."""
    raw = [one["name"] for one in (manifest or {}).get("raw", [])]
    return prepare_command(folder, card, raw[0] if len(raw) == 1 else "PATH")


def prepare_command(folder: Path, card: DatasetCard, raw: str) -> str:
    """``python -m bench prepare …`` for this store."""
    parts = ["python", "-m", "bench", "prepare", shlex.quote(card.typed_spec)]
    if not card.is_derived:
        parts += ["--raw", shlex.quote(raw)]
    if folder.parent != Path("data"):
        parts += ["--data-dir", shlex.quote(str(folder.parent))]
    return " ".join(parts)


def unprepared_message(folder: Path, card: DatasetCard) -> str:
    """What to do to get the store."""
    head = f"data set {card.spec!r} is not prepared ({folder} is no store)."
    command = prepare_command(folder, card, "PATH")
    if card.is_derived:
        return f"{head} Make it: {command}"
    if card.downloads:
        fetch = command.replace("--raw PATH", "--download")
        return f"{head} Fetch and prepare it: {fetch}\nOr, from a file you have: {command}"
    return f"{head}\n{card.terms}\nThen: {command}" if card.terms else f"{head} Make it: {command}"
