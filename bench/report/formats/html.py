"""A run as one HTML file that needs nothing else: it opens offline, on paper, in the dark, on a telephone.

Every number leads to the records of the cells behind it. The file depends on the records alone: the same records
give the same bytes.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

from bench.records import display_title
from bench.report.formats.letters import visible
from bench.tables.advice import Grid
from bench.tables.cells import Record
from bench.tables.model import Row, Table, Value
from bench.tables.naming import distinct_titles
from bench.tables.titles import Titles

__all__ = ["Answer", "Opening", "Section", "page"]

TITLE = "Feature selection for CTR models"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
"""What the page may load: nothing. A browser refuses the rest and says so."""
ID_CHARS = 16
"""Letters of a cell's hash that name it, as its file does."""
LEGEND = " Best <b>bold</b>, second best <u>underlined</u>."
_OPEN = 3
"""Tables of the answer that are shown at once."""
_LETTER_PX, _CELL_PX = 7.2, 20
"""Of a table: mean width of a letter, and what a cell takes besides."""
_FIGURE_PX = 1.1 * 96 / 72
"""Least width on the page of a point of a figure: its letters stay readable."""
_WINDOWS_PX = (350, 740, 1180)
"""What fits into the windows for which the style sheet has hints."""
_WINDOW_ROWS = 10
"""What the style sheet shows at once of a table with which the page begins."""
_SVG_WIDTH = re.compile(r'<svg[^>]* width="([\d.]+)pt"')
_NUMBER = re.compile(r"[+−-]?\d[\d,]*(\.\d+)?")
_HEAVY = ("traceback", "field_scores", "field_names", "phases", "versions", "host")
"""Parts of a record that are shown elsewhere or only in its file."""


@dataclass(frozen=True)
class Section:
    """Tables of one kind."""

    heading: str
    tables: Sequence[Table]
    name: str = ""
    """In addresses within the page."""
    leads: bool = False
    """Whether the page begins with it: the first table at once, the others one click away."""


@dataclass(frozen=True)
class Answer:
    """With what the page opens."""

    section: str
    """Name of the section."""
    figure: str
    """Title of the figure; empty without one."""


@dataclass(frozen=True)
class Opening:
    """A part before all others: what was asked, in sentences, a figure and tables."""

    name: str
    """In addresses within the page."""
    heading: str
    sentence: str
    details: Sequence[str]
    figure: str
    """Its title."""
    svg: bytes | None
    grids: Sequence[Grid]


def page(
    cells: Sequence[Record],
    sections: Sequence[Section],
    figures: Mapping[str, bytes],
    answer: Answer | None = None,
    opening: Opening | None = None,
) -> str:
    """The whole file.

    Args:
        cells: all its records.
        sections: its tables.
        figures: its figures as SVG, by title.
        answer: which of them it opens with.
        opening: what comes before all that.
    """
    answer = answer or Answer("", "")
    drawn = {title: _figure(title, svg, i) for i, (title, svg) in enumerate(figures.items())}
    lead = drawn.pop(answer.figure, "")
    opens = next((section for section in sections if section.name and section.name == answer.section), None)
    parts = [
        *([(opening.name, opening.heading, _opening(opening, len(figures)))] if opening else []),
        *((f"t-{section.name}", section.heading, _leading(section.tables)) for section in sections if section.leads),
        *([(f"t-{opens.name}", opens.heading, _answer(opens.tables, lead))] if opens else []),
        ("summary", "What was run", _summary(cells) + ("" if opens else lead)),
        *(
            (f"t-{section.name or number}", section.heading, "".join(_table(table) for table in section.tables))
            for number, section in enumerate(sections)
            if section is not opens and not section.leads
        ),
        ("figures", "Figures", "".join(drawn.values())),
        ("failures", "What has no result", _failures(cells)),
        ("environment", "Environment", _environment(cells)),
        ("cells", "Cells", "".join(_cell(cell) for cell in cells)),
    ]
    parts = [(anchor, heading, body) for anchor, heading, body in parts if body]
    links = " ".join(f'<a href="#{anchor}">{_text(heading)}</a>' for anchor, heading, _ in parts)
    whole = "".join(
        f'<section class="{anchor}">\n<h2 id="{anchor}">{_text(heading)}</h2>\n{body}\n</section>\n'
        for anchor, heading, body in parts
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{TITLE}</title>\n<style>\n{_asset('report.css')}</style>\n</head>\n<body>\n"
        f"<h1>{TITLE}</h1>\n<nav>{links}</nav>\n{whole}"
        f"<script>\n{_asset('report.js')}</script>\n</body>\n</html>\n"
    )


def _text(text: str) -> str:
    """Any text as the page shows it, letter by letter."""
    return escape(visible(text))


def _asset(name: str) -> str:
    return (files("bench.report") / "assets" / name).read_text(encoding="utf-8")


def _leading(tables: Sequence[Table]) -> str:
    first, *others = (_table(table, _down(table)) for table in tables)
    titles = (_text(table.title) for table in tables[1:])
    more = (f"<details><summary>{title}</summary>{one}</details>\n" for title, one in zip(titles, others, strict=True))
    return "".join([first, *more])


def _down(table: Table) -> str:
    """A line over a table that is longer than its window."""
    rows = len(table.rows)
    return f'<p class="hint w3">{rows} rows: scroll down ↓</p>\n' if rows > _WINDOW_ROWS else ""


def _answer(tables: Sequence[Table], figure: str) -> str:
    """The first tables with the figure, the others one click away."""
    shown = [_table(table, _said(table)) for table in tables]
    more = "".join(shown[_OPEN:])
    return "".join([shown[0], figure, *shown[1:_OPEN]]) + (
        f"<details><summary>{len(shown) - _OPEN} more places</summary>{more}</details>" if more else ""
    )


def _opening(part: Opening, number: int) -> str:
    details = "".join(f"<li>{_text(text)}</li>" for text in part.details)
    drawn = "" if part.svg is None else _figure(part.figure, part.svg, number)
    tables = "".join(_grid(grid) for grid in part.grids)
    said = f'<p class="answer"><b>{_text(part.sentence)}</b></p>\n<ul class="notes">{details}</ul>\n'
    return f"{said}{drawn}{tables}"


def _grid(grid: Grid) -> str:
    heads = "".join(f"<th><button>{_text(heading)}</button></th>" for heading in grid.headings)
    cells = grid.cells or ((),) * len(grid.rows)
    rows = "".join(
        f"<tr>{''.join(_grid_cell(cell, of if i == 0 else ()) for i, cell in enumerate(row))}</tr>\n"
        for row, of in zip(grid.rows, cells, strict=True)
    )
    letters = [max(len(row[i]) for row in (grid.headings, *grid.rows)) for i in range(len(grid.headings))]
    return (
        f'<h3>{_text(grid.title)}</h3>\n<p class="caption">{_text(grid.caption)}</p>\n'
        f"{_hint(sum(_LETTER_PX * count + _CELL_PX for count in letters), 'columns')}"
        f'<div class="scroll" tabindex="0" role="region" aria-label="{_text(grid.title)}">\n'
        f'<table class="sortable">\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n'
    )


def _grid_cell(cell: str, of: Sequence[str]) -> str:
    """A cell that is sorted by the number it begins with, and leads to the cells behind it."""
    number = _NUMBER.match(cell)
    key = number[0].replace(",", "").replace("−", "-") if number else cell
    shown = _text(cell)
    if of:
        ids = [one[:ID_CHARS] for one in of]
        shown = f'<a href="#cell-{ids[0]}" data-cells="{" ".join(ids)}">{shown}</a>'
    return f'<td data-sort="{_text(key)}">{shown}</td>'


def _said(table: Table) -> str:
    """What stands out, in words: the highest AUC, and the lowest of every cost that is part of a trade-off."""
    top, (_, quality) = table.rows[0], table.columns[0]
    parts = [f"Highest {quality.title}: <b>{_text(top.title)}</b> ({_text(top.values[0].text)})."]
    for i, (_, metric) in enumerate(table.columns):
        rows = [row for row in table.rows if row.values[i].mark]
        if rows:
            least = min(rows, key=lambda row: row.values[i].mean or 0.0)
            number = f"{least.values[i].text}\u00a0{metric.unit}, {quality.title} {least.values[0].text}"
            name = metric.title if metric.title.isupper() else metric.title.lower()
            parts.append(f"Lowest {_text(name)}: <b>{_text(least.title)}</b> ({_text(number)}).")
    return f'<p class="answer">{" ".join(parts)}</p>\n'


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
    entries = (f"<dt>{_text(name)}</dt><dd>{_text(text)}</dd>" for name, text in facts.items() if text)
    return f'<dl class="facts">{"".join(entries)}</dl>'


def _table(table: Table, said: str = "") -> str:
    groups = "".join(f'<th class="group" colspan="{len(g.metrics)}">{_text(g.title)}</th>' for g in table.groups)
    metrics = [metric.heading for group in table.groups for metric in group.metrics]
    heads = "".join(f"<th><button>{_text(text)}</button></th>" for text in (table.stub, *metrics))
    notes = "".join(f"<li>{_text(f'{note.symbol} {note.text}'.strip())}</li>" for note in table.notes)
    return (
        f"<h3>{_text(table.title)}</h3>\n{said}"
        f'<p class="caption">{_text(table.caption)}{LEGEND if table.by_column else ""}</p>\n'
        f"{_hint(_table_px(table), 'columns')}"
        f'<div class="scroll" tabindex="0" role="region" aria-label="{_text(table.title)}">\n'
        f'<table class="sortable">\n<thead><tr><td></td>{groups}</tr><tr>{heads}</tr></thead>\n'
        f"{_bodies(table)}</table></div>\n" + (f'<ul class="notes">{notes}</ul>\n' if notes else "")
    )


def _table_px(table: Table) -> float:
    letters = [max(len(row.title) for row in table.rows) if table.rows else 0]
    for i, (_, metric) in enumerate(table.columns):
        cells = (sum(map(len, (v.text, v.sd_text, v.range_text))) for v in (row.values[i] for row in table.rows))
        letters.append(max(len(metric.heading), *cells))
    return sum(_LETTER_PX * count + _CELL_PX for count in letters)


def _hint(width_px: float, more: str) -> str:
    """A line that the style sheet shows in windows which are too narrow for the width."""
    narrow = sum(width_px > window for window in _WINDOWS_PX)
    return f'<p class="hint w{narrow}">More {more}: scroll sideways →</p>\n' if narrow else ""


def _bodies(table: Table) -> str:
    """Sets of rows that are sorted each by itself, the heading of a set before it."""
    parts: list[str] = []
    for i, row in enumerate(table.rows):
        if i == 0 or row.opens:
            parts.append("</tbody>\n" if i else "")
            if row.heading:
                span = len(row.values) + 1
                parts.append(f'<tbody><tr><th class="set" colspan="{span}">{_text(row.heading)}</th></tr></tbody>\n')
            parts.append("<tbody>\n")
        parts.append(f"{_row(row)}\n")
    return "".join([*parts, "</tbody>" if parts else ""])


def _row(row: Row) -> str:
    title = _text(row.title + "".join(row.flags))
    return f"<tr><td>{title}</td>{''.join(map(_value, row.values))}</tr>"


def _value(value: Value) -> str:
    key = "" if value.mean is None else f"{value.mean:.12g}"
    if not value.cells:
        return f'<td data-sort="{key}">{_text(value.text)}</td>'
    text = f'<span class="{value.mark}">{_text(value.text)}</span>' if value.mark else _text(value.text)
    sd = f" <small>±{_text(value.sd_text)}</small>" if value.sd_text else ""
    ends = f" <small>({_text(value.range_text)})</small>" if value.range_text else ""
    ids = [cell[:ID_CHARS] for cell in value.cells]
    link = f'<a href="#cell-{ids[0]}" data-cells="{" ".join(ids)}">{text}{sd}{ends}</a>'
    return f'<td data-sort="{key}">{link}{"".join(value.flags)}</td>'


def _figure(title: str, svg: bytes, number: int) -> str:
    text = svg.decode()
    body = text[text.index("<svg") :].replace("fill: #ffffff", "fill: none")  # the page is its ground, light or dark
    for mark in ('id="', "url(#", 'href="#'):  # figures of one page must not share the names of their parts
        body = body.replace(mark, f"{mark}g{number}-")
    found = _SVG_WIDTH.search(body)
    width = float(found[1]) * _FIGURE_PX if found else 0.0
    return (
        f'<figure>{_hint(width, "of the figure")}<div class="scroll" style="--least:{width:.0f}px">{body}</div>'
        f"<figcaption>{_text(title)}</figcaption></figure>\n"
    )


def _failures(cells: Sequence[Record]) -> str:
    found = []
    for cell in cells:
        if cell["status"] != "ok":
            reason = _text(f"{cell['status']}: {cell['reason'] or 'no reason given'}")
            trace = f"<pre>{_text(cell['traceback'])}</pre>" if cell["traceback"] else ""
            found.append(f'<li>{_link(cell)} <span class="bad">{reason}</span>{trace}</li>')
    return f"<ul>{''.join(found)}</ul>" if found else ""


def _link(cell: Record) -> str:
    return f'<a href="#{_anchor(cell)}" data-cells="{cell["config_hash"][:ID_CHARS]}">{_text(_title(cell))}</a>'


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
        f'<details id="{_anchor(cell)}"><summary>{_text(_title(cell))}: {_text(quality)}</summary>'
        f'<p>Whole record: <a href="cells/{hash_}.json">cells/{hash_}.json</a></p>'
        f"<pre>{_text(text)}</pre></details>\n"
    )


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
