"""``python -m bench explain``: from a printed number back to its cells, settings, versions and command."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from bench.errors import ConfigError

PROG = "python -m bench explain"
FIELDS = "fields"
"""The table whose rows are no methods."""


@dataclass(frozen=True)
class ExplainConfig:
    """Show what a number of a run's tables was made of, e.g. `explain results/runs/x table2 criteo light-fmp auc`."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    table: tyro.conf.Positional[str]
    """overall (also called table2), efficiency, size, weights, recovery, calibration, stability, difference (AUC less
    the baseline's), tuned (searched settings beside defaults), gain (AUC less that of all fields), claims (the paper's
    method less its other rows) or fields."""
    dataset: tyro.conf.Positional[str]
    """Data set, as it was asked for."""
    method: tyro.conf.Positional[str]
    """Method with its parameters in brackets, as it was asked for; in the table fields a field's name."""
    metric: tyro.conf.Positional[str | None] = None
    """Column: auc, logloss, tt_ratio, pt_s, ...; none in the table fields."""
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
    if config.table == FIELDS:
        return _field(config)
    if config.metric is None:
        raise ConfigError("no column is named: give one after the method, such as auc.")
    from bench.records import RunFolder  # noqa: PLC0415 - --help needs neither NumPy nor pandas
    from bench.report.explain import Wanted, explain  # noqa: PLC0415

    wanted = Wanted(config.table, config.dataset, config.method, config.metric, config.backbone, config.tau)
    sys.stdout.write(f"{explain(RunFolder(config.run), wanted)}\n")
    return 0


def _field(config: ExplainConfig) -> int:
    given = {"metric": config.metric, "--backbone": config.backbone, "--tau": config.tau}
    if unused := [f"{name} {value}" for name, value in given.items() if value is not None]:
        raise ConfigError(f"{unused[0]}: a line of the table fields is of all cells; leave it out.")
    from bench.records import RunFolder  # noqa: PLC0415
    from bench.report.explain_fields import explain_field  # noqa: PLC0415

    sys.stdout.write(f"{explain_field(RunFolder(config.run), config.dataset, config.method)}\n")
    return 0
