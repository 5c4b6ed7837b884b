"""What a cell takes along to a node that has neither the run folder nor the store, and what it brings home.

A node that sees both under the same absolute path takes nothing. Else the store travels once a node, and lies in the
node's temporary folder under the checksum of its manifest, for later runs too; of the run folder a copy of what the
cell reads. What the cell writes there (predictions, a ranking, a reference line) comes home with its result. The files
that the settings name, cards of one's own and texts given to methods, go along where the node sees others or none.
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

from bench.budget import MATCH
from bench.data.store import manifest as files
from bench.data.store.store import store_folder
from bench.errors import ConfigError
from bench.files import write_atomically
from bench.params import Content, parse_spec
from bench.run.config import RunConfig
from bench.run.grid import Cell, choose_method
from bench.run.session import LINES, PENALTIES_TRIED, SELECTIONS, TRIALS, Session

__all__ = [
    "NOTHING", "Address", "Here", "Named", "Parcel", "address", "bring_home", "is_there", "pack", "pack_store",
    "unpacked",
]  # fmt: skip

STORES = "ctr-field-bench-stores"
"""Folder of stores that have travelled, within a node's temporary folder."""
_READ = (SELECTIONS, LINES, TRIALS, PENALTIES_TRIED)
_WRITTEN = ("predictions", SELECTIONS, LINES)
Store = Mapping[str, np.ndarray]
"""The files of a store, as bytes."""
Address = Mapping[str, Any]
"""What ``address`` says, as JSON values."""
Parcel = Mapping[str, Any]
"""Copies by name, of files of the ``run`` folder and of those ``named`` by the settings, and ``settings`` for these."""
NOTHING: Parcel = {"run": {}, "named": {}, "settings": {}}
"""A parcel of a cell that finds all in its place."""


@dataclass(frozen=True)
class Here:
    """Where a cell finds things on its node."""

    config: RunConfig
    cwd: Path
    """The working folder, from which the settings name files."""


@dataclass(frozen=True)
class Named:
    """The files that settings name beside store and run folder, as they were when the run began."""

    texts: dict[str, bytes]
    """By the path that the settings give."""
    places: dict[str, str]
    """Of each of them where a copy is put, below a folder, under its own name."""
    settings: dict[str, tuple[str, ...]]
    """Data sets and methods, which name copies."""

    @classmethod
    def by(cls, config: RunConfig) -> Named:
        """The files that ``config`` names, whose groups of methods are resolved.

        Raises:
            ConfigError: one of them cannot be read any more.
        """
        places: dict[str, str] = {}

        def place(path: str) -> str:
            return places.setdefault(path, f"{len(places)}/{Path(path).name}")

        settings = {
            "datasets": tuple(_data_set(text, place) for text in config.datasets),
            "methods": tuple(_method(text, place) for text in config.methods),
        }
        try:
            texts = {path: Path(path).read_bytes() for path in places}
        except OSError as error:
            raise ConfigError(f"{error.filename} cannot be read: {error.strerror}. Put it back.") from None
        return cls(texts, places, settings)


def _data_set(text: str, place: Callable[[str], str]) -> str:
    """The data set ``text``, whose card is in its place."""
    spec = parse_spec(text)
    return replace(spec, name=place(spec.name)).label if spec.name.endswith(".toml") else text


def _method(text: str, place: Callable[[str], str]) -> str:
    """The method ``text``, whose files, and those of the row that it is held to, are in their places."""
    spec, params = parse_spec(text), choose_method(text).params
    found = {key: place(path) for key, path in spec.given.items() if isinstance(getattr(params, key, None), Content)}
    budget = spec.given.get("budget", "")
    if budget.startswith(MATCH):
        found["budget"] = f"{MATCH}{_method(budget.removeprefix(MATCH), place)}"
    return replace(spec, given=spec.given | found).label


def address(session: Session, cell: Cell, named: Named) -> Address:
    """What a node must have under the same paths: a store, a run folder and named files, by checksums."""
    config, card = session.plan.config, session.plan.cards[cell.dataset]
    manifest = store_folder(config.data_dir, card) / files.MANIFEST
    return {
        "key": card.key,
        "store": _sum(manifest),
        "run": _sum(session.folder.config_file),
        "cwd": str(Path.cwd()),
        "named": {path: hashlib.sha256(text).hexdigest() for path, text in named.texts.items()},
    }


def is_there(config: RunConfig, wanted: Address) -> tuple[bool, bool, bool]:
    """Whether (the store, the run folder, the working folder with the named files) lie here where the settings say."""
    store = _sum(config.data_dir / wanted["key"] / files.MANIFEST) == wanted["store"]
    cwd = Path(wanted["cwd"])
    named = cwd.is_dir() and all(_sum(cwd / path) == found for path, found in wanted["named"].items())
    return store, _sum(config.out / "run.toml") == wanted["run"], named


def pack(session: Session, cell: Cell, named: Named) -> Parcel:
    """Copies of what ``cell`` reads of the run folder, and of the named files."""
    folder, found = session.folder, {}
    for name in _READ:
        for file in (folder.path / name).glob("*"):
            found[f"{name}/{file.name}"] = file.read_bytes()
    other = session.held_to(cell)
    if other is not None and (record := folder.cell_file(session.cell(other).hash)).is_file():
        found[f"{folder.cells.name}/{record.name}"] = record.read_bytes()
    copies = {place: named.texts[path] for path, place in named.places.items()}
    return {"run": found, "named": copies, "settings": named.settings}


def pack_store(session: Session, dataset: str) -> Store:
    """The files of a store."""
    folder = store_folder(session.plan.config.data_dir, session.plan.cards[dataset])
    return {file.name: np.fromfile(file, dtype=np.uint8) for file in folder.iterdir() if file.is_file()}


@contextmanager
def unpacked(
    config: RunConfig, wanted: Address, parcel: Parcel, store: Callable[[], Store]
) -> Iterator[tuple[Here, dict[str, bytes]]]:
    """The settings with folders of this node in the place of absent ones; what is written there, at the end.

    Args:
        config: the run's settings, with absolute paths.
        wanted: what ``address`` says.
        parcel: what ``pack`` gave.
        store: fetches what ``pack_store`` gave.
    """
    has_store, has_run, has_named = is_there(config, wanted)
    written: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory(prefix="ctr-field-bench-") as scratch:
        cwd = Path(wanted["cwd"])
        if not has_named:
            cwd = Path(scratch) / "here"
            cwd.mkdir()
            for name, text in parcel["named"].items():
                _put(cwd, name, text)
            config = replace(config, **parcel["settings"])
        if not has_store:
            config = replace(config, data_dir=_unpack_store(wanted, store))
        if not has_run:
            config = replace(config, out=Path(scratch) / "run")
            for name, text in parcel["run"].items():
                _put(config.out, name, text)
        yield Here(config, cwd), written
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


def _unpack_store(wanted: Address, store: Callable[[], Store]) -> Path:
    """The data folder of this node that has the store; whoever comes first fetches it."""
    key, checksum = str(wanted["key"]), str(wanted["store"])
    home = Path(tempfile.gettempdir()) / STORES / checksum[:16]
    if not (home / key).is_dir():
        making = home / f".{uuid4().hex}"
        making.mkdir(parents=True)
        for name, data in store().items():
            data.tofile(making / Path(name).name)
        try:
            making.rename(home / key)
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
