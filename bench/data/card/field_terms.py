"""On what terms fields may be dropped, as a card says it under ``[fields]``, by name of a field or pattern of names.

They are about selection, not about data: no store depends on them.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from bench.budget import Terms
from bench.data.card.toml_table import TomlTable, breaks_lines
from bench.errors import ConfigError, suggest


@dataclass(frozen=True)
class FieldTerm:
    """What a card says of one field, or of those that a pattern matches; None where it says nothing."""

    keep: bool | None = None
    group: str | None = None
    cost: float | None = None


FieldTerms = Mapping[str, FieldTerm]
"""By name or pattern."""
TERM_KEYS = tuple(item.name for item in fields(FieldTerm))


def read_field_terms(table: TomlTable, known: Iterable[str] | None) -> FieldTerms:
    """What the ``[fields]`` table of a card says.

    Args:
        table: the card.
        known: names of all fields; None where they are not known before the data are made.

    Raises:
        ConfigError: a key or value that cannot be, or a name of no field.
    """
    section = table.table("fields")
    found = {name: _read(name, section) for name in section.names()}
    if known is not None:
        terms_of(found, list(dict.fromkeys(known)), section.where)
    return found


def _read(name: str, section: TomlTable) -> FieldTerm:
    entry = section.table(name)
    keep = entry.take("keep", bool) if "keep" in entry else None
    group = entry.take("group", str) if "group" in entry else None
    cost = entry.take("cost", float) if "cost" in entry else None
    entry.done()
    if (keep, group, cost) == (None, None, None):
        raise ConfigError(f"{entry.where}: says nothing; give {', '.join(TERM_KEYS[:-1])} or {TERM_KEYS[-1]}.")
    if group is not None and (not group.strip() or breaks_lines(group)):
        raise ConfigError(f'{entry.where}: group = {group!r} must be a name of one line, as "geo".')
    if cost is not None and not (math.isfinite(cost) and cost >= 0):
        raise ConfigError(f"{entry.where}: cost = {cost} must be a number of at least 0, in any unit.")
    return FieldTerm(keep, group, cost)


def terms_of(said: FieldTerms, names: Sequence[str], where: str) -> Terms:
    """The terms of the fields ``names``, by index.

    A name goes before patterns, key by key; ``where`` opens messages.

    Raises:
        ConfigError: a name or pattern that is no field's, or two patterns that say different things of one field.
    """
    for name in said:
        if name not in names and not fnmatch.filter(names, name):
            kind = "pattern matches no field" if any(sign in name for sign in "*?[") else "name is no field's"
            raise ConfigError(f"{where}: {name!r}: the {kind}.{suggest(name, names)}")
    found = [_term(said, name, where) for name in names]
    groups: dict[str, list[int]] = {}
    for place, term in enumerate(found):
        if term.group is not None:
            groups.setdefault(term.group, []).append(place)
    keep = [place for place, term in enumerate(found) if term.keep]
    held = {group: tuple(places) for group, places in groups.items()}
    costs = {place: term.cost for place, term in enumerate(found) if term.cost is not None}
    terms = Terms((), held, costs)
    return replace(terms, locked=terms.complete(keep))


def _term(said: FieldTerms, name: str, where: str) -> FieldTerm:
    own, by = said.get(name, FieldTerm()), dict.fromkeys(TERM_KEYS, name)
    for pattern, term in said.items():
        if pattern == name or not fnmatch.fnmatchcase(name, pattern):
            continue
        for key in TERM_KEYS:
            value, before = getattr(term, key), getattr(own, key)
            if value is None or (before is not None and by[key] == name):
                continue
            if before is not None and value != before:
                raise ConfigError(
                    f"{where}: {by[key]!r} and {pattern!r} both match the field {name!r} and give it two values of "
                    f"{key}, {before!r} and {value!r}; name the field itself."
                )
            changed: dict[str, object] = {key: value}
            own, by[key] = replace(own, **changed), pattern  # type: ignore[arg-type]
    return own


def refuse_terms(column: TomlTable) -> None:
    """Terms stand under the names of fields, which may be others than the column's, and several.

    Raises:
        ConfigError: one stands beside the kind of a column.
    """
    for key in TERM_KEYS:
        if key in column:
            value = column.pop(key)
            shown = f'"{value}"' if isinstance(value, str) else str(value).lower()
            raise ConfigError(
                f"{column.where}: {key} is said of fields, not of columns: write it under [fields], as NAME = "
                f"{{ {key} = {shown} }}, with the name of the field."
            )
