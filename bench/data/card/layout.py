"""How the rows of a raw table are laid out: its files, its columns and what each column is for."""

from __future__ import annotations

import codecs
import fnmatch
import re
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from bench.data.card.labels import LabelRule
from bench.data.schema import Kind
from bench.errors import ConfigError

ISO = "iso"
TIME_FORMATS = ("unix", "YYMMDDHH", ISO)
"""Seconds since 1970; two digits each; ISO 8601, as 2024-03-07 or 2024-03-07 21:18:27, UTC where no zone is given."""
ROLES = ("categorical", "integer", "numeric", "label", "time", "ignore")
MULTI = ("combination", "first", "mean")
"""Of several values in one row: the set of them is one value, the first ones have a field each, or one field has the
mean of their embeddings."""
MULTI_MEND = (
    'multi = "combination" makes one value of all of them, multi = "first" with positions = 3 three fields, '
    'multi = "mean" one field with the mean of their embeddings'
)
POOLED = 5
"""Values of ``mean`` unless the card says otherwise."""
FORMATS = ("table", "libsvm", "libffm")
"""Text with a value for every column, or Parquet; lines of index:value; lines of field:index:value."""
_INDICES = re.compile(r"(\d{1,18})(?:-(\d{1,18}))?")
MAX_EXPANSION = 100
"""How many times its size a compressed file may unpack to unless the card says otherwise."""
TIME_PARTS = ("year", "month", "day", "weekday", "weekend", "hour")


_LATER: dict[str, Any] = {"decimal": ".", "join": False, "trim": False, "format": "table", "looked_up": []}
_LATER_COLUMN: dict[str, Any] = {"multi": "", "separator": "", "positions": 1, "no_field": False}
"""Keys of layouts and of columns that older stores do not know, and what they mean there."""


@dataclass(frozen=True)
class Column:
    """One column of the raw table."""

    name: str
    role: str
    """One of ``ROLES``."""
    field: str
    """Name of the field made of it."""
    time_format: str = ""
    """Of a time column: one of ``TIME_FORMATS``."""
    parts: tuple[tuple[str, str], ...] = ()
    """Of a time column: field name and the part of the time it holds."""
    multi: str = ""
    """Of a column with several values in a row: what becomes of them, one of ``MULTI``."""
    separator: str = ""
    """What stands between them in a text."""
    positions: int = 1
    """Of ``first``: how many of them become fields; of ``mean``: how many are pooled at most."""
    no_field: bool = False
    """Whether it is read for the split alone."""

    @property
    def index_range(self) -> tuple[int, int]:
        """Of libsvm and libffm: the first and the last index (or field) that the name stands for, as 7 or 1-100.

        Raises:
            ConfigError: the name is none.
        """
        found = _INDICES.fullmatch(self.name)
        if found is None:
            raise ConfigError(f"column {self.name!r} must be an index, as 7, or a range of them, as 1-100.")
        return int(found[1]), int(found[2] or found[1])

    @property
    def in_whole_numbers(self) -> bool:
        """Whether its values are read as whole numbers."""
        return self.role == "integer" or (self.role == "time" and self.time_format != ISO)

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields made of this column."""
        if self.no_field:
            return ()
        if self.role == "time":
            return tuple(name for name, _ in self.parts)
        if self.multi == "first" and self.positions > 1:
            return tuple(f"{self.field}_{place}" for place in range(1, self.positions + 1))
        return (self.field,) if self.role in ("categorical", "integer", "numeric") else ()


@dataclass(frozen=True)
class Layout:
    """One shape in which the raw table comes."""

    files: tuple[str, ...]
    """Names (or patterns) of the table's file inside a folder or an archive, the preferred one first; of its parts in
    their order where they are joined."""
    columns: tuple[Column, ...]
    fields: tuple[str, ...]
    """The fields in their order; those that no column makes are looked up by the ``rule``."""
    delimiter: str = ","
    header: bool = True
    quote: str = '"'
    """The quoting character, or nothing."""
    escape: str = ""
    """The character before one that is to be taken as it is, or nothing."""
    newlines_in_values: bool = False
    """Whether quoted (or escaped) values may hold line ends."""
    encoding: str = "utf-8"
    join: bool = False
    """Whether all ``files`` are read, as one table."""
    decimal: str = "."
    """What stands before the fraction of a number."""
    format: str = "table"
    """One of ``FORMATS``."""
    trim: bool = False
    """Whether blanks around values are taken off."""
    missing: tuple[str, ...] = ("",)
    """Texts that stand for a missing value."""
    label_rule: LabelRule = field(default_factory=LabelRule)
    rule: str = ""
    """``module:callable`` that reads side tables."""
    looked_up: tuple[Column, ...] = ()
    """Columns that the side tables give as a file would, such as one of several values in a row."""
    max_expansion: int = MAX_EXPANSION
    """How many times its size a compressed file may unpack to."""

    @property
    def described(self) -> dict[str, Any]:
        """All that decides how rows are read, by key.

        Keys that came later are there only where they say something, so that older stores stay what they are.
        """
        # Columns hold nothing that has to be copied: one after the other, thousands of them would take a while.
        found = asdict(replace(self, columns=(), looked_up=()))
        found |= {key: [dict(vars(column)) for column in getattr(self, key)] for key in ("columns", "looked_up")}
        del found["max_expansion"]
        for column in (*found["columns"], *found["looked_up"]):
            _forget(column, _LATER_COLUMN)
        _forget(found, _LATER)
        return found

    @property
    def is_utf8(self) -> bool:
        """Whether the bytes of the file are read as they are."""
        return codecs.lookup(self.encoding).name in ("utf-8", "utf-8-sig")

    @property
    def label(self) -> Column:
        return next(column for column in self.columns if column.role == "label")

    @property
    def all_columns(self) -> tuple[Column, ...]:
        """Those of the file, then those that are looked up."""
        return (*self.columns, *self.looked_up)

    def matches(self, name: str) -> bool:
        """Whether a file of that name holds this table."""
        return any(name == pattern or fnmatch.fnmatch(name, pattern) for pattern in self.files)

    def kind(self, name: str) -> Kind:
        """The kind of the field ``name``."""
        return self._kinds.get(name, "categorical")

    def positions(self, name: str) -> int:
        """How many values of the field ``name`` a row has at most."""
        return self._pooled.get(name, 1)

    @cached_property
    def _pooled(self) -> dict[str, int]:
        return {column.field: column.positions for column in self.all_columns if column.multi == "mean"}

    @cached_property
    def _kinds(self) -> dict[str, Kind]:
        """Those of the fields that are no categories."""
        kinds: dict[str, Kind] = {"integer": "integer", "numeric": "numeric"}
        return {
            name: kinds[column.role] for column in self.all_columns if column.role in kinds for name in column.fields
        }


def _forget(found: dict[str, Any], later: dict[str, Any]) -> None:
    """Take the keys of ``later`` out where they say what they say there."""
    for key, default in later.items():
        if found[key] == default:
            del found[key]
