"""Columns of a raw block -> its labels and one column of codes for each field."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from bench.data.card.labels import LabelValues
from bench.data.card.layout import ISO, Column, Layout
from bench.data.raw.buckets import bucket_keys
from bench.data.raw.columns import LocalColumn, recode, recode_all
from bench.data.raw.decimals import with_point
from bench.data.raw.multi import combinations, is_list, positions, split_texts, without_missing
from bench.data.raw.readers import RawBlock
from bench.data.raw.sources import RawSource
from bench.data.raw.texts import as_texts
from bench.data.raw.times import FORMATS, finer_unit, time_part
from bench.errors import ConfigError, DataError, quoted, suggest

_NUMBER = pa.array(["number"])
"""The one value of a numeric field."""


class Extreme(NamedTuple):
    """The smallest or the largest number of a block's numeric column, and where it stands."""

    value: float
    member: str
    unit: str
    line: int
    column: str

    @property
    def place(self) -> str:
        """Table, line and column, for messages."""
        return _shown_place(self.member, self.unit, self.line, self.column)


@dataclass(frozen=True)
class FieldBlock:
    """Consecutive rows as labels and field columns."""

    labels: np.ndarray
    """uint8 [n], 0 or 1."""
    columns: list[LocalColumn]
    """In the order of the fields; the codes of a numeric field are 0 (missing) and 1."""
    numbers: tuple[np.ndarray, ...]
    """Of each numeric field in order, float64 [n], NaN where missing."""
    extremes: tuple[tuple[Extreme, ...], ...] = ()
    """Of each numeric field: the smallest and the largest number; nothing where all are missing."""
    label_values: LabelValues = field(default_factory=LabelValues)
    further: tuple[np.ndarray, ...] = ()
    """Of each pooled field in order: the codes of its second, third, … values, by the dictionary of its column."""


@dataclass(frozen=True)
class SideTable:
    """Values added to every row by looking up the value of one of its columns."""

    key: str
    """The raw column whose values are looked up."""
    columns: Mapping[str, Mapping[str, str]]
    """Field, or column that the layout looks up -> key's value -> its value; a key that is not there gives a missing
    value."""

    def values_of(self, keys: pa.Array) -> Mapping[str, pa.Array]:
        """Of each of the texts ``keys`` the value of every field or column, null where there is none."""
        texts = keys.to_pylist()
        return {
            name: pa.array([values.get(text) for text in texts], type=pa.string())
            for name, values in self.columns.items()
        }


SideTableRule = Callable[[RawSource], tuple[SideTable, ...]]


def make_fields(block: RawBlock, layout: Layout, sides: tuple[SideTable, ...], merged_buckets: bool) -> FieldBlock:
    """The fields of ``layout`` for the rows of ``block``.

    Raises:
        DataError: a label that is none, a time or a number that cannot be one; the message gives the line.
    """
    made: dict[str, LocalColumn] = {}
    numbers: dict[str, np.ndarray] = {}
    extremes: dict[str, tuple[Extreme, ...]] = {}
    further: dict[str, tuple[np.ndarray, ...]] = {}
    block, looked_up = _looked_up(block, layout, sides)
    for column in filter(lambda one: not one.no_field, layout.all_columns):
        if column.multi == "mean":
            made[column.field], *more = _pooled(block, column, layout)
            further[column.field] = tuple(one.codes for one in more)
        elif column.multi:
            made |= _several(block, column, layout)
        elif column.role == "categorical":
            made[column.field] = block.columns[column.name]
        elif column.role == "integer":
            made[column.field] = _bucketed(block.columns[column.name], merged_buckets)
        elif column.role == "numeric":
            numbers[column.field], extremes[column.field] = _numbers(block, column)
            present = ~np.isnan(numbers[column.field])
            made[column.field] = LocalColumn(present.astype(np.uint8), _NUMBER)
        elif column.role == "time":
            made |= _time_parts(block, column)
    made |= looked_up
    ordered = [name for name in layout.fields if name in numbers]
    labels, label_values = _labels(block, layout)
    columns = [made[name] for name in layout.fields]
    pooled = tuple(codes for name in layout.fields for codes in further.get(name, ()))
    found = tuple(numbers[name] for name in ordered)
    return FieldBlock(labels, columns, found, tuple(extremes[name] for name in ordered), label_values, pooled)


def _looked_up(
    block: RawBlock, layout: Layout, sides: tuple[SideTable, ...]
) -> tuple[RawBlock, dict[str, LocalColumn]]:
    """``block`` with the columns that its layout looks up, and the fields that side tables give as they are.

    Raises:
        ConfigError: no side table gives one of the columns.
    """
    columns = {column.name for column in layout.looked_up}
    found = {}
    for side in sides:
        keys = block.columns[side.key]
        for name, values in side.values_of(as_texts(keys.values)).items():
            found[name] = recode(keys.codes, values)
    for name in columns - set(found):
        raise ConfigError(f"rule {layout.rule!r} gives no values of the column {name!r}.{suggest(name, found)}")
    given = {name: column for name, column in found.items() if name in columns}
    fields = {name: column for name, column in found.items() if name not in columns}
    return replace(block, columns={**block.columns, **given}) if given else block, fields


def _several(block: RawBlock, column: Column, layout: Layout) -> dict[str, LocalColumn]:
    """The fields of a column with several values in a row; errors as of ``_lists``."""
    codes, lists = block.columns[column.name].codes, _lists(block, column, layout)
    if column.multi == "combination":
        made = [combinations(lists, column.separator, layout.missing)]
    else:
        made = positions(lists, column.positions, layout.missing)
    return {name: recode(codes, values) for name, values in zip(column.fields, made, strict=True)}


def _pooled(block: RawBlock, column: Column, layout: Layout) -> list[LocalColumn]:
    """The first, second, … values of a pooled field that are there, by one dictionary; errors as of ``_lists``."""
    lists = without_missing(_lists(block, column, layout), layout.missing)
    return recode_all(block.columns[column.name].codes, positions(lists, column.positions, ()))


def _lists(block: RawBlock, column: Column, layout: Layout) -> pa.Array:
    """The lists behind the codes of a column.

    Raises:
        DataError: texts, of which the card does not say where to cut them.
    """
    lists = block.columns[column.name].values
    if not is_list(lists.type):
        if not column.separator:
            raise DataError(
                f"{block.member}: column {column.name!r} holds texts, and the card does not say what stands between "
                f'their values; set separator = "|" beside multi.'
            )
        return split_texts(as_texts(lists), column.separator, layout.trim)
    return lists


def _bucketed(column: LocalColumn, merged_buckets: bool) -> LocalColumn:
    return recode(column.codes, pa.array(bucket_keys(np.asarray(column.values), merged_buckets)))


def _numbers(block: RawBlock, column: Column) -> tuple[np.ndarray, tuple[Extreme, ...]]:
    """The numbers of a column, float64 [n], and the smallest and the largest of them.

    Raises:
        DataError: a number that is not finite; NaN is a missing value.
    """
    numbers: np.ndarray = block.numbers[column.name].to_numpy(zero_copy_only=False)  # NaN where it is null
    low, high = float(np.fmin.reduce(numbers)), float(np.fmax.reduce(numbers))
    if math.isnan(low):
        return numbers, ()
    if math.isinf(low) or math.isinf(high):
        row = int(np.isinf(numbers).argmax())
        what = f"{numbers[row]} is no finite number that 64 bits can hold; mend the value"
        raise _bad_value(block, column, row, what)
    lines = [(bound, block.line(int((numbers == bound).argmax()))) for bound in (low, high)]
    return numbers, tuple(Extreme(bound, block.member, block.unit, line, column.name) for bound, line in lines)


def _labels(block: RawBlock, layout: Layout) -> tuple[np.ndarray, LabelValues]:
    column, rule = block.columns[layout.label.name], layout.label_rule
    texts = as_texts(column.values).to_pylist()
    # Where numbers decide, the rule reads them with a point.
    read = texts if rule.compares_texts else [with_point(text, layout.decimal) for text in texts]
    labels = [rule.label(text) for text in read]
    table = np.array([2] + [2 if label is None else label for label in labels], dtype=np.uint8)
    found: np.ndarray = table[column.codes]
    if (found == 2).any():
        row = int((found == 2).argmax())
        code = int(column.codes[row])
        raise _bad_value(block, layout.label, row, _no_label(texts[code - 1] if code else None, texts, layout))
    return found, LabelValues.of(read, np.bincount(column.codes, minlength=len(texts) + 1)[1:], rule)


def _no_label(text: str | None, texts: list[str], layout: Layout) -> str:
    """What is wrong with the label ``text``, None being a missing one, and the mend; ``texts``: those around it."""
    rule = layout.label_rule
    if text is None:
        mend = (
            "if that is a label, take it out of missing and list it" if rule.named else "mend the line or leave it out"
        )
        return f"the label is missing, and must be {rule.wanted}; {mend}"
    wrong = f"the label is {quoted(text)}, not {rule.wanted}"
    bare = text.strip()
    if bare != text and (rule.label(bare) is not None or bare in layout.missing):
        return f"{wrong}; take off the blanks around it with trim = true under [raw] of the card"
    return f"{wrong}; mend the line, or {rule.mend_for(texts)}"


def _bad_value(block: RawBlock, column: Column, row: int, what: str) -> DataError:
    return DataError(f"{_place(block, column, row)}: {what}.")


def _place(block: RawBlock, column: Column, row: int) -> str:
    return _shown_place(block.member, block.unit, block.line(row), column.name)


def _shown_place(member: str, unit: str, line: int, column: str) -> str:
    return f"{member}: {unit} {line}, column {column!r}"


def _time_parts(block: RawBlock, column: Column) -> dict[str, LocalColumn]:
    codes, seconds = _seconds(block, column)
    return {name: recode(codes, pa.array(time_part(seconds, part)).cast(pa.string())) for name, part in column.parts}


def row_times(block: RawBlock, column: Column) -> np.ndarray:
    """Seconds since 1970 of every row, int64 [n].

    Raises:
        DataError: a time that is missing or none; the message gives the line.
    """
    codes, seconds = _seconds(block, column)
    missing = codes == 0
    if missing.any():
        what = "the time is missing, by which split=temporal orders the rows; mend the line or leave split=temporal out"
        raise _bad_value(block, column, int(missing.argmax()), what)
    times: np.ndarray = seconds[codes - 1]
    return times


def _seconds(block: RawBlock, column: Column) -> tuple[np.ndarray, np.ndarray]:
    """Codes of the rows, and the seconds since 1970 that each code stands for.

    Raises:
        DataError: a time that is none.
    """
    codes, stamps = block.columns[column.name].codes, block.columns[column.name].values
    form = FORMATS[column.time_format]
    times = form.read(stamps)
    if not times.valid.all():
        bad = int((~times.valid).argmax())
        row = int((codes == bad + 1).argmax())
        value = as_texts(stamps)[bad].as_py() if column.time_format == ISO else stamps[bad].as_py()
        hint = finer_unit(value) if column.time_format == "unix" else ""
        raise _bad_value(block, column, row, f"{value!r} is no time of the form {form.wanted}{hint}")
    return codes, times.seconds
