"""The data sets of a run: rows by split and of the pretraining subset, fields, vocabulary, positives."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from bench.tables.cells import GroupKey, Record, group_key, records_of
from bench.tables.metrics import Cell, Metric, count
from bench.tables.model import ABSENT, Group, Item, Note, Row, Table, Value
from bench.tables.naming import distinct_titles
from bench.tables.titles import Titles

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FIELDS", "ROWS", "dataset_tables"]


def _part(split: str, cell: Cell) -> float | None:
    found: float | None = cell["split_rows"].get(split)
    return found


def _pretrain_rows(cell: Cell) -> float | None:
    number = (cell["notes"] or {}).get("pretrain_rows")
    return number if isinstance(number, int | float) else None


def _vocabulary_rows(cell: Cell) -> float | None:
    """As recorded, else the table of a model that keeps every field."""
    if cell["vocabulary_rows"] is not None:
        return float(cell["vocabulary_rows"])
    keeps_all = bool(cell["kept_fields"]) and len(cell["kept_fields"]) == len(cell["field_names"])
    return float(cell["embedding_rows"]) if keeps_all and cell["embedding_rows"] is not None else None


def _positives(cell: Cell) -> float | None:
    return sum(cell["positives"].values()) if cell["positives"] else None


def _positive_share(cell: Cell) -> float | None:
    found, total = _positives(cell), sum(cell["split_rows"].values())
    return 100 * found / total if found is not None and total else None


def _counted(name: str, title: str, read: Callable[[Cell], float | None]) -> Metric:
    return Metric(name, title, None, count, lambda cell, baseline: read(cell), counted=True)


_PRETRAINING = _counted("pretrain_rows", "Pretraining", _pretrain_rows)
ROWS = (
    _counted("total_rows", "Total", lambda cell: sum(cell["split_rows"].values()) or None),
    *(
        _counted(f"{split}_rows", title, partial(_part, split))
        for split, title in (("train", "Training"), ("valid", "Validation"), ("test", "Test"))
    ),
    _PRETRAINING,
)
FIELDS = (
    _counted("n_fields", "Fields", lambda cell: len(cell["field_names"]) or None),
    _counted("vocabulary_rows", "Vocabulary", _vocabulary_rows),
    _counted("positives", "Positives", _positives),
    Metric("positive_share", "Positives", None, 2, lambda cell, baseline: _positive_share(cell), unit="%"),
)
"""Columns of the table, with the above."""
_CAPTION = (
    "Rows that the run used, by split. Pretraining: rows of the subset on which a method pretrains, part of the "
    "training rows. Vocabulary: rows of the embedding table, the two reserved ones of every field included. "
    "Positives: rows with label 1."
)
_LACKING = {
    "pretrain_rows": "no cell of the run pretrains on a subset",
    "n_fields": "no cell has ended well",
    "vocabulary_rows": "not in the records, which an older version wrote",
    "positives": "not in the records, which an older version wrote",
}


def dataset_tables(frame: pd.DataFrame, titles: Titles | None = None) -> list[Table]:
    """One table with a row by data set, revision and split.

    Args:
        frame: a run as ``bench.records.load_frame`` returns it.
        titles: names and order of data sets in print; by default those that are registered.
    """
    titles = Titles.registered() if titles is None else titles
    places: dict[GroupKey, list[Record]] = defaultdict(list)
    for cell in records_of(frame):
        places[replace(group_key(cell), profile="", backbone_params="", backbone_code="")].append(cell)
    keys = sorted(places, key=lambda key: (titles.dataset_rank(key.dataset), str(key)))
    samples = [{**places[key][0], "profile": {}, "backbone_params": {}, "plugins": None} for key in keys]
    names = distinct_titles(samples, titles)
    found = {name: _numbers(places[key]) for name, key in zip(names, keys, strict=True)}
    table = Table(
        name="all",
        backbone="",
        tau=None,
        title="Data sets",
        caption=_CAPTION,
        groups=(Group("", "Rows", ROWS), Group("", "Fields and labels", FIELDS)),
        rows=tuple(_row(name, key, found[name]) for name, key in zip(names, keys, strict=True)),
        notes=tuple(_notes(found)),
        stub="Data set",
        by_column=False,
    )
    return [table] if keys else []


def _row(title: str, key: GroupKey, numbers: Mapping[str, Sequence[Value]]) -> Row:
    values = tuple(_only(numbers[metric.name]) for metric in (*ROWS, *FIELDS))
    return Row("", "", None, title, values, uses_tau=False, dataset=key.dataset, facts={"revision": key.revision})


def _numbers(cells: Sequence[Record]) -> dict[str, list[Value]]:
    """The different values that the cells of one data set state, by column."""
    plain = [cell for cell in cells if "[" not in cell["label"] and _pretrain_rows(cell) is not None]
    return {
        metric.name: _distinct(metric, plain or cells if metric is _PRETRAINING else cells)
        for metric in (*ROWS, *FIELDS)
    }


def _distinct(metric: Metric, cells: Sequence[Record]) -> list[Value]:
    """One value for every number that is stated, with the first cell that does."""
    sources: dict[float, str] = {}
    for cell in cells:
        number = metric.number(cell)
        if number is not None:
            sources.setdefault(number, cell["config_hash"])
    return [Value(n, cells=(sources[n],), text=metric.text(n)) for n in sorted(sources)]


def _only(values: Sequence[Value]) -> Value:
    return values[0] if len(values) == 1 else Value()


def _notes(found: Mapping[str, Mapping[str, Sequence[Value]]]) -> list[Note]:
    """Why a number is missing, by column."""
    notes = []
    for metric in (metric for metric in (*ROWS, *FIELDS) if metric.name in _LACKING):
        if lacking := [title for title, numbers in found.items() if not numbers[metric.name]]:
            item = Item(_LACKING[metric.name], tuple(lacking))
            notes.append(Note(ABSENT, f"{metric.title} of {', '.join(lacking)}", (item,)))
        for title, numbers in found.items():
            if len(numbers[metric.name]) > 1:
                texts = ", ".join(value.text for value in numbers[metric.name])
                notes.append(Note(ABSENT, f"{metric.title} of {title}", (Item(f"several, {texts}", (title,)),)))
    return notes
