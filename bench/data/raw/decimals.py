"""Numbers with a decimal comma, and what to say of those that are written in yet another way."""

from __future__ import annotations

import re

_BETWEEN_THOUSANDS = "' \u00a0\u202f"
"""Beside the point and the comma."""


def with_point(text: str, decimal: str) -> str:
    """A number written with ``decimal`` as it is written with a point; one that has a point already is left alone."""
    return text if decimal == "." or "." in text else text.replace(decimal, ".")


def decimal_hint(text: str, decimal: str) -> str:
    """What to do with a number that is not written with ``decimal`` alone; nothing of all else.

    Args:
        text: no number by the card.
        decimal: the card's, a point or a comma.
    """
    bare, other = text.strip(), "," if decimal == "." else "."
    ours, theirs = re.escape(decimal), re.escape(other)
    grouped = re.fullmatch(
        rf"[+-]?\d{{1,3}}(?:([{theirs}{_BETWEEN_THOUSANDS}])\d{{3}})(?:\1\d{{3}})*({ours}\d+)?", bare
    )
    if grouped and (grouped[1] != other or grouped[2] or bare.count(other) > 1):
        return f"signs between thousands are not read; take out {grouped[1]!r}"
    if re.fullmatch(rf"[+-]?\d{{1,3}}(?:{ours}\d{{3}})+{theirs}\d+", bare):
        return f"signs between thousands are not read; take out {decimal!r}, and set decimal = {other!r} in the card"
    if re.fullmatch(rf"[+-]?\d*{theirs}\d+(?:[eE][+-]?\d+)?", bare):
        thousands = "; if it stands between thousands, take it out of the file" if grouped else ""
        return (
            f"the card's decimal is {decimal!r}; if that of the file is {other!r}, set decimal = {other!r}{thousands}"
        )
    return ""
