"""``best.toml``: a run's settings with what its searches have chosen, so that ``--config best.toml`` repeats its cells.

A ``[[tuned]]`` table a search: data set, backbone, method and τ as in records, then ``lr``, ``l2`` and ``params``.
"""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

from bench.errors import ConfigError, suggest
from bench.params import convert
from bench.profiles import Profile
from bench.run.settings import PARAMS, Values

__all__ = ["BEST", "Outcome", "Unit", "outcomes", "table_text", "tuned_lines"]

BEST = "best.toml"
Unit = tuple[str, str, str, float | None]
"""Data set, backbone, method and τ."""
_UNIT = ("dataset", "backbone", "method")
_OPTIONAL = ("tau", "valid_auc")
_NUMBERS = ("trials", "seconds", "lr", "l2")


@dataclass(frozen=True)
class Outcome:
    """What a search has chosen."""

    values: Values = dataclasses.field(hash=False)
    trials: int
    valid_auc: float | None
    seconds: float

    def check(self, params: Any) -> None:
        """Refuse what is not a setting, or not allowed of one.

        Raises:
            ConfigError: the message names setting and value.
        """
        hints = {name: (typing.get_type_hints(Profile, include_extras=True)[name], name) for name in ("lr", "l2")}
        known = {} if params is None else typing.get_type_hints(type(params), include_extras=True)
        hints |= {f"{PARAMS}{name}": (hint, f"params.{name}") for name, hint in known.items()}
        for name, value in self.values.items():
            if name not in hints:
                raise ConfigError(f"[[tuned]]: {name}={value:g} is no setting.{suggest(name, list(hints))}")
            convert(repr(value), hints[name][0], f"[[tuned]]: {name}={value:g}")

    def told(self) -> dict[str, Any]:
        """What a record says of it."""
        return {"trials": self.trials, "valid_auc": self.valid_auc, "seconds": self.seconds}

    def table(self, unit: Unit) -> dict[str, Any]:
        """As a table of the file."""
        own = {name.removeprefix(PARAMS): value for name, value in self.values.items() if name.startswith(PARAMS)}
        profile = {name: value for name, value in self.values.items() if not name.startswith(PARAMS)}
        named = dict(zip((*_UNIT, "tau"), unit, strict=True))
        known = {name: value for name, value in {**named, **self.told()}.items() if value is not None}
        return {**known, **profile, "params": own}

    @classmethod
    def read(cls, table: Mapping[str, Any]) -> Self:
        """That of a table that ``table_text`` has checked."""
        values = {name: float(table[name]) for name in ("lr", "l2")}
        values |= {f"{PARAMS}{name}": float(value) for name, value in table.get("params", {}).items()}
        return cls(values, int(table["trials"]), table.get("valid_auc"), float(table["seconds"]))


def table_text(tables: Any, where: str) -> str:
    """The ``[[tuned]]`` tables of a file, checked, as one text that travels with the settings.

    Raises:
        ConfigError: a key or a value that cannot be.
    """
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{where}: tuned={tables!r} is not of the form [[tuned]]: tables are wanted.")
    for number, table in enumerate(tables, 1):
        place = f"{where}: [[tuned]] number {number}"
        known = (*_UNIT, *_OPTIONAL, *_NUMBERS, "params")
        for key in table:
            if key not in known:
                raise ConfigError(f"{place}: key {key!r} is unknown.{suggest(key, known)}")
        for key in (*_UNIT, *_NUMBERS):
            if key not in table:
                raise ConfigError(f"{place}: key {key!r} is missing.")
        params = table.get("params", {})
        numbers = {key: table[key] for key in (*_NUMBERS, *_OPTIONAL) if key in table}
        for key, value in (numbers | (params if isinstance(params, dict) else {"params": params})).items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ConfigError(f"{place}: {key}={value!r} is not a finite number.")
    return json.dumps(tables)


@cache
def outcomes(text: str | None) -> dict[Unit, Outcome]:
    """By unit, what the text of ``table_text`` holds."""
    tables = [] if text is None else json.loads(text)
    return {(*(str(table[key]) for key in _UNIT), table.get("tau")): Outcome.read(table) for table in tables}


def tuned_lines(text: str) -> list[str]:
    """The tables of ``table_text`` as lines of TOML."""
    return [line for table in json.loads(text) for line in ("", "[[tuned]]", *_lines(table))]


def _lines(table: Mapping[str, Any]) -> Sequence[str]:
    own = ", ".join(f"{name} = {value!r}" for name, value in table.get("params", {}).items())
    texts = (f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in table.items() if name != "params")
    return [*texts, f"params = {{ {own} }}" if own else "params = {}"]
