"""How methods stand where the true fields are known, from recorded runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from bench.records import RunFolder, load_frame
from bench.tables.cells import Block, GroupKey, RowKey, blocks_of, records_of
from bench.tables.kinds import KINDS
from bench.tables.metrics import AUC, Metric
from bench.tables.naming import Names, names_of
from bench.tables.titles import Titles

__all__ = ["REFERENCE", "Setting", "Standing", "standings"]

REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"
"""The recorded runs of a checkout; nothing where the project is installed without them."""
PRECISION = KINDS["recovery"].columns[0]


@dataclass(frozen=True)
class Standing:
    """One row of a recorded table."""

    method: str
    title: str
    precision: str
    """Of the K highest scores, mean ± standard deviation over seeds; ``MISSING`` without scores."""
    auc: str


@dataclass(frozen=True)
class Setting:
    """The rows of one recorded table."""

    title: str
    by_lot: str
    """Mean precision over all draws of the fields."""
    rows: tuple[Standing, ...]
    controls: tuple[Standing, ...]
    """Those of them that only show what chance or a trivial rule reaches."""

    def of(self, method: str) -> list[Standing]:
        """The rows of ``method``, its variants' among them."""
        return [row for row in self.rows if row.method == method]


def standings(folder: Path = REFERENCE) -> list[Setting]:
    """One setting a data set with known true fields, backbone and prune ratio, of all runs under ``folder``."""
    titles = Titles.registered()
    return [setting for file in sorted(folder.rglob("run.toml")) for setting in _settings(file.parent, titles)]


def _settings(run: Path, titles: Titles) -> Iterator[Setting]:
    cells = [cell for cell in records_of(load_frame(RunFolder(run))) if cell["recovery"]]
    for block in blocks_of(cells, titles):
        for group in block.groups:
            yield _setting(block, group, titles, run.name)


def _setting(block: Block, group: GroupKey, titles: Titles, run: str) -> Setting:
    names, ok = names_of(block, titles), [row for row in block.rows if block.ok(group, row)]
    found = [_standing(block, group, row, names) for row in ok]
    controls = [one for one, row in zip(found, ok, strict=True) if _is_control(block, row, titles)]
    ratio = "" if block.tau is None else f" at prune ratio {block.tau:g}"
    title = f"{names.groups[group]} with {names.backbone}{ratio}, {len(block.seeds(group))} seeds (reference run {run})"
    return Setting(title, _by_lot(block, group, ok), tuple(found), tuple(controls))


def _is_control(block: Block, row: RowKey, titles: Titles) -> bool:
    """Those as they are by default."""
    sample = block.row_sample(row)
    return titles.is_control(sample) and row.label == sample["method"]


def _standing(block: Block, group: GroupKey, row: RowKey, names: Names) -> Standing:
    precision, auc = (_number(block, group, row, metric) for metric in (PRECISION, AUC))
    return Standing(block.row_sample(row)["method"], names.rows[row], precision, auc)


def _by_lot(block: Block, group: GroupKey, rows: Sequence[RowKey]) -> str:
    """Mean over the cells; empty where it is not known."""
    if PRECISION.by_lot is None:
        return ""
    found = [PRECISION.by_lot(cell, None) for row in rows for cell in block.ok(group, row).values()]
    known = [number for number in found if number is not None]
    return PRECISION.text(fmean(known)) if known else ""


def _number(block: Block, group: GroupKey, row: RowKey, metric: Metric) -> str:
    value = block.value(group, row, metric)
    return f"{value.text} ±{value.sd_text}" if value.sd_text else value.text
