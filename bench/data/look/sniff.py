"""How a text table seems to be cut: from its first rows, what stands between values, and whether names come first."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass

from bench.data.card.labels import NUMBER
from bench.errors import DataError

DELIMITERS = (",", "\t", ";", "|", "::", "\x01", "^", "~")
"""What may stand between values, the likelier first; a blank, if none of them does."""
HEAD_BYTES = 1 << 18
"""Text that is looked at."""
_ROWS = 500
_UNIT = "\x1f"
"""Stands for a delimiter of two letters, which Python's reader does not know."""
_ALIKE = 0.5
"""Share of rows that must have one width for a delimiter to be believed."""
_BLANKS = 0.3
"""Share of values with blanks around them from which on these are taken off."""
_SPARSE = re.compile(r"\S+( +\d+(:\d+)?:\S+)+ *")


@dataclass(frozen=True)
class Cut:
    """How rows fall into values."""

    delimiter: str
    header: bool
    trim: bool
    width: int
    """Columns."""


def sniff(head: str, name: str) -> Cut:
    """Guess how the table that begins with ``head`` is cut.

    Args:
        head: whole rows.
        name: the table's, for messages.

    Raises:
        DataError: no rows, one column, or index:value pairs.
    """
    lines = [line for line in head.splitlines()[:_ROWS] if line.strip()]
    if not lines:
        raise DataError(f"{name}: the file is empty; check the download and pass the file with the rows.")
    if all(map(_SPARSE.fullmatch, lines)):
        raise DataError(
            f"{name}: its lines are pairs of index:value (libsvm or libffm), and which index is what no look can tell; "
            f'write the card by hand, with format = "libsvm" under [raw] (bench/datasets/README.md).'
        )
    found = [(*_widths(head, one), -place, one) for place, one in enumerate(DELIMITERS)]
    share, width, _, delimiter = max(found)
    if share < _ALIKE:
        share, width, delimiter = *_widths(head, " "), " "
    if share < _ALIKE:
        raise DataError(
            f"{name}: no delimiter cuts its lines into columns of one number; the first reads "
            f"{lines[0][:60]!r}. Pass a table of two columns or more, as CSV or Parquet."
        )
    rows = [row for row in _rows(head, delimiter) if len(row) == width]
    return Cut(delimiter, _has_header(rows), _has_blanks(rows), width)


def _rows(head: str, delimiter: str) -> list[list[str]]:
    one = delimiter if len(delimiter) == 1 else _UNIT
    reader = csv.reader(io.StringIO(head.replace(delimiter, one), newline=""), delimiter=one)
    rows = []
    try:
        for row in reader:
            rows += [row] if row else []
            if len(rows) == _ROWS:
                break
    except csv.Error:  # a value longer than it takes: what was read will do
        return rows
    return rows


def _widths(head: str, delimiter: str) -> tuple[float, int]:
    """The share of rows that have the most frequent number of values, and that number; nothing of one column."""
    widths = Counter(len(row) for row in _rows(head, delimiter))
    if not widths:
        return 0.0, 1
    width, rows = widths.most_common(1)[0]
    return (round(rows / widths.total(), 2), width) if width > 1 else (0.0, 1)


def _has_header(rows: list[list[str]]) -> bool:
    """Whether the first row holds names: no numbers, and nothing that comes again in its column.

    Numbers from 0 on are names all the same: so pandas writes a table without any.
    """
    first, rest = [cell.strip() for cell in rows[0]], rows[1:]
    if first == [str(place) for place in range(len(first))]:
        return True
    if any(NUMBER.fullmatch(cell) for cell in first) or first.count("") > 1:
        return False
    return not any(cell and any(row[place].strip() == cell for row in rest) for place, cell in enumerate(first))


def _has_blanks(rows: list[list[str]]) -> bool:
    cells = [cell for row in rows for cell in row if cell]
    return sum(cell != cell.strip(" \t") for cell in cells) > _BLANKS * len(cells)
