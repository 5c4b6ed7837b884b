"""Where a question is answered: a column of a recorded run, its methods with their intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.evidence.questions import Question
from bench.report.explain import Explainer, Wanted
from bench.tables.metrics import Metric
from bench.tables.model import Group, Row, Table, Value
from bench.tables.overall import interval_of
from bench.tables.titles import Titles

__all__ = ["Number", "Place", "Standing", "Verdict", "places_of"]

Verdict = Literal["above", "below", "open"]
_ENDS = ("_low", "_high")
"""What the columns of an interval are called after the column that they belong to, where a table has some."""


@dataclass(frozen=True)
class Number:
    """A number of the page, and which explanation it has to stand in."""

    question: str
    text: str
    run: str
    wanted: Wanted


@dataclass(frozen=True)
class Standing:
    """A method in a place."""

    key: tuple[str, str]
    """Label and budget."""
    title: str
    control: bool
    mean: float
    low: float
    """The mean itself where all seeds are equal, as the next; infinite where the table knows no interval."""
    high: float
    text: str
    ends: tuple[str, str] | None
    """Of the interval, as printed; None where there is none."""
    numbers: tuple[Number, ...]
    """All that are printed."""

    def verdict(self, reference: float | None) -> Verdict:
        if reference is None or self.low <= reference <= self.high:
            return "open"
        return "above" if self.low > reference else "below"

    @property
    def shown(self) -> str:
        """Mean and interval."""
        return self.text if self.ends is None else f"{self.text} ({self.ends[0]} to {self.ends[1]})"


@dataclass(frozen=True)
class Place:
    """A column of a table of a run."""

    run: str
    """Name of its folder."""
    table: Table
    group: Group
    metric: Metric
    backbone: str
    """Title of the backbone."""
    rows: tuple[Standing, ...]
    lot: float | None
    """What fields drawn by lot have of the metric."""

    @property
    def short(self) -> str:
        return f"{self.group.title}, {self.backbone}"

    @property
    def title(self) -> str:
        return self.short if self.table.tau is None else f"{self.short}, τ = {self.table.tau:g}"

    @property
    def train_rows(self) -> int:
        return _rows(self.group, "train")

    @property
    def test_rows(self) -> int:
        return _rows(self.group, "test")


def _rows(group: Group, split: str) -> int:
    return int(group.facts.get(f"{split}_rows") or 0)


def places_of(question: Question, runs: Mapping[str, Explainer], titles: Titles) -> list[Place]:
    """All places of a question, by falling number of test rows.

    Raises:
        ConfigError: there is no such table.
    """
    found = []
    for name, run in runs.items():
        if not question.asks(name):
            continue
        for table in run.tables(question.table):
            if question.tau in (None, table.tau):
                for group in table.groups:
                    place = _place(question, name, run, table, group, titles)
                    found += [place] if place is not None and place.rows else []
    return sorted(found, key=lambda place: (-place.test_rows, place.run, place.title))


def _place(question: Question, name: str, run: Explainer, table: Table, group: Group, titles: Titles) -> Place | None:
    metric = next((one for one in group.metrics if one.name == question.metric), None)
    if metric is None:
        return None

    def number(row: Row, column: str, text: str) -> Number:
        wanted = Wanted(question.table, group.dataset, row.label, column, table.backbone, table.tau)
        return Number(question.name, text, name, wanted)

    def control(row: Row) -> bool:
        return titles.families.get(row.method) == "control"

    rows = tuple(_standings(table, group, metric, number, control))
    hashes = [one for _, value in _column(table, group, metric) for one in value.cells]
    return Place(name, table, group, metric, titles.backbone(table.backbone), rows, run.by_lot(metric, hashes))


def _column(table: Table, group: Group, metric: Metric) -> Iterator[tuple[Row, Value]]:
    at = table.columns.index((group, metric))
    yield from ((row, row.values[at]) for row in table.rows)


def _standings(
    table: Table,
    group: Group,
    metric: Metric,
    number: Callable[[Row, str, str], Number],
    control: Callable[[Row], bool],
) -> Iterator[Standing]:
    own = {one.name: one for one in group.metrics}
    sides = [own[metric.name + end] for end in _ENDS if metric.name + end in own]
    for row, value in _column(table, group, metric):
        if value.mean is None or _by_definition(metric, value):
            continue
        numbers = [number(row, metric.name, value.text)]
        low, high, ends = value.mean, value.mean, None
        if sides:
            low, high = -math.inf, math.inf  # unless the table says otherwise
            values = [row.values[table.columns.index((group, side))] for side in sides]
            if values[0].mean is not None and values[1].mean is not None:
                low, high, ends = values[0].mean, values[1].mean, (values[0].text, values[1].text)
                numbers += [number(row, side.name, one.text) for side, one in zip(sides, values, strict=True)]
        elif (found := interval_of(value)) is not None:
            low, high = found
            ends = metric.text(low, like=value.mean), metric.text(high, like=value.mean)
            numbers += [number(row, metric.name, text) for text in ends]
        key = (row.label, row.budget or "")
        yield Standing(key, row.title, control(row), value.mean, low, high, value.text, ends, tuple(numbers))


def _by_definition(metric: Metric, value: Value) -> bool:
    """A ratio to itself."""
    return metric.ratio_of is not None and value.mean == 1 and not value.sd


def in_words(names: Sequence[str], most: int = 6) -> str:
    """Names in brackets after their number; nothing of none, and of many their number alone."""
    return f" ({', '.join(names)})" if 0 < len(names) <= most else ""
