"""How the rows of a raw table are laid out: its files, its columns and what each column is for."""

from __future__ import annotations

import codecs
import fnmatch
import re
from collections import Counter
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import Any

from bench.data.card.field_terms import refuse_terms
from bench.data.card.labels import LabelRule, read_label_rule
from bench.data.card.toml_table import TomlTable, breaks_lines
from bench.data.schema import Kind
from bench.errors import ConfigError, suggest

ISO = "iso"
TIME_FORMATS = ("unix", "YYMMDDHH", ISO)
"""Seconds since 1970; two digits each; ISO 8601, as 2024-03-07 or 2024-03-07 21:18:27, UTC where no zone is given."""
_ENCODINGS = ("utf-8", "utf-16", "latin-1", "cp1252", "cp1251", "gb18030", "shift_jis", "euc_kr")
"""Some of those that there are, for messages."""
ROLES = ("categorical", "integer", "numeric", "label", "time", "ignore")
_COLUMN_KEYS = ("kind", "field", "format", "parts", "multi", "separator", "positions")
MULTI = ("combination", "first")
"""Of several values in one row: the set of them is one value, or the first ones have a field each."""
MULTI_MEND = 'multi = "combination" makes one value of all of them, multi = "first" with positions = 3 three fields'
_MOST_POSITIONS = 100
FORMATS = ("table", "libsvm", "libffm")
"""Text with a value for every column, or Parquet; lines of index:value; lines of field:index:value."""
_INDICES = re.compile(r"(\d{1,18})(?:-(\d{1,18}))?")
MAX_EXPANSION = 100
"""How many times its size a compressed file may unpack to unless the card says otherwise."""
TIME_PARTS = ("year", "month", "day", "weekday", "weekend", "hour")


_LATER: dict[str, Any] = {"decimal": ".", "join": False, "trim": False, "format": "table"}
_LATER_COLUMN: dict[str, Any] = {"multi": "", "separator": "", "positions": 1}
"""Keys of layouts and of columns that older stores do not know, and what they mean there."""


@dataclass(frozen=True)
class Column:
    """One column of the raw table."""

    name: str
    role: str
    """One of ``ROLES``."""
    field: str
    """Name of the field made of it; empty where it is read for the split alone."""
    time_format: str = ""
    """Of a time column: one of ``TIME_FORMATS``."""
    parts: tuple[tuple[str, str], ...] = ()
    """Of a time column: field name and the part of the time it holds."""
    multi: str = ""
    """Of a column with several values in a row: what becomes of them, one of ``MULTI``."""
    separator: str = ""
    """What stands between them in a text."""
    positions: int = 1
    """Of ``first``: how many of them become fields."""

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
        if self.role == "time":
            return tuple(name for name, _ in self.parts)
        if self.positions > 1:
            return tuple(f"{self.field}_{place}" for place in range(1, self.positions + 1))
        made = self.role in ("categorical", "integer", "numeric") and self.field
        return (self.field,) if made else ()


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
    max_expansion: int = MAX_EXPANSION
    """How many times its size a compressed file may unpack to."""

    @property
    def described(self) -> dict[str, Any]:
        """All that decides how rows are read, by key.

        Keys that came later are there only where they say something, so that older stores stay what they are.
        """
        found = asdict(self)
        del found["max_expansion"]
        _forget(found, _LATER)
        for column in found["columns"]:
            _forget(column, _LATER_COLUMN)
        return found

    @property
    def is_utf8(self) -> bool:
        """Whether the bytes of the file are read as they are."""
        return codecs.lookup(self.encoding).name in ("utf-8", "utf-8-sig")

    @property
    def label(self) -> Column:
        return next(column for column in self.columns if column.role == "label")

    def matches(self, name: str) -> bool:
        """Whether a file of that name holds this table."""
        return any(name == pattern or fnmatch.fnmatch(name, pattern) for pattern in self.files)

    def kind(self, name: str) -> Kind:
        """The kind of the field ``name``."""
        return self._kinds.get(name, "categorical")

    @cached_property
    def _kinds(self) -> dict[str, Kind]:
        """Those of the fields that are no categories."""
        kinds: dict[str, Kind] = {"integer": "integer", "numeric": "numeric"}
        return {name: kinds[column.role] for column in self.columns if column.role in kinds for name in column.fields}


def _forget(found: dict[str, Any], later: dict[str, Any]) -> None:
    """Take the keys of ``later`` out where they say what they say there."""
    for key, default in later.items():
        if found[key] == default:
            del found[key]


def read_layout(table: TomlTable) -> Layout:
    """The layout that a ``[raw]`` table of a card describes.

    Raises:
        ConfigError: an unknown or missing key, a kind or a part of time that does not exist, a field made twice.
    """
    files = table.take_list("files", [])
    columns = _read_columns(table.table("columns"))
    made = [name for column in columns for name in column.fields]
    rule = table.take("rule", str, "")
    layout = Layout(
        files=files,
        columns=columns,
        fields=table.take_list("fields", made),
        delimiter=table.take("delimiter", str, ","),
        header=table.take("header", bool, True),
        quote=table.take("quote", str, '"'),
        escape=table.take("escape", str, ""),
        newlines_in_values=table.take("newlines_in_values", bool, False),
        encoding=table.take("encoding", str, "utf-8"),
        format=table.take("format", str, "table"),
        trim=table.take("trim", bool, False),
        join=table.take("join", bool, False),
        decimal=table.take("decimal", str, "."),
        missing=table.take_list("missing", [""]),
        label_rule=read_label_rule(table),
        rule=rule,
        max_expansion=table.take("max_expansion", int, MAX_EXPANSION),
    )
    table.done()
    _check(layout, made, table.where)
    return layout


def _read_columns(table: TomlTable) -> tuple[Column, ...]:
    columns = []
    for name in table.names():
        value = table.pop(name)
        if isinstance(value, str):
            entry = TomlTable({"kind": value}, f"{table.where} {name}")
        elif isinstance(value, dict):
            _refuse_dotted(name, value, table.where)
            entry = TomlTable(value, f"{table.where} {name}")
        else:
            raise ConfigError(f"{table.where}: {name} = {value!r} must be one of {', '.join(ROLES)}.")
        columns.append(_read_column(name, entry))
    return tuple(columns)


def _refuse_dotted(name: str, value: dict[str, Any], where: str) -> None:
    """A dot in a name without quotes makes a table of it.

    Raises:
        ConfigError: the table holds what may stand for a column instead of the keys of one.
    """
    for key, inner in value.items():
        if get_close_matches(key, _COLUMN_KEYS):
            continue
        if isinstance(inner, dict) and "kind" not in inner:
            _refuse_dotted(f"{name}.{key}", inner, where)
        elif isinstance(inner, dict) or inner in ROLES:
            shown = "{ … }" if isinstance(inner, dict) else f'"{inner}"'
            raise ConfigError(f'{where}: a name with a dot stands in quotes; write "{name}.{key}" = {shown}.')


def _read_column(name: str, entry: TomlTable) -> Column:
    refuse_terms(entry)
    role = entry.take("kind", str)
    if role not in ROLES:
        raise ConfigError(f"{entry.where}: kind {role!r} does not exist.{suggest(role, ROLES)}")
    if role != "time":
        field_name = entry.take("field", str, name)
        multi, separator, positions = _read_multi(role, entry)
        entry.done()
        return Column(name, role, field_name, multi=multi, separator=separator, positions=positions)
    time_format = entry.take("format", str)
    if time_format not in TIME_FORMATS:
        raise ConfigError(f"{entry.where}: format {time_format!r} does not exist.{suggest(time_format, TIME_FORMATS)}")
    parts = entry.take_map("parts", str)
    for part in parts.values():
        if part not in TIME_PARTS:
            raise ConfigError(f"{entry.where}: part {part!r} does not exist.{suggest(part, TIME_PARTS)}")
    entry.done()
    return Column(name, role, name, time_format, tuple(parts.items()))


def _read_multi(role: str, entry: TomlTable) -> tuple[str, str, int]:
    """What a column says of several values in one row: multi, separator, positions.

    Raises:
        ConfigError: keys that do not belong together, or to another kind than categorical.
    """
    given = [key for key in ("multi", "separator", "positions") if key in entry]
    multi, separator = entry.take("multi", str, ""), entry.take("separator", str, "")
    positions = entry.take("positions", int, 1)
    if given and role != "categorical":
        raise ConfigError(
            f"{entry.where}: {given[0]} is a key of the kind 'categorical', not of {role!r}; take it out."
        )
    if multi and multi not in MULTI:
        raise ConfigError(f"{entry.where}: multi {multi!r} does not exist.{suggest(multi, MULTI)}")
    if given and not multi:
        raise ConfigError(f"{entry.where}: {given[0]} needs to know what several values become: {MULTI_MEND}.")
    if "separator" in given and (not separator or breaks_lines(separator.replace("\t", ""))):
        raise ConfigError(f'{entry.where}: separator = {separator!r} must be what stands between two values, as "|".')
    if "positions" in given and multi != "first":
        raise ConfigError(f'{entry.where}: positions = {positions} needs multi = "first"; take one out.')
    if not 1 <= positions <= _MOST_POSITIONS:
        raise ConfigError(f"{entry.where}: positions = {positions} must be from 1 to {_MOST_POSITIONS}.")
    return multi, separator, positions


def _check(layout: Layout, made: list[str], where: str) -> None:
    for name in filter(breaks_lines, layout.fields):
        raise ConfigError(
            f"{where}: the field {name!r} has a control character in its name, which cannot be printed; name it with "
            f'field = "..." beside its kind.'
        )
    labels = [column.name for column in layout.columns if column.role == "label"]
    if len(labels) != 1:
        raise ConfigError(f"{where}: exactly one column must have the kind 'label'; found {labels or 'none'}.")
    for names, what in ((made, "made by two columns"), (layout.fields, "listed twice in fields")):
        twice = next((name for name, times in Counter(names).items() if times > 1), None)
        if twice is not None:
            raise ConfigError(f"{where}: the field {twice!r} is {what}.")
    if not layout.fields:
        raise ConfigError(f"{where}: no column makes a field; give at least one the kind 'categorical'.")
    known = set(made)
    looked_up = [name for name in layout.fields if name not in known]
    if looked_up and not layout.rule:
        raise ConfigError(f"{where}: field {looked_up[0]!r} is made by no column.{suggest(looked_up[0], made)}")
    unread = set(layout.missing) & {*layout.label_rule.positive, *layout.label_rule.negative}
    if unread:
        raise ConfigError(f"{where}: {min(unread)!r} is a label and listed under missing; leave it in one list.")
    _check_sparse(layout, where)
    _check_text(layout, where)
    _check_signs(layout, where)


def _check_text(layout: Layout, where: str) -> None:
    """Make sure that rows and values can be told apart.

    Raises:
        ConfigError: a delimiter, quote or escape that cannot be one, or an encoding that is none of text.
    """
    signs = [("quote", layout.quote), ("escape", layout.escape)]
    for key, sign in signs:
        if sign and (len(sign) > 1 or not sign.isascii() or sign.isalnum() or sign in "\n\r\0"):
            raise ConfigError(f"{where}: {key} = {sign!r} must be one ASCII sign, such as '\"', or '' for none.")
    for key, sign in [*signs, ("delimiter", layout.delimiter)]:
        others = [other for other, text in signs if other != key and text and text in sign]
        if others:
            raise ConfigError(f"{where}: {key} = {sign!r} and {others[0]} share a character; choose another.")
    if not layout.delimiter or any(sign in layout.delimiter for sign in "\n\r\0"):
        raise ConfigError(f"{where}: delimiter = {layout.delimiter!r} must be what stands between two values.")
    if layout.newlines_in_values and not layout.quote and not layout.escape:
        raise ConfigError(f"{where}: newlines_in_values = true needs quotes around such values; set quote.")
    try:
        "a".encode(layout.encoding)  # one of bytes alone, such as hex, is refused here
        codecs.getincrementaldecoder(layout.encoding)
    except (LookupError, ValueError):
        raise ConfigError(
            f"{where}: encoding = {layout.encoding!r} is unknown.{suggest(layout.encoding, _ENCODINGS)}"
        ) from None


def _check_signs(layout: Layout, where: str) -> None:
    """Make sure that signs inside values do not end them, and that files may unpack to something.

    Raises:
        ConfigError: a decimal comma or a separator that the delimiter would hide, or a bound below 1.
    """
    if layout.max_expansion < 1:
        raise ConfigError(f"{where}: max_expansion = {layout.max_expansion} must be at least 1.")
    if layout.decimal not in (".", ","):
        raise ConfigError(f"{where}: decimal = {layout.decimal!r} must be '.' or ','.")
    if layout.decimal == layout.delimiter and not layout.quote:
        raise ConfigError(
            f"{where}: decimal and delimiter are both {layout.decimal!r}, and without quotes nothing tells a number "
            f"from two values; set quote if the numbers stand in quotes, or mend delimiter."
        )
    for column in layout.columns:
        if column.separator and layout.delimiter in column.separator and not layout.quote:
            raise ConfigError(
                f"{where}: column {column.name!r}: separator = {column.separator!r} holds the delimiter, and without "
                f"quotes it would end the value; set quote, or mend separator."
            )


def _check_sparse(layout: Layout, where: str) -> None:
    """Make sure that every index of libsvm and libffm belongs to one column.

    Raises:
        ConfigError: an unknown format, a name that is no range, ranges that overlap, or a column that cannot be.
    """
    if layout.format not in FORMATS:
        raise ConfigError(f"{where}: format {layout.format!r} does not exist.{suggest(layout.format, FORMATS)}")
    if layout.format == "table":
        return
    end = -1
    columns = [column for column in layout.columns if column.role != "label"]
    try:
        columns.sort(key=lambda column: column.index_range)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    for column in columns:
        low, high = column.index_range
        if low <= end or high < low:
            raise ConfigError(f"{where}: the indices {column.name!r} begin before others end; let ranges not overlap.")
        if column.role == "time" or (column.role in ("integer", "numeric") and low != high):
            raise ConfigError(f"{where}: column {column.name!r}: {column.role} cannot be made of it; give one index.")
        end = high
