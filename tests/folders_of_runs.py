"""What tests of several run folders share."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any


def change(file: Path, **values: Any) -> dict[str, Any]:
    """Change keys of a record on disk; the record as it is then."""
    record: dict[str, Any] = json.loads(file.read_text()) | values
    file.write_text(json.dumps(record))
    return record


def cell(folder: str | Path, label: str) -> Path:
    """The file of the one record of a method."""
    files = [file for file in Path(folder, "cells").glob("*.json") if json.loads(file.read_text())["label"] == label]
    assert len(files) == 1
    return files[0]


def tree(folder: str | Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in Path(folder).rglob("*") if file.is_file()
    }


def altered(bundle: str, to: str, honest: bool) -> None:
    """A bundle with an AUC that is a little higher; ``honest``: the manifest says what the contents are."""
    with zipfile.ZipFile(bundle) as file:
        contents = {name: file.read(name) for name in file.namelist()}
    for name, data in contents.items():
        if name.startswith("cells/"):
            record = json.loads(data)
            contents[name] = json.dumps(record | {"auc": record["auc"] + 0.001}).encode()
    if honest:
        manifest = json.loads(contents["manifest.json"])
        for name in manifest["files"]:
            data = contents[name]
            manifest["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        contents["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(to, "w") as file:
        for name, data in contents.items():
            file.writestr(name, data)
