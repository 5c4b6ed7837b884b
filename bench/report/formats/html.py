"""A run as one HTML file that needs nothing else: it opens offline, on paper, in the dark, on a telephone.

Every number leads to the records of the cells behind it. The file depends on the records alone: the same records
give the same bytes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

from bench.records import display_title
from bench.tables.cells import Record
from bench.tables.model import Row, Table, Value
from bench.tables.naming import distinct_titles
from bench.tables.titles import Titles

__all__ = ["Section", "page"]

TITLE = "Feature selection for CTR models"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
"""What the page may load: nothing. A browser refuses the rest and says so."""
ID_CHARS = 16
"""Letters of a cell's hash that name it, as its file does."""
LEGEND = " Best <b>bold</b>, second best <u>underlined</u>."
_HEAVY = ("traceback", "field_scores", "field_names", "phases", "versions", "host")
"""Parts of a record that are shown elsewhere or only in its file."""


@dataclass(frozen=True)
class Section:
    """Tables of one kind."""

    heading: str
    tables: Sequence[Table]


def page(cells: Sequence[Record], sections: Sequence[Section], figures: Mapping[str, bytes]) -> str:
    """The whole file.

    Args:
        cells: all its records.
        sections: its tables.
        figures: its figures as SVG, by title.
    """
    parts = [
        ("summary", "Summary", _summary(cells)),
        *((f"t{i}", s.heading, "".join(map(_table, s.tables))) for i, s in enumerate(sections)),
        ("figures", "Figures", "".join(_figure(title, svg, i) for i, (title, svg) in enumerate(figures.items()))),
        ("failures", "What has no result", _failures(cells)),
        ("environment", "Environment", _environment(cells)),
        ("cells", "Cells", "".join(_cell(cell) for cell in cells)),
    ]
    parts = [(anchor, heading, body) for anchor, heading, body in parts if body]
    links = " ".join(f'<a href="#{anchor}">{escape(heading)}</a>' for anchor, heading, _ in parts)
    bodies = "".join(f'<h2 id="{a}">{escape(heading)}</h2>\n{body}\n' for a, heading, body in parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{TITLE}</title>\n<style>\n{_asset('report.css')}</style>\n</head>\n<body>\n"
        f"<h1>{TITLE}</h1>\n<nav>{links}</nav>\n{bodies}"
        f"<script>\n{_asset('report.js')}</script>\n</body>\n</html>\n"
    )


def _asset(name: str) -> str:
    return (files("bench.report") / "assets" / name).read_text(encoding="utf-8")


def _summary(cells: Sequence[Record]) -> str:
    titles = Titles.registered()
    states = Counter(cell["status"] for cell in cells)
    methods = {cell["label"]: display_title(cell["label"], cell["method_title"]) for cell in cells}
    facts = {
        "cells": ", ".join(f"{count:,} {state}" for state, count in sorted(states.items())),
        "data sets": ", ".join(distinct_titles(_one_by_dataset(cells), titles)),
        "backbones": ", ".join(dict.fromkeys(titles.backbone(cell["backbone"]) for cell in cells)),
        "methods": ", ".join(methods.values()),
        "prune ratios": ", ".join(f"{tau:g}" for tau in sorted({cell["tau"] for cell in cells} - {None})),
        "seeds": ", ".join(map(str, sorted({cell["seed"] for cell in cells}))),
    }
    return _facts(facts)


def _one_by_dataset(cells: Sequence[Record]) -> list[Record]:
    """A cell of each data set."""
    found: dict[str, Record] = {}
    for cell in cells:
        found.setdefault(cell["dataset"], cell)
    return list(found.values())


def _facts(facts: Mapping[str, str]) -> str:
    entries = (f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts.items() if text)
    return f'<dl class="facts">{"".join(entries)}</dl>'


def _table(table: Table) -> str:
    groups = "".join(f'<th class="group" colspan="{len(g.metrics)}">{escape(g.title)}</th>' for g in table.groups)
    metrics = [metric.heading for group in table.groups for metric in group.metrics]
    heads = "".join(f"<th><button>{escape(text)}</button></th>" for text in (table.stub, *metrics))
    notes = "".join(f"<li>{escape(f'{note.symbol} {note.text}'.strip())}</li>" for note in table.notes)
    return (
        f"<h3>{escape(table.title)}</h3>\n"
        f'<p class="caption">{escape(table.caption)}{LEGEND if table.by_column else ""}</p>\n'
        f'<div class="scroll"><table class="sortable">\n<thead><tr><td></td>{groups}</tr><tr>{heads}</tr></thead>\n'
        f"{_bodies(table)}</table></div>\n" + (f'<ul class="notes">{notes}</ul>\n' if notes else "")
    )


def _bodies(table: Table) -> str:
    """Sets of rows that are sorted each by itself, the heading of a set before it."""
    parts: list[str] = []
    for i, row in enumerate(table.rows):
        if i == 0 or row.opens:
            parts.append("</tbody>\n" if i else "")
            if row.heading:
                span = len(row.values) + 1
                parts.append(f'<tbody><tr><th class="set" colspan="{span}">{escape(row.heading)}</th></tr></tbody>\n')
            parts.append("<tbody>\n")
        parts.append(f"{_row(row)}\n")
    return "".join([*parts, "</tbody>" if parts else ""])


def _row(row: Row) -> str:
    title = escape(row.title + "".join(row.flags))
    return f"<tr><td>{title}</td>{''.join(map(_value, row.values))}</tr>"


def _value(value: Value) -> str:
    key = "" if value.mean is None else f"{value.mean:.12g}"
    if not value.cells:
        return f'<td data-sort="{key}">{escape(value.text)}</td>'
    text = f'<span class="{value.mark}">{escape(value.text)}</span>' if value.mark else escape(value.text)
    sd = f" <small>±{escape(value.sd_text)}</small>" if value.sd_text else ""
    ids = [cell[:ID_CHARS] for cell in value.cells]
    link = f'<a href="#cell-{ids[0]}" data-cells="{" ".join(ids)}">{text}{sd}</a>'
    return f'<td data-sort="{key}">{link}{"".join(value.flags)}</td>'


def _figure(title: str, svg: bytes, number: int) -> str:
    text = svg.decode()
    body = text[text.index("<svg") :]
    for mark in ('id="', "url(#", 'href="#'):  # figures of one page must not share the names of their parts
        body = body.replace(mark, f"{mark}g{number}-")
    return f"<figure><div>{body}</div><figcaption>{escape(title)}</figcaption></figure>\n"


def _failures(cells: Sequence[Record]) -> str:
    found = []
    for cell in cells:
        if cell["status"] != "ok":
            reason = escape(f"{cell['status']}: {cell['reason'] or 'no reason given'}")
            trace = f"<pre>{escape(cell['traceback'])}</pre>" if cell["traceback"] else ""
            found.append(f'<li>{_link(cell)} <span class="bad">{reason}</span>{trace}</li>')
    return f"<ul>{''.join(found)}</ul>" if found else ""


def _link(cell: Record) -> str:
    return f'<a href="#{_anchor(cell)}" data-cells="{cell["config_hash"][:ID_CHARS]}">{escape(_title(cell))}</a>'


def _anchor(cell: Record) -> str:
    return f"cell-{cell['config_hash'][:ID_CHARS]}"


def _title(cell: Record) -> str:
    tau = "" if cell["tau"] is None else f", τ {cell['tau']:g}"
    return f"{cell['dataset']}, {cell['backbone']}, {cell['label']}{tau}, seed {cell['seed']}"


def _environment(cells: Sequence[Record]) -> str:
    """What the cells ran on; several values of one thing stand side by side with their counts."""
    facts: dict[str, str] = {}
    for key in ("command", "git", "device", "threads"):
        facts[key] = _counted(str(cell[key]) for cell in cells if cell[key] is not None)
    for part in ("host", "versions"):
        names = dict.fromkeys(name for cell in cells for name in cell[part] or {})
        for name in names:
            facts[name] = _counted(str(cell[part][name]) for cell in cells if name in (cell[part] or {}))
    return _facts(facts)


def _counted(values: Iterable[str]) -> str:
    counts = Counter(values)
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{value} ({count} cells)" for value, count in sorted(counts.items()))


def _cell(cell: Record) -> str:
    hash_ = cell["config_hash"][:ID_CHARS]
    shown: dict[str, Any] = {key: value for key, value in cell.items() if value is not None and key not in _HEAVY}
    text = "\n".join(f"{key}: {_plain(value)}" for key, value in shown.items())
    quality = f"AUC {cell['auc']:.4f}" if cell["auc"] is not None else cell["status"]
    return (
        f'<details id="{_anchor(cell)}"><summary>{escape(_title(cell))}: {escape(quality)}</summary>'
        f'<p>Whole record: <a href="cells/{hash_}.json">cells/{hash_}.json</a></p>'
        f"<pre>{escape(text)}</pre></details>\n"
    )


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
