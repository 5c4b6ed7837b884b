"""``python -m bench rounding RUN``: how far results move where the same sums are rounded otherwise."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from bench.errors import ConfigError

PROG = "python -m bench rounding"


@dataclass(frozen=True)
class RoundingConfig:
    """Repeat the cells of a run with other numbers of threads and with plain vector instructions, and compare AUC.

    The settings are those of the folder's run.toml. Methods that rounding moves at least half as far as a seed does are
    marked, here and from then on in the run's tables. Repetitions are kept in RUN/rounding; the same command
    computes what is missing there.
    """

    run: tyro.conf.Positional[Path]
    """Folder that `python -m bench run --out FOLDER` has written."""
    threads: tuple[int, ...] = (1, 2)
    """Numbers of CPU threads to compare."""
    seeds: int = 2
    """Seeds of every repetition: 0, 1, ..., seeds - 1; two or more, to tell rounding from seeds."""
    data_dir: Path | None = None
    """Folder of the encoded data sets; by default the run's."""
    plugin: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """The plug-in files of the run, which run.toml names but does not make anybody trust."""


def command(argv: Sequence[str]) -> int:
    """Repeat, compare, print and annotate.

    Raises:
        ConfigError: the folder is no run, or a number is out of range.
        DataError: a record cannot be read.
    """
    config = tyro.cli(RoundingConfig, args=list(argv), prog=PROG)
    if not config.threads or min(config.threads) < 1:
        raise ConfigError(f"threads={' '.join(map(str, config.threads))}: give numbers of at least 1.")
    if config.seeds < 2:
        raise ConfigError(f"seeds={config.seeds} is out of range; give at least 2, to tell rounding from seeds.")
    from bench.checks import rounding  # noqa: PLC0415 - loads NumPy, which --help does not need
    from bench.records import RunFolder, display_title  # noqa: PLC0415

    run = RunFolder(config.run).require()
    if not run.config_file.is_file():
        raise ConfigError(f"{run.path} has no run.toml, which says what to repeat. Run it anew with --out.")
    found = {}
    for variant in rounding.variants(config.threads):
        sys.stderr.write(f"{variant.name}\n")
        found[variant.name] = rounding.repeat(run, variant, config.seeds, config.data_dir, config.plugin).records()
    titles = {rounding.Key.of(cell): cell.method_title for cells in found.values() for cell in cells}
    measured = rounding.sensitivities(found)
    table = rounding.text(measured, lambda key: display_title(key.label, titles[key]))
    sys.stdout.write(f"{table or 'no cell has a result in every repetition'}\n\n")
    count = rounding.annotate(run, measured)
    sys.stdout.write(f"noted in {count} records; `python -m bench report {run.path}` shows marks in tables\n")
    return 0
