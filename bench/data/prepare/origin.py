"""What a store was made from, beside raw data at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.data.card.card import DOWNLOADS, DatasetCard
from bench.data.prepare.ingest import read_sides
from bench.data.prepare.tables import choose_tables
from bench.data.raw.names import natural, partition_text
from bench.data.raw.sources import RawSource
from bench.files import file_sha256

__all__ = ["download_differs", "raw_differs"]


def raw_differs(card: DatasetCard, raw: Path | Sequence[Path], made_from: Sequence[dict[str, Any]]) -> str:
    """How ``raw`` differs from the files that a store was made from; nothing where it does not.

    Of a folder, what counts are the files that preparing it now would read: the table and its side tables.

    Args:
        card: the data set.
        raw: a file, an archive or a folder; or several files.
        made_from: ``raw`` of the store's manifest: name and sha256 of every file.

    Raises:
        DataError: no file of the folder, or more than one, can be the table; or a file cannot be read.
    """
    if not isinstance(raw, Path):
        prints = [_print(file_sha256(path), partition_text(path.as_posix(), card.column_names)) for path in raw]
        same = prints == [_made(one) for one in made_from]
        return "" if same else f"not from {', '.join(path.name for path in raw)} as they are"
    if not raw.is_dir():
        if [_made(one) for one in made_from] == [
            _print(file_sha256(raw), partition_text(raw.as_posix(), card.column_names))
        ]:
            return ""
        return "of another content" if [one["name"] for one in made_from] == [raw.name] else f"not from {raw.name}"
    now = _would_read(card, raw)
    then_by, now_by = _by_name(made_from), _by_name(now)
    if then_by.keys() != now_by.keys():
        names = sorted(now_by, key=natural)
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        return f"not from {', '.join(names[:8])}{more} of {raw}"
    changed = sorted(name for name in now_by if now_by[name] != then_by[name])
    return f"and in {raw} the content of {', '.join(changed)} is another" if changed else ""


def _print(checksum: str, folders: str) -> tuple[str, str]:
    """What two files must share to give the same rows."""
    return checksum, folders


def _made(one: Mapping[str, Any]) -> tuple[str, str]:
    return one["sha256"], one.get("partition", "")


def _by_name(files: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Checksums by name: a file is the same wherever below the folder it lies, but for what its folders say."""
    bases = [f"{one.get('partition', '')}/{one['name'].rsplit('/', 1)[-1]}".lstrip("/") for one in files]
    names = bases if len(set(bases)) == len(bases) else [one["name"] for one in files]
    return {name: one["sha256"] for name, one in zip(names, files, strict=True)}


def download_differs(card: DatasetCard, data_dir: Path, made_from: Sequence[dict[str, Any]]) -> str:
    """How the file that ``--download`` fetches differs from those a store was made from; nothing where it does not.

    A file that was fetched and removed again is known by its name alone.
    """
    if not card.downloads:
        return ""
    fetched = data_dir / DOWNLOADS / card.downloads[0].file_name
    if fetched.is_file():
        return raw_differs(card, fetched, made_from)
    return "" if [one["name"] for one in made_from] == [fetched.name] else f"not from the download {fetched.name}"


def _would_read(card: DatasetCard, folder: Path) -> list[dict[str, Any]]:
    with RawSource(folder, card.max_expansion, card.column_names) as source:
        tables = choose_tables(card, source)
        for member in (*tables.members, *tables.tests):
            source.stream(member).close()  # marks it as read
        read_sides(tables.layout, source)
        return source.fingerprints()
