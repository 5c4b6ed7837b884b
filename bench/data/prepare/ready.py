"""Making sure, before a run starts, that every data set it names can be opened."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from bench.data.card.card import DatasetCard
from bench.data.prepare.junk import is_stale
from bench.data.prepare.prepare import prepare
from bench.data.prepare.workspace import reserved
from bench.data.store.manifest import MANIFEST
from bench.data.store.store import read_checked, store_folder
from bench.errors import DataError


def make_ready(cards: Iterable[DatasetCard], data_dir: Path, tell: Callable[[str], object]) -> None:
    """Check every store's manifest, and make those of generated data sets, and of junk, that are not there yet.

    Args:
        cards: the data sets.
        data_dir: where their stores lie.
        tell: takes a line where another process makes one, which is waited for.

    Raises:
        DataError: a data set is not prepared, or its store is of another revision; the message says what to do.
    """
    missing, to_make = [], []
    for card in cards:
        folder = store_folder(data_dir, card)
        there = (folder / MANIFEST).exists()
        try:
            if card.junk and not there:
                read_checked(store_folder(data_dir, card.plain), card.plain)
            if card.is_derived and (not there or (card.junk and is_stale(card, folder))):
                to_make.append(card)
                continue
            read_checked(folder, card)
        except DataError as error:
            missing.append(str(error))
    if missing:
        raise DataError("\n\n".join(missing))
    for card in to_make:
        folder = store_folder(data_dir, card)
        with reserved(folder, tell):
            made_meanwhile = (folder / MANIFEST).exists() and not (card.junk and is_stale(card, folder))
            if made_meanwhile:
                read_checked(folder, card)
            else:
                prepare(card, None, folder)
