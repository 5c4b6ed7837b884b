"""Fetching the raw files of a card that may be fetched without asking anybody."""

from __future__ import annotations

from pathlib import Path

from bench.data.card.card import DOWNLOADS, DatasetCard
from bench.data.raw.download import Report, download
from bench.data.store.store import store_folder, unprepared_message
from bench.errors import DataError


def fetch_raw(card: DatasetCard, data_dir: Path, progress: Report | None = None) -> Path:
    """Bring the raw file of ``card`` to ``<data_dir>/raw``, unless it is there with the right checksum.

    Args:
        card: the data set.
        data_dir: where data sets lie.
        progress: is told bytes done and bytes in all.

    Raises:
        DataError: a person has to fetch it (the message says how), or the transfer failed.
    """
    if not card.downloads:
        message = unprepared_message(store_folder(data_dir, card), card)
        raise DataError(f"data set {card.name!r} cannot be downloaded by a program.\n{message}")
    first = card.downloads[0]
    checksum = f"md5:{first.md5}" if first.md5 else None
    return download(
        [one.url for one in card.downloads],
        data_dir / DOWNLOADS / first.file_name,
        checksum=checksum,
        checksum_url=None if checksum else f"{first.url}.md5",
        progress=progress,
    )
