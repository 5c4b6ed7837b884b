r"""How wide and how high a table becomes in LaTeX, from the letters that it has: nothing is compiled to know it.

Estimates are on the safe side: a table whose width fits is printed within the page. Widths are of Computer Modern in
``\footnotesize``, in points of 1/72.27 inch.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from bench.tables.model import Group, Table, Value

__all__ = [
    "GAP_PT",
    "GROUP_PT",
    "LANDSCAPE",
    "MARGIN_MM",
    "PORTRAIT",
    "STUB_PT",
    "Paper",
    "columns_pt",
    "heading_lines",
    "height_mm",
    "stub_pt",
    "text_pt",
    "width_pt",
]

MARGIN_MM = 12
GAP_PT = 10.0
"""Between two columns: twice ``\\tabcolsep`` in a document."""
STUB_PT = 170.0
"""What the first column takes at most; longer titles are broken."""
GROUP_PT = 60.0
"""What the heading of a group of columns may take at least; a longer one is broken."""
_PT_MM = 0.3515
_LINE_PT, _CAPTION_PT, _NOTE_PT = 10.5, 12.5, 8.5
_CAPTION_LETTER_PT, _NOTE_LETTER_PT = 5.2, 4.2
_FRAME_PT = 100.0
"""Rules, distances and the heading."""
_WIDE, _NARROW, _DIGIT, _OTHER = 6.4, 4.6, 4.4, 40.0
"""A capital, a small letter, a digit or sign, and a letter that is printed as its code point."""
_BOLD, _SMALL, _PLUS_MINUS = 1.16, 0.95, 9.5
_LATIN_END = 0x17F
_SIGNS = "↑↓±τλαρµμ·×≤≥–—…ΦσΔ†‡§¶‖◇△▽⋆∘♯♭♮♠♣"


@dataclass(frozen=True)
class Paper:
    """A page with its margins."""

    width_mm: int
    height_mm: int

    @property
    def text_pt(self) -> float:
        """Width of what is printed on it."""
        return (self.width_mm - 2 * MARGIN_MM) / _PT_MM


PORTRAIT, LANDSCAPE = Paper(210, 297), Paper(297, 210)
"""A4."""


@lru_cache(maxsize=16384)
def text_pt(text: str) -> float:
    """Width of ``text`` in one line."""
    return sum(map(_letter_pt, text))


def _letter_pt(char: str) -> float:
    if char.isdigit() or char in " .,:;-+()[]'|":
        return _DIGIT
    if char in _SIGNS or char.isupper() or char in "mwMW%@&<>=~^":
        return _WIDE if char.isascii() or ord(char) <= _LATIN_END or char in _SIGNS else _OTHER
    return _NARROW if char.isascii() or (ord(char) <= _LATIN_END and char.isalpha()) else _OTHER


def heading_lines(heading: str, cells_pt: float) -> list[str]:
    """The heading of a column over cells of a width, in as many lines as keep it from widening the column much."""
    if text_pt(heading) <= cells_pt + 2 * _WIDE or " " not in heading:
        return [heading]
    name, arrow = (heading[:-2], heading[-2:]) if heading[-1] in "↑↓" else (heading, "")
    longest = max(*map(len, name.split()), math.ceil(cells_pt / _NARROW))
    lines = textwrap.wrap(name, longest, break_long_words=False, break_on_hyphens=False)
    return [*lines[:-1], lines[-1] + arrow]


def _value_pt(value: Value) -> float:
    text = text_pt(value.text) * (_BOLD if value.mark == "best" else 1.0)
    spread = _PLUS_MINUS + text_pt(value.sd_text) * _SMALL if value.sd_text else 0.0
    ends = text_pt(f" ({value.range_text})") * _SMALL if value.range_text else 0.0
    return text + spread + ends


def columns_pt(table: Table) -> list[float]:
    """Width of every column of numbers, the distance to the next one included."""
    found = []
    for i, (_, metric) in enumerate(table.columns):
        cells = max((_value_pt(row.values[i]) for row in table.rows), default=0.0)
        lines = heading_lines(metric.heading, cells)
        found.append(max(cells, *map(text_pt, lines)) + GAP_PT)
    return found


def stub_pt(table: Table) -> float:
    """Width of the first column, the distance to the next one included."""
    return min(STUB_PT, max(map(text_pt, [table.stub, *(row.title for row in table.rows)]))) + GAP_PT


def width_pt(table: Table) -> float:
    """Width of the whole table."""
    columns = columns_pt(table)
    total, first = stub_pt(table), 0
    for group in table.groups:
        own = sum(columns[first : first + len(group.metrics)])
        total += _group_pt(group, own)
        first += len(group.metrics)
    return total


def _group_pt(group: Group, own_pt: float) -> float:
    """Width of some columns under their heading, which is broken where it would widen them much."""
    return max(own_pt, min(text_pt(group.title) + GAP_PT, GROUP_PT))


def height_mm(tables: Sequence[Table], paper: Paper) -> int:
    """Height of a page for the longest table with its caption and notes, at least that of ``paper``."""
    heights = [_height_pt(table, paper.text_pt) for table in tables]
    return max(paper.height_mm, math.ceil(max(heights, default=0.0) * _PT_MM) + 2 * MARGIN_MM)


def _height_pt(table: Table, text: float) -> float:
    rows = sum(math.ceil(text_pt(row.title) / STUB_PT) + bool(row.heading) + bool(row.opens) for row in table.rows)
    caption = math.ceil((len(table.title) + len(table.caption) + 60) * _CAPTION_LETTER_PT / text)
    notes = sum(math.ceil((len(note.text) + 2) * _NOTE_LETTER_PT / text) for note in table.notes)
    return _FRAME_PT + rows * _LINE_PT * 1.1 + caption * _CAPTION_PT + notes * _NOTE_PT
