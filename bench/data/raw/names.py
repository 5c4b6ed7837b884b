"""Names of raw files: which a card means, which are no data, in what order parts lie, and what folders say of them."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterable
from urllib.parse import unquote

from bench.data.raw.compression import plain_name

_JUNK_NAMES = (
    *("__macosx", "thumbs.db", "desktop.ini"),
    *("_success", "_metadata", "_common_metadata", "_temporary", "_delta_log"),
)
"""Of files and folders, in small letters."""
_JUNK_BEGINNINGS = (".", "_started_", "_committed_")
_JUNK_ENDINGS = (".crc",)
_NO_TABLES = (
    *(
        ".json",
        ".toml",
        ".yaml",
        ".yml",
        ".ini",
        ".cfg",
        ".lock",
        ".md",
        ".rst",
        ".html",
        ".htm",
        ".pdf",
        ".tex",
        ".ipynb",
    ),
    *(
        ".doc",
        ".docx",
        ".odt",
        ".ppt",
        ".pptx",
        ".py",
        ".r",
        ".sh",
        ".sql",
        ".js",
        ".css",
        ".png",
        ".jpg",
        ".jpeg",
        ".gif",
    ),
    *(".svg", ".npy", ".npz", ".pkl", ".pickle", ".pt", ".pth", ".onnx", ".db", ".sqlite", ".md5", ".sha1", ".sha256"),
)
"""Endings of files that lie beside tables and are none, in small letters."""
_TEXTS_OF_PEOPLE = ("readme", "license", "licence", "changelog", "notice", "copying")
_STORE = ("manifest.json", "ids.npy")
"""What every store of ours holds."""
_MISSING_PARTITION = "__HIVE_DEFAULT_PARTITION__"


def shown(name: str) -> str:
    """A name for messages: as it is, or with its unprintable characters escaped."""
    return name if name.isprintable() else repr(name)


def listed(names: list[str]) -> str:
    """Some names for messages."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return " and ".join(shown(name) for name in names[:3]) + more


def named(name: str, pattern: str) -> bool:
    """Whether ``pattern`` is the very name of a member, with or without the ending of a compressed file."""
    held = name if "/" in pattern else name.rsplit("/", 1)[-1]
    return pattern in (held, plain_name(held))


def matches(name: str, pattern: str) -> bool:
    """Whether the name of a member, with or without the ending of a compressed file, fits ``pattern``."""
    held = name if "/" in pattern else name.rsplit("/", 1)[-1]
    return fnmatch.fnmatch(plain_name(held), pattern) or fnmatch.fnmatch(held, pattern)


def is_junk(name: str) -> bool:
    """Whether systems and programs leave a file of that name beside data."""
    parts = [part.lower() for part in name.split("/") if part not in ("", ".", "..")]
    junk = any(part in _JUNK_NAMES or part.startswith(_JUNK_BEGINNINGS) for part in parts)
    return junk or name.lower().endswith(_JUNK_ENDINGS)


def no_tables(names: Collection[str]) -> list[str]:
    """Those of the files of a folder that cannot be a table, by their names, or that belong to a prepared store."""
    held = set(names)
    folders = {name.rpartition("/")[0] for name in held}
    stores = tuple(f"{folder}/" for folder in folders if all(f"{folder}/{one}".lstrip("/") in held for one in _STORE))
    if "/" in stores:  # the folder itself is one
        return sorted(held)
    return [name for name in names if _is_no_table(name) or name.startswith(stores)]


def _is_no_table(name: str) -> bool:
    last = name.rsplit("/", 1)[-1].lower()
    return last.endswith(_NO_TABLES) or last.partition(".")[0] in _TEXTS_OF_PEOPLE


def natural(name: str) -> tuple[object, ...]:
    """A key that sorts ``part-2`` before ``part-10``, folder by folder."""
    folders = name.split("/")
    return (*(_numbers_apart(part) for part in folders), name)


def _numbers_apart(text: str) -> tuple[tuple[str, int], ...]:
    """Text and the number behind it, in turn; what has no number behind it goes first."""
    pieces = re.split(r"(\d+)", text)
    numbers = [int(piece) for piece in pieces[1::2]] + [-1]
    return tuple(zip(pieces[::2], numbers, strict=True))


def partition_keys(name: str) -> dict[str, str | None]:
    """What the folders of a file say of all its rows, as ``day=3/part-0.csv`` does; None: a missing value."""
    found: dict[str, str | None] = {}
    for part in name.split("/")[:-1]:
        key, equals, value = part.partition("=")
        if equals and key:
            found[unquote(key)] = None if value == _MISSING_PARTITION else unquote(value)
    return found


def partition_text(name: str, columns: Collection[str]) -> str:
    """The folders of a file that give values of ``columns``, in their order."""
    keys = {key: value for key, value in partition_keys(name).items() if key in columns}
    return "/".join(f"{key}={_MISSING_PARTITION if value is None else value}" for key, value in keys.items())


def twins(names: Iterable[str]) -> list[str]:
    """Names of which one is another with the ending of a compressed file."""
    plain: dict[str, list[str]] = {}
    for name in names:
        plain.setdefault(plain_name(name), []).append(name)
    return [name for same in plain.values() if len(same) > 1 for name in same]
