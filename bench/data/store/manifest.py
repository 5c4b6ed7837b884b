"""The files of an encoded store: names, checksums and the manifest that ties them together."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from bench.data.schema import Field, Schema
from bench.errors import DataError, storage_error
from bench.files import file_sha256

FORMAT = 2
"""Version of the store's files; another one is refused."""
MANIFEST = "manifest.json"
IDS, NUMERIC, LABELS, SPLIT, TRUTH = "ids.npy", "numeric.npy", "labels.npy", "split.npy", "truth.npy"
POOLED = "pooled.npy"
"""Of a store with pooled fields: the ids of their further values, int32 [N, P]."""
ROWS = "rows.npy"
"""Of a store of some rows: their numbers in the raw table."""
VOCABULARY = "vocabulary.parquet"
_READ_BYTES = 1 << 22


@dataclass(frozen=True)
class RowsPlace:
    """A place in an array's file."""

    path: Path
    start: int

    def write(self, block: np.ndarray, before: int = 0) -> None:
        """Write rows, ``before`` bytes behind the place."""
        data = np.ascontiguousarray(block).reshape(-1).view(np.uint8).data
        with self.path.open("r+b", buffering=0) as file:
            file.seek(self.start + before)
            while data:
                data = data[file.write(data) :]


class ArrayFile:
    """An ``.npy`` file written block by block, its checksum with it; a context manager."""

    def __init__(self, path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> None:
        self.path = path
        self._digest = hashlib.sha256()
        self._file = path.open("w+b")
        header = {"descr": npy_format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
        npy_format.write_array_header_1_0(self._file, header)
        self._dtype = np.dtype(dtype)
        self._file.flush()
        self._digest.update(path.read_bytes())
        self._header_bytes = self._taken = self._file.tell()
        self._row_bytes = self._dtype.itemsize * math.prod(shape[1:])

    def write(self, block: np.ndarray) -> None:
        """Append rows."""
        data = np.ascontiguousarray(block, dtype=self._dtype).reshape(-1).view(np.uint8).data
        self._file.write(data)
        self._digest.update(data)

    def place(self, row: int) -> RowsPlace:
        """Where another process writes the rows from ``row`` on; ``take_over`` is told of them, in their order."""
        return RowsPlace(self.path.absolute(), self._header_bytes + row * self._row_bytes)

    def take_over(self, n_rows: int) -> None:
        """Go on behind the next rows, which another process has written."""
        end = self._taken + n_rows * self._row_bytes
        while self._taken < end:
            # Past the file's buffer, which would hold bytes behind ``end`` from before they are written.
            data = os.pread(self._file.fileno(), min(end - self._taken, _READ_BYTES), self._taken)
            if not data:
                raise DataError(f"{self.path}: rows that a worker has written are not there; repeat the command.")
            self._digest.update(data)
            self._taken += len(data)

    @property
    def sha256(self) -> str:
        """Checksum of all that was written, in hexadecimal."""
        return self._digest.hexdigest()

    def __enter__(self) -> ArrayFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def write_array(path: Path, array: np.ndarray) -> str:
    """Save ``array``; its sha256."""
    with ArrayFile(path, array.dtype.type, array.shape) as file:
        file.write(array)
    return file.sha256


def read_array(path: Path, in_memory: bool = True) -> np.ndarray:
    """The array of an ``.npy`` file; not in memory, its parts are read from the disk as they are used.

    Raises:
        DataError: it is no array of numbers, or is cut short; one of objects, whose reading could run code, is refused.
    """
    try:
        array: np.ndarray = np.load(path, mmap_mode=None if in_memory else "r", allow_pickle=False)
    except OSError as error:
        raise storage_error(error, path) from error
    except (ValueError, EOFError, SyntaxError) as error:
        raise DataError(f"{path}: is no array of numbers, or is cut short ({error}); prepare the data anew.") from None
    if not isinstance(array, np.ndarray):  # an archive of several
        raise DataError(f"{path}: holds several arrays where one is expected; prepare the data anew.")
    return array


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest, the last file of a store."""
    text = json.dumps(manifest, indent=1, allow_nan=False, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def read_manifest(folder: Path, remake: str) -> dict[str, Any]:
    """The manifest of the store ``folder``.

    Args:
        folder: the store.
        remake: the command that makes it anew, for messages.

    Raises:
        DataError: no manifest, or a damaged one, or one of another format.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({error}). Make the store anew: {remake}") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), int):
        raise DataError(f"{path}: is damaged. Make the store anew: {remake}")
    if manifest["format"] != FORMAT:
        raise DataError(f"{folder}: store format {manifest['format']}, wanted {FORMAT}. Make it anew: {remake}")
    missing = [key for key in _KEYS if key not in manifest]
    if missing:
        raise DataError(f"{path}: lacks {missing[0]!r}. Make the store anew: {remake}")
    return manifest


_KEYS = (
    "name",
    "revision",
    "definition",
    "params",
    "fields",
    "n_rows",
    "files",
    "shares",
    "split_seed",
    "min_count",
)


def verify_files(folder: Path, manifest: dict[str, Any], names: Iterable[str], remake: str) -> None:
    """Compare the files ``names`` with the manifest's checksums.

    Raises:
        DataError: a file is missing or was changed.
    """
    for name in names:
        path = folder / name
        wanted = manifest["files"].get(name)
        try:
            found = file_sha256(path)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}). Make the store anew: {remake}") from None
        if found != wanted:
            raise DataError(
                f"{path}: the checksum is {found[:12]}…, the manifest says {str(wanted)[:12]}…: the file was damaged "
                f"or changed. Make the store anew: {remake}"
            )


def revision_of(manifest: dict[str, Any]) -> str:
    """What data of one name must share to be the same.

    It is the card's revision; of data read from files, a dash follows and eight digits of a checksum over those files
    and over all that the card says of how they are read.
    """
    if not manifest.get("raw"):
        return str(manifest["revision"])
    decisive = {key: manifest[key] for key in ("definition", "params", "min_count", "shares", "split_seed")}
    prints = [one["sha256"] + one.get("partition", "") for one in manifest["raw"]]
    text = json.dumps([decisive, prints], sort_keys=True)
    return f"{manifest['revision']}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def schema_of(manifest: dict[str, Any]) -> Schema:
    """The schema that the manifest describes."""
    fields = manifest["fields"]
    return Schema(tuple(Field(one["name"], one["kind"], one["cardinality"], one.get("positions", 1)) for one in fields))


def described(schema: Schema) -> list[dict[str, Any]]:
    """The fields as the manifest has them; only pooled ones say how many values a row has."""
    return [{key: value for key, value in vars(one).items() if (key, value) != _ONE_VALUE} for one in schema.fields]


_ONE_VALUE = ("positions", 1)
