"""``python -m bench explain``: from a printed number back to its cells, settings, versions and command."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

PROG = "python -m bench explain"


@dataclass(frozen=True)
class ExplainConfig:
    """Show what a number of a run's tables was made of, e.g. `explain results/runs/x table2 criteo light-fmp auc`."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    table: tyro.conf.Positional[str]
    """overall (also called table2), efficiency, size or recovery."""
    dataset: tyro.conf.Positional[str]
    """Data set, as it was asked for."""
    method: tyro.conf.Positional[str]
    """Method with its parameters in brackets, as it was asked for."""
    metric: tyro.conf.Positional[str]
    """Column: auc, logloss, tt_ratio, pt_s, ..."""
    backbone: str | None = None
    """Only this backbone; all of the run by default."""
    tau: float | None = None
    """Only this prune ratio; all of the run by default."""


def command(argv: Sequence[str]) -> int:
    """Print the explanation.

    Raises:
        ConfigError: the folder is no run, or it has no such number.
        DataError: a record in it cannot be read.
    """
    config = tyro.cli(ExplainConfig, args=list(argv), prog=PROG)
    from bench.records import RunFolder  # noqa: PLC0415 - --help needs neither NumPy nor pandas
    from bench.report.explain import Wanted, explain  # noqa: PLC0415

    wanted = Wanted(config.table, config.dataset, config.method, config.metric, config.backbone, config.tau)
    sys.stdout.write(f"{explain(RunFolder(config.run), wanted)}\n")
    return 0
