"""Several run folders read as one, of which nothing is kept."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.errors import ConfigError
from bench.folders.merge import REPORTS, Merged, gathered, staged
from bench.folders.source import open_sources, preferred
from bench.folders.union import Rules, united
from bench.records import RunFolder

__all__ = ["reported", "together"]


@contextmanager
def together(paths: Sequence[Path], prefer: Path | None, mixed_code: bool) -> Iterator[Merged]:
    """The run folders ``paths`` as one that is gone when the body ends; large files stay where they are.

    Settings and revisions of data may differ, which tables show apart.

    Raises:
        ConfigError: the folders do not go together.
        DataError: a record or kept predictions cannot be used.
    """
    sources = open_sources(paths, at_rest=False)
    rules = Rules(preferred(sources, prefer), mixed_code, one_revision=False)
    taken = united(sources, rules)
    with tempfile.TemporaryDirectory(prefix="ctr-field-bench-") as name:
        yield gathered(sources, taken, RunFolder(Path(name)), rules, _link)


def _link(file: Path, to: Path) -> None:
    to.symlink_to(file.resolve())


def reported(run: Path, to: Path) -> None:
    """Move the report of ``run`` into the folder ``to``, in the place of an earlier one.

    Raises:
        ConfigError: something else than a report is there.
        StorageError: it cannot be written.
    """
    if to.exists() and (not to.is_dir() or {file.name for file in to.iterdir()} - set(REPORTS)):
        raise ConfigError(f"to={to} holds other things than a report. Choose another folder.")
    with staged(to) as folder:
        for name in REPORTS:
            if (run / name).exists():
                shutil.move(run / name, folder / name)
        if to.exists():
            shutil.rmtree(to)
        folder.rename(to)
