"""Cells put in their places: which rows and columns a table has, and which cells stand behind each number."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from bench.registry import FILE_SUM, SUM_SHOWN
from bench.tables.field_terms import terms_text
from bench.tables.metrics import AUC, Metric
from bench.tables.model import Value
from bench.tables.titles import Titles

if TYPE_CHECKING:
    import pandas as pd

    from bench.data.card.card import Anchor
    from bench.data.store.fields import DataFields

    Run = pd.DataFrame | Sequence["Block"]
    """A run as ``bench.records.load_frame`` returns it, or its blocks where they have been made before."""

__all__ = [
    "Block",
    "GroupKey",
    "Record",
    "RowKey",
    "Values",
    "blocks",
    "blocks_of",
    "code_of",
    "group_key",
    "records_of",
    "sample_sd",
]

Record = dict[str, Any]
"""One row of the run's table, with None for everything that is null."""
_LAST = 10**6


@dataclass(frozen=True)
class GroupKey:
    """What results must share to stand in one column."""

    dataset: str
    revision: str | None
    split_rows: str
    profile: str
    backbone_params: str
    backbone_code: str = ""
    """Version of a backbone that came by a file."""

    @property
    def place(self) -> tuple[str, str | None, str]:
        """Which rows they are of: data set, revision, rows by split."""
        return self.dataset, self.revision, self.split_rows


@dataclass(frozen=True)
class RowKey:
    """What results must share to stand in one row."""

    label: str
    budget: str | None
    terms: str = ""
    """On what terms fields were dropped, where cells of one data set differ in them."""
    code: str = ""
    """Version of a method that came by a file."""


Values = dict[tuple[GroupKey, RowKey, Metric], Value]
"""The numbers of a table by data set, method and metric."""


@dataclass
class Block:
    """The cells of one backbone and one τ; cells that do not use τ belong to every τ of their backbone."""

    backbone: str
    tau: float | None
    groups: list[GroupKey] = field(default_factory=list)
    rows: list[RowKey] = field(default_factory=list)
    cells: dict[tuple[GroupKey, RowKey], dict[int, list[Record]]] = field(default_factory=dict)
    field_forms: frozenset[RowKey] = frozenset()
    """Rows that differ from another only in being held to whole fields; they stand below the others."""
    anchors: Mapping[str, Anchor] = field(default_factory=dict)
    """What public results reach, by data set."""
    facts: Mapping[tuple[str, str | None, str], DataFields] = field(default_factory=dict)
    """What is known of the fields from the rows, by ``GroupKey.place``."""
    samples: dict[RowKey, Record] = field(default_factory=dict)
    """Any cell of a row."""
    _baselines: dict[GroupKey, RowKey | None] = field(default_factory=dict)
    _ok: dict[tuple[GroupKey, RowKey], dict[int, Record]] = field(default_factory=dict)

    def at(self, group: GroupKey, row: RowKey) -> dict[int, list[Record]]:
        """Cells by seed. More than one for a seed differ in something that the table does not show."""
        return self.cells.get((group, row), {})

    def ok(self, group: GroupKey, row: RowKey) -> dict[int, Record]:
        """The one successful cell of each seed; a seed with several cells has no result."""
        place = (group, row)
        if place not in self._ok:
            cells = self.at(group, row).items()
            self._ok[place] = {s: found[0] for s, found in cells if len(found) == 1 and found[0]["status"] == "ok"}
        return self._ok[place]

    def seeds(self, group: GroupKey) -> list[int]:
        """Seeds of which any row of the column has a result."""
        return sorted({seed for row in self.rows for seed in self.ok(group, row)})

    def sample(self, group: GroupKey) -> Record:
        """Any cell of a column."""
        return next(found[0] for row in self.rows for found in self.at(group, row).values())

    def row_sample(self, row: RowKey) -> Record:
        return self.samples[row]

    def baseline(self, group: GroupKey) -> RowKey | None:
        """The row that keeps every field; the one without overrides where there are several."""
        if group not in self._baselines:
            keep_all = [row for row in self.rows if self.at(group, row) and self.row_sample(row)["is_baseline"]]
            self._baselines[group] = min(keep_all, key=lambda row: (row.label, row.budget or ""), default=None)
        return self._baselines[group]

    def below_anchor(self, group: GroupKey) -> tuple[float, float] | None:
        """(AUC, anchor) of the baseline where it misses the anchor on all rows of a public data set."""
        anchor, reference = self.anchors.get(group.dataset), self.baseline(group)
        if anchor is None or reference is None or self.backbone not in anchor.auc:
            return None
        numbers = list(self.by_seed(group, reference, AUC).values())
        if not numbers or sum(self.sample(group)["split_rows"].values()) != anchor.rows:
            return None
        wanted = anchor.auc[self.backbone]
        return (fmean(numbers), wanted) if fmean(numbers) < wanted else None

    def below_line(self, group: GroupKey) -> tuple[float, float] | None:
        """(AUC, that of the logistic line) where the baseline misses the line by more than two standard errors.

        With difference d_s to the line at seed s and its error e_s from the test rows, which all S seeds share, the
        squared error of the mean difference is mean e_s² + var(d_s) / S.
        """
        reference = self.baseline(group)
        cells = [] if reference is None else self.ok(group, reference).values()
        lines = [cell["line"] for cell in cells if cell["line"]]
        if not lines:
            return None
        differences = [line["difference"] for line in lines]
        spread = sample_sd(differences) or 0.0
        error = math.sqrt(fmean(line["error"] ** 2 for line in lines) + spread**2 / len(lines))
        below = fmean(differences) < -2 * error
        return (fmean(line["auc"] + line["difference"] for line in lines), lines[0]["auc"]) if below else None

    def by_seed(self, group: GroupKey, row: RowKey, metric: Metric) -> dict[int, float]:
        """The number of every seed that has one, by increasing seed."""
        reference = self.baseline(group)
        base = self.ok(group, reference) if reference else {}
        measured = {seed: metric.number(cell, base.get(seed)) for seed, cell in self.ok(group, row).items()}
        return {seed: number for seed, number in sorted(measured.items()) if number is not None}

    def value(self, group: GroupKey, row: RowKey, metric: Metric) -> Value:
        """Mean and sample standard deviation over the seeds that have a result."""
        found = self.by_seed(group, row, metric)
        if not found:
            return Value()
        numbers = list(found.values())
        mean, sd = fmean(numbers), sample_sd(numbers)
        one_by_definition = metric.ratio_of is not None and row == self.baseline(group)
        sd_text = "" if one_by_definition else _sd_text(metric, mean, sd)
        cells = self.ok(group, row)
        hashes = tuple(cells[seed]["config_hash"] for seed in found)
        text = metric.text(mean)
        low, high = self._range(group, row, metric, found)
        range_text = ""
        if low is not None and high is not None and not one_by_definition and text != "0":
            range_text = f"{metric.text(low, like=mean)}–{metric.text(high, like=mean)}"
        return Value(mean, sd, tuple(found), tuple(numbers), hashes, text, sd_text, low, high, range_text)

    def _range(
        self, group: GroupKey, row: RowKey, metric: Metric, found: Mapping[int, float]
    ) -> tuple[float, float] | tuple[None, None]:
        """Means over the seeds ``found`` of the smallest and the largest repeat, where each seed has some."""
        reference = self.baseline(group)
        base = self.ok(group, reference) if reference else {}
        cells = self.ok(group, row)
        by_seed = [metric.over_repeats(cells[seed], base.get(seed)) for seed in found]
        if not all(by_seed):
            return None, None
        ends = [(min(*one, own), max(*one, own)) for one, own in zip(by_seed, found.values(), strict=True)]
        return fmean(low for low, _ in ends), fmean(high for _, high in ends)


def sample_sd(numbers: Collection[float]) -> float | None:
    """Sample standard deviation; None of fewer than two. ``statistics.stdev`` has more digits and takes long."""
    if len(numbers) < 2:
        return None
    mean = fmean(numbers)
    return math.sqrt(math.fsum((number - mean) ** 2 for number in numbers) / (len(numbers) - 1))


def _sd_text(metric: Metric, mean: float, sd: float | None) -> str:
    """The deviation in its mean's decimals; nothing under two seeds, or for equal counts or equal zeros."""
    if sd is None or (sd == 0 and (metric.counted or mean == 0)) or metric.text(mean) == "0":
        return ""
    return metric.text(sd, like=mean).removeprefix("+")


def records_of(frame: pd.DataFrame) -> list[Record]:
    """The rows of a run's table as dictionaries, null as None."""
    plain = frame.astype(object)
    rows = plain.where(plain.notna(), None).to_dict("records")
    return [{str(key): value for key, value in row.items()} for row in rows]


def group_key(cell: Record) -> GroupKey:
    profile = {key: value for key, value in cell["profile"].items() if key != "set"}  # which the others say
    parts = (cell["split_rows"], profile, cell["backbone_params"])
    split_rows, settings, params = (json.dumps(part, sort_keys=True) for part in parts)
    code = code_of(cell, "backbone")
    return GroupKey(cell["dataset"], cell["dataset_revision"], split_rows, settings, params, code)


def code_of(cell: Record, part: str) -> str:
    """Which version of a plug-in's file a cell was computed with, shortened; nothing of all other code."""
    version = (cell["plugins"] or {}).get(part, {})
    return str(version.get(FILE_SUM, ""))[:SUM_SHOWN]


def blocks(run: Run, titles: Titles) -> list[Block]:
    """The blocks of a run, or those that were made before."""
    return list(run) if isinstance(run, Sequence) else blocks_of(records_of(run), titles)


def blocks_of(cells: Sequence[Record], titles: Titles, facts: Iterable[DataFields] = ()) -> list[Block]:
    """One block by backbone and τ, in table order; ``facts`` is what lies in the run folder."""
    known = {one.key: one for one in facts}
    places: dict[str, dict[GroupKey, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for cell in cells:
        places[cell["backbone"]][group_key(cell)].append(cell)
    found = []
    for backbone in sorted(places, key=titles.backbone_rank):
        groups = list(places[backbone].values())
        taus = sorted({cell["tau"] for group in groups for cell in group} - {None})
        for tau in (*taus,) or (None,):
            columns = [group for group in groups if _belongs(group, tau)]
            shown = [cell for group in columns for cell in group if cell["tau"] in (None, tau)]
            found.append(_block(Block(backbone, tau, anchors=titles.anchors, facts=known), shown, titles))
    return found


def _belongs(group: Sequence[Record], tau: float | None) -> bool:
    """Whether a column is part of the table of ``tau``: it has cells there, or at no τ at all."""
    taus = {cell["tau"] for cell in group} - {None}
    return not taus or tau in taus


def _natural(label: str) -> str:
    """A key that orders 330 before 2000."""
    return re.sub(r"\d+", lambda digits: digits[0].zfill(12), label)


def _is_field_form(row: RowKey, rows: Iterable[RowKey]) -> bool:
    """Whether ``budget=field`` is named in the row's label and sets it apart from another row."""
    if "budget=field" not in _overrides(row.label):
        return False
    return any(other.budget != row.budget and _without_budget(other) == _without_budget(row) for other in rows)


def _without_budget(row: RowKey) -> tuple[str, ...]:
    kept = [part for part in _overrides(row.label) if not part.startswith("budget=")]
    return (row.label.partition("[")[0], *kept)


def _overrides(label: str) -> list[str]:
    return label.partition("[")[2].removesuffix("]").split(",") if "[" in label else []


def _places(cells: Sequence[Record]) -> list[tuple[GroupKey, RowKey]]:
    """Column and row of each cell."""
    places = [(group_key(cell), RowKey(cell["label"], cell["budget"], code=code_of(cell, "method"))) for cell in cells]
    terms = [terms_text(cell) for cell in cells]
    said: dict[tuple[GroupKey, RowKey], set[str]] = defaultdict(set)
    for place, text in zip(places, terms, strict=True):
        said[place].add(text)
    return [
        (group, replace(row, terms=text) if len(said[group, row]) > 1 else row)
        for (group, row), text in zip(places, terms, strict=True)
    ]


def _block(block: Block, cells: Sequence[Record], titles: Titles) -> Block:
    order: dict[RowKey, tuple[int, str, str, str]] = {}
    for (group, row), cell in zip(_places(cells), cells, strict=True):
        block.cells.setdefault((group, row), {}).setdefault(cell["seed"], []).append(cell)
        block.samples.setdefault(row, cell)
        position = _LAST if cell["method_order"] is None else cell["method_order"]
        place = (position, _natural(row.label), row.budget or "", row.code)
        order[row] = min(order.get(row, (_LAST + 1, "", "", "")), place)
    block.field_forms = frozenset(row for row in order if _is_field_form(row, order))
    block.rows = sorted(order, key=lambda row: (row in block.field_forms, *order[row]))
    found = {group for group, _ in block.cells}
    block.groups = sorted(found, key=lambda group: (titles.dataset_rank(group.dataset), str(group)))
    return block
