"""Letters that are not seen but do something: they turn the text around, or write over a terminal."""

from __future__ import annotations

import unicodedata

__all__ = ["visible"]

_JOINERS = "\u200c\u200d"
"""Without them some scripts and signs read differently; they harm nothing."""


def visible(text: str) -> str:
    """``text`` with marks of direction and control characters, ends of lines and tabs apart, as code points."""
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(char: str) -> str:
    if char.isprintable() or char in _JOINERS or char in "\n\t":
        return char
    return f"[U+{ord(char):04X}]" if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") else char
