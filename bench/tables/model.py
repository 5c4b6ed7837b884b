"""A table before it has a layout: rows of methods, groups of columns, numbers with marks, notes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from bench.tables.metrics import Metric

__all__ = [
    "ABSENT",
    "BELOW_ANCHOR",
    "BELOW_LINEAR",
    "FEWER_SEEDS",
    "MISSING",
    "OTHER_OPTIMIZER",
    "REMARK",
    "RESUMED",
    "Flag",
    "Group",
    "Item",
    "Mark",
    "Note",
    "NoteKind",
    "Row",
    "Table",
    "Value",
    "number_of",
    "ranked",
]

MISSING = "—"
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?([\d.]+)s")
Mark = Literal["", "best", "second"]
Flag = str
"""Symbol of a kind of note, beside the numbers that it is about; those of cells are in ``bench.flags``."""


@dataclass(frozen=True)
class Value:
    """One number of a table: mean and sample standard deviation over seeds."""

    mean: float | None = None
    sd: float | None = None
    """None with fewer than two seeds."""
    seeds: tuple[int, ...] = ()
    numbers: tuple[float, ...] = ()
    """The seeds' numbers, of which the mean is."""
    cells: tuple[str, ...] = ()
    """Hashes of the cells behind the number, seed by seed."""
    text: str = MISSING
    sd_text: str = ""
    low: float | None = None
    """Of a time with a timing pass: mean over seeds of the smallest repeat; None of other numbers."""
    high: float | None = None
    """Of the largest."""
    range_text: str = ""
    mark: Mark = ""
    flags: tuple[Flag, ...] = ()
    rankable: bool = False
    """Whether the number may be compared with the others of its column."""


@dataclass(frozen=True)
class Group:
    """Neighbouring columns under one heading: the results on one data set."""

    dataset: str
    title: str
    metrics: tuple[Metric, ...]
    seeds: tuple[int, ...] = ()
    """Seeds of which any row has a result."""
    facts: dict[str, str | int | None] = field(default_factory=dict)
    """What fixes the numbers besides the data set: revision, profile, rows; and what the title does not say."""
    against: str = ""
    """Label of the method that the rows are compared with."""


@dataclass(frozen=True)
class Row:
    method: str
    label: str
    budget: str | None
    title: str
    values: tuple[Value, ...]
    """One by column, group after group."""
    flags: tuple[Flag, ...] = ()
    uses_tau: bool = True
    backbone: str = ""
    """Registered name, where the rows of one table differ in it."""
    dataset: str = ""
    """Data set as asked for, where the rows of one table differ in it; their title is the data set's then."""
    facts: dict[str, str | int | None] = field(default_factory=dict)
    """Over those of the columns."""
    opens: bool = False
    """Whether a new set of rows begins here, to be set off from those above."""
    heading: str = ""
    """Heading of the set of rows that begins here."""
    place: int = 0
    """Where the row would stand without headings by level, in a table that has them."""
    gain: bool = False
    """Whether the numbers are percentages of improvement, whatever the columns' units."""


@dataclass(frozen=True)
class NoteKind:
    """What a line under a table is for."""

    name: str
    symbol: Flag = ""
    """A flag, the dash of a missing number, or empty."""
    joined: bool = False
    """Whether notes of one lead, from the parts of one table, become one."""


FEWER_SEEDS = NoteKind("fewer seeds", "†", joined=True)
RESUMED = NoteKind("resumed", "‡", joined=True)
OTHER_OPTIMIZER = NoteKind("other optimizer", "¶", joined=True)
BELOW_ANCHOR = NoteKind("below public results", "‖", joined=True)
BELOW_LINEAR = NoteKind("below the line", "⋆", joined=True)
ABSENT = NoteKind("absent", MISSING)
REMARK = NoteKind("remark")


@dataclass(frozen=True)
class Item:
    """One thing that a note lists."""

    text: str
    rows: tuple[str, ...] = ()
    """Titles of the rows that it is about."""
    group: str = ""
    """Title of the columns that it is about; empty: of all, or none."""

    @classmethod
    def listing(cls, rows: Iterable[str]) -> Item:
        """Rows by their titles."""
        titles = tuple(rows)
        return cls(", ".join(titles), titles)


@dataclass(frozen=True)
class Note:
    """A line under the table, as data."""

    kind: NoteKind
    lead: str
    """What holds for all items; the whole note where there is none."""
    items: tuple[Item, ...] = ()

    @property
    def symbol(self) -> Flag:
        return self.kind.symbol

    @property
    def text(self) -> str:
        """As formats print it, after the symbol."""
        return ": ".join(filter(None, (self.lead, "; ".join(item.text for item in self.items)))) + "."

    def about(self, row: str, group: str) -> bool:
        """Whether an item is about a row, by title, in the columns of a title."""
        return any(row in item.rows and item.group in ("", group) for item in self.items)


@dataclass(frozen=True)
class Table:
    name: str
    """Distinguishes the table among those of its kind; fit for a file name."""
    backbone: str
    tau: float | None
    title: str
    caption: str
    """What was run and what the columns mean; follows the title."""
    groups: tuple[Group, ...]
    rows: tuple[Row, ...]
    notes: tuple[Note, ...] = ()
    stub: str = "Method"
    """Heading of the first column."""
    by_column: bool = True
    """Whether the best and the second best of every column are marked; otherwise the caption says what marks mean."""

    @property
    def columns(self) -> list[tuple[Group, Metric]]:
        """(group, metric) of every column of numbers, from left to right."""
        return [(group, metric) for group in self.groups for metric in group.metrics]


def ranked(values: Sequence[Value], metric: Metric) -> list[Value]:
    """Mark the best and the second best of a column, as printed: numbers that look alike share a mark.

    Needs two comparable numbers that differ, otherwise nothing is marked; a time that is printed as 0 never is, nor one
    whose repeats overlap with those of another number, or on both sides of 1 where it is a ratio to the baseline.
    """
    shown = {i: number_of(value.text) for i, value in enumerate(values) if value.rankable}
    if metric.better is None or len(set(shown.values())) < 2:
        return list(values)
    if metric.clock is not None:
        shown = {i: number for i, number in shown.items() if number > 0}
    places = sorted(set(shown.values()), reverse=metric.better == "higher")
    marks: dict[float, Mark] = dict(zip(places, ("best", "second"), strict=False))
    comparable = [values[i] for i in shown]
    return [
        replace(value, mark=marks.get(shown[i], "")) if i in shown and _is_apart(value, comparable, metric) else value
        for i, value in enumerate(values)
    ]


def _is_apart(value: Value, others: Sequence[Value], metric: Metric) -> bool:
    """Whether the repeats of ``value`` tell it from all others that are printed otherwise, and a ratio from 1."""
    low, high = _ends(value)
    if metric.ratio_of is not None and low <= 1 <= high and low < high:
        return False
    rivals = (_ends(other) for other in others if other.text != value.text)
    return all(high < below or above < low for below, above in rivals)


def _ends(value: Value) -> tuple[float, float]:
    """Smallest and largest of what the repeats say; the number itself without any."""
    assert value.mean is not None
    return (value.mean, value.mean) if value.low is None or value.high is None else (value.low, value.high)


def number_of(text: str) -> float:
    """The number that a table prints; seconds for a duration such as ``4h23m23s``."""
    if duration := _DURATION.fullmatch(text):
        hours, minutes, seconds = duration.groups(default="0")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return float(text.replace(",", ""))
