"""Strict reading of TOML tables: keys are asked for by name and type; one nobody asked for is an error."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from bench.errors import ConfigError, suggest

T = TypeVar("T")
KeyPath = tuple[str | int, ...]
"""Keys from the top of a file down to a value; a number is a place in a list."""
GONE: Any = object()
"""In the place of a value: none, the key is taken out."""
_STAND_INS: dict[type, Any] = {str: "x", bool: False, int: 1, float: 0.7, list: [], dict: {}}
_TYPES: dict[type, str] = {
    str: "text in quotes",
    bool: "true or false, without quotes",
    int: "a whole number, without quotes",
    float: "a number, without quotes",
    list: 'a list in brackets, as ["a", "b"]',
    dict: "a table",
}
_BARE = re.compile(r"[A-Za-z0-9_.\s-]*[^A-Za-z0-9_.\s\"'=-]|[A-Za-z0-9_-]+\s+[A-Za-z0-9_-]")
"""How a line begins whose name needs quotes: another sign than those of a bare one, or a blank inside."""


def _mend(text: str, error: str) -> str:
    """What to write instead of the line that ``error`` names, where that can be told."""
    place = re.search(r"at line (\d+)", error)
    if place is None or "Unclosed array" in error:
        return _at_the_end(error)
    line = text.split("\n")[int(place[1]) - 1].strip()
    key, _, value = (part.strip() for part in line.partition("="))
    if "Cannot overwrite" in error or "Cannot declare" in error:
        hint = "it is there twice; leave one out"
    elif "Illegal character" in error and value[:1] in ("'", '"'):
        hint = "the text is not closed with the quotes that opened it"
    elif re.fullmatch(r"[+-]?(\.\d+|\d+\.|0\d+)", value):
        hint = "a number has a digit on both sides of its point and no zero before others, as 0.8 or 7"
    elif "Invalid value" in error:
        hint = f'text stands in straight quotes, as {key} = "{value.strip("“”‘’")}"; true and false are written small'
    elif value and _BARE.match(line):
        hint = f'a name of other signs than a to z, 0 to 9, - and _ stands in quotes, as "{key}" = {value}'
    else:
        hint = "a line has the form name = value; a list may go on over several lines, a table in braces may not"
    return f" It reads: {line} ({hint})."


def _at_the_end(error: str) -> str:
    """What to write where a file ends too early."""
    if "Unclosed" in error:
        return f" A {'list' if 'array' in error else 'table'} is not closed."
    if "Expected '='" in error:
        return " A line has the form name = value."
    return " A text is not closed with the quotes that opened it."


def breaks_lines(text: str) -> bool:
    """Whether ``text`` holds control characters or separators of lines, which no table or figure can print."""
    return any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in text)


def read_toml_text(path: Path) -> str:
    """The text of a TOML file.

    Raises:
        ConfigError: the file cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start + 1} is not UTF-8 text; save the file as UTF-8.") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"{path}: cannot be read ({reason}); check the path and its permissions.") from None


def parse_toml(path: Path, text: str) -> dict[str, Any]:
    """The values of the file ``path`` that holds ``text``.

    Raises:
        ConfigError: it is not TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not valid TOML: {error}.{_mend(text, str(error))}") from None


class TomlFault(ConfigError):
    """What is wrong with one key of a file, where that stands, and what a check may put there to look for more."""

    def __init__(self, message: str, at: KeyPath, instead: Any = GONE, mend: KeyPath | None = None) -> None:
        """Name the key.

        Args:
            message: for the user.
            at: the key, or the one that is missing.
            instead: a value that is not wrong, a function of the present one, or ``GONE``.
            mend: the key that it stands in for, by default ``at``.
        """
        super().__init__(message)
        self.at, self.mend, self._instead = at, at if mend is None else mend, instead

    def mended(self, value: Any) -> Any:
        """What stands in for ``value``."""
        return self._instead(value) if callable(self._instead) else self._instead


class TomlTable:
    """One table of a TOML file, taken apart key by key."""

    def __init__(self, values: dict[str, Any], where: str, path: KeyPath = ()) -> None:
        """Wrap ``values``; ``where`` opens the message of every error, ``path`` leads to the table."""
        self._values = dict(values)
        self._asked: list[str] = []
        self._tables = {where: path}
        self.where, self.path = where, path

    def inner(self, values: dict[str, Any], name: str, *keys: str | int) -> TomlTable:
        """A table inside this one, which messages call ``name``."""
        table = TomlTable(values, f"{self.where}{name}", (*self.path, *keys))
        table._tables = self._tables
        self._tables[table.where] = table.path
        return table

    def named_in(self, message: str) -> KeyPath:
        """The innermost table that opens ``message``, of all that were read so far."""
        found = [where for where in self._tables if message.startswith(f"{where}:") or message.startswith(f"{where} ")]
        return self._tables[max(found, key=len)] if found else ()

    def fault(
        self, what: str, *keys: str | int, instead: Any | Callable[[Any], Any] = GONE, whole: bool = False
    ) -> TomlFault:
        """The error that ``what`` is wrong with the value of ``keys``.

        Args:
            what: for the user, without the table's name.
            keys: from this table on; none of the table itself.
            instead: as of ``TomlFault``.
            whole: whether it stands in for this whole table.
        """
        at = (*self.path, *keys)
        return TomlFault(f"{self.where}: {what}", at, instead, self.path if whole else at)

    @classmethod
    def read(cls, path: Path) -> TomlTable:
        """The file's top-level table.

        Raises:
            ConfigError: the file cannot be read or is not TOML.
        """
        return cls(parse_toml(path, read_toml_text(path)), path.name)

    def __contains__(self, key: str) -> bool:
        self._asked.append(key)
        return key in self._values

    def take(self, key: str, kind: type[T], default: T | None = None, stand_in: T | None = None) -> T:
        """The value of ``key``, which must be of type ``kind``; ``default=None`` makes the key obligatory.

        Args:
            key: its name.
            kind: its type.
            default: of a key that may be missing.
            stand_in: what a check goes on with where an obligatory one is missing or wrong; by default any of the type.

        Raises:
            ConfigError: missing, or of another type.
        """
        instead = (_STAND_INS.get(kind, GONE) if stand_in is None else stand_in) if default is None else GONE
        self._asked.append(key)
        value = self._values.pop(key, default)
        if value is None:
            raise self.fault(f"the key {key!r} is missing.", key, instead=instead)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            wanted = _TYPES.get(kind, kind.__name__)
            raise self.fault(f"{key} = {value!r} must be {wanted}.", key, instead=instead)
        return value

    def take_list(self, key: str, default: list[str] | None = None) -> tuple[str, ...]:
        """The value of ``key``, a list of strings."""
        values = self.take(key, list, default)
        for value in values:
            if not isinstance(value, str):
                raise self.fault(
                    f"{key} must be a list of strings; {value!r} is none.", key, instead=[] if default is None else GONE
                )
        return tuple(values)

    def take_map(self, key: str, kind: type[T]) -> dict[str, T]:
        """The value of ``key``, a table whose values are all of type ``kind``; empty when missing."""
        table = self.table(key)
        return {name: table.take(name, kind) for name in list(table._values)}

    def table(self, key: str) -> TomlTable:
        """The sub-table of ``key``; empty when missing."""
        return self.inner(self.take(key, dict, {}), f": [{key}]", key)

    def holds_table(self, key: str) -> bool:
        """Whether the value of ``key`` is a table."""
        return isinstance(self._values.get(key), dict)

    def names(self) -> list[str]:
        """The keys not taken yet, in the file's order."""
        return list(self._values)

    def pop(self, key: str) -> Any:
        """The value of ``key`` as it is."""
        return self._values.pop(key)

    def done(self) -> None:
        """Say that all keys were asked for.

        Raises:
            ConfigError: a key is left; the message suggests the one that was meant.
        """
        for key in self._values:
            raise self.fault(f"the key {key!r} is unknown.{suggest(key, list(dict.fromkeys(self._asked)))}", key)
