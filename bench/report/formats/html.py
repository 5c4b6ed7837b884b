"""A run as one HTML file that needs nothing else: it opens offline, on paper, in the dark, on a telephone.

Every number leads to the records of the cells behind it. The file depends on the records alone: the same records
give the same bytes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

from bench.records import display_title
from bench.report.formats.html_cells import cells_part
from bench.report.formats.html_tables import Tables
from bench.report.formats.markup import anchor, hint, text, title
from bench.report.formats.svg import Drawings
from bench.tables.advice import Grid
from bench.tables.cells import Record
from bench.tables.model import Table
from bench.tables.naming import distinct_titles
from bench.tables.titles import Titles

__all__ = ["Answer", "Opening", "Section", "page"]

TITLE = "Feature selection for CTR models"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
"""What the page may load: nothing. A browser refuses the rest and says so."""
_OPEN = 3
"""Tables of the answer that are shown at once."""
_FIGURE_PX = 1.1 * 96 / 72
"""Least width on the page of a point of a figure: its letters stay readable."""
_WINDOW_ROWS = 10
"""What the style sheet shows at once of a table with which the page begins."""
_SVG_WIDTH = re.compile(r'<svg[^>]* width="([\d.]+)pt"')


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
    answer, drawings, tables = answer or Answer("", ""), Drawings(), Tables()
    drawn = {caption: _figure(caption, svg, drawings) for caption, svg in figures.items()}
    lead = drawn.pop(answer.figure, "")
    opens = next((section for section in sections if section.name and section.name == answer.section), None)
    parts = [
        *([(opening.name, opening.heading, _opening(opening, drawings, tables))] if opening else []),
        *((f"t-{one.name}", one.heading, _leading(one.tables, tables)) for one in sections if one.leads),
        *([(f"t-{opens.name}", opens.heading, _answer(opens.tables, lead, tables))] if opens else []),
        ("summary", "What was run", _summary(cells) + ("" if opens else lead)),
        *(
            (f"t-{section.name or number}", section.heading, "".join(map(tables.table, section.tables)))
            for number, section in enumerate(sections)
            if section is not opens and not section.leads
        ),
        ("figures", "Figures", "".join(drawn.values())),
        ("failures", "What has no result", _failures(cells)),
        ("environment", "Environment", _environment(cells)),
        ("cells", "Cells", cells_part(cells, tables.behind)),
    ]
    parts = [part for part in parts if part[-1]]
    links = " ".join(f'<a href="#{name}">{text(heading)}</a>' for name, heading, _ in parts)
    whole = "".join(
        f'<section class="{name}">\n<h2 id="{name}">{text(heading)}</h2>\n{body}\n</section>\n'
        for name, heading, body in parts
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{TITLE}</title>\n<style>\n{_asset('report.css')}{drawings.style}</style>\n</head>\n<body>\n"
        f"{drawings.shapes}<h1>{TITLE}</h1>\n<nav>{links}</nav>\n{whole}"
        f"<script>\n{_asset('report.js')}</script>\n</body>\n</html>\n"
    )


def _asset(name: str) -> str:
    return (files("bench.report") / "assets" / name).read_text(encoding="utf-8")


def _leading(tables: Sequence[Table], page: Tables) -> str:
    first, *others = (page.table(table, _down(table)) for table in tables)
    named = zip((text(table.title) for table in tables[1:]), others, strict=True)
    return "".join([first, *(f"<details><summary>{name}</summary>{one}</details>\n" for name, one in named)])


def _down(table: Table) -> str:
    """A line over a table that is longer than its window."""
    rows = len(table.rows)
    return f'<p class="hint w3">{rows} rows: scroll down ↓</p>\n' if rows > _WINDOW_ROWS else ""


def _answer(tables: Sequence[Table], figure: str, page: Tables) -> str:
    """The first tables with the figure, the others one click away."""
    shown = [page.table(table, _said(table)) for table in tables]
    more = "".join(shown[_OPEN:])
    return "".join([shown[0], figure, *shown[1:_OPEN]]) + (
        f"<details><summary>{len(shown) - _OPEN} more places</summary>{more}</details>" if more else ""
    )


def _opening(part: Opening, drawings: Drawings, page: Tables) -> str:
    details = "".join(f"<li>{text(detail)}</li>" for detail in part.details)
    drawn = "" if part.svg is None else _figure(part.figure, part.svg, drawings)
    tables = "".join(map(page.grid, part.grids))
    said = f'<p class="answer"><b>{text(part.sentence)}</b></p>\n<ul class="notes">{details}</ul>\n'
    return f"{said}{drawn}{tables}"


def _said(table: Table) -> str:
    """What stands out, in words: the highest AUC, and the lowest of every cost that is part of a trade-off."""
    top, (_, quality) = table.rows[0], table.columns[0]
    parts = [f"Highest {quality.title}: <b>{text(top.title)}</b> ({text(top.values[0].text)})."]
    for i, (_, metric) in enumerate(table.columns):
        rows = [row for row in table.rows if row.values[i].mark]
        if rows:
            least = min(rows, key=lambda row: row.values[i].mean or 0.0)
            number = f"{least.values[i].text}\u00a0{metric.unit}, {quality.title} {least.values[0].text}"
            name = metric.title if metric.title.isupper() else metric.title.lower()
            parts.append(f"Lowest {text(name)}: <b>{text(least.title)}</b> ({text(number)}).")
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
    entries = (f"<dt>{text(name)}</dt><dd>{text(fact)}</dd>" for name, fact in facts.items() if fact)
    return f'<dl class="facts">{"".join(entries)}</dl>'


def _figure(caption: str, svg: bytes, drawings: Drawings) -> str:
    body = drawings.add(svg)
    found = _SVG_WIDTH.search(body)
    width = float(found[1]) * _FIGURE_PX if found else 0.0
    return (
        f'<figure>{hint(width, "of the figure")}<div class="scroll" style="--least:{width:.0f}px">{body}</div>'
        f"<figcaption>{text(caption)}</figcaption></figure>\n"
    )


def _failures(cells: Sequence[Record]) -> str:
    found = []
    for cell in cells:
        if cell["status"] != "ok":
            reason = text(f"{cell['status']}: {cell['reason'] or 'no reason given'}")
            trace = f"<pre>{text(cell['traceback'])}</pre>" if cell["traceback"] else ""
            link = f'<a href="#{anchor(cell["config_hash"])}">{text(title(cell))}</a>'
            found.append(f'<li>{link} <span class="bad">{reason}</span>{trace}</li>')
    return f"<ul>{''.join(found)}</ul>" if found else ""


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
