"""``python -m bench submit RUN --to bundle.zip``: a run as one file that others can check."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from bench.errors import ConfigError, DataError

PROG = "python -m bench submit"


@dataclass(frozen=True)
class SubmitConfig:
    """Pack a run as a bundle: records, settings and kept predictions with their checksums, verified before.

    Others check it by `verify bundle.zip`, and set their method beside its cells by `run --baselines bundle.zip`.
    """

    run: tyro.conf.Positional[Path]
    """Folder that `python -m bench run --out FOLDER` has written."""
    to: Path
    """The file to write, *.zip."""
    predictions: bool = True
    """Whether kept predictions go with it, by which others can compute AUC and intervals anew."""


def command(argv: Sequence[str]) -> int:
    """Verify the run, pack it, and say what is in the bundle.

    Raises:
        ConfigError: the folder is no run, or ``to`` is no name of a bundle.
        BusyError: a run is at work in it.
        DataError: its numbers are not those of its predictions.
        StorageError: the bundle cannot be written.
    """
    config = tyro.cli(SubmitConfig, args=list(argv), prog=PROG)
    from bench.checks.verify import verify  # noqa: PLC0415 - --help needs neither NumPy nor scikit-learn
    from bench.folders.bundle import SUFFIX, write_bundle  # noqa: PLC0415
    from bench.folders.source import open_source  # noqa: PLC0415

    if config.to.suffix.lower() != SUFFIX or config.to.is_dir():
        raise ConfigError(f"to={config.to} is no name of a bundle: it must end in {SUFFIX}.")
    source = open_source(config.run)
    verdict = verify(source.folder)
    if verdict.faults:
        raise DataError(f"{config.run} does not agree with its predictions: {verdict.faults[0]}")
    sys.stdout.write(f"{write_bundle(source, config.to, config.predictions).text}\n")
    if verdict.unkept:
        sys.stderr.write(
            f"{verdict.unkept} cells have no predictions, by which nobody can compute their numbers anew "
            "(--keep-predictions always of `run`)\n"
        )
    return 0
