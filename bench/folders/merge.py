"""One run folder made of several: it appears whole or not at all."""

from __future__ import annotations

import filecmp
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.data.store.fields import FOLDER as FIELDS
from bench.errors import ConfigError, StorageError, storage_error
from bench.folders.agree import without_times
from bench.folders.settings import united_settings
from bench.folders.source import Source
from bench.folders.union import Rules, Taken, united
from bench.predictions import Predictions
from bench.records import RunFolder
from bench.run.session import LINES, PENALTIES_TRIED, PLUGINS, SELECTIONS, TIMINGS, TRIALS, VALID

__all__ = ["REPORTS", "Merged", "gathered", "merging", "staged"]

REPORTS = ("tables", "figures", "report.html")
"""What ``report`` makes of all else."""
_SHARED = (SELECTIONS, TRIALS, PENALTIES_TRIED, LINES, FIELDS, PLUGINS)
"""Folders of what cells share, whose files are called by what they are of."""
_KINDS = (".json", ".npy", ".py")
Copy = Callable[[Path, Path], object]


@dataclass
class Merged:
    """What came of a merge."""

    folder: RunFolder
    """While it is made, one beside its place."""
    cells: dict[str, int] = field(default_factory=dict)
    """How many are taken from each folder."""
    twice: int = 0
    """Cells that more than one folder had."""
    unlike: list[str] = field(default_factory=list)
    """Shared files in which folders differ, which decide no cell that is there."""
    is_there: bool = False
    """Whether the same merge was made before."""

    @property
    def text(self) -> str:
        """``24 cells: 14 from A, 10 from B, 3 of which both had``."""
        parts = ", ".join(f"{count} from {name}" for name, count in self.cells.items())
        total = sum(self.cells.values())
        twice = f"; {self.twice} record{'' if self.twice == 1 else 's'} more of the same cells" if self.twice else ""
        return f"{total} cell{'' if total == 1 else 's'}: {parts}{twice}"


@contextmanager
def merging(sources: Sequence[Source], to: Path, rules: Rules) -> Iterator[Merged]:
    """Merge ``sources``; the body may add to the folder, which takes its place ``to`` when the body ends.

    Raises:
        ConfigError: the folders do not go together, or something else is at ``to``.
        StorageError: it cannot be written.
    """
    taken, settings = united(sources, rules), united_settings(sources, to)
    with staged(to) as folder:
        merged = gathered(sources, taken, RunFolder(folder), rules, shutil.copyfile)
        if settings is not None:
            merged.folder.config_file.write_text(settings, encoding="utf-8")
        if to.exists() or to.is_symlink():
            if not _same(folder, to):
                raise ConfigError(f"to={to} is there already, and is not this merge. Choose another folder.")
            merged.folder, merged.is_there = RunFolder(to), True
        yield merged
        if not merged.is_there:
            merged.folder = RunFolder(to)
            folder.rename(to)


@contextmanager
def staged(to: Path) -> Iterator[Path]:
    """An empty folder beside ``to``, gone afterwards unless the body has moved it.

    Raises:
        StorageError: it cannot be written.
    """
    place = to.resolve()  # "." has no name
    folder = place.parent / f".{place.name}.{os.getpid()}.making"
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        yield folder
    except OSError as error:
        raise storage_error(error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def gathered(sources: Sequence[Source], taken: Sequence[Taken], to: RunFolder, rules: Rules, copy: Copy) -> Merged:
    """Put records and what belongs to them into ``to``, without settings and reports.

    Args:
        sources: the folders.
        taken: the records, and whence each.
        to: an empty folder.
        rules: whose files count where those that cells share differ.
        copy: how large files get there.

    Raises:
        DataError: kept predictions are not what a record says.
        OSError: ``to`` cannot be written.
    """
    merged = Merged(to, {source.name: 0 for source in sources})
    to.cells.mkdir(parents=True)
    for one in taken:
        merged.cells[one.source.name] += 1
        _take(one, sources, to, copy)
    records = sum(len(source.records) for source in sources)
    merged.twice = records - len(taken)
    first = [] if rules.prefer is None else [rules.prefer]
    order = [*first, *(source for source in sources if source not in first)]
    for name in _SHARED:
        merged.unlike += _share(name, order, to.path / name, copy)
    return merged


def _take(one: Taken, sources: Sequence[Source], to: RunFolder, copy: Copy) -> None:
    """A cell's record as it is, its repeats, and its predictions from whatever folder has them."""
    hashed, folder = one.record.config_hash, one.source.folder
    shutil.copyfile(folder.cell_file(hashed), to.cell_file(hashed))
    repeats = folder.path / TIMINGS / to.cell_file(hashed).name
    if repeats.is_file():
        (to.path / TIMINGS).mkdir(exist_ok=True)
        shutil.copyfile(repeats, to.path / TIMINGS / repeats.name)
    entry = one.record.predictions
    for part, said in (("", entry), (VALID, (entry or {}).get(VALID))):
        if said is None:
            continue
        for source in (one.source, *sources):
            kept = Predictions(source.folder.predictions / part)
            if kept.has(hashed, said):
                kept.logits(hashed, said)  # its checksum is looked at
                kept.labels(said)
                for file in (kept.file(hashed), kept.folder / said["labels"]):
                    _copy_once(file, to.predictions / part / file.name, copy)
                break


def _share(name: str, order: Sequence[Source], to: Path, copy: Copy) -> list[str]:
    """Copy the files of a folder that cells share, of several the first; which of them differ."""
    found: dict[str, Source] = {}
    unlike = []
    for source in order:
        files = sorted(file for file in (source.path / name).glob("*") if file.suffix in _KINDS)
        for stem in dict.fromkeys(file.stem for file in files):
            first = found.setdefault(stem, source)
            mine = [file for file in files if file.stem == stem]
            if first is source:
                for file in mine:
                    _copy_once(file, to / file.name, copy)
            elif not all(_alike(file, first.path / name / file.name) for file in mine):
                unlike.append(f"{name}/{stem}: not the same in {first.name}, which is taken, and in {source.name}")
    return unlike


def _alike(one: Path, other: Path) -> bool:
    """Whether two files say the same but for times."""
    if not other.is_file() or filecmp.cmp(one, other, shallow=False):
        return other.is_file()
    if one.suffix != ".json":
        return False
    try:
        here, there = (without_times(json.loads(file.read_bytes())) for file in (one, other))
    except ValueError as error:
        raise StorageError(f"{one} or {other} is damaged ({error}). Delete it: cells are there without it.") from None
    return bool(here == there)


def _copy_once(file: Path, to: Path, copy: Copy) -> None:
    if not to.exists():
        to.parent.mkdir(parents=True, exist_ok=True)
        copy(file, to)


def _same(made: Path, there: Path) -> bool:
    """Whether a folder holds what was made, but for reports and what makes no difference."""
    if not there.is_dir():
        return False
    names = _names(made)
    return names == _names(there) and all(filecmp.cmp(made / name, there / name, shallow=False) for name in names)


def _names(folder: Path) -> set[str]:
    files = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    return {file.as_posix() for file in files if file.parts[0] not in REPORTS}
