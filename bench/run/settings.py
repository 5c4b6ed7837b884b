"""Settings of a training as users give them: ``--set dim=16 mlp=200,100``, and a profile of one's own.

The latter is a file:

    base = "small"     # what it starts from: paper, anchor, small or auto
    name = "wide"      # by default the file's name without .toml
    dim = 16
    mlp = [200, 100]

What is nothing is written as "none" in either. Sizes of memory are read here, too.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.data.card.toml_table import TomlTable, breaks_lines
from bench.errors import ConfigError, quoted, suggest
from bench.params import convert
from bench.profiles import AUTO, PROFILES, SETTINGS, SMALL, OwnProfile, Profile

__all__ = [
    "PARAMS",
    "Values",
    "bytes_of",
    "is_file",
    "own_profile",
    "pairs",
    "read_own",
    "settings",
    "spelled",
    "table_of",
    "texts",
]

PARAMS = "params."
"""Begins the name of a setting that is a parameter of the method."""
Values = Mapping[str, float]
"""What is tried, by setting: a field of the profile, ``lr`` or ``l2``; ``params.NAME``, a parameter of the method."""
_NONE = "none"
_OWN_KEYS = ("base", "name")
_MAX_NAME = 60
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)


def is_file(profile: str) -> bool:
    """Whether ``--profile`` names a file rather than one of our profiles."""
    return profile.endswith(".toml")


def read_own(path: Path) -> OwnProfile:
    """The user's profile in the file ``path``.

    Raises:
        ConfigError: the file cannot be read; an unknown key, or a value that cannot be.
    """
    table = TomlTable.read(path)
    return own_profile({name: table.pop(name) for name in table.names()}, str(path), path.stem)


def own_profile(table: Mapping[str, Any], where: str, name: str | None = None) -> OwnProfile:
    """The user's profile in a TOML table.

    Args:
        table: ``base``, ``name`` and fields of a profile.
        where: opens the messages.
        name: its name, unless the table has one.

    Raises:
        ConfigError: an unknown key, or a value that cannot be.
    """
    for key in table:
        if key not in (*_OWN_KEYS, *SETTINGS):
            raise ConfigError(f"{where}: key {key!r} is unknown.{suggest(key, (*_OWN_KEYS, *SETTINGS))}")
    base, name = table.get("base", AUTO), table.get("name", name)
    if not isinstance(base, str) or base not in (AUTO, *PROFILES):
        raise ConfigError(f"{where}: base={base!r} is unknown.{suggest(str(base), [AUTO, *PROFILES])}")
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME or breaks_lines(name):
        shown = quoted(name) if isinstance(name, str) else repr(name)
        raise ConfigError(f"{where}: name={shown} must be text in one line, of 1 to {_MAX_NAME} letters.")
    if name in (AUTO, *PROFILES):
        raise ConfigError(
            f"{where}: name={name!r} is a profile of the suite, and tables could not tell the two apart; "
            f'give yours another, as name = "my-{name}".'
        )
    given = {key: value for key, value in table.items() if key not in _OWN_KEYS}
    return OwnProfile(name, base, settings(texts(given, where), where))


def texts(table: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """The entries of a TOML table as ``key=value``.

    Raises:
        ConfigError: a value that is itself a table, or a list of other than numbers.
    """
    found = []
    for key, value in table.items():
        items = value if isinstance(value, list) else [value]
        if any(not isinstance(item, str | bool | int | float) for item in items):
            raise ConfigError(f"{where}: {key}={value!r} is not a value of a setting; write a number, text or list.")
        found.append(f"{key}={spelled(tuple(value) if isinstance(value, list) else value)}")
    return tuple(found)


def table_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a profile as values of a TOML table, which has no word for nothing."""
    return {key: _NONE if value is None else value for key, value in values.items()}


def spelled(value: object) -> str:
    """A value as ``--set`` takes it."""
    if isinstance(value, tuple):
        return ",".join(map(spelled, value)) or _NONE
    if isinstance(value, float):
        return repr(value)
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def pairs(given: Iterable[str], where: str) -> dict[str, str]:
    """``key=value`` taken apart, values as they are.

    Raises:
        ConfigError: a text of another form, or a key given twice with two values.
    """
    found: dict[str, str] = {}
    for text in given:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not key or not value:
            raise ConfigError(f"{where}: {quoted(text)} is not of the form setting=value, as dim=16 or mlp=200,100.")
        if found.setdefault(key, value) != value:
            raise ConfigError(f"{where}: {key} is given twice, as {found[key]} and as {value}; leave one out.")
    return found


def settings(given: Iterable[str], where: str) -> dict[str, Any]:
    """Fields of a profile from ``key=value``, every value of its type and in its range.

    Raises:
        ConfigError: an unknown field, or a value that cannot be; the message gives an example.
    """
    hints = typing.get_type_hints(Profile, include_extras=True)
    found = {}
    for key, text in pairs(given, where).items():
        if key not in SETTINGS:
            raise ConfigError(f"{where}: setting {key!r} is unknown (value {text!r}).{suggest(key, SETTINGS)}")
        try:
            found[key] = _value(key, text, hints[key], where)
        except ConfigError as error:
            raise ConfigError(f"{error} Write it as {key}={spelled(getattr(SMALL, key))}.") from None
    return found


def _value(key: str, text: str, hint: Any, where: str) -> Any:
    plain = f"{where}: {key}={text}"
    if not isinstance(getattr(SMALL, key), tuple):
        return convert(text, hint, plain)
    if text.lower() == _NONE:
        found: tuple[Any, ...] = ()
    else:
        parts = text.replace("-", ",") if key in ("mlp", "cin") else text  # 200-100, as in brackets behind names
        found = tuple(convert(part.strip(), typing.get_args(hint)[0], plain) for part in parts.split(","))
    if not found and key != "mlp":
        raise ConfigError(f"{plain} has nothing in it.")
    return tuple(sorted(set(found))) if key == "lr_grid" else found


def bytes_of(text: str) -> int:
    """Bytes of a size such as 8GB, 500MB or 2GiB.

    Raises:
        ConfigError: it is none, or 0.
    """
    found = _SIZE.fullmatch(text.strip())
    size = 0
    if found:
        number, unit, binary = found.groups()
        size = int(float(number) * (1024 if binary else 1000) ** " kmgt".index(unit.lower() or " "))
    if size <= 0 or (found and found[3] and not found[2]):
        raise ConfigError(f"memory={text!r} is no size above 0; write 8GB, 500MB or 2GiB.")
    return size
