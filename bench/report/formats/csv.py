"""Tables as tidy CSV: one line a number, with everything that identifies it.

A spreadsheet takes text that begins with ``=``, ``+``, ``-`` or ``@`` for a formula, and names come from anybody: such
text gets an apostrophe in front (OWASP, CSV injection). Numbers stay as they are.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from functools import lru_cache

from bench.tables.model import Group, Row, Table, Value

__all__ = ["document", "harmless"]

_PLACE = ("table", "backbone", "tau", "dataset", "dataset_title", "dataset_revision", "profile")
_ROWS = ("train_rows", "valid_rows", "test_rows")
_METHOD = ("method", "label", "title", "budget", "uses_tau")
_NUMBER = ("metric", "against", "mean", "sd", "n_seeds", "seeds", "mark", "flags")
COLUMNS = (*_PLACE, *_ROWS, *_METHOD, *_NUMBER)
"""Header. ``metric`` is a key of the record or derived, in the record's unit, ``against`` the label of the method that
the row is compared with; no ``sd`` under two seeds."""
_RANGE = ("low", "high")
"""Further columns where a timing pass has repeats: means over seeds of the smallest and of the largest."""
_FORMULA = re.compile(r"[=+\-@＝＋－＠\t\r\n]")
_LINE_END = re.compile(r"[\r\n]+")
_NUMBER_TEXT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def document(tables: Sequence[Table]) -> str:
    """All numbers of all tables, missing means empty; to 12 digits, since further ones vary with the processor."""
    text = io.StringIO()
    ranged = any(value.low is not None for table in tables for row in table.rows for value in row.values)
    writer = csv.DictWriter(text, (*COLUMNS, *_RANGE) if ranged else COLUMNS, lineterminator="\n")
    writer.writeheader()
    for table in tables:
        for row in table.rows:
            for (group, metric), value in zip(table.columns, row.values, strict=True):
                column = {"metric": metric.name, "against": group.against}
                cells = {**_place(table, group, row), **column, **_number(row, value)}
                if ranged:
                    cells |= {"low": _digits(value.low), "high": _digits(value.high)}
                writer.writerow({name: harmless(cell) for name, cell in cells.items()})
    return text.getvalue()


def harmless(cell: object) -> object:
    """``cell`` in one line, with an apostrophe before text that a spreadsheet would compute."""
    return _harmless_text(cell) if isinstance(cell, str) else cell


@lru_cache(maxsize=4096)
def _harmless_text(cell: str) -> str:
    if _NUMBER_TEXT.fullmatch(cell):
        return cell
    return ("'" if _FORMULA.match(cell) else "") + _LINE_END.sub(" ", cell)


def _place(table: Table, group: Group, row: Row) -> dict[str, object]:
    facts = group.facts | row.facts
    return {
        "table": table.name,
        "backbone": row.backbone or table.backbone,
        "tau": facts.get("tau", table.tau),
        "dataset": row.dataset or group.dataset,
        "dataset_title": row.title if row.dataset else facts.get("dataset_title", group.title),
        "dataset_revision": facts.get("revision"),
        "profile": facts.get("profile"),
        **{key: facts.get(key) for key in _ROWS},
        "method": row.method,
        "label": row.label,
        "title": row.title,
        "budget": row.budget,
        "uses_tau": str(row.uses_tau).lower(),
    }


def _number(row: Row, value: Value) -> dict[str, object]:
    return {
        "mean": _digits(value.mean),
        "sd": _digits(value.sd),
        "n_seeds": len(value.seeds),
        "seeds": " ".join(str(seed) for seed in value.seeds),
        "mark": value.mark,
        "flags": "".join((*row.flags, *value.flags)),
    }


def _digits(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.12g}")
