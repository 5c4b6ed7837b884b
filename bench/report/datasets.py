"""The data sets of a run: rows by split and of the pretraining subset, fields, vocabulary, positives."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.metrics import METRICS
from bench.report.cells import GroupKey, Record, group_key, records_of
from bench.report.model import MISSING, Group, Note, Row, Table, Value
from bench.report.naming import distinct_titles
from bench.report.titles import Titles

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FIELDS", "ROWS", "dataset_tables"]

ROWS = ("total_rows", "train_rows", "valid_rows", "test_rows", "pretrain_rows")
FIELDS = ("n_fields", "vocabulary_rows", "positives", "positive_share")
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
        places[replace(group_key(cell), profile="", backbone_params="")].append(cell)
    keys = sorted(places, key=lambda key: (titles.dataset_rank(key.dataset), str(key)))
    samples = [{**places[key][0], "profile": {}, "backbone_params": {}} for key in keys]
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
    values = tuple(_only(numbers[metric]) for metric in (*ROWS, *FIELDS))
    return Row("", "", None, title, values, uses_tau=False, dataset=key.dataset, facts={"revision": key.revision})


def _numbers(cells: Sequence[Record]) -> dict[str, list[Value]]:
    """The different values that the cells of one data set state, by column."""
    plain = [cell for cell in cells if "[" not in cell["label"] and _pretrain_rows(cell) is not None]
    readers: dict[str, Callable[[Record], float | None]] = {
        "total_rows": lambda cell: sum(cell["split_rows"].values()) or None,
        **{f"{split}_rows": _part("split_rows", split) for split in ("train", "valid", "test")},
        "pretrain_rows": _pretrain_rows,
        "n_fields": lambda cell: len(cell["field_names"]) or None,
        "vocabulary_rows": _vocabulary_rows,
        "positives": lambda cell: sum(cell["positives"].values()) if cell["positives"] else None,
        "positive_share": _positive_share,
    }
    return {
        metric: _distinct(metric, plain or cells if metric == "pretrain_rows" else cells, read)
        for metric, read in readers.items()
    }


def _distinct(metric: str, cells: Sequence[Record], read: Callable[[Record], float | None]) -> list[Value]:
    """One value for every number that is stated, with the first cell that does."""
    sources: dict[float, str] = {}
    for cell in cells:
        number = read(cell)
        if number is not None:
            sources.setdefault(number, cell["config_hash"])
    return [Value(n, cells=(sources[n],), text=METRICS[metric].text(n)) for n in sorted(sources)]


def _only(values: Sequence[Value]) -> Value:
    return values[0] if len(values) == 1 else Value()


def _part(key: str, split: str) -> Callable[[Record], float | None]:
    return lambda cell: cell[key].get(split)


def _pretrain_rows(cell: Record) -> float | None:
    number = (cell["notes"] or {}).get("pretrain_rows")
    return number if isinstance(number, int | float) else None


def _vocabulary_rows(cell: Record) -> float | None:
    """As recorded, else the table of a model that keeps every field."""
    if cell["vocabulary_rows"] is not None:
        return float(cell["vocabulary_rows"])
    keeps_all = bool(cell["kept_fields"]) and len(cell["kept_fields"]) == len(cell["field_names"])
    return float(cell["embedding_rows"]) if keeps_all and cell["embedding_rows"] is not None else None


def _positive_share(cell: Record) -> float | None:
    total = sum(cell["split_rows"].values())
    return 100 * sum(cell["positives"].values()) / total if cell["positives"] and total else None


def _notes(found: Mapping[str, Mapping[str, Sequence[Value]]]) -> list[Note]:
    """Why a number is missing, by column."""
    notes = []
    for metric, reason in _LACKING.items():
        label = METRICS[metric].label
        if lacking := [title for title, numbers in found.items() if not numbers[metric]]:
            notes.append(Note(MISSING, f"{label} of {', '.join(lacking)}: {reason}."))
        for title, numbers in found.items():
            if len(numbers[metric]) > 1:
                texts = ", ".join(value.text for value in numbers[metric])
                notes.append(Note(MISSING, f"{label} of {title}: several, {texts}."))
    return notes
