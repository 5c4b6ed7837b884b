"""Errors that a user can mend. The command line prints them without a traceback and exits with status 2."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_SHOWN = 60


class UserError(Exception):
    """Bad input: the message names the thing, its value and the mend."""


class ConfigError(UserError):
    """A flag, a configuration key or a parameter that cannot be used."""


class DataError(UserError):
    """A raw file or an encoded store that cannot be used."""


def suggest(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` plus the known names, or the known names alone."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"{hint} Known: {', '.join(names) or 'none'}."


def quoted(value: str) -> str:
    """A value from a file, for messages: in quotes, escaped, and cut where it is long."""
    return repr(value) if len(value) <= _SHOWN else f"{value[:_SHOWN]!r}…"


def printable(text: str) -> str:
    """``text`` with its control characters, line ends apart, written as escapes: what a terminal may be given."""
    return _CONTROL.sub(lambda sign: ascii(sign[0])[1:-1], text)
