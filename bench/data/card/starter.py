"""The beginning of a card for a table that has none, for messages."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

_HEAD_BYTES = 1 << 16
_DELIMITERS = (",", ";", "\t", "|")
_LABELS = ("label", "y", "target", "click", "clicked", "is_click", "class", "outcome")
_MOST = 40
"""Columns that are listed."""
_LONGEST = 60
"""Letters of a card's name."""


def starter_card(path: Path) -> str:
    """A card for the table at ``path`` as far as its first line tells, with all columns but the label as categories."""
    names, delimiter = _columns(path)
    label = next((name for name in names if name.strip().lower() in _LABELS), "")
    shown = names[:_MOST] or ["clicked", "user_id"]
    label = label or ("" if names else "clicked")
    roles = [f'{toml_key(name)} = "{"label" if name == label else "categorical"}"' for name in shown]
    if not label:
        roles.insert(
            0, '# write "label" at the column that says what happened; other kinds: integer, numeric, time, ignore'
        )
    if len(names) > _MOST:
        roles.append(f"# … and {len(names) - _MOST} more")
    name = card_name(path)
    delimiters = [] if delimiter == "," else [f"delimiter = {toml_text(delimiter)}"]
    return "\n".join([f"name = {toml_text(name)}", "[raw]", *delimiters, "[raw.columns]", *roles])


def card_name(path: Path) -> str:
    """A name for the card of the table at ``path``."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", path.name.partition(".")[0]).strip("-")[:_LONGEST] or "mine"


def _columns(path: Path) -> tuple[list[str], str]:
    """The names in the first line of a text and what stands between them; no names where that cannot be told."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        line, end, _ = head.decode("utf-8-sig", errors="strict" if len(head) < _HEAD_BYTES else "ignore").partition(
            "\n"
        )
    except (OSError, UnicodeDecodeError):
        return [], ","
    if not end or not line.strip() or not line.strip("\r").replace("\t", "").isprintable():
        return [], ","
    delimiter = max(_DELIMITERS, key=line.count)
    names = next(csv.reader([line.strip("\r")], delimiter=delimiter), [])
    return (names, delimiter) if len(set(names)) == len(names) else ([], delimiter)


def toml_key(name: str) -> str:
    """``name`` as a key of TOML, in quotes where it needs them."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml_text(name)


def toml_text(value: str) -> str:
    """``value`` as a string of TOML, which a string of JSON is but for one control character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
