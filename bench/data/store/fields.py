"""What is known of the fields of a prepared data set, and the files that keep it.

They lie in two places: beside the arrays of a store, so that facts are measured once, and in a run folder, so that its
report needs no data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.data.card.card import DatasetCard
from bench.data.store.measure import FieldFacts, Measured, measure
from bench.data.store.store import Store, StoreFacts
from bench.errors import StorageError
from bench.files import read_text, write_atomically
from bench.identity import config_hash

__all__ = ["FOLDER", "DataFields", "FieldFacts", "describe", "keep_fields", "read_fields"]

FOLDER = "fields"
"""Within a run folder."""
_FILE = "fields.json"
"""Of a store; none of those whose checksums the manifest has."""
_FORMAT = 1
"""Changes where the meaning of a fact does: facts of another one are measured anew."""


@dataclass(frozen=True)
class DataFields:
    """The facts of one data set, or of some of its rows."""

    dataset: str
    """As asked for."""
    revision: str
    split_rows: dict[str, int]
    measured: Measured

    @property
    def key(self) -> tuple[str, str | None, str]:
        """What records must share with it: data set, revision and rows by split."""
        return self.dataset, self.revision, json.dumps(self.split_rows, sort_keys=True)

    @cached_property
    def by_name(self) -> dict[str, FieldFacts]:
        return {field.name: field for field in self.measured.fields}


def describe(folder: Path, card: DatasetCard, rows: int | None = None, *, verified: bool = False) -> DataFields:
    """The facts of the store of ``card`` in ``folder``, of all rows or as many as ``rows`` says.

    Those of all rows are kept beside the store, if that can be written.

    Args:
        folder: the store.
        card: the data set.
        rows: as of ``Store``.
        verified: whether the files have been compared with their checksums just now.

    Raises:
        DataError: as of ``Store``; or a file is missing or was changed.
    """
    store = Store(folder, card, rows)
    facts = store.facts(lambda: store.vocabulary()[0])
    measured = _measured_once(store, verified)
    return DataFields(facts.label, facts.revision, facts.split_rows, measured)


def _measured_once(store: Store, verified: bool) -> Measured:
    path, state = store.folder / _FILE, {"format": _FORMAT, "files": store.manifest["files"]}
    if not store.is_part:
        with suppress(StorageError, ValueError, KeyError, TypeError, RecursionError):  # only a cache
            kept = json.loads(read_text(path) or "{}")
            if kept["of"] == state:
                return _measured(kept)
    if not verified:
        store.verify()
    found = measure(store)
    if not store.is_part:
        with suppress(StorageError), write_atomically(path) as file:  # the store may be there for reading only
            json.dump({"of": state, **asdict(found)}, file, ensure_ascii=False, allow_nan=False)
    return found


def keep_fields(run: Path, store: Path, card: DatasetCard, facts: StoreFacts, rows: int | None) -> None:
    """Write the facts of a data set into a run folder, unless they are there.

    Several processes may do so at once: what they write is the same, and whole or absent.

    Args:
        run: the run folder.
        store: folder of the store.
        card: the data set.
        facts: what is known of the rows used, whose files have been compared with their checksums.
        rows: how many of them are used; None: all.

    Raises:
        DataError: as of ``describe``.
        StorageError: the run folder cannot be written.
    """
    key = {"dataset": facts.label, "revision": facts.revision, "split_rows": facts.split_rows, "format": _FORMAT}
    path = run / FOLDER / f"{card.key}-{config_hash(key)[:8]}.json"
    if path.exists():
        return
    found = describe(store, card, rows, verified=True)
    with write_atomically(path) as file:
        json.dump({"format": _FORMAT, **asdict(found)}, file, indent=1, ensure_ascii=False, allow_nan=False)
        file.write("\n")


def read_fields(run: Path) -> list[DataFields]:
    """The facts that lie in a run folder; none where an older version wrote it.

    Raises:
        StorageError: a file of them cannot be read.
    """
    found = (_read(path) for path in sorted((run / FOLDER).glob("*.json")))
    return [one for one in found if one is not None]


def _read(path: Path) -> DataFields | None:
    try:
        kept = json.loads(read_text(path) or "")
        if kept["format"] != _FORMAT:
            return None
        split_rows = {str(split): int(n) for split, n in kept["split_rows"].items()}
        return DataFields(str(kept["dataset"]), str(kept["revision"]), split_rows, _measured(kept["measured"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StorageError(
            f"{path}: does not hold the facts of fields ({error}). Delete it; reports then show no facts."
        ) from None


def _measured(kept: Mapping[str, Any]) -> Measured:
    fields = tuple(_facts(one) for one in kept["fields"])
    return Measured(int(kept["rows"]), int(kept["train_rows"]), fields)


def _facts(kept: Mapping[str, Any]) -> FieldFacts:
    return FieldFacts(
        name=str(kept["name"]),
        kind=str(kept["kind"]),
        values=int(kept["values"]),
        missing=float(kept["missing"]),
        top=float(kept["top"]),
        auc=None if kept["auc"] is None else float(kept["auc"]),
        constant=bool(kept["constant"]),
        twins=tuple(str(name) for name in kept["twins"]),
        near=tuple((str(name), float(v)) for name, v in kept["near"]),
    )
