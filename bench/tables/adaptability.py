"""What a method does to every backbone: each with all fields, with the method, and the improvement in percent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.tables.cells import Block, GroupKey, Record, RowKey, Values, blocks
from bench.tables.metrics import AUC, LOGLOSS, TT, Metric
from bench.tables.model import Mark, Note, Row, Table, Value
from bench.tables.naming import distinct_titles, names_of, setting
from bench.tables.notes import merged, notes_of
from bench.tables.overall import column_of, group_of
from bench.tables.titles import Titles

if TYPE_CHECKING:
    from bench.tables.cells import Run

__all__ = ["ADAPTABILITY", "MEANING", "Pair", "adaptability_tables", "improvement", "pair_rows"]

ADAPTABILITY = (AUC, LOGLOSS, TT)
"""Columns of the table."""
MEANING = (
    "Improvement: (new - old) / old of the numbers above, its sign turned where lower is better. The better is bold."
)


@dataclass(frozen=True)
class Pair:
    """One backbone without and with a method; values by column."""

    backbone: str
    title: str
    """Of the backbone."""
    metrics: tuple[Metric, ...]
    old: tuple[Value, ...]
    new: tuple[Value, ...]


@dataclass(frozen=True)
class _Place:
    """Where the two cells of a pair are: the cells of a backbone, a column, the baseline's row and the method's."""

    block: Block
    group: GroupKey
    old: RowKey
    new: RowKey


def improvement(old: Value, new: Value, metric: Metric) -> Value:
    """Percent by which ``new`` is better; a dash unless both are means over the same seeds, or where ``old`` is 0."""
    if old.mean is None or new.mean is None or old.seeds != new.seeds or not old.mean or not new.rankable:
        return Value()
    sign = 1 if metric.better == "higher" else -1
    percent = sign * (new.mean - old.mean) / old.mean * 100
    return Value(percent, None, new.seeds, text=f"{percent:.2f}")


def pair_rows(pair: Pair, method: str, label: str, title: str) -> tuple[Row, Row, Row]:
    """The backbone's row, the method's and the improvement; the better of the two numbers is marked, as printed."""
    marked = [_better(old, new) for old, new in zip(pair.old, pair.new, strict=True)]
    columns = zip(pair.old, pair.new, pair.metrics, strict=True)
    gains = [improvement(old, new, metric) for old, new, metric in columns]
    old, new = (tuple(values) for values in zip(*marked, strict=True))
    return (
        Row("", "", None, pair.title, old, uses_tau=False, backbone=pair.backbone, opens=True),
        Row(method, label, None, f"+ {title}", new, backbone=pair.backbone),
        Row(
            method,
            f"{label}: improvement in %",
            None,
            "Improvement (%)",
            tuple(gains),
            backbone=pair.backbone,
            gain=True,
        ),
    )


def _better(old: Value, new: Value) -> tuple[Value, Value]:
    """The marks of two ranked values without the second best, which is the other."""
    marks: list[Mark] = ["best" if value.mark == "best" else "" for value in (old, new)]
    return replace(old, mark=marks[0]), replace(new, mark=marks[1])


def adaptability_tables(
    run: Run, titles: Titles | None = None, columns: tuple[Metric, ...] = ADAPTABILITY
) -> list[Table]:
    """Results without and with a method: one table by data set, method and τ with two backbones or more.

    Args:
        run: as ``bench.records.load_frame`` returns it, or its blocks.
        titles: names and order of data sets and backbones in print; by default those that are registered.
        columns: ranked metrics.
    """
    titles = Titles.registered() if titles is None else titles
    found: dict[tuple[GroupKey, RowKey, float | None], dict[tuple[str, GroupKey], _Place]] = defaultdict(dict)
    for block in blocks(run, titles):
        for place in _places(block):
            key = (_dataset(place.group), place.new, block.row_sample(place.new)["tau"])
            found[key].setdefault((block.backbone, place.group), place)
    kept = {key: list(p.values()) for key, p in found.items() if len({backbone for backbone, _ in p}) > 1}
    datasets = sorted({key for key, _, _ in kept}, key=lambda key: (titles.dataset_rank(key.dataset), str(key)))
    samples = [_plain(next(p[0] for (dataset, *_), p in kept.items() if dataset == key)) for key in datasets]
    names = dict(zip(datasets, distinct_titles(samples, titles), strict=True))
    files = dict(zip(datasets, distinct_titles(samples, Titles()), strict=True))
    return [
        replace(_table(places, titles, names[dataset], columns), name=_name(new, tau, files[dataset]))
        for wanted in datasets
        for (dataset, new, tau), places in kept.items()
        if dataset == wanted
    ]


def _name(method: RowKey, tau: float | None, dataset: str) -> str:
    return f"{method.label}{'' if tau is None else f'-tau{tau:g}'}-{dataset}"


def _places(block: Block) -> Iterator[_Place]:
    for group in block.groups:
        old = block.baseline(group)
        for row in block.rows:
            if old is not None and block.at(group, row) and not block.row_sample(row)["is_baseline"]:
                yield _Place(block, group, old, row)


def _dataset(group: GroupKey) -> GroupKey:
    """What columns of different backbones may share."""
    return replace(group, backbone_params="")


def _plain(place: _Place) -> Record:
    return {**place.block.sample(place.group), "backbone_params": {}}


def _table(places: Sequence[_Place], titles: Titles, dataset: str, columns: tuple[Metric, ...]) -> Table:
    first = places[0]
    sample = first.block.row_sample(first.new)
    method = names_of(first.block, titles).rows[first.new]
    where = [(t, p.block, p.group) for t, p in zip(_backbones(places, titles), places, strict=True)]
    rows: list[Row] = []
    notes: list[Note] = []
    for (backbone, _, _), place in zip(where, places, strict=True):
        both = (place.old, place.new)
        values: Values = {}
        for metric in columns:
            values |= column_of(place.block, place.group, metric, both)
        old, new = (tuple(values[place.group, row, metric] for metric in columns) for row in both)
        pair = Pair(place.block.backbone, backbone, columns, old, new)
        rows += pair_rows(pair, sample["method"], first.new.label, method)
        names = names_of(place.block, titles)
        shown = replace(names, groups={**names.groups, place.group: backbone})
        notes += notes_of(place.block, values, shown, titles)
    group = group_of(first.block, first.group, names_of(first.block, titles), columns)
    seeds = {seed for place in places for seed in place.block.seeds(place.group)}
    return Table(
        name="",
        backbone="",
        tau=sample["tau"],
        title=f"{method} with every backbone"
        + ("" if sample["tau"] is None else f" at prune ratio τ = {sample['tau']:g}"),
        caption=setting(where, MEANING),
        groups=(replace(group, title=dataset, seeds=tuple(sorted(seeds))),),
        rows=tuple(rows),
        notes=tuple(merged(notes)),
        stub="Backbone",
        by_column=False,
    )


def _backbones(places: Sequence[_Place], titles: Titles) -> list[str]:
    """Titles of backbones, with what differs where one stands there twice."""
    found = []
    for place in places:
        title = titles.backbone(place.block.backbone)
        rivals = [other for other in places if other.block.backbone == place.block.backbone]
        samples = [other.block.sample(other.group) for other in rivals]
        parts = distinct_titles(samples, titles)[rivals.index(place)].split(" · ")[1:]
        found.append(" · ".join([title, *parts]))
    return found
