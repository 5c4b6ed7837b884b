"""What a cell takes along to a node that has neither the run folder nor the store, and what it brings home.

A node that sees both under the same absolute path takes nothing. Else the store travels once a node, and lies in the
node's temporary folder under the checksum of its manifest, for later runs too; of the run folder a copy of what the
cell reads. What the cell writes there (predictions, a ranking, a reference line) comes home with its result.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import numpy as np

from bench.data.store import manifest as files
from bench.data.store.store import store_folder
from bench.files import write_atomically
from bench.run.config import RunConfig
from bench.run.grid import Cell
from bench.run.session import LINES, PENALTIES_TRIED, SELECTIONS, TRIALS, Session

__all__ = ["NOTHING", "Here", "address", "bring_home", "is_there", "pack", "pack_store", "unpacked"]

STORES = "ctr-field-bench-stores"
"""Folder of stores that have travelled, within a node's temporary folder."""
_READ = (SELECTIONS, LINES, TRIALS, PENALTIES_TRIED)
_WRITTEN = ("predictions", SELECTIONS, LINES)
Store = Mapping[str, np.ndarray]
"""The files of a store, as bytes."""
NOTHING: dict[str, dict[str, bytes]] = {"run": {}, "cards": {}}
"""A parcel of a cell that finds all in its place."""


@dataclass(frozen=True)
class Here:
    """Where a cell finds things on its node."""

    config: RunConfig
    cards: Path
    """A folder with the cards that the run was given by relative paths."""


def address(session: Session, cell: Cell) -> dict[str, str]:
    """What a node must have under the same paths: a store and a run folder, by checksums."""
    config, card = session.plan.config, session.plan.cards[cell.dataset]
    manifest = store_folder(config.data_dir, card) / files.MANIFEST
    return {"key": card.key, "store": _sum(manifest), "run": _sum(session.folder.config_file)}


def is_there(config: RunConfig, wanted: Mapping[str, str]) -> tuple[bool, bool]:
    """Whether (the store, the run folder) lie here where the settings say."""
    store = _sum(config.data_dir / wanted["key"] / files.MANIFEST) == wanted["store"]
    return store, _sum(config.out / "run.toml") == wanted["run"]


def pack(session: Session, cell: Cell) -> dict[str, dict[str, bytes]]:
    """Copies of what ``cell`` reads of the run folder, and of the cards that the run was given by relative paths."""
    folder, found = session.folder, {}
    for name in _READ:
        for file in (folder.path / name).glob("*"):
            found[f"{name}/{file.name}"] = file.read_bytes()
    other = session.held_to(cell)
    if other is not None and (record := folder.cell_file(session.cell(other).hash)).is_file():
        found[f"{folder.cells.name}/{record.name}"] = record.read_bytes()
    typed = [Path(card.typed) for card in session.plan.cards.values() if card.typed]
    return {"run": found, "cards": {str(path): path.read_bytes() for path in typed if not path.is_absolute()}}


def pack_store(session: Session, dataset: str) -> Store:
    """The files of a store."""
    folder = store_folder(session.plan.config.data_dir, session.plan.cards[dataset])
    return {file.name: np.fromfile(file, dtype=np.uint8) for file in folder.iterdir() if file.is_file()}


@contextmanager
def unpacked(
    config: RunConfig, wanted: Mapping[str, str], parcel: Mapping[str, Mapping[str, bytes]], store: Callable[[], Store]
) -> Iterator[tuple[Here, dict[str, bytes]]]:
    """The settings with folders of this node in the place of absent ones; what is written there, at the end.

    Args:
        config: the run's settings, with absolute paths.
        wanted: what ``address`` says.
        parcel: what ``pack`` gave.
        store: fetches what ``pack_store`` gave.
    """
    has_store, has_run = is_there(config, wanted)
    written: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory(prefix="ctr-field-bench-") as scratch:
        cards = Path(scratch) / "here"
        cards.mkdir()
        for name, text in parcel["cards"].items():
            _put(cards, name, text)
        if not has_store:
            config = replace(config, data_dir=_unpack_store(wanted, store))
        if not has_run:
            config = replace(config, out=Path(scratch) / "run")
            for name, text in parcel["run"].items():
                _put(config.out, name, text)
        yield Here(config, cards), written
        if not has_run:
            sent = parcel["run"]
            for file in (file for name in _WRITTEN for file in (config.out / name).rglob("*") if file.is_file()):
                name = file.relative_to(config.out).as_posix()
                if sent.get(name) != (found := file.read_bytes()):
                    written[name] = found


def bring_home(folder: Path, written: Mapping[str, bytes]) -> None:
    """Put what a cell has written elsewhere into the run folder; what is there stays.

    Raises:
        StorageError: the folder cannot be written.
    """
    for name, text in written.items():
        if name.partition("/")[0] in _WRITTEN and not (folder / name).exists():
            _put(folder, name, text)


def _unpack_store(wanted: Mapping[str, str], store: Callable[[], Store]) -> Path:
    """The data folder of this node that has the store; whoever comes first fetches it."""
    home = Path(tempfile.gettempdir()) / STORES / wanted["store"][:16]
    if not (home / wanted["key"]).is_dir():
        making = home / f".{uuid4().hex}"
        making.mkdir(parents=True)
        for name, data in store().items():
            data.tofile(making / Path(name).name)
        try:
            making.rename(home / wanted["key"])
        except OSError:  # another cell of this node was first
            for file in making.iterdir():
                file.unlink()
            making.rmdir()
    return home


def _put(folder: Path, name: str, text: bytes) -> None:
    """Write a file below ``folder``, and nowhere else."""
    place = (folder / name).resolve()
    if not place.is_relative_to(folder.resolve()):
        return
    with write_atomically(place, "wb") as file:
        file.write(cast(Any, text))


def _sum(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
