"""Opening an encoded store: checked, split, and, when asked, cut down to fewer rows."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.data import manifest as files
from bench.data.card import SPLITS, DatasetCard
from bench.data.scaling import CollapseError, Scaling, beyond_message, first_beyond, fit_scaling, standardise
from bench.data.schema import FIRST_VALUE, Field, Schema
from bench.data.splits import MIN_ROWS, TRAIN, assign_splits, check_splits, smallest_hashes
from bench.errors import DataError

_ROWS_AT_ONCE = 1 << 18


@dataclass(frozen=True)
class SplitArrays:
    """The rows of one split, in the order of the raw file."""

    ids: np.ndarray
    """Rows of the fused table, int32 [n, F]."""
    numeric: np.ndarray | None
    """Standardised numbers, float32 [n, numeric fields]; None without numeric fields."""
    labels: np.ndarray
    """0 or 1, float32 [n]."""
    row_numbers: np.ndarray
    """Places in the raw file, int64 [n]."""
    truth: np.ndarray | None
    """True probabilities of generated data, float32 [n]."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class OpenedData:
    """A data set ready for use."""

    name: str
    revision: str
    """See ``manifest.revision_of``."""
    schema: Schema
    train: SplitArrays
    valid: SplitArrays
    test: SplitArrays
    split_rows: dict[str, int]
    """Rows of train, valid and test."""
    roles: dict[str, str] | None
    """What each field of generated data was made to be."""
    manifest: dict[str, Any]


def store_folder(data_dir: Path, card: DatasetCard) -> Path:
    """Where the store of ``card`` lies."""
    return data_dir / card.key


def open_store(folder: Path, card: DatasetCard, rows: int | None = None) -> OpenedData:
    """Open the store of ``card``.

    Args:
        folder: the store.
        card: the data set, with the parameters it was prepared with.
        rows: use the rows of smallest hash only, with the splits and vocabularies that preparing them alone would
            give; rows split by time keep their split. More rows than there are means all of them.

    Raises:
        DataError: not prepared, damaged, made from another revision or other parameters of the card, too few rows, or
            numbers that cannot be standardised by the chosen ones.
    """
    manifest = read_checked(folder, card)
    files.verify_files(folder, manifest, manifest["files"], remake_command(folder, card, manifest))
    labels = np.load(folder / files.LABELS)
    splits = np.load(folder / files.SPLIT)
    schema = files.schema_of(manifest)
    what = f"data set {card.name!r}" if rows is None else f"data set {card.name!r} with rows={rows}"
    subset = None
    if rows is not None:
        if rows < MIN_ROWS:
            raise DataError(f"{what}: too few rows to split; give at least {MIN_ROWS}.")
        if rows < len(labels):
            seed, shares = manifest["split_seed"], manifest["shares"]
            subset = smallest_hashes(len(labels), seed, rows)
            labels = labels[subset]
            splits = splits[subset] if card.temporal else assign_splits(labels, seed, shares, subset)
    check_splits(labels, splits, what, None if card.temporal else manifest["shares"])
    rows_used = np.arange(len(labels)) if subset is None else subset
    opener = _Opener(folder, schema, rows_used, labels, splits, what)
    if subset is not None:
        opener.refit(manifest["min_count"])
    parts = opener.split_arrays(_scalings(manifest, schema) if subset is None else None)
    return OpenedData(
        name=card.name,
        revision=files.revision_of(manifest),
        schema=opener.schema,
        train=parts[0],
        valid=parts[1],
        test=parts[2],
        split_rows={name: len(part) for name, part in zip(SPLITS, parts, strict=True)},
        roles=manifest["roles"],
        manifest=manifest,
    )


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
    for name, value in card.params.items():
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
    if not card.generator:
        parts += ["--raw", shlex.quote(raw)]
    if folder.parent != Path("data"):
        parts += ["--data-dir", shlex.quote(str(folder.parent))]
    return " ".join(parts)


def unprepared_message(folder: Path, card: DatasetCard) -> str:
    """What to do to get the store."""
    head = f"data set {card.spec!r} is not prepared ({folder} is no store)."
    command = prepare_command(folder, card, "PATH")
    if card.generator:
        return f"{head} Make it: {command}"
    if card.downloads:
        fetch = command.replace("--raw PATH", "--download")
        return f"{head} Fetch and prepare it: {fetch}\nOr, from a file you have: {command}"
    return f"{head}\n{card.terms}\nThen: {command}" if card.terms else f"{head} Make it: {command}"


def _scalings(manifest: dict[str, Any], schema: Schema) -> list[Scaling]:
    return [Scaling(**manifest["scaling"][schema.names[field]]) for field in schema.numeric_fields]


class _Opener:
    """The chosen rows of one store on their way to memory."""

    def __init__(
        self, folder: Path, schema: Schema, rows: np.ndarray, labels: np.ndarray, splits: np.ndarray, what: str
    ) -> None:
        self.schema = schema
        self._what = what
        self._folder, self._rows, self._labels, self._splits = folder, rows, labels, splits
        self._ids = np.load(folder / files.IDS, mmap_mode="r")
        self._new_ids: np.ndarray | None = None

    def refit(self, min_count: int) -> None:
        """Fit the vocabularies to the train rows among the chosen ones.

        They are train rows of the whole as well (see ``splits``; by time a row keeps its split), so every value that is
        frequent enough among them has an id already, and leaving out the others keeps the order of the values.
        """
        train = self._rows[self._splits == TRAIN]
        counts = np.zeros(self.schema.vocabulary_rows, dtype=np.int64)
        for start in range(0, len(train), _ROWS_AT_ONCE):
            part = self._ids[train[start : start + _ROWS_AT_ONCE]]
            counts += np.bincount(part.ravel(), minlength=len(counts))
        kept = counts >= min_count
        first_rows = self.schema.offsets[:-1]
        reserved = np.concatenate([first_rows + i for i in range(FIRST_VALUE)])
        numeric = first_rows[list(self.schema.numeric_fields)] + FIRST_VALUE
        kept[np.concatenate([reserved, numeric])] = True
        places = np.cumsum(kept) - 1
        rare = np.repeat(first_rows, self.schema.cardinalities)
        self._new_ids = np.where(kept, places, places[rare]).astype(np.int32)
        sizes = np.add.reduceat(kept.astype(np.int64), first_rows)
        fields = zip(self.schema.fields, sizes.tolist(), strict=True)
        self.schema = Schema(tuple(Field(field.name, field.kind, size) for field, size in fields))

    def split_arrays(self, scalings: list[Scaling] | None) -> list[SplitArrays]:
        """Train, valid and test; ``scalings=None`` fits them to the train rows."""
        numeric = self._numbers(scalings)
        truth_path = self._folder / files.TRUTH
        truth = np.load(truth_path)[self._rows] if truth_path.exists() else None
        parts = []
        for split in range(len(SPLITS)):
            mine = np.flatnonzero(self._splits == split)
            parts.append(
                SplitArrays(
                    ids=self._take_ids(self._rows[mine]),
                    numeric=None if numeric is None else numeric[mine],
                    labels=self._labels[mine].astype(np.float32),
                    row_numbers=self._rows[mine].astype(np.int64),
                    truth=None if truth is None else truth[mine],
                )
            )
        return parts

    def _take_ids(self, rows: np.ndarray) -> np.ndarray:
        ids = np.empty((len(rows), self.schema.n_fields), dtype=np.int32)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = self._ids[rows[start : start + _ROWS_AT_ONCE]]
            ids[start : start + len(part)] = part if self._new_ids is None else self._new_ids[part]
        return ids

    def _numbers(self, scalings: list[Scaling] | None) -> np.ndarray | None:
        if not self.schema.numeric_fields:
            return None
        numbers = np.load(self._folder / files.NUMERIC, mmap_mode="r")
        scaled = np.empty((len(self._rows), numbers.shape[1]), dtype=np.float32)
        for place, field in enumerate(self.schema.numeric_fields):
            column = numbers[self._rows, place]
            where = f"{self._what}: column {self.schema.names[field]!r}"
            scaling = self._fit(column, where) if scalings is None else scalings[place]
            row = first_beyond(column, scaling)
            if row is not None:
                what = beyond_message(float(column[row]), scaling)
                raise DataError(f"{where}, row {self._rows[row] + 1} of the table: {what}.")
            scaled[:, place] = standardise(column, scaling)
        return scaled

    def _fit(self, column: np.ndarray, where: str) -> Scaling:
        try:
            return fit_scaling(column, self._splits == TRAIN)[0]
        except CollapseError as error:
            raise DataError(f"{where}: {error}.") from None
