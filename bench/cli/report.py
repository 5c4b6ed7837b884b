"""``python -m bench report RUN``: the tables and figures of a run, from its records alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

PROG = "python -m bench report"


@dataclass(frozen=True)
class ReportConfig:
    """Write tables, figures and report.html into a run folder, from its records alone, and print its results."""

    run: tyro.conf.Positional[Path]
    """Folder that `python -m bench run --out FOLDER` has written."""
    sections: Literal["auto", "on", "off"] | None = None
    """Headings in tables by what methods select, as for `run`; by default as the run's settings say."""
    plugin: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Python file of a plug-in that the run was made with, for its titles and notes; may be repeated."""


def command(argv: Sequence[str]) -> int:
    """Write the report and print the overall table.

    Raises:
        ConfigError: the folder is no run.
        DataError: a record in it cannot be read.
    """
    config = tyro.cli(ReportConfig, args=list(argv), prog=PROG)
    from bench import plugins  # noqa: PLC0415 - --help needs neither NumPy nor pandas
    from bench.data.store.fields import read_fields  # noqa: PLC0415
    from bench.files import remove_leftovers  # noqa: PLC0415
    from bench.plugin_files import read_plugins  # noqa: PLC0415
    from bench.records import RunFolder, load_frame  # noqa: PLC0415
    from bench.report.build import build_report  # noqa: PLC0415
    from bench.report.formats.terminal import run_text, written_line  # noqa: PLC0415
    from bench.tables.titles import Titles  # noqa: PLC0415

    plugins.add_files(read_plugins(config.plugin))
    run = RunFolder(config.run)
    remove_leftovers(run.path)
    titles = Titles.of_run(run.path, config.sections)
    files = build_report(run, titles)
    text = run_text(load_frame(run), read_fields(run.path), titles, colour=sys.stdout.isatty())
    sys.stdout.write(f"{text}\n\n")
    sys.stdout.write(f"{written_line(run.path, len(files))}\n")
    return 0
