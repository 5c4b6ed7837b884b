"""Strict reading of TOML tables: keys are asked for by name and type; one nobody asked for is an error."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from bench.errors import ConfigError, suggest

T = TypeVar("T")


class TomlTable:
    """One table of a TOML file, taken apart key by key."""

    def __init__(self, values: dict[str, Any], where: str) -> None:
        """Wrap ``values``; ``where`` opens the message of every error."""
        self._values = dict(values)
        self._asked: list[str] = []
        self.where = where

    @classmethod
    def read(cls, path: Path) -> TomlTable:
        """The file's top-level table.

        Raises:
            ConfigError: the file cannot be read or is not TOML.
        """
        try:
            return cls(tomllib.loads(path.read_text(encoding="utf-8")), path.name)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ConfigError(f"{path}: cannot be read ({reason}); check the path and its permissions.") from None
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path}: is not valid TOML: {error}.") from None

    def __contains__(self, key: str) -> bool:
        self._asked.append(key)
        return key in self._values

    def take(self, key: str, kind: type[T], default: T | None = None) -> T:
        """The value of ``key``, which must be of type ``kind``; ``default=None`` makes the key obligatory.

        Raises:
            ConfigError: missing, or of another type.
        """
        self._asked.append(key)
        value = self._values.pop(key, default)
        if value is None:
            raise ConfigError(f"{self.where}: the key {key!r} is missing.")
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ConfigError(f"{self.where}: {key} = {value!r} must be of type {kind.__name__}.")
        return value

    def take_list(self, key: str, default: list[str] | None = None) -> tuple[str, ...]:
        """The value of ``key``, a list of strings."""
        values = self.take(key, list, default)
        for value in values:
            if not isinstance(value, str):
                raise ConfigError(f"{self.where}: {key} must be a list of strings; {value!r} is none.")
        return tuple(values)

    def take_map(self, key: str, kind: type[T]) -> dict[str, T]:
        """The value of ``key``, a table whose values are all of type ``kind``; empty when missing."""
        table = self.table(key)
        return {name: table.take(name, kind) for name in list(table._values)}

    def table(self, key: str) -> TomlTable:
        """The sub-table of ``key``; empty when missing."""
        return TomlTable(self.take(key, dict, {}), f"{self.where}: [{key}]")

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
            raise ConfigError(
                f"{self.where}: the key {key!r} is unknown.{suggest(key, list(dict.fromkeys(self._asked)))}"
            )
