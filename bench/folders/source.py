"""A run folder that something is taken from: nobody is at work in it, and its records can be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BusyError, ConfigError
from bench.lease import SUFFIX, Leases, Owner
from bench.records import CellRecord, RunFolder
from bench.run.grid import Cell

__all__ = ["Source", "cell_of", "open_source", "open_sources", "preferred"]

OLDEST_PROTOCOL = 1
"""That of records which do not hold theirs."""


@dataclass(frozen=True)
class Source:
    """A run folder, read."""

    name: str
    """As it was given."""
    folder: RunFolder
    records: tuple[CellRecord, ...]

    @property
    def path(self) -> Path:
        return self.folder.path


def cell_of(record: CellRecord) -> Cell:
    """The cell that a record is of."""
    return Cell(record.dataset, record.backbone, record.label, record.tau, record.seed)


def open_source(path: Path, name: str = "", *, at_rest: bool = True) -> Source:
    """Read the run folder ``path``.

    Args:
        path: the folder.
        name: what messages call it; by default its path.
        at_rest: whether nobody may be at work in it.

    Raises:
        ConfigError: it is no run folder.
        BusyError: a run is at work in it.
        DataError: a record in it cannot be read.
    """
    folder = RunFolder(path).require()
    if at_rest:
        _refuse_busy(path)
    return Source(name or str(path), folder, tuple(folder.records()))


def open_sources(paths: Sequence[Path], *, at_rest: bool = True) -> list[Source]:
    """Read several run folders; ``at_rest`` as of ``open_source``.

    Raises:
        ConfigError: there are fewer than two, or one is named twice; else as of ``open_source``.
    """
    if len(paths) < 2:
        raise ConfigError(f"{'one folder' if paths else 'no folder'} is named: name two run folders or more.")
    seen: dict[Path, Path] = {}
    for path in paths:
        if (other := seen.setdefault(path.resolve(), path)) is not path:
            raise ConfigError(f"{other} and {path} are one folder; name each once.")
    return [open_source(path, at_rest=at_rest) for path in paths]


def preferred(sources: Sequence[Source], asked: Path | None) -> Source | None:
    """The source that counts where results disagree; None where none was named.

    Raises:
        ConfigError: it is none of ``sources``.
    """
    if asked is None:
        return None
    for source in sources:
        if source.path.resolve() == asked.resolve():
            return source
    raise ConfigError(f"prefer={asked} is none of the folders; name one of {', '.join(one.name for one in sources)}.")


def _refuse_busy(path: Path) -> None:
    with Leases() as leases:
        for file in sorted(path.rglob(f"*{SUFFIX}")):
            if "." in file.stem or leases.is_free(file):  # a successor in a chain, or one of a dead process
                continue
            found = leases.take(file)
            if isinstance(found, Owner):
                raise BusyError(
                    f"{path}: a run is at work there ({found}; {file.relative_to(path)}). Wait until it has ended. "
                    "Where the folder is a copy, or that machine is gone, delete the files *.lease in it."
                )
            found.release()  # it ended in this moment
