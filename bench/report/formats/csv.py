"""Tables as tidy CSV: one line a number, with everything that identifies it.

A spreadsheet takes text that begins with ``=``, ``+``, ``-`` or ``@`` for a formula, and names come from anybody: such
text gets an apostrophe in front (OWASP, CSV injection). Numbers stay as they are.
"""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from statistics import fmean
from typing import TYPE_CHECKING

from bench.tables.fields import FieldsOf
from bench.tables.model import Group, Row, Table, Value

if TYPE_CHECKING:
    from bench.data.store.fields import DataFields, FieldFacts

__all__ = ["document", "facts_document", "fields_document", "harmless"]

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
        for row in sorted(table.rows, key=lambda row: row.place):
            for (group, metric), value in zip(table.columns, row.values, strict=True):
                column = {"metric": metric.name, "against": group.against}
                cells = {**_place(table, group, row), **column, **_number(row, value)}
                if ranged:
                    cells |= {"low": _digits(value.low), "high": _digits(value.high)}
                writer.writerow({name: harmless(cell) for name, cell in cells.items()})
    return text.getvalue()


_DATA = ("dataset", "dataset_title", "dataset_revision", *_ROWS, "field")
_SAID = ("mean_rank", "best_rank", "worst_rank", "ranked_cells", "kept_share", "choosing_cells")
_KNOWN = (
    "kind", "values", "missing", "top_share", "auc_alone", "constant", "leak", "twins", "near_duplicates", "facts_rows",
)  # fmt: skip
"""Headers of fields: where they are from, what methods make of them, what is known of them. Shares go from 0 to 1."""


def fields_document(found: Sequence[FieldsOf]) -> str:
    """One line a field, missing means empty; names in a list have a bar between them.

    The share of each method's cells that keep a field follows, a column by label.
    """
    labels = list(dict.fromkeys(v.cell["label"] for one in found for v in one.voices if v.kept is not None))
    lines = []
    for one in found:
        place = _data(one.key.dataset, one.title, one.key.revision, one.split_rows)
        for field in one.order():
            facts = one.facts_of(field)
            known = {} if one.facts is None or facts is None else _facts(facts, one.facts.measured.rows)
            said = {**_said(one, field), **_shares(one, field)}
            lines.append({**place, "field": one.names[field], **said, **known})
    return _lines((*_DATA, *_SAID, *_KNOWN, *map(_kept_by, labels)), lines)


def facts_document(facts: DataFields, title: str) -> str:
    """What is known of fields from the rows alone, in the columns that it has in ``fields_document``."""
    place = _data(facts.dataset, title, facts.revision, facts.split_rows)
    known = ({"field": one.name, **_facts(one, facts.measured.rows)} for one in facts.measured.fields)
    return _lines((*_DATA, *_KNOWN), [{**place, **one} for one in known])


def _lines(header: Sequence[str], lines: Sequence[dict[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, header, lineterminator="\n")
    writer.writerow({name: harmless(name) for name in header})
    for line in lines:
        writer.writerow({name: harmless(cell) for name, cell in line.items()})
    return text.getvalue()


def _data(dataset: str, title: str, revision: str | None, split_rows: Mapping[str, int]) -> dict[str, object]:
    rows = {f"{split}_rows": n for split, n in split_rows.items()}
    return {"dataset": dataset, "dataset_title": title, "dataset_revision": revision, **rows}


def _kept_by(label: str) -> str:
    return f"kept_share of {label}"


def _said(one: FieldsOf, field: int) -> dict[str, object]:
    ranks, kept = one.ranks(field), one.kept(field)
    return {
        "mean_rank": _digits(fmean(ranks)) if ranks else None,
        "best_rank": min(ranks, default=None),
        "worst_rank": max(ranks, default=None),
        "ranked_cells": len(ranks),
        "kept_share": _digits(fmean(kept)) if kept else None,
        "choosing_cells": len(kept),
    }


def _shares(one: FieldsOf, field: int) -> dict[str, object]:
    """By method, the share of its cells that keep the field."""
    kept: dict[str, list[bool]] = defaultdict(list)
    for voice in one.voices:
        if voice.kept is not None:
            kept[voice.cell["label"]].append(field in voice.kept)
    return {_kept_by(label): _digits(fmean(cells)) for label, cells in kept.items()}


def _facts(facts: FieldFacts, rows: int) -> dict[str, object]:
    return {
        "kind": facts.kind,
        "values": facts.values,
        "missing": _digits(facts.missing),
        "top_share": _digits(facts.top),
        "auc_alone": _digits(facts.auc),
        "constant": str(facts.constant).lower(),
        "leak": str(facts.leak).lower(),
        "twins": "|".join(facts.twins),
        "near_duplicates": "|".join(name for name, _ in facts.near),
        "facts_rows": rows,
    }


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
