"""What a finished cell's numbers must not be read without: one entry a flag, known nowhere else.

A flag follows from the record's numbers, so that tables also show those of records that were written before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["FLAGS", "LEARNED_ROWS", "RECORDED", "ROUNDING", "SCARCE", "CellFlag", "flags_of", "rarer_class"]

LOW_AUC = 0.55
"""A test AUC below this is hardly better than chance."""
HIGH_AUC = 0.9999
"""Nobody's clicks are predicted so well; a column that was made from the label is."""
SCARCE = 10
"""Test rows of one class below which an AUC says nothing: with ten, and any number of the other class, the standard
error of an AUC of 0.75 is 0.06 (Hanley and McNeil, Radiology 1982), its 95 % interval 0.63 to 0.87."""

ROUNDING = "rounding"
"""Key of a record's notes: how far its AUC moves by rounding and by seed, where that was measured."""

LEARNED_ROWS = "learned_valid_rows"
"""Key of a record's notes: validation rows that the selection, or the gates of the final training, learned on."""

Numbers = Mapping[str, Any]
"""A record by key, or the part of one that is known so far."""


@dataclass(frozen=True)
class CellFlag:
    """One reason to doubt a cell's numbers."""

    name: str
    """As in the record's ``notes.flags``."""
    symbol: str
    """Of its own, and one that ``bench.report.formats.latex`` knows."""
    meaning: str
    """Follows the name in the note below a table."""
    detail: Callable[[Numbers], str | None]
    """What the note says of a cell beside its place, or nothing; None where the cell is not flagged."""
    of_data: bool = False
    """Whether it follows from the data set: then a note names that, not its rows, and only tables with AUC have it."""


def flags_of(cell: Numbers) -> list[CellFlag]:
    """The flags of a cell that has ended well."""
    return [flag for flag in FLAGS if flag.detail(cell) is not None]


def _low(cell: Numbers) -> str | None:
    return "" if cell["auc"] is not None and cell["auc"] < LOW_AUC else None


def _high(cell: Numbers) -> str | None:
    """Not where so few rows are told apart that it is luck."""
    high = cell["auc"] is not None and cell["auc"] >= HIGH_AUC
    return "" if high and _scarce(cell) is None else None


def _ties(cell: Numbers) -> str | None:
    return f"{cell['tie_count']} fields" if cell["tie_count"] else None


def _unstable(cell: Numbers) -> str | None:
    """Only of cells whose rounding sensitivity was measured."""
    found = (cell.get("notes") or {}).get(ROUNDING, {})
    if not found.get("unstable"):
        return None
    return f"standard deviation {found['by_rounding']:.4f} by rounding, {found['by_seed']:.4f} by seed"


def _learned(cell: Numbers) -> str | None:
    rows = (cell.get("notes") or {}).get(LEARNED_ROWS)
    return f"{rows:,} rows" if rows else None


def _taken(cell: Numbers) -> str | None:
    return "" if cell.get("origin") else None


def _blocks(cell: Numbers) -> str | None:
    order = cell.get("order")
    return f"windows of {order['window']:,} rows" if order else None


def _scarce(cell: Numbers) -> str | None:
    """Count the rarer class of the test rows."""
    if (found := rarer_class(cell)) is None:
        return None
    few, kind = found
    rows = cell["split_rows"]["test"]
    return f"{few} {kind}{'' if few == 1 else 's'} among {rows:,} test rows" if few < SCARCE else None


def rarer_class(cell: Numbers) -> tuple[int, str] | None:
    """(test rows, "positive" or "negative") of the rarer class; None of older records, which do not hold it."""
    if not cell["positives"]:
        return None
    positives, rows = cell["positives"]["test"], cell["split_rows"]["test"]
    return min((positives, "positive"), (rows - positives, "negative"))


RECORDED = CellFlag("RECORDED", "♮", "taken from another run", _taken)
"""Its notes say whence, when and on what machine (``bench.tables.origins``)."""

FLAGS: tuple[CellFlag, ...] = (
    CellFlag("LOW-AUC", "§", f"test AUC under {LOW_AUC}", _low),
    CellFlag("HIGH-AUC", "▽", f"test AUC of {HIGH_AUC} or more, so that a field may give the label away", _high),
    CellFlag("TIES", "◇", "the cut falls among fields of one score, of which it keeps those of lower index", _ties),
    CellFlag("UNSTABLE", "♯", "rounding alone moves its AUC at least half as far as a seed does", _unstable),
    CellFlag("LEARNED-VALIDATION", "♣", "stopped on validation rows that its gates had learned", _learned),
    CellFlag("BLOCKS", "∘", "trained on rows from the disk, shuffled some at a time", _blocks, of_data=True),
    CellFlag("SCARCE-CLASS", "△", f"fewer than {SCARCE} test rows of one class", _scarce, of_data=True),
    RECORDED,
)
"""In the order of their notes."""
