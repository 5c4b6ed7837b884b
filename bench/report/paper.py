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
from bench.metrics import METRICS
from bench.report.adaptability import ADAPTABILITY, MEANING, Pair, pair_rows
from bench.report.model import Group, Mark, Note, Row, Table, Value, number_of, ranked
from bench.report.tables import OVERALL

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


def paper_table2() -> Table:
    """Ten methods on three data sets: AUC, Logloss and TT."""
    lines = paper_rows("table2")
    methods = {line["method"]: line for line in lines}
    datasets = {line["dataset"]: line["dataset_title"] for line in lines}
    printed = {(line["dataset"], line["metric"], line["method"]): line for line in lines}
    shown: dict[tuple[str, str, str], Value] = {}
    notes: list[Note] = []
    for dataset, title in datasets.items():
        for metric in OVERALL:
            column = [printed[dataset, metric, method] for method in methods]
            values = ranked([_value(line["printed"]) for line in column], METRICS[metric])
            where = f"{METRICS[metric].label} on {title}"
            for line, value in zip(column, values, strict=True):
                shown[dataset, metric, line["method"]] = replace(value, mark=typing.cast(Mark, line["mark"]))
                if value.mark != line["mark"]:
                    marks = f"printed {_WORDS[line['mark']]}, by the numbers {_WORDS[value.mark]}"
                    notes.append(Note("", f"{line['title']}, {where}: {marks}."))
    return Table(
        name="paper-table2",
        backbone=_seconds()[0]["backbone"],
        tau=0.5,
        title="Table 2 as the paper prints it",
        caption=f"Means of three runs at prune ratio τ = 0.5. TT is the ratio to {_baseline(methods, datasets)}.",
        groups=tuple(Group(dataset, title, OVERALL) for dataset, title in datasets.items()),
        rows=tuple(
            Row(
                method=name,
                label=name,
                budget=None,
                title=f"{line['title']} ({line['kind']})" if line["kind"] else line["title"],
                values=tuple(shown[dataset, metric, name] for dataset in datasets for metric in OVERALL),
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
    first = lines[0]
    rows: list[Row] = []
    notes: list[Note] = []
    for backbone in dict.fromkeys(line["backbone"] for line in lines):
        cells = [places[backbone, metric] for metric in ADAPTABILITY]
        pairs = [
            ranked([_value(cell["old"]), _value(cell["new"])], METRICS[metric])
            for cell, metric in zip(cells, ADAPTABILITY, strict=True)
        ]
        title = cells[0]["backbone_title"]
        pair = Pair(backbone, title, tuple(old for old, _ in pairs), tuple(new for _, new in pairs))
        *both, gains = pair_rows(pair, first["method"], first["method"], first["method_title"])
        printed = tuple(_value(cell["improvement"]) for cell in cells)
        rows += [*both, replace(gains, values=printed)]
        notes += _other_gains(title, gains.values, printed)
    return Table(
        name="paper-table3",
        backbone="",
        tau=0.5,
        title="Table 3 as the paper prints it",
        caption=f"Means of three runs at prune ratio τ = 0.5. {MEANING}",
        groups=(Group(first["dataset"], first["dataset_title"], ADAPTABILITY),),
        rows=tuple(rows),
        notes=tuple(notes),
        stub="Backbone",
        by_column=False,
    )


def _other_gains(title: str, computed: tuple[Value, ...], printed: tuple[Value, ...]) -> list[Note]:
    """One note for a backbone whose printed improvements do not follow from its printed numbers."""
    differ = [
        f"{METRICS[metric].label} {ours.text} where {theirs.text} is printed"
        for metric, ours, theirs in zip(ADAPTABILITY, computed, printed, strict=True)
        if ours.text != theirs.text
    ]
    return [Note("", f"{title}: the printed numbers give {', '.join(differ)}.")] if differ else []


def _value(printed: str) -> Value:
    return Value(mean=number_of(printed), text=printed, rankable=True)
