"""The fields of a data set: what methods make of each, and what is known of it from the rows."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from bench.records import display_title
from bench.tables.cells import GroupKey, Record, group_key
from bench.tables.metrics import Metric, count
from bench.tables.model import MISSING, REMARK, Group, Item, Note, Row, Table, Value
from bench.tables.naming import distinct_titles
from bench.tables.titles import Titles

if TYPE_CHECKING:
    from bench.data.store.fields import DataFields, FieldFacts

__all__ = ["SHORT", "FieldsOf", "Voice", "facts_table", "fields_of", "fields_table", "notable"]

_SELECTION = (
    Metric(
        "mean_rank", "Mean rank", None, 1,
        meaning="Mean rank: by score, 1 the highest, over {ranked} that score fields.",
    ),
    Metric("ranks", "Ranks", None, 1, meaning="Ranks: from the best to the worst of these."),
    Metric(
        "kept_share", "Kept", None, 0, unit="%",
        meaning="Kept: share of {chosen} that drop fields. Controls count in none of these.",
    ),
)  # fmt: skip
_FACTS = (
    Metric("kind", "Kind", None, 0),
    Metric(
        "values", "Values", None, count,
        meaning="Values: with an embedding of their own; of a numeric field, different numbers.",
    ),
    Metric("missing", "Missing", None, 1, unit="%"),
    Metric(
        "top_share", "Top value", None, 1, unit="%",
        meaning="Top value: share of the most frequent one, missing counted as one.",
    ),
    Metric(
        "auc_alone", "AUC alone", None, 3,
        meaning="AUC alone: of click rates by value, out of fold, on {rows} training rows.",
    ),
    Metric("notable", "Notable", None, 0),
)  # fmt: skip
SHORT = ("mean_rank", "ranks", "kept_share", "auc_alone", "notable")
"""Columns where room is scarce."""
_NAMED = 2
"""Relatives of a field that its row names."""
_LISTED = 12
"""Groups or pairs that a note lists."""


@dataclass(frozen=True)
class Voice:
    """What one cell says of the fields."""

    cell: Record
    ranks: np.ndarray | None
    """[F], 1 the highest score, ties sharing the mean of theirs; None where it does not score every field."""
    kept: frozenset[int] | None
    """Numbers of the kept fields; None where no field is dropped."""


@dataclass(frozen=True)
class FieldsOf:
    """One data set of a run: its fields and all that is said of them."""

    key: GroupKey
    title: str
    label: str
    """Tells it from the others of the run; nearly fit for a file name."""
    names: tuple[str, ...]
    voices: tuple[Voice, ...]
    silent: Mapping[str, tuple[str, ...]]
    """Why -> titles of the methods that say nothing."""
    facts: DataFields | None

    @property
    def split_rows(self) -> dict[str, int]:
        found: dict[str, int] = json.loads(self.key.split_rows)
        return found

    def ranks(self, field: int) -> list[float]:
        """By cell that ranks."""
        return [float(voice.ranks[field]) for voice in self.voices if voice.ranks is not None]

    def kept(self, field: int) -> list[bool]:
        """By cell that drops a field, whether it keeps this one."""
        return [field in voice.kept for voice in self.voices if voice.kept is not None]

    def order(self) -> list[int]:
        """Fields from the best mean rank on; without ranks the most often kept first."""

        def place(field: int) -> tuple[float, float, int]:
            ranks, kept = self.ranks(field), self.kept(field)
            return fmean(ranks) if ranks else 0.0, -fmean(kept) if kept else 0.0, field

        return sorted(range(len(self.names)), key=place)

    def facts_of(self, field: int) -> FieldFacts | None:
        return None if self.facts is None else self.facts.by_name.get(self.names[field])


def fields_of(cells: Sequence[Record], titles: Titles, facts: Iterable[DataFields] = ()) -> list[FieldsOf]:
    """The data sets of a run, as far as a method or the rows say something of their fields.

    Args:
        cells: all records of the run.
        titles: names and order of data sets in print.
        facts: what lies in the run folder, see ``bench.data.store.fields``.
    """
    known = {one.key: one for one in facts}
    places: dict[GroupKey, list[Record]] = defaultdict(list)
    for cell in cells:
        if cell["status"] == "ok" and cell["field_names"]:
            places[replace(group_key(cell), profile="", backbone_params="")].append(cell)
    keys = sorted(places, key=lambda key: (titles.dataset_rank(key.dataset), str(key)))
    samples = [{**places[key][0], "profile": {}, "backbone_params": {}} for key in keys]
    named = zip(keys, distinct_titles(samples, titles), distinct_titles(samples, Titles()), strict=True)
    found = [_fields_of(key, (title, label), places[key], titles, known.get(key.place)) for key, title, label in named]
    return [one for one in found if one.voices or one.facts is not None]


def _fields_of(
    key: GroupKey, named: tuple[str, str], cells: Sequence[Record], titles: Titles, facts: DataFields | None
) -> FieldsOf:
    names = tuple(cells[0]["field_names"])
    voices, silent = [], defaultdict(list)
    for cell in cells:
        if titles.is_control(cell):
            silent["control"].append(_method(cell))
            continue
        voice = Voice(cell, _ranks(cell), _kept(cell))
        if voice.ranks is None and voice.kept is None:
            silent["drops and scores no field"].append(_method(cell))
        else:
            voices.append(voice)
    reasons = {why: tuple(dict.fromkeys(methods)) for why, methods in silent.items()}
    return FieldsOf(key, *named, names, tuple(voices), reasons, facts)


def _method(cell: Record) -> str:
    return display_title(cell["label"], cell["method_title"])


def _ranks(cell: Record) -> np.ndarray | None:
    scores = cell["field_scores"]
    if not scores or None in scores:
        return None
    return np.asarray(rankdata(-np.array(scores, dtype=np.float64)))


def _kept(cell: Record) -> frozenset[int] | None:
    kept = cell["kept_fields"]
    return frozenset(kept) if kept is not None and len(kept) < len(cell["field_names"]) else None


def fields_table(one: FieldsOf, most: int | None = None, columns: Sequence[str] = ()) -> Table:
    """A row by field, the best mean rank first.

    Args:
        one: the data set.
        most: rows that are shown; a note says how many are not. By default all.
        columns: names of those that are shown; by default all.
    """
    facts: dict[str, str | int | None] = {"revision": one.key.revision}
    facts |= {f"{split}_rows": n for split, n in one.split_rows.items()}
    groups = [Group(one.key.dataset, "Selection", _SELECTION, facts=facts)] if one.voices else []
    groups += [] if one.facts is None else [Group(one.key.dataset, "Training rows", _FACTS, facts=facts)]
    rows = tuple(_row(one.names[field], _values(one, field)) for field in one.order()[:most])
    more = len(one.names) - len(rows)
    left = [Note(REMARK, "", (Item(f"{more} more fields: tables/fields.md and tables/fields.csv"),))] if more else []
    counts = {"ranked": _cells(len(one.ranks(0))), "chosen": _cells(len(one.kept(0)))}
    table = _table(one.label, one.title, groups, rows, (*left, *_notes(one)))
    return _with_columns(table, columns, counts | {"rows": _rows_text(one.facts)})


def facts_table(facts: DataFields, title: str) -> Table:
    """What is known of the fields from the rows alone, in the order of the schema."""
    groups = [Group(facts.dataset, "Training rows", _FACTS)]
    rows = tuple(_row(field.name, _known(field)) for field in facts.measured.fields)
    table = _table(facts.dataset, title, groups, rows, tuple(_of_facts(facts)))
    return _with_columns(table, (), {"rows": _rows_text(facts)})


def _table(name: str, title: str, groups: Sequence[Group], rows: tuple[Row, ...], notes: tuple[Note, ...]) -> Table:
    title = f"Fields of {title}"
    return Table(name, "", None, title, "", tuple(groups), rows, notes, stub="Field", by_column=False)


def _with_columns(table: Table, named: Sequence[str], words: Mapping[str, str]) -> Table:
    """``table`` with the columns ``named``, or all, and a caption of what they mean; without one that says nothing."""
    texts = [{row.values[i].text for row in table.rows} for i in range(len(table.columns))]
    shown = [
        bool(texts[i] - {""}) and (not named or metric.name in named) for i, (_, metric) in enumerate(table.columns)
    ]
    left = iter(shown)
    groups = [replace(group, metrics=tuple(m for m in group.metrics if next(left))) for group in table.groups]
    rows = (replace(row, values=tuple(compress(row.values, shown))) for row in table.rows)
    meanings = (metric.meaning.format(**words) for _, metric in compress(table.columns, shown))
    return replace(table, caption=" ".join(filter(None, meanings)), groups=tuple(groups), rows=tuple(rows))


def notable(facts: FieldFacts) -> str:
    """What should be known of a field before it is used."""
    near = [name for name, _ in facts.near]
    parts = [
        "constant" if facts.constant else "",
        "leak?" if facts.leak else "",
        f"twin of {_some(facts.twins)}" if facts.twins else "",
        f"near {_some(near)}" if near else "",
    ]
    return "; ".join(filter(None, parts))


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _cells(n: int) -> str:
    return f"{n:,} cell{'' if n == 1 else 's'}"


def _rows_text(facts: DataFields | None) -> str:
    if facts is None:
        return ""
    rows, of = facts.measured.rows, facts.measured.train_rows
    return f"all {of:,}" if rows == of else f"{rows:,} of {of:,} evenly spaced"


def _row(name: str, values: Iterable[Value]) -> Row:
    return Row("", "", None, name, tuple(values), uses_tau=False)


def _values(one: FieldsOf, field: int) -> list[Value]:
    found = []
    if one.voices:
        ranks, kept = one.ranks(field), one.kept(field)
        mean, low, high = (fmean(ranks), min(ranks), max(ranks)) if ranks else (None, None, None)
        span = MISSING if low is None or high is None else f"{low:g}" if low == high else f"{low:g}–{high:g}"
        share = 100 * fmean(kept) if kept else None
        found = [_number(_SELECTION[0], mean), Value(low, text=span), _number(_SELECTION[2], share)]
    if one.facts is None:
        return found
    facts = one.facts_of(field)
    return found + (_known(facts) if facts is not None else [Value()] * len(_FACTS))


def _known(facts: FieldFacts) -> list[Value]:
    numbers = (float(facts.values), 100 * facts.missing, 100 * facts.top, facts.auc)
    shown = [_number(metric, number) for metric, number in zip(_FACTS[1:-1], numbers, strict=True)]
    return [Value(text=facts.kind), *shown, Value(text=notable(facts))]


def _number(metric: Metric, number: float | None) -> Value:
    return Value() if number is None else Value(number, text=metric.text(number))


def _notes(one: FieldsOf) -> Iterator[Note]:
    if one.facts is not None:
        yield from _of_facts(one.facts)
    else:
        what = "Kinds, values and twins of the fields are not known here: the run folder is of an older version"
        yield Note(REMARK, "", (Item(what),))
    if one.voices and one.silent:
        items = tuple(Item(f"{', '.join(methods)} ({why})") for why, methods in one.silent.items())
        yield Note(REMARK, "Not counted", items)


def _of_facts(facts: DataFields) -> Iterator[Note]:
    fields = facts.measured.fields
    if leaks := [f"{one.name} ({one.auc:.3f})" for one in fields if one.leak and one.auc is not None]:
        lead = "leak? The field alone says the click nearly always, as one does that is known only after it"
        yield Note(REMARK, lead, _items(leaks))
    place = {one.name: i for i, one in enumerate(fields)}
    groups = dict.fromkeys(tuple(sorted((one.name, *one.twins), key=place.__getitem__)) for one in fields if one.twins)
    if groups:
        yield Note(REMARK, "One-to-one, so that any one of them says all", _items([_and(group) for group in groups]))
    pairs = [(one.name, other, v) for one in fields for other, v in one.near if place[one.name] < place[other]]
    if pairs:
        lead = "Near-duplicates (Cramér's V)"
        yield Note(REMARK, lead, _items([f"{a} and {b} ({v:.3f})" for a, b, v in pairs]))
    if constant := [one.name for one in fields if one.constant]:
        yield Note(REMARK, "Constant on all training rows", _items(constant))


def _and(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _items(texts: Sequence[str]) -> tuple[Item, ...]:
    more = len(texts) - _LISTED
    return tuple(map(Item, [*texts[:_LISTED], *([f"and {more} more"] if more > 0 else [])]))
