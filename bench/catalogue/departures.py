"""Where a method departs from its paper, as its module's docstring says it.

The docstring has a heading that ends in a colon and begins a sentence: "Where this differs from paper or code:", "Where
things differ here:", "Deviations:" or "Departures:", with more words before the colon where they help. What follows it
is the text: the rest of the paragraph, or where the colon ends its line, the bullets behind it. A method that no paper
stands behind says so: "There is no paper".
"""

from __future__ import annotations

import re

__all__ = ["departures", "has_no_paper"]

_HEADING = re.compile(
    r"(?:^|(?<=[.!?;:]\s))(?:Where (?:this|things|it) (?:differs?|departs?)|Deviations|Departures)[^:]*:", re.MULTILINE
)
_NONE = re.compile(r"\bno\s+paper\b")


def has_no_paper(doc: str) -> bool:
    """Whether the docstring says that no paper stands behind the method."""
    return bool(_NONE.search(doc))


def departures(doc: str) -> list[str]:
    """One text a departure, in one line each; none where the docstring has no such heading."""
    found: list[str] = []
    for heading in _HEADING.finditer(doc):
        rest = doc[heading.end() :]
        paragraph, *later = rest.split("\n\n")
        if not paragraph.strip():
            paragraph = later[0] if later else ""
        found += [" ".join(text.split()) for text in re.split(r"^\* ", paragraph, flags=re.MULTILINE) if text.strip()]
    return found
