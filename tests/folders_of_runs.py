"""What tests of several run folders share."""

from __future__ import annotations

import json
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
