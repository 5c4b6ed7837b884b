"""``python -m bench publish BUNDLES… --to site/``: what bundles hold, as pages that need no server and no network.

index.html                  rows by data set, backbone, prune ratio and method, with filters and downloads
report.html, tables/, figures/    the report of all cells that are shown
cells/HASH.json             records, one a seed
predictions/                logits and labels, as far as bundles have them
bundles/                    the bundles themselves
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.checks.verify import verify
from bench.errors import ConfigError, DataError
from bench.folders.bundle import is_bundle, opened
from bench.folders.merge import gathered, staged
from bench.folders.source import Source, open_source
from bench.folders.union import Rules, united
from bench.records import RunFolder
from bench.report.build import build_report
from bench.site.complete import Line, complete
from bench.site.page import index
from bench.tables.titles import Titles

__all__ = ["Published", "publish"]

INDEX = "index.html"
BUNDLES = "bundles"
_KEPT = ("cells", "predictions", "tables", "figures", "report.html")


@dataclass(frozen=True)
class Published:
    """The rows of a site, and those that were left out."""

    shown: list[Line]
    left: list[Line]


def publish(paths: Sequence[Path], to: Path) -> Published:
    """Write the site of the bundles ``paths`` to the folder ``to``, in the place of an earlier one.

    Raises:
        ConfigError: there is no bundle, bundles disagree, nothing in them is complete, or something else is at ``to``.
        DataError: a bundle is damaged, or its numbers are not those of its predictions.
        StorageError: the site cannot be written.
    """
    _check(paths, to)
    with ExitStack() as stack, staged(to) as folder:
        sources = [open_source(stack.enter_context(opened(path)), path.name) for path in paths]
        for source in sources:
            _verify(source)
        rules = Rules(mixed_code=True, one_revision=False)
        taken = united(sources, rules)
        titles = Titles.registered()
        shown, left = complete(taken, titles)
        hashes = {cell["config_hash"] for line in shown for cell in line.cells}
        if not hashes:
            raise ConfigError(
                "no bundle has a complete block: a method that keeps every field and another, with the same seeds."
            )
        whole = [one for one in taken if one.record.config_hash in hashes]
        run = RunFolder(folder / "run")
        gathered(sources, whole, run, rules, shutil.copyfile)
        build_report(run, titles)
        _arrange(run.path, folder, paths)
        origins = {one.record.config_hash: one.source.name for one in whole}
        (folder / INDEX).write_text(index(shown, left, origins, _predictions(folder)), encoding="utf-8")
        if to.exists():
            shutil.rmtree(to)
        folder.rename(to)
    return Published(shown, left)


def _check(paths: Sequence[Path], to: Path) -> None:
    if not paths:
        raise ConfigError("no bundle is named: name one or more that `python -m bench submit` has written.")
    for path in paths:
        if not is_bundle(path):
            raise ConfigError(
                f"{path} is no bundle. Make one of a run folder: `python -m bench submit {path} --to x.zip`."
            )
    names = [path.name for path in paths]
    if double := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"two bundles are called {double}: give one another name.")
    if to.exists() and (not to.is_dir() or {file.name for file in to.iterdir()} - {INDEX, BUNDLES, *_KEPT}):
        raise ConfigError(f"to={to} is there and is no site of this command. Choose another folder.")


def _verify(source: Source) -> None:
    """Compute the numbers of a bundle anew, as far as it has predictions.

    Raises:
        DataError: one does not agree.
    """
    if faults := verify(source.folder).faults:
        raise DataError(f"{source.name} does not agree with its predictions: {faults[0]}")


def _arrange(run: Path, folder: Path, paths: Sequence[Path]) -> None:
    """Move what the site shows out of the run folder, and lay the bundles beside it."""
    for name in _KEPT:
        if (run / name).exists():
            shutil.move(run / name, folder / name)
    shutil.rmtree(run)
    (folder / BUNDLES).mkdir()
    for path in paths:
        shutil.copyfile(path, folder / BUNDLES / path.name)


def _predictions(folder: Path) -> set[str]:
    """Names of the cells whose predictions are part of the site."""
    return {file.stem for file in (folder / "predictions").glob("*.npy")}
