"""``python -m bench merge A B --to C``: one run folder of those of several machines."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

PROG = "python -m bench merge"


@dataclass(frozen=True)
class MergeConfig:
    """Make one run folder of several, with its report: of several machines, or of parts of a grid.

    Cells that more than one folder has must agree but for times, machine and date, and are taken once: the undisturbed
    one, else that of the folder named first. What does not go together is named, and nothing is written.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders that `python -m bench run --out FOLDER` has written, two or more."""
    to: Path
    """The folder to make. It must not be there yet, or be this merge."""
    prefer: Path | None = None
    """The one of the folders whose results count where cells disagree."""
    mixed_code: bool = False
    """Take cells of one row although several versions of the code have computed them."""


def command(argv: Sequence[str]) -> int:
    """Merge, write the report, and say what came from where.

    Raises:
        ConfigError: the folders do not go together, or something else is at ``to``.
        BusyError: a run is at work in one of them.
        DataError: a record or kept predictions cannot be used.
        StorageError: the folder cannot be written.
    """
    config = tyro.cli(MergeConfig, args=list(argv), prog=PROG)
    from bench.folders.merge import merging  # noqa: PLC0415 - --help needs neither NumPy nor torch
    from bench.folders.source import open_sources, preferred  # noqa: PLC0415
    from bench.folders.union import Rules  # noqa: PLC0415
    from bench.report.build import build_report  # noqa: PLC0415
    from bench.report.formats.terminal import written_line  # noqa: PLC0415

    sources = open_sources(config.runs)
    rules = Rules(preferred(sources, config.prefer), config.mixed_code)
    files: list[Path] = []
    with merging(sources, config.to, rules) as merged:
        if not merged.is_there:
            files = build_report(merged.folder)
    for text in merged.unlike:
        sys.stderr.write(f"{text}\n")
    if merged.is_there:
        sys.stdout.write(f"{config.to} is this merge already; nothing was written\n")
        return 0
    sys.stdout.write(f"{merged.text}\n{written_line(config.to, len(files))}\n")
    return 0
