"""``python -m bench verify RUN``: the numbers of a run once more, from the predictions that it kept."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from bench.errors import ConfigError

if TYPE_CHECKING:
    from bench.checks.verify import Verdict

PROG = "python -m bench verify"
_TITLES = {"auc": "AUC", "logloss": "Logloss", "pcoc": "PCOC", "ece": "ECE"}


@dataclass(frozen=True)
class VerifyConfig:
    """Compute AUC, Logloss, calibration and intervals of a run anew, from kept predictions, and compare.

    By scikit-learn, SciPy and NumPy, without the suite's own code for them. Exit status 1 where a number does not agree
    or predictions were changed.
    """

    run: tyro.conf.Positional[Path]
    """Folder that `python -m bench run --out FOLDER` has written, or a bundle of `submit`."""


def command(argv: Sequence[str]) -> int:
    """Compare, and print what agrees and what does not; exit status 1 where something does not.

    Raises:
        ConfigError: the folder is no run, or has kept no predictions.
        DataError: a record in it cannot be read.
    """
    config = tyro.cli(VerifyConfig, args=list(argv), prog=PROG)
    from bench.checks.verify import verify  # noqa: PLC0415 - --help needs neither NumPy nor scikit-learn
    from bench.folders.bundle import opened  # noqa: PLC0415
    from bench.records import RunFolder  # noqa: PLC0415

    with opened(config.run) as folder:
        found = verify(RunFolder(folder))
    if not found.cells:
        raise ConfigError(
            f"{config.run} has no predictions to verify its numbers by. Compute its cells again with "
            "`python -m bench run ... --keep-predictions always --rerun always`."
        )
    sys.stdout.write("".join(f"{line}\n" for line in _lines(found)))
    return 1 if found.faults else 0


def _lines(found: Verdict) -> list[str]:
    lines = [f"{_many(found.cells, 'cell')} computed anew from predictions"]
    if found.unkept:
        lines.append(f"{_many(found.unkept, 'cell')} without predictions, not verified")
    lines += [f"  {_TITLES[name]:<8} largest deviation {off:.1g}" for name, off in found.off.items()]
    if found.differences:
        lines.append(
            f"{_many(found.differences, 'interval')} of differences in AUC computed anew (tables/difference.csv)"
        )
    if found.unclear:
        lines.append(f"{_many(found.unclear, 'interval')} not verified: a cell has no predictions or a namesake")
    if not found.faults:
        return [*lines, "agrees"]
    return [*lines, *found.faults, f"does not agree: {_many(len(found.faults), 'number')}"]


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
