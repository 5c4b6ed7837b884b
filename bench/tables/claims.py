"""Is it as the paper says, row by row: its method less every other of its rows, in the paper and in our runs.

A claim is the sign of a difference that the paper prints. It is reproduced where the 95 % interval of our mean
difference over seeds (paired, Student's t) lies on the same side of zero, not reproduced where it lies on the other,
and cannot be told where it holds zero or there are no two seeds. The paper's rows are those of its Table 2, and without
the method those of Table 3, whose times become ratios.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

from bench.tables.cells import Block, GroupKey, RowKey, Values, blocks, sample_sd
from bench.tables.metrics import AUC, LOGLOSS, TT_RATIO, Metric, signed
from bench.tables.model import Table, Value, number_of
from bench.tables.naming import caption, names_of, table_name, table_title
from bench.tables.overall import group_of, interval_of, rows_of
from bench.tables.paper import paper_rows, paper_table2
from bench.tables.titles import Titles

if TYPE_CHECKING:
    from bench.tables.cells import Run

__all__ = ["CANNOT", "CLAIMED", "NOT", "REPRODUCED", "claim_tables", "paper_claims", "unrecorded"]

REPRODUCED, NOT, CANNOT = "reproduced", "not reproduced", "cannot tell"
CLAIMED: tuple[tuple[Metric, Metric, Metric], ...] = tuple(
    (
        replace(metric, decimals=signed(4), better=None, measure=None, ratio_of=None, meaning="", origin=origin),
        Metric(f"{metric.name}_paper", f"{metric.title}, paper", None, signed(4)),
        Metric(f"{metric.name}_claim", f"{metric.title}, claim", None, 0),
    )
    for metric in (AUC, LOGLOSS, TT_RATIO)
    for origin in ("each seed's difference of the two rows",)
)
"""Difference, the paper's, and what becomes of the claim, by metric."""
_MEANING = "{method} less the row, ours and the paper's; the claim is the sign of the latter."
Printed = Mapping[tuple[str, str], Mapping[str, Mapping[str, float]]]
"""(data set, backbone) -> row's label, empty for the one that keeps every field -> metric -> the paper's difference."""


def paper_claims() -> tuple[str, Printed]:
    """The method that the paper is about, and what it prints of it less every other row."""
    pairs = paper_rows("table3")
    method, backbone = pairs[0]["method"], paper_table2().backbone
    found: dict[tuple[str, str], dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    times: dict[tuple[str, str], float] = {}
    for line in pairs:
        old, new, place = number_of(line["old"]), number_of(line["new"]), (line["dataset"], line["backbone"])
        if line["metric"] == "tt":
            times[place] = new / old - 1
        else:
            found[place][""][line["metric"]] = new - old
    for place, ratio in times.items():
        found[place][""][TT_RATIO.name] = ratio
    lines = paper_rows("table2")
    own = {(line["dataset"], line["metric"]): number_of(line["printed"]) for line in lines if line["method"] == method}
    for line in lines:
        if line["method"] != method:
            less = own[line["dataset"], line["metric"]] - number_of(line["printed"])
            found[line["dataset"], backbone][line["method"]][line["metric"]] = less
    return method, found


def claim_tables(run: Run, titles: Titles | None = None) -> list[Table]:
    """One table by backbone and data set that the paper and the run have, at the paper's prune ratio.

    Args:
        run: as ``bench.records.load_frame`` returns it, or its blocks.
        titles: names and order of data sets and backbones in print; by default those that are registered.
    """
    titles = Titles.registered() if titles is None else titles
    method, printed = paper_claims()
    found = []
    for block in blocks(run, titles):
        if block.tau != paper_table2().tau:
            continue
        for group in block.groups:
            own = next((row for row in block.rows if row.label == method and block.ok(group, row)), None)
            rivals = dict(_rivals(block, group, printed.get((group.dataset, block.backbone), {})))
            if own is not None and rivals:
                found.append(_table(block, group, own, rivals, titles))
    return found


def _rivals(
    block: Block, group: GroupKey, printed: Mapping[str, Mapping[str, float]]
) -> Iterator[tuple[RowKey, Mapping[str, float]]]:
    """Rows that the paper has too; the baseline of Table 3 only where Table 2 does not name it."""
    for row in block.rows:
        if not block.ok(group, row):
            continue
        if row.label in printed:
            yield row, printed[row.label]
        elif row == block.baseline(group) and "" in printed:
            yield row, printed[""]


def _table(
    block: Block, group: GroupKey, own: RowKey, rivals: Mapping[RowKey, Mapping[str, float]], titles: Titles
) -> Table:
    names = names_of(block, titles)
    values: Values = {}
    for difference, paper, claim in CLAIMED:
        for row, printed in rivals.items():
            ours, theirs = _less(block, group, own, row, difference), printed[difference.name]
            values[group, row, difference] = ours
            values[group, row, paper] = Value(theirs, text=paper.text(theirs))
            values[group, row, claim] = Value(text=_verdict(ours, theirs))
    metrics = tuple(metric for three in CLAIMED for metric in three)
    return Table(
        name=table_name(block, [group]),
        backbone=block.backbone,
        tau=block.tau,
        title=table_title(names, block.tau, f"{names.rows[own]} less the paper's other rows"),
        caption=caption(block, [group], names, _MEANING.format(method=names.rows[own])),
        groups=(group_of(block, group, names, metrics),),
        rows=rows_of(block, list(rivals), names, [group], values),
        by_column=False,
    )


def _less(block: Block, group: GroupKey, own: RowKey, row: RowKey, metric: Metric) -> Value:
    """The paper's method less ``row``, seed by seed; the cells are those of ``row``."""
    source = next(one for one in (AUC, LOGLOSS, TT_RATIO) if one.name == metric.name)
    first, second = (block.by_seed(group, one, source) for one in (own, row))
    seeds = [seed for seed in first if seed in second]
    if not seeds:
        return Value()
    numbers = [first[seed] - second[seed] for seed in seeds]
    mean, sd, cells = fmean(numbers), sample_sd(numbers), block.ok(group, row)
    hashes = tuple(cells[seed]["config_hash"] for seed in seeds)
    sd_text = "" if sd is None else source.text(sd, like=mean)
    return Value(mean, sd, tuple(seeds), tuple(numbers), hashes, metric.text(mean), sd_text)


def _verdict(ours: Value, theirs: float) -> str:
    ends = interval_of(ours)
    if ends is None or theirs == 0 or ends[0] <= 0 <= ends[1]:
        return CANNOT
    return REPRODUCED if (ends[0] > 0) == (theirs > 0) else NOT


def unrecorded(tables: Sequence[Table]) -> list[tuple[str, str]]:
    """(data set, backbone) that the paper has claims of and none of ``tables`` is about."""
    here = {(group.dataset, table.backbone) for table in tables for group in table.groups}
    return [place for place in paper_claims()[1] if place not in here]
