"""Test predictions that a run keeps, so that statistics over rows can be made of them and others can check them.

    predictions/HASH.npy              logits of a cell's test rows, float32 [N], in the order of the raw data
    predictions/DATA-SET….labels.npy  their labels, uint8 [N], once for all cells with the same ones

A record has the checksums of both (``CellRecord.predictions``). A cell is computed in one process and its record is
written in another, if the cell is still its own by then: so predictions are first staged under their checksum, and put
in their place together with the record.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import DataError, storage_error
from bench.files import file_sha256, write_atomically

__all__ = ["AUTO_ROWS", "Predictions"]

AUTO_ROWS = 200_000
"""Most test rows of which predictions are kept unasked: 0.8 MB a cell."""
_HASH_CHARS = 16
_NAME_CHARS = 40
_LABELS = re.compile(r"[A-Za-z0-9._-]+\.labels\.npy")
_MEND = (
    "Delete it: the cell keeps its results, and `python -m bench run` with --keep-predictions always --rerun always "
    "makes the predictions anew."
)


class Predictions:
    """``predictions/`` of a run folder."""

    def __init__(self, folder: Path) -> None:
        """Nothing is made or read yet."""
        self.folder = folder
        self._labels: dict[str, np.ndarray] = {}

    def file(self, config_hash: str) -> Path:
        return self.folder / f"{config_hash[:_HASH_CHARS]}.npy"

    def stage(self, config_hash: str, dataset: str, logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        """Write what a cell predicts, for ``settle`` to put in its place.

        Args:
            config_hash: of the cell.
            dataset: its data set, for the name of the labels.
            logits: of the test rows, float [N].
            labels: 0 or 1, [N].

        Returns:
            What the record says of it.

        Raises:
            StorageError: the folder cannot be written.
        """
        truth, labels_sha256 = _as_file((labels > 0.5).astype(np.uint8))
        name = f"{_slug(dataset)}-{labels_sha256[:_HASH_CHARS]}.labels.npy"
        if not _is(self.folder / name, labels_sha256):
            with write_atomically(self.folder / name, "wb") as file:
                file.write(truth)
        data, sha256 = _as_file(logits.astype(np.float32, copy=False))
        with write_atomically(self._staged(config_hash, sha256), "wb") as file:
            file.write(data)
        return {"rows": len(logits), "sha256": sha256, "labels": name, "labels_sha256": labels_sha256}

    def settle(self, config_hash: str, entry: Mapping[str, Any] | None) -> bool:
        """Put what was staged of a cell in its place; what is there of earlier computations goes.

        Args:
            config_hash: of the cell.
            entry: what its record says; None: it has no predictions.

        Returns:
            Whether the folder has what the record says.

        Raises:
            StorageError: the folder cannot be written.
        """
        file, found = self.file(config_hash), entry is None
        try:
            if entry is None:
                file.unlink(missing_ok=True)
            elif (staged := self._staged(config_hash, entry["sha256"])).is_file():
                staged.replace(file)
                found = True
        except OSError as error:
            raise storage_error(error, file) from error
        finally:
            with suppress(OSError):  # of this cell, and of processes that were ended or lost it
                for other in self.folder.glob(f"{file.stem}.*.part"):
                    other.unlink(missing_ok=True)
        return found

    def has(self, config_hash: str, entry: Mapping[str, Any] | None) -> bool:
        """Whether a cell has predictions and labels here, whatever is in them."""
        return entry is not None and self.file(config_hash).is_file() and self._label_file(entry).is_file()

    def logits(self, config_hash: str, entry: Mapping[str, Any]) -> np.ndarray:
        """What a cell predicts for the test rows, float32 [N].

        Args:
            config_hash: of the cell.
            entry: its record's ``predictions``.

        Raises:
            DataError: the file is not there, or is not what the record says.
        """
        return _read(self.file(config_hash), entry["sha256"], np.dtype(np.float32), entry["rows"])

    def labels(self, entry: Mapping[str, Any]) -> np.ndarray:
        """Labels of the same rows, uint8 [N]; read once.

        Raises:
            DataError: as of ``logits``.
        """
        sha256 = entry["labels_sha256"]
        if sha256 not in self._labels:
            self._labels[sha256] = _read(self._label_file(entry), sha256, np.dtype(np.uint8), entry["rows"])
        return self._labels[sha256]

    def _label_file(self, entry: Mapping[str, Any]) -> Path:
        name = str(entry["labels"])
        if not _LABELS.fullmatch(name):
            raise DataError(f"{self.folder}: a record names {name!r} as its labels, which is no name of such a file.")
        return self.folder / name

    def _staged(self, config_hash: str, sha256: str) -> Path:
        return self.folder / f"{config_hash[:_HASH_CHARS]}.{sha256[:_HASH_CHARS]}.part"


def _slug(dataset: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", dataset)[:_NAME_CHARS].strip("-") or "data"


def _as_file(array: np.ndarray) -> tuple[bytes, str]:
    """The bytes of an array's file, and their sha256."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    data = buffer.getvalue()
    return data, hashlib.sha256(data).hexdigest()


def _is(file: Path, sha256: str) -> bool:
    return file.is_file() and file_sha256(file) == sha256


def _read(file: Path, sha256: str, dtype: np.dtype[Any], rows: int) -> np.ndarray:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror or error}). {_MEND}") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DataError(f"{file} was changed or damaged: its checksum is not the one in the cell's record. {_MEND}")
    try:
        array: np.ndarray = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, OSError) as error:
        raise DataError(f"{file} is no array file ({error}). {_MEND}") from None
    if array.dtype != dtype or array.shape != (rows,):
        raise DataError(f"{file} holds {array.dtype} {array.shape} where {dtype} ({rows},) is expected. {_MEND}")
    return array
