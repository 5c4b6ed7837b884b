"""No Selection: the backbone on all fields, the baseline that every other row is compared with."""

from __future__ import annotations

from bench.api import Context, Method, NoParams, Rows, Selection


class NoSelection(Method[NoParams]):
    """Keeps every field and trains once."""

    def select(self, ctx: Context[NoParams], train: Rows, selection_rows: Rows) -> Selection:
        return Selection(rows_seen=0)
