"""Reading the layout of a raw table from a card, and what may be wrong with one."""

from __future__ import annotations

import codecs
from collections import Counter
from difflib import get_close_matches
from typing import Any

from bench.data.card.field_terms import refuse_terms
from bench.data.card.labels import read_label_rule
from bench.data.card.layout import (
    FORMATS,
    ISO,
    MAX_EXPANSION,
    MULTI,
    MULTI_MEND,
    POOLED,
    ROLES,
    TIME_FORMATS,
    TIME_PARTS,
    Column,
    Layout,
)
from bench.data.card.toml_table import GONE, TomlFault, TomlTable, breaks_lines
from bench.errors import ConfigError, suggest

_ENCODINGS = ("utf-8", "utf-16", "latin-1", "cp1252", "cp1251", "gb18030", "shift_jis", "euc_kr")
"""Some of those that there are, for messages."""
_COLUMN_KEYS = ("kind", "field", "format", "parts", "multi", "separator", "positions")
_MOST_POSITIONS = 100


def read_layout(table: TomlTable) -> Layout:
    """The layout that a ``[raw]`` table of a card describes.

    Raises:
        ConfigError: an unknown or missing key, a kind or a part of time that does not exist, a field made twice.
    """
    files = table.take_list("files", [])
    columns = _read_columns(table.table("columns"))
    looked_up = _read_columns(table.table("looked_up"))
    made = [name for column in (*columns, *looked_up) for name in column.fields]
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
        looked_up=looked_up,
        max_expansion=table.take("max_expansion", int, MAX_EXPANSION),
    )
    table.done()
    _check(layout, made, table)
    return layout


def _read_columns(table: TomlTable) -> tuple[Column, ...]:
    columns = []
    for name in table.names():
        value = table.pop(name)
        if isinstance(value, str):
            entry = table.inner({"kind": value}, f" {name}", name)
        elif isinstance(value, dict):
            _refuse_dotted(name, value, table, (name,))
            entry = table.inner(value, f" {name}", name)
        else:
            raise table.fault(f"{name} = {value!r} must be one of {', '.join(ROLES)}.", name, instead=ROLES[0])
        columns.append(_read_column(name, entry))
    return tuple(columns)


def _refuse_dotted(name: str, value: dict[str, Any], table: TomlTable, keys: tuple[str, ...]) -> None:
    """A dot in a name without quotes makes a table of it.

    Raises:
        ConfigError: the table holds what may stand for a column instead of the keys of one.
    """
    for key, inner in value.items():
        if get_close_matches(key, _COLUMN_KEYS):
            continue
        if isinstance(inner, dict) and "kind" not in inner:
            _refuse_dotted(f"{name}.{key}", inner, table, (*keys, key))
        elif isinstance(inner, dict) or inner in ROLES:
            shown = "{ … }" if isinstance(inner, dict) else f'"{inner}"'
            what = f'a name with a dot stands in quotes; write "{name}.{key}" = {shown}.'
            raise TomlFault(f"{table.where}: {what}", (*table.path, *keys, key), ROLES[0], (*table.path, keys[0]))


def _read_column(name: str, entry: TomlTable) -> Column:
    refuse_terms(entry)
    role = entry.take("kind", str, stand_in=ROLES[0])
    if role not in ROLES:
        meant = (*get_close_matches(role, ROLES, 1), ROLES[0])[0]
        raise entry.fault(f"kind {role!r} does not exist.{suggest(role, ROLES)}", "kind", instead=meant)
    if role != "time":
        field_name = entry.take("field", str, name)
        multi, separator, positions = _read_multi(role, entry)
        entry.done()
        return Column(name, role, field_name, multi=multi, separator=separator, positions=positions)
    time_format = entry.take("format", str, stand_in=ISO)
    if time_format not in TIME_FORMATS:
        what = f"format {time_format!r} does not exist.{suggest(time_format, TIME_FORMATS)}"
        raise entry.fault(what, "format", instead=ISO)
    parts = entry.take_map("parts", str)
    for key, part in parts.items():
        if part not in TIME_PARTS:
            what = f"part {part!r} does not exist.{suggest(part, TIME_PARTS)}"
            raise entry.fault(what, "parts", key, instead=TIME_PARTS[0])
    entry.done()
    return Column(name, role, name, time_format, tuple(parts.items()))


def _read_multi(role: str, entry: TomlTable) -> tuple[str, str, int]:
    """What a column says of several values in one row: multi, separator, positions.

    Raises:
        ConfigError: keys that do not belong together, or to another kind than categorical.
    """
    given = [key for key in ("multi", "separator", "positions") if key in entry]
    multi, separator = entry.take("multi", str, ""), entry.take("separator", str, "")
    pooled = multi == "mean"
    positions = entry.take("positions", int, POOLED if pooled else 1)
    if given and role != "categorical":
        raise entry.fault(f"{given[0]} is a key of the kind 'categorical', not of {role!r}; take it out.", given[0])
    if multi and multi not in MULTI:
        raise entry.fault(f"multi {multi!r} does not exist.{suggest(multi, MULTI)}", "multi", instead="first")
    if given and not multi:
        what = f"{given[0]} needs to know what several values become: {MULTI_MEND}."
        raise entry.fault(what, given[0], instead=ROLES[0], whole=True)
    if "separator" in given and (not separator or breaks_lines(separator.replace("\t", ""))):
        what = f'separator = {separator!r} must be what stands between two values, as "|".'
        raise entry.fault(what, "separator")
    if "positions" in given and multi == "combination":
        raise entry.fault(f'positions = {positions} needs multi = "first" or "mean"; take one out.', "positions")
    least = 2 if pooled else 1
    if not least <= positions <= _MOST_POSITIONS:
        what = f"positions = {positions} must be from {least} to {_MOST_POSITIONS}."
        raise entry.fault(what, "positions", instead=least)
    return multi, separator, positions


def _check(layout: Layout, made: list[str], table: TomlTable) -> None:
    for column in layout.columns:
        for name in filter(breaks_lines, column.fields):
            raise table.fault(
                f"the field {name!r} has a control character in its name, which cannot be printed; name it with "
                f'field = "..." beside its kind.',
                *("columns", column.name),
                instead="ignore",
            )
    _check_fields(layout, made, table)
    _check_looked_up(layout, table)
    unread = set(layout.missing) & {*layout.label_rule.positive, *layout.label_rule.negative}
    if unread:
        raise table.fault(f"{min(unread)!r} is a label and listed under missing; leave it in one list.", "missing")
    _check_sparse(layout, table)
    _check_text(layout, table)
    _check_signs(layout, table)


def _check_fields(layout: Layout, made: list[str], table: TomlTable) -> None:
    """Make sure that there is one label, and that each field is made once.

    Raises:
        ConfigError: there are none or several.
    """
    labels = [column.name for column in layout.columns if column.role == "label"]
    if len(labels) != 1:
        what = f"exactly one column must have the kind 'label'; found {labels or 'none'}."
        if labels:
            raise table.fault(what, "columns", labels[1], instead=ROLES[0])
        raise table.fault(what, "columns", instead=lambda columns: {**(columns or {}), "a label": "label"})
    makers = {name: column.name for column in layout.all_columns for name in column.fields}
    for names, what in ((made, "made by two columns"), (layout.fields, "listed twice in fields")):
        twice = next((name for name, times in Counter(names).items() if times > 1), None)
        if twice is not None:
            place = ("columns", makers[twice]) if names is made else ("fields",)
            instead = "ignore" if names is made else GONE
            raise table.fault(f"the field {twice!r} is {what}.", *place, instead=instead)
    if not layout.fields:
        what = "no column makes a field; give at least one the kind 'categorical'."
        raise table.fault(what, "columns", instead=lambda columns: {**(columns or {}), "a field": ROLES[0]})
    known = set(made)
    looked_up = [name for name in layout.fields if name not in known]
    if looked_up and not layout.rule:
        raise table.fault(f"field {looked_up[0]!r} is made by no column.{suggest(looked_up[0], made)}", "fields")


def _check_looked_up(layout: Layout, table: TomlTable) -> None:
    """Make sure that columns which no file holds are texts, and that something gives them.

    Raises:
        ConfigError: there is no rule, or one is of another kind or called as one of the file.
    """
    held = {column.name for column in layout.columns}
    for column in layout.looked_up:
        place = ("looked_up", column.name)
        if not layout.rule:
            raise table.fault(f"column {column.name!r} is looked up, and no rule says where; name it as rule.", *place)
        if column.role != "categorical":
            what = f"column {column.name!r} is looked up, and can be categorical alone, not {column.role!r}."
            raise table.fault(what, *place, instead=ROLES[0])
        if column.name in held:
            raise table.fault(f"column {column.name!r} is one of the file, too; look up another.", *place)


def _check_text(layout: Layout, table: TomlTable) -> None:
    """Make sure that rows and values can be told apart.

    Raises:
        ConfigError: a delimiter, quote or escape that cannot be one, or an encoding that is none of text.
    """
    signs = [("quote", layout.quote), ("escape", layout.escape)]
    for key, sign in signs:
        if sign and (len(sign) > 1 or not sign.isascii() or sign.isalnum() or sign in "\n\r\0"):
            raise table.fault(f"{key} = {sign!r} must be one ASCII sign, such as '\"', or '' for none.", key)
    for key, sign in [*signs, ("delimiter", layout.delimiter)]:
        others = [other for other, text in signs if other != key and text and text in sign]
        if others:
            raise table.fault(f"{key} = {sign!r} and {others[0]} share a character; choose another.", key)
    if not layout.delimiter or any(sign in layout.delimiter for sign in "\n\r\0"):
        raise table.fault(f"delimiter = {layout.delimiter!r} must be what stands between two values.", "delimiter")
    if layout.newlines_in_values and not layout.quote and not layout.escape:
        what = "newlines_in_values = true needs quotes around such values; set quote."
        raise table.fault(what, "newlines_in_values")
    try:
        "a".encode(layout.encoding)  # one of bytes alone, such as hex, is refused here
        codecs.getincrementaldecoder(layout.encoding)
    except (LookupError, ValueError):
        what = f"encoding = {layout.encoding!r} is unknown.{suggest(layout.encoding, _ENCODINGS)}"
        raise table.fault(what, "encoding") from None


def _check_signs(layout: Layout, table: TomlTable) -> None:
    """Make sure that signs inside values do not end them, and that files may unpack to something.

    Raises:
        ConfigError: a decimal comma or a separator that the delimiter would hide, or a bound below 1.
    """
    if layout.max_expansion < 1:
        raise table.fault(f"max_expansion = {layout.max_expansion} must be at least 1.", "max_expansion")
    if layout.decimal not in (".", ","):
        raise table.fault(f"decimal = {layout.decimal!r} must be '.' or ','.", "decimal")
    if layout.decimal == layout.delimiter and not layout.quote:
        raise table.fault(
            f"decimal and delimiter are both {layout.decimal!r}, and without quotes nothing tells a number "
            f"from two values; set quote if the numbers stand in quotes, or mend delimiter.",
            "decimal",
        )
    for column in layout.columns:
        if column.separator and layout.delimiter in column.separator and not layout.quote:
            raise table.fault(
                f"column {column.name!r}: separator = {column.separator!r} holds the delimiter, and without "
                f"quotes it would end the value; set quote, or mend separator.",
                *("columns", column.name, "separator"),
            )


def _check_sparse(layout: Layout, table: TomlTable) -> None:
    """Make sure that every index of libsvm and libffm belongs to one column.

    Raises:
        ConfigError: an unknown format, a name that is no range, ranges that overlap, or a column that cannot be.
    """
    if layout.format not in FORMATS:
        raise table.fault(f"format {layout.format!r} does not exist.{suggest(layout.format, FORMATS)}", "format")
    if layout.format == "table":
        return
    end = -1
    columns = [column for column in layout.columns if column.role != "label"]
    for column in columns:
        try:
            column.index_range  # noqa: B018 - asked whether it is one
        except ConfigError as error:
            raise table.fault(str(error), "columns", column.name) from None
    for column in sorted(columns, key=lambda column: column.index_range):
        low, high = column.index_range
        if low <= end or high < low:
            what = f"the indices {column.name!r} begin before others end; let ranges not overlap."
            raise table.fault(what, "columns", column.name)
        if column.role == "time" or (column.role in ("integer", "numeric") and low != high):
            what = f"column {column.name!r}: {column.role} cannot be made of it; give one index."
            raise table.fault(what, "columns", column.name, instead="ignore")
        end = high
