"""Tables of a page, every number of which leads to the cells behind it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from bench.report.formats.markup import ID_CHARS, anchor, hint, quoted, text
from bench.tables.advice import Grid
from bench.tables.model import Row, Table, Value

__all__ = ["Tables"]

_LEGEND = " Best <b>bold</b>, second best <u>underlined</u>."
_LETTER_PX, _CELL_PX = 7.2, 20
"""Of a table: mean width of a letter, and what a cell takes besides."""
_NUMBER = re.compile(r"[+−-]?\d[\d,]*(\.\d+)?")


class Tables:
    """The tables of one page, and which cells belong together in them."""

    def __init__(self) -> None:
        """None yet."""
        self._behind: dict[str, tuple[str, ...]] = {}

    @property
    def behind(self) -> Mapping[str, Sequence[str]]:
        """By the first of them, cells behind a number: nearly all numbers that lead to a cell have the same others."""
        return MappingProxyType(self._behind)

    def table(self, table: Table, said: str = "") -> str:
        """A table of results; ``said``: markup below its title."""
        groups = "".join(f'<th class="group" colspan="{len(g.metrics)}">{text(g.title)}</th>' for g in table.groups)
        metrics = [metric.heading for group in table.groups for metric in group.metrics]
        notes = "".join(f"<li>{text(f'{note.symbol} {note.text}'.strip())}</li>" for note in table.notes)
        return (
            f"<h3>{text(table.title)}</h3>\n{said}"
            f'<p class="caption">{text(table.caption)}{_LEGEND if table.by_column else ""}</p>\n'
            f"{hint(_table_px(table), 'columns')}{_opened(table.title)}"
            f"<thead><tr><td></td>{groups}</tr><tr>{_heads([table.stub, *metrics])}</tr></thead>\n"
            f"{self._bodies(table)}</table></div>\n" + (f'<ul class="notes">{notes}</ul>\n' if notes else "")
        )

    def grid(self, grid: Grid) -> str:
        """A table of texts."""
        cells = grid.cells or ((),) * len(grid.rows)
        rows = "".join(
            f"<tr>{''.join(self._grid_cell(cell, of if i == 0 else ()) for i, cell in enumerate(row))}</tr>\n"
            for row, of in zip(grid.rows, cells, strict=True)
        )
        letters = [max(len(row[i]) for row in (grid.headings, *grid.rows)) for i in range(len(grid.headings))]
        return (
            f'<h3>{text(grid.title)}</h3>\n<p class="caption">{text(grid.caption)}</p>\n'
            f"{hint(sum(_LETTER_PX * count + _CELL_PX for count in letters), 'columns')}{_opened(grid.title)}"
            f"<thead><tr>{_heads(grid.headings)}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n"
        )

    def _grid_cell(self, cell: str, of: Sequence[str]) -> str:
        """A cell that is sorted by the number it begins with, and leads to the cells behind it."""
        number = _NUMBER.match(cell)
        key = number[0].replace(",", "").replace("−", "-") if number else cell
        shown = self._link(of, text(cell)) if of else text(cell)
        return f'<td data-sort="{quoted(key)}">{shown}</td>'

    def _bodies(self, table: Table) -> str:
        """Sets of rows that are sorted each by itself, the heading of a set before it."""
        parts: list[str] = []
        for i, row in enumerate(table.rows):
            if i == 0 or row.opens:
                parts.append("</tbody>\n" if i else "")
                if row.heading:
                    span = len(row.values) + 1
                    parts.append(f'<tbody><tr><th class="set" colspan="{span}">{text(row.heading)}</th></tr></tbody>\n')
                parts.append("<tbody>\n")
            parts.append(f"{self._row(row)}\n")
        return "".join([*parts, "</tbody>" if parts else ""])

    def _row(self, row: Row) -> str:
        return f"<tr><td>{text(row.title + ''.join(row.flags))}</td>{''.join(map(self._value, row.values))}</tr>"

    def _value(self, value: Value) -> str:
        key = "" if value.mean is None else f' data-sort="{value.mean:.12g}"'  # a text that is no number stays below
        if not value.cells:
            return f"<td{key}>{text(value.text)}</td>"
        number = f'<span class="{value.mark}">{text(value.text)}</span>' if value.mark else text(value.text)
        sd = f" <small>±{text(value.sd_text)}</small>" if value.sd_text else ""
        ends = f" <small>({text(value.range_text)})</small>" if value.range_text else ""
        return f"<td{key}>{self._link(value.cells, number + sd + ends)}{''.join(value.flags)}</td>"

    def _link(self, cells: Sequence[str], shown: str) -> str:
        """What leads to the first of ``cells``, which names the others; the link does where they are not the usual."""
        usual = self._behind.setdefault(cells[0], tuple(cells)) == tuple(cells)
        named = "" if usual else f' data-cells="{" ".join(cell[:ID_CHARS] for cell in cells)}"'
        return f'<a href="#{anchor(cells[0])}"{named}>{shown}</a>'


def _opened(title: str) -> str:
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{quoted(title)}">\n<table class="sortable">\n'


def _heads(headings: Sequence[str]) -> str:
    return "".join(f"<th><button>{text(heading)}</button></th>" for heading in headings)


def _table_px(table: Table) -> float:
    letters = [max(len(row.title) for row in table.rows) if table.rows else 0]
    for i, (_, metric) in enumerate(table.columns):
        cells = (sum(map(len, (v.text, v.sd_text, v.range_text))) for v in (row.values[i] for row in table.rows))
        letters.append(max(len(metric.heading), *cells))
    return sum(_LETTER_PX * count + _CELL_PX for count in letters)
