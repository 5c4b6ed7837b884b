"""The paper's own Tables 2 and 3, from ``results/paper``, as the tables that our records become.

Numbers and marks are the printed ones; where ranking or arithmetic on the printed numbers gives something else, a
note says so.
"""

from __future__ import annotations

import csv
import typing
from dataclasses import replace
from pathlib import Path

from bench.errors import DataError
from bench.tables.adaptability import MEANING, Pair, pair_rows
from bench.tables.metrics import METRICS, Metric
from bench.tables.model import REMARK, Group, Item, Mark, Note, Row, Table, Value, number_of, ranked

__all__ = ["FOLDER", "paper_rows", "paper_table2", "paper_table3"]

FOLDER = Path(__file__).resolve().parents[2] / "results" / "paper"
"""Beside the packages, in a checkout and where the project is installed."""
_WORDS: dict[str, str] = {"": "not marked", "best": "marked best", "second": "marked second best"}


def paper_rows(name: str) -> list[dict[str, str]]:
    """The lines of ``<name>.csv`` by column, as text; ``results/paper/README.md`` describes the files.

    Raises:
        DataError: the file is not there.
    """
    file = FOLDER / f"{name}.csv"
    if not file.is_file():
        raise DataError(f"{file} is missing: install ctr-field-bench anew, or restore the folder from the repository.")
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def _columns(lines: list[dict[str, str]]) -> tuple[Metric, ...]:
    """The columns that a file has numbers of, from left to right."""
    return tuple(METRICS[name] for name in dict.fromkeys(line["metric"] for line in lines))


def paper_table2() -> Table:
    """Ten methods on three data sets: AUC, Logloss and TT."""
    lines = paper_rows("table2")
    methods = {line["method"]: line for line in lines}
    datasets = {line["dataset"]: line["dataset_title"] for line in lines}
    printed = {(line["dataset"], line["metric"], line["method"]): line for line in lines}
    columns = _columns(lines)
    shown: dict[tuple[str, Metric, str], Value] = {}
    notes: list[Note] = []
    for dataset, title in datasets.items():
        for metric in columns:
            column = [printed[dataset, metric.name, method] for method in methods]
            values = ranked([_value(line["printed"]) for line in column], metric)
            where = f"{metric.title} on {title}"
            for line, value in zip(column, values, strict=True):
                shown[dataset, metric, line["method"]] = replace(value, mark=typing.cast(Mark, line["mark"]))
                if value.mark != line["mark"]:
                    marks = f"printed {_WORDS[line['mark']]}, by the numbers {_WORDS[value.mark]}"
                    item = Item(f"{line['title']}, {where}: {marks}", (line["title"],), title)
                    notes.append(Note(REMARK, "", (item,)))
    return Table(
        name="paper-table2",
        backbone=_seconds()[0]["backbone"],
        tau=0.5,
        title="Table 2 as the paper prints it",
        caption=f"Means of three runs at prune ratio τ = 0.5. TT is the ratio to {_baseline(methods, datasets)}.",
        groups=tuple(Group(dataset, title, columns) for dataset, title in datasets.items()),
        rows=tuple(
            Row(
                method=name,
                label=name,
                budget=None,
                title=f"{line['title']} ({line['kind']})" if line["kind"] else line["title"],
                values=tuple(shown[dataset, metric, name] for dataset in datasets for metric in columns),
                uses_tau=line["uses_tau"] == "true",
            )
            for name, line in methods.items()
        ),
        notes=tuple(notes),
        stub="Selection approach",
    )


def _seconds() -> list[dict[str, str]]:
    """Training times behind Table 2's ratios, one a data set."""
    return [line for line in paper_rows("stated") if line["place"] == "table 2 caption"]


def _baseline(methods: dict[str, dict[str, str]], datasets: dict[str, str]) -> str:
    """The baseline's title and its seconds on every data set."""
    lines = _seconds()
    times = ", ".join(f"{int(line['value']):,} s on {datasets[line['dataset']]}" for line in lines)
    return f"the training time of {methods[lines[0]['method']]['title']} ({times})"


def paper_table3() -> Table:
    """Five backbones on one data set, without and with one method, and the improvement."""
    lines = paper_rows("table3")
    places = {(line["backbone"], line["metric"]): line for line in lines}
    first, columns = lines[0], _columns(lines)
    rows: list[Row] = []
    notes: list[Note] = []
    for backbone in dict.fromkeys(line["backbone"] for line in lines):
        cells = [places[backbone, metric.name] for metric in columns]
        pairs = [
            ranked([_value(cell["old"]), _value(cell["new"])], metric)
            for cell, metric in zip(cells, columns, strict=True)
        ]
        title = cells[0]["backbone_title"]
        pair = Pair(backbone, title, columns, tuple(old for old, _ in pairs), tuple(new for _, new in pairs))
        *both, gains = pair_rows(pair, first["method"], first["method"], first["method_title"])
        printed = tuple(_value(cell["improvement"]) for cell in cells)
        rows += [*both, replace(gains, values=printed)]
        notes += _other_gains(pair, gains.values, printed)
    return Table(
        name="paper-table3",
        backbone="",
        tau=0.5,
        title="Table 3 as the paper prints it",
        caption=f"Means of three runs at prune ratio τ = 0.5. {MEANING}",
        groups=(Group(first["dataset"], first["dataset_title"], columns),),
        rows=tuple(rows),
        notes=tuple(notes),
        stub="Backbone",
        by_column=False,
    )


def _other_gains(pair: Pair, computed: tuple[Value, ...], printed: tuple[Value, ...]) -> list[Note]:
    """One note for a backbone whose printed improvements do not follow from its printed numbers."""
    differ = [
        f"{metric.title} {ours.text} where {theirs.text} is printed"
        for metric, ours, theirs in zip(pair.metrics, computed, printed, strict=True)
        if ours.text != theirs.text
    ]
    item = Item(f"{pair.title}: the printed numbers give {', '.join(differ)}", (pair.title,))
    return [Note(REMARK, "", (item,))] if differ else []


def _value(printed: str) -> Value:
    return Value(mean=number_of(printed), text=printed, rankable=True)
