"""What orders the rows of a raw table in time, as a card says it under ``[time]``.

Either a column of times, or their order in the file. ``cut = "day"`` moves the cuts between splits to midnights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.data.card.layout import Column, Layout
from bench.data.card.toml_table import TomlTable
from bench.errors import DataError, suggest

DAY_S = 86_400
_CUTS = ("row", "day")


@dataclass(frozen=True)
class TimeOrder:
    """What orders the rows of a raw table in time."""

    column: str = ""
    """A column of the kind ``time``; empty: the file holds the rows in this order."""
    cut: str = "row"
    """Between which rows splits may end: any, or those of different days."""

    def column_of(self, layout: Layout, member: str) -> Column | None:
        """The column of times in a table of ``layout``; None where the file is in order.

        Raises:
            DataError: this table has none.
        """
        if not self.column:
            return None
        for column in layout.columns:
            if column.name == self.column and column.role == "time":
                return column
        raise DataError(
            f"{member}: has no column {self.column!r}, by which split=temporal orders the rows; pass the table that "
            f"has it, or leave split=temporal out."
        )


def read_order(table: TomlTable, layouts: Sequence[Layout]) -> TimeOrder | None:
    """What the ``[time]`` table of a card says; None without one.

    Raises:
        ConfigError: an unknown key, no order or two of them, or a column that holds no times.
    """
    if "time" not in table:
        return None
    entry = table.table("time")
    column, order, cut = entry.take("column", str, ""), entry.take("order", str, ""), entry.take("cut", str, "row")
    entry.done()
    if order not in ("", "file") or bool(column) == bool(order):
        raise entry.fault(
            'give either column = "...", a column of the kind \'time\', or order = "file".', instead={"order": "file"}
        )
    times = [one.name for layout in layouts for one in layout.columns if one.role == "time"]
    if column and column not in times:
        raise entry.fault(
            f"column {column!r} is none of the kind 'time'.{suggest(column, times)}", "column", whole=True
        )
    if cut not in _CUTS or (cut == "day" and not column):
        raise entry.fault(f"cut = {cut!r} must be row, or day where a column holds the times.", "cut")
    return TimeOrder(column, cut)
