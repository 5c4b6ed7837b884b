"""Where the keys of a TOML text stand. The standard library reads TOML and forgets that."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass

from bench.data.card.toml_table import KeyPath


@dataclass(frozen=True, order=True)
class Place:
    """A line and a column of a text, both from 1."""

    line: int = 1
    column: int = 1


_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_PART = re.compile(r"[A-Za-z0-9_-]+|\"(?:[^\"\\]|\\.)*\"|'[^']*'")
_TEXT = re.compile(
    r"\"\"\"(?:[^\\]|\\.)*?\"{3,5}(?!\")|'''.*?'{3,5}(?!')|\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'",
    re.DOTALL,
)
_BARE = re.compile(r"[^,\]}\n#]*")


def key_places(text: str) -> dict[KeyPath, Place]:
    """The place of every key, of every table's name and of every value in a list.

    Args:
        text: valid TOML.
    """
    return _Scanner(text).places


def place_of(places: dict[KeyPath, Place], path: KeyPath) -> Place:
    """Where ``path`` stands; of one that is not there, the nearest key above it."""
    for end in range(len(path), 0, -1):
        if path[:end] in places:
            return places[path[:end]]
    return Place()


class _Scanner:
    """One text, read from its beginning to its end."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self.places: dict[KeyPath, Place] = {}
        self._sizes: dict[KeyPath, int] = {}
        table: KeyPath = ()
        self._skip()
        while self._at < len(text):
            if text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip()

    def _skip(self) -> None:
        """Go past blanks, line ends and comments."""
        self._at = self._past(_BLANK)

    def _past(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self._text, self._at)
        return found.end() if found else self._at

    def _header(self) -> KeyPath:
        """``[a.b]`` or ``[[a.b]]``: the table that the pairs behind it belong to."""
        is_list = self._text.startswith("[[", self._at)
        self._at += 1 + is_list
        self._skip()
        place = self._place()
        keys = self._keys()
        path: KeyPath = ()
        for key in keys[:-1]:
            path = self._last((*path, key))
        path = (*path, keys[-1])
        if is_list:
            self._sizes[path] = self._sizes.get(path, 0) + 1
        self.places.setdefault(path, place)
        path = self._last(path)
        self.places[path] = place
        self._skip()
        self._at += 1 + is_list
        return path

    def _last(self, path: KeyPath) -> KeyPath:
        """The last table of a list of them; another path as it is."""
        return (*path, self._sizes[path] - 1) if path in self._sizes else path

    def _keys(self) -> list[str]:
        """The parts of a dotted key."""
        keys = []
        while True:
            found = _PART.match(self._text, self._at)
            if found is None:  # no TOML; whoever reads it says so
                raise ValueError(f"no key at {self._at}")
            part = found[0]
            keys.append(tomllib.loads(f"k = {part}")["k"] if part[0] in "\"'" else part)
            self._at = found.end()
            self._skip()
            if not self._text.startswith(".", self._at):
                return keys
            self._at += 1
            self._skip()

    def _pair(self, table: KeyPath) -> None:
        place = self._place()
        path = table
        for key in self._keys():
            path = (*path, key)
            self.places.setdefault(path, place)
        self._at += 1  # =
        self._skip()
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        sign = self._text[self._at]
        if sign == "{":
            self._inside("}", path)
        elif sign == "[":
            self._inside("]", path)
        else:
            self._at = self._past(_TEXT if sign in "\"'" else _BARE)

    def _inside(self, end: str, path: KeyPath) -> None:
        """The pairs of a table, or the values of a list, up to ``end``."""
        number = 0
        self._at += 1
        self._skip()
        while self._text[self._at] != end:
            if end == "}":
                self._pair(path)
            else:
                self.places[(*path, number)] = self._place()
                self._value((*path, number))
                number += 1
            self._skip()
            self._at += self._text[self._at] == ","
            self._skip()
        self._at += 1

    def _place(self) -> Place:
        begin = self._text.rfind("\n", 0, self._at) + 1
        return Place(self._text.count("\n", 0, self._at) + 1, self._at - begin + 1)
