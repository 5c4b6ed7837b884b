"""Errors that a user can mend. The command line prints them without a traceback and exits with status 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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
