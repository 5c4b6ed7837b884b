"""The card of a table that a look has guessed at, with what the caller says over the guesses."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from bench.data.card.starter import toml_key, toml_text
from bench.data.look.card_text import card_text
from bench.data.look.look import Look
from bench.errors import ConfigError, quoted, suggest

__all__ = ["Said", "card_of", "to_toml"]

_TOP = ("title", "min_count", "citation", "licence", "homepage", "evaluate_every")
"""Keys of a card that hold one value."""
_TABLES = ("raw", "split", "time", "fields", "embedding_dim", "l2")
"""Keys that hold a table, of which what is given replaces single keys."""
_TERMS = ("keep", "groups", "costs")


class Said:
    """What a caller says of columns and fields, to be put over guesses."""

    def __init__(
        self,
        kinds: Mapping[str, Any] | None = None,
        keep: Sequence[str] = (),
        groups: Mapping[str, Sequence[str]] | None = None,
        costs: Mapping[str, float] | None = None,
        card: Mapping[str, Any] | None = None,
    ) -> None:
        """Take it as given.

        Raises:
            ConfigError: a key that no card has, or a single name where several are wanted.
        """
        self.kinds, self.keep, self.groups = dict(kinds or {}), keep, dict(groups or {})
        self.costs, self.card = dict(costs or {}), dict(card or {})
        for key in self.card:
            if key not in (*_TOP, *_TABLES):
                known = [*_TOP, *_TABLES, *_TERMS, "kinds"]
                raise ConfigError(f"{key}={self.card[key]!r}: a card has no such key.{suggest(key, known)}")
        for what, names in (("keep", keep), *((f"groups[{name!r}]", names) for name, names in self.groups.items())):
            if isinstance(names, str):
                raise ConfigError(f"{what}={names!r} is one text; give a list of names, as [{names!r}].")

    def __bool__(self) -> bool:
        """Whether anything is said."""
        return bool(self.kinds or self.keep or self.groups or self.costs or self.card)

    @property
    def terms(self) -> dict[str, dict[str, Any]]:
        """The ``[fields]`` table."""
        found: dict[str, dict[str, Any]] = {}
        for name in self.keep:
            found.setdefault(name, {})["keep"] = True
        for group, names in self.groups.items():
            for name in names:
                found.setdefault(name, {})["group"] = group
        for name, cost in self.costs.items():
            found.setdefault(name, {})["cost"] = float(cost) if isinstance(cost, int | np.integer) else cost
        return found


def card_of(look: Look, name: str, said: Said, names: Collection[str] = ()) -> dict[str, Any]:
    """The card as a dictionary.

    Args:
        look: the guesses.
        name: of the data set.
        said: goes over them.
        names: columns whose values are names, by their type, so that a guess at numbers is wrong.

    Raises:
        ConfigError: a kind is given to no column of the table, or to the label.
    """
    for one in look.guesses:
        if one.name in names and one.kind in ("integer", "numeric"):
            one.kind, one.notes = "categorical", []
    found: dict[str, Any] = tomllib.loads(card_text(look, name))
    columns = found["raw"]["columns"]
    for column, kind in said.kinds.items():
        if column not in columns:
            raise ConfigError(f"kinds: {quoted(column)} is no column of the table.{suggest(column, columns)}")
        if column == look.label.name:
            raise ConfigError(f"kinds: {quoted(column)} is the label; leave it out, or name another with label=.")
        columns[column] = _kind(columns[column], kind)
    for key, value in said.card.items():
        found[key] = {**found.get(key, {}), **value} if key in _TABLES and isinstance(value, Mapping) else value
    if said.terms:
        found["fields"] = {**found.get("fields", {}), **said.terms}
    return found


def _kind(guessed: Any, kind: Any) -> Any:
    """What stands behind a column: what the guess says beside its kind stays where the kind does."""
    if isinstance(kind, Mapping):
        return dict(kind)
    if isinstance(guessed, dict) and guessed["kind"] == kind:
        return guessed
    return kind


def to_toml(card: Mapping[str, Any]) -> str:
    """A card as a TOML file: single values, then tables."""
    lines = [f"{key} = {_value(value)}" for key, value in card.items() if not isinstance(value, Mapping)]
    for key, table in card.items():
        if isinstance(table, Mapping):
            inner = {name: value for name, value in table.items() if key == "raw" and isinstance(value, Mapping)}
            lines += ["", f"[{toml_key(key)}]"]
            lines += [f"{toml_key(name)} = {_value(value)}" for name, value in table.items() if name not in inner]
            for name, one in inner.items():
                lines += ["", f"[{toml_key(key)}.{toml_key(name)}]"]
                lines += [f"{toml_key(str(column))} = {_value(value)}" for column, value in one.items()]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{toml_key(str(key))} = {_value(one)}' for key, one in value.items())} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        return toml_text(value)
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise ConfigError(
        f"{value!r} is nothing that a card can hold; give text, a number, true or false, a list or a dict."
    )
