"""Addresses of data that lie elsewhere, which may hold secrets: a user, a password, a signature behind ``?``."""

from __future__ import annotations

import re

WEB = ("http", "https")
_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_remote(text: str) -> bool:
    """Whether ``text`` is an address, not a path; one letter before the colon is a drive."""
    return _REMOTE.match(text) is not None


def without_secrets(text: str) -> str:
    """An address without user, password and what stands behind ``?``; other texts as they are."""
    if not is_remote(text):
        return text
    scheme, _, rest = text.partition("://")
    host, slash, path = re.split(r"[?#]" if scheme.lower() in WEB else r"[?]", rest, maxsplit=1)[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def words_without_secrets(words: list[str]) -> list[str]:
    """The words of a command line, of which some may be ``--flag=address``."""
    found = []
    for word in words:
        flag, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
        found.append(f"{flag}{equals}{without_secrets(value)}")
    return found
