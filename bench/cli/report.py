"""``python -m bench report RUN…``: the tables and figures of a run or of several, from their records alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from bench.errors import ConfigError

if TYPE_CHECKING:
    from bench.records import RunFolder

PROG = "python -m bench report"


@dataclass(frozen=True)
class ReportConfig:
    """Write tables, figures and report.html into a run folder, from its records alone, and print its results.

    Of several folders the results are printed as of one, and written where --to says; times are compared within equal
    machines only.
    """

    run: tyro.conf.Positional[tuple[Path, ...]]
    """Folder that `python -m bench run --out FOLDER` has written, or several."""
    sections: Literal["auto", "on", "off"] | None = None
    """Headings in tables by what methods select, as for `run`; by default as the run's settings say."""
    plugin: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Python file of a plug-in that the run was made with, for its titles and notes; may be repeated."""
    to: Path | None = None
    """Of several folders: where to write tables, figures and report.html."""
    prefer: Path | None = None
    """Of several folders: the one whose results count where cells disagree."""
    mixed_code: bool = False
    """Of several folders: take cells of one row although several versions of the code have computed them."""


def command(argv: Sequence[str]) -> int:
    """Write the report and print the overall table.

    Raises:
        ConfigError: a folder is no run, or several do not go together.
        DataError: a record in one cannot be read.
    """
    config = tyro.cli(ReportConfig, args=list(argv), prog=PROG)
    from bench import plugins  # noqa: PLC0415 - --help needs neither NumPy nor pandas
    from bench.plugin_files import read_plugins  # noqa: PLC0415

    if not config.run:
        raise ConfigError("no folder is named: name one that `python -m bench run --out FOLDER` has written.")
    plugins.add_files(read_plugins(config.plugin))
    return _one(config) if len(config.run) == 1 else _several(config)


def _one(config: ReportConfig) -> int:
    from bench.files import remove_leftovers  # noqa: PLC0415
    from bench.records import RunFolder  # noqa: PLC0415
    from bench.report.build import build_report  # noqa: PLC0415
    from bench.report.formats.terminal import written_line  # noqa: PLC0415
    from bench.tables.titles import Titles  # noqa: PLC0415

    given = {"to": config.to, "prefer": config.prefer, "mixed-code": config.mixed_code or None}
    if unused := [name for name, value in given.items() if value is not None]:
        raise ConfigError(f"--{unused[0]} is for several folders, and {config.run[0]} is the only one; leave it out.")
    run = RunFolder(config.run[0])
    remove_leftovers(run.path)
    files = build_report(run, Titles.of_run(run.path, config.sections))
    _print(run, config)
    sys.stdout.write(f"{written_line(run.path, len(files))}\n")
    return 0


def _several(config: ReportConfig) -> int:
    """The report of several folders, of which nothing but what ``--to`` asks for is written."""
    from bench.folders.together import reported, together  # noqa: PLC0415
    from bench.report.build import build_report  # noqa: PLC0415
    from bench.report.formats.terminal import written_line  # noqa: PLC0415
    from bench.tables.titles import Titles  # noqa: PLC0415

    with together(config.run, config.prefer, config.mixed_code) as merged:
        _print(merged.folder, config)
        sys.stdout.write(f"{merged.text}\n")
        if config.to is None:
            sys.stdout.write("nothing was written: --to FOLDER writes tables, figures and report.html\n")
            return 0
        files = build_report(merged.folder, Titles.of_run(merged.folder.path, config.sections))
        reported(merged.folder.path, config.to)
        sys.stdout.write(f"{written_line(config.to, len(files))}\n")
    return 0


def _print(run: RunFolder, config: ReportConfig) -> None:
    from bench.data.store.fields import read_fields  # noqa: PLC0415
    from bench.records import load_frame  # noqa: PLC0415
    from bench.report.formats.terminal import run_text  # noqa: PLC0415
    from bench.tables.titles import Titles  # noqa: PLC0415

    titles = Titles.of_run(run.path, config.sections)
    text = run_text(load_frame(run), read_fields(run.path), titles, colour=sys.stdout.isatty())
    sys.stdout.write(f"{text}\n\n")
