"""``compare``: a grid of methods and backbones, and its results."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.advising.config import EXPERIMENT
from bench.data.store.fields import read_fields
from bench.environment import called
from bench.python.data import Data, checked
from bench.python.work import progress, run_config, several, teller
from bench.records import CellRecord, to_frame
from bench.report.build import build_report
from bench.report.formats.terminal import run_text
from bench.run import growth, sweep
from bench.run.config import base_config
from bench.run.session import Session, resolve
from bench.tables.titles import Titles

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Results", "compare"]

PAGE = "report.html"
_BY = ["dataset", "backbone", "tau", "label"]
"""What a row of the table stands for."""


@dataclass(frozen=True)
class Results:
    """What a comparison has found."""

    folder: Path
    """Run folder, as ``python -m bench run`` would have left it."""
    records: tuple[CellRecord, ...] = field(repr=False)
    """One a cell."""

    @property
    def frame(self) -> pd.DataFrame:
        """One row a cell, one column a key of ``bench.records.CellRecord``."""
        return to_frame(self.records)

    @property
    def failed(self) -> dict[str, str]:
        """Method -> reason, of cells without a result."""
        return {one.label: f"{one.status}: {one.reason}" for one in self.records if one.status != "ok"}

    def table(self) -> pd.DataFrame:
        """One row a method, backbone and prune ratio, the best first: means over seeds, and the spread of AUC.

        Times are seconds: ``train_s`` is selection and training together. A method without a result in any seed has
        no row: see ``failed``.
        """
        cells = self.frame
        cells = cells[cells["status"] == "ok"]
        every = cells["field_names"].map(len)
        cells = cells.assign(kept=cells["kept_fields"].map(len, na_action="ignore").fillna(every).astype("Int64"))
        by = cells.groupby([name for name in _BY if name in cells], dropna=False, sort=False)
        found = by.agg(
            seeds=("seed", "nunique"),
            auc=("auc", "mean"),
            auc_sd=("auc", "std"),
            logloss=("logloss", "mean"),
            kept=("kept", "first"),
            embedding_bytes=("embedding_bytes", "mean"),
            train_s=("tt_s", "mean"),
            inference_s=("it_s", "mean"),
        ).reset_index()
        found = found.rename(columns={"label": "method", "tau": "prune_ratio"})
        return found.sort_values(["dataset", "backbone", "auc"], ascending=[True, True, False], ignore_index=True)

    def report(self) -> Path:
        """Write tables and figures of the run folder; returns the page that shows all of them."""
        build_report(self.folder)
        return self.folder / PAGE

    def __str__(self) -> str:
        """The tables that ``python -m bench run`` ends with."""
        return run_text(self.frame, read_fields(self.folder), Titles.of_run(self.folder))

    def _repr_html_(self) -> str:
        failed = "".join(f"<li>{html.escape(f'{name}: {why}')}</li>" for name, why in self.failed.items())
        return f"{self.table().to_html(index=False, float_format='{:.4f}'.format)}{f'<ul>{failed}</ul>' * bool(failed)}"


def compare(
    data: Data,
    methods: str | Sequence[str] = "paper",
    backbones: str | Sequence[str] | None = None,
    *,
    seeds: int = 3,
    out: str | Path | None = None,
    verbose: bool = True,
    **settings: Any,
) -> Results:
    """Train every method on every backbone, prune ratio and seed.

    Args:
        data: from ``bench.dataset``.
        methods: names, parameters in brackets; "paper" for those of the paper, "all" for every one.
        backbones: names; by default that of ``advise``.
        seeds: trainings of each, with seeds 0, 1, ….
        out: run folder, which a later call with the same settings goes on with; by default a temporary one.
        verbose: whether to show progress.
        **settings: as of ``python -m bench run``: prune_ratio, profile, set, rows, device, threads, ….

    Raises:
        ConfigError: an unknown name or a value out of range.
        DataError: the data cannot be opened.
        StorageError: the run folder cannot be written.
    """
    nets = base_config(EXPERIMENT, None, has_datasets=True).backbones if backbones is None else backbones
    chosen = {"methods": several(methods, "methods"), "backbones": several(nets, "backbones"), "seeds": seeds}
    config = run_config("compare", {**checked(data, "compare").chosen, **chosen, "out": out}, settings)
    plan = resolve(config)
    tell = teller(verbose)
    for text in growth.warnings(Session(plan)):
        tell(f"warning: {text}")
    with called("bench.compare"), progress(verbose) as reporter:
        records = sweep.run(plan, reporter)
    return Results(config.out, tuple(records))
