"""A run as one file that others can check: ``python -m bench submit RUN --to bundle.zip``.

    manifest.json   format, what is in it, and bytes and sha256 of every other file
    run.toml        settings, without the folders of the machine that ran them
    cells/          records; each has the checksums of its predictions, whether these are in the bundle or not
    predictions/    logits and labels of test rows, as far as they are kept and wanted
    fields/, lines/, trials/, penalties/, plugins/    as in the run folder; plug-ins are to be read, nothing runs them

Nothing of it is trusted: names, sizes and checksums are compared before a byte is used.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import environment
from bench.data.store.fields import FOLDER as FIELDS
from bench.errors import DataError, quoted, storage_error
from bench.files import write_atomically
from bench.folders.settings import settings_of
from bench.folders.source import Source
from bench.run.config import RunConfig, to_toml
from bench.run.session import DONE, LINES, PENALTIES_TRIED, PLUGINS, TRIALS

__all__ = ["Bundle", "is_bundle", "opened", "write_bundle"]

SUFFIX = ".zip"
MANIFEST = "manifest.json"
FORMAT = 1
MOST_BYTES = 8 << 30
"""Of all files of a bundle together."""
_SETTINGS = "run.toml"
_CELLS, _PREDICTIONS = "cells", "predictions"
_BESIDE = (FIELDS, LINES, TRIALS, PENALTIES_TRIED, PLUGINS)
_FOLDERS = "|".join((_CELLS, f"{_PREDICTIONS}(?:/valid)?", *_BESIDE))
_NAME = re.compile(rf"{_SETTINGS}|(?:{_FOLDERS})/[A-Za-z0-9_-][A-Za-z0-9._=-]*\.(?:json|npy|py)")
_LONGEST_MANIFEST = 64 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time of every file in a bundle, so that one run gives one bundle."""
_AGAIN = "Get the bundle from its origin again."


@dataclass(frozen=True)
class Bundle:
    """What was written."""

    file: Path
    cells: int
    with_predictions: int
    sha256: str

    @property
    def text(self) -> str:
        size = self.file.stat().st_size / 2**20
        cells = f"{self.cells} cell{'' if self.cells == 1 else 's'}, {self.with_predictions} with predictions"
        return f"{self.file}: {cells}, {size:.1f} MiB, sha256 {self.sha256}"


def is_bundle(path: Path) -> bool:
    """Whether ``path`` names a bundle, not a folder."""
    return path.suffix.lower() == SUFFIX and not path.is_dir()


def write_bundle(source: Source, to: Path, predictions: bool) -> Bundle:
    """Pack a run folder; equal runs give equal bytes.

    Args:
        source: the run.
        to: the file.
        predictions: whether kept predictions go with it.

    Raises:
        ConfigError: its run.toml cannot be read.
        StorageError: a file cannot be read or written.
    """
    files = _files(source, predictions)
    try:
        contents = {name: file.read_bytes() for name, file in files.items()}
    except OSError as error:
        raise storage_error(error) from error
    if (config := settings_of(source)) is not None:
        own = replace(config, out=RunConfig.out, data_dir=RunConfig.data_dir, config=None)
        contents[_SETTINGS] = to_toml(own, "Settings of the run, without the folders of its machine").encode()
    kept = sum(f"{_PREDICTIONS}/{one.config_hash[:16]}.npy" in contents for one in source.records)
    manifest = {
        "format": FORMAT,
        "suite": environment.versions().get("ctr-field-bench"),
        "cells": len(source.records),
        "ok": sum(record.status in DONE for record in source.records),
        "with_predictions": kept,
        "files": {name: _entry(data) for name, data in sorted(contents.items())},
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False).encode()
    with write_atomically(to, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, data in ((MANIFEST, text), *sorted(contents.items())):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.external_attr = 0o644 << 16
            bundle.writestr(info, data, zipfile.ZIP_DEFLATED)
    return Bundle(to, len(source.records), kept, hashlib.sha256(to.read_bytes()).hexdigest())


def _files(source: Source, predictions: bool) -> dict[str, Path]:
    """What goes into a bundle, by its name there."""
    folders = [_CELLS, *_BESIDE]
    found = {
        f"{name}/{file.name}": file
        for name in folders
        for file in sorted((source.path / name).glob("*"))
        if _NAME.fullmatch(f"{name}/{file.name}")
    }
    for record in source.records if predictions else ():
        for part, entry in ((_PREDICTIONS, record.predictions), (f"{_PREDICTIONS}/valid", _valid(record.predictions))):
            for name in () if entry is None else (f"{record.config_hash[:16]}.npy", str(entry["labels"])):
                file = source.path / part / name
                if file.is_file():
                    found[f"{part}/{name}"] = file
    return found


def _valid(entry: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = (entry or {}).get("valid")
    return found


def _entry(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


@contextmanager
def opened(path: Path) -> Iterator[Path]:
    """The run folder ``path``, or what the bundle ``path`` holds as one, which is gone when the body ends.

    Raises:
        DataError: it is no bundle, or one that was changed.
        StorageError: it cannot be read, or there is no room for it.
    """
    if not is_bundle(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="ctr-field-bench-") as name:
        folder = Path(name)
        try:
            with zipfile.ZipFile(path) as bundle:
                _unpack(bundle, path, folder)
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
            raise DataError(f"{path} is no bundle, or is damaged ({error}). {_AGAIN}") from None
        except OSError as error:
            raise storage_error(error, path) from error
        yield folder


def _unpack(bundle: zipfile.ZipFile, path: Path, folder: Path) -> None:
    """Write the files of a bundle, each compared with the manifest before.

    Raises:
        DataError: something is missing, is not in the manifest, or differs from it.
    """
    files = _manifest(bundle, path)
    names = [name for name in bundle.namelist() if name != MANIFEST]
    if strange := sorted(set(names) ^ files.keys()):
        what = "is not in its manifest" if strange[0] in names else "is missing"
        raise DataError(f"{path}: {quoted(strange[0])} {what}. {_AGAIN}")
    if len(set(names)) < len(names):
        raise DataError(f"{path}: a file is in it twice. {_AGAIN}")
    for name, entry in files.items():
        with bundle.open(name) as file:
            data = file.read(int(entry["bytes"]) + 1)
        if _entry(data) != {"bytes": entry["bytes"], "sha256": entry["sha256"]}:
            raise DataError(f"{path}: {name} was changed or damaged: its checksum is not the manifest's. {_AGAIN}")
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def _manifest(bundle: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    """Bytes and sha256 by file.

    Raises:
        DataError: there is no manifest, or it is none of ours.
    """
    if MANIFEST not in bundle.namelist():
        raise DataError(f"{path} is no bundle: it has no {MANIFEST}. `python -m bench submit` makes one.")
    try:
        with bundle.open(MANIFEST) as file:
            manifest = json.loads(file.read(_LONGEST_MANIFEST))
        number, files = manifest["format"], manifest["files"]
        sound = all(isinstance(one["sha256"], str) and int(one["bytes"]) >= 0 for one in files.values())
        total = sum(one["bytes"] for one in files.values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: {MANIFEST} cannot be read ({error}). {_AGAIN}") from None
    if number != FORMAT:
        raise DataError(f"{path} is a bundle of format {number}; this version reads {FORMAT}. Upgrade ctr-field-bench.")
    bad = next((name for name in files if not _NAME.fullmatch(name)), None)
    if bad is not None or not sound or total > MOST_BYTES:
        what = f"{quoted(bad)} is no file of a run" if bad is not None else f"it says {total:,} bytes"
        raise DataError(f"{path}: {MANIFEST} cannot be used: {what}. {_AGAIN}")
    return dict(files)
