"""Results and recovery of a known truth as plain text, as wide as the terminal.

Data sets stand side by side if they fit, else below each other; columns that do not fit are put below, too.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tabulate import SEPARATING_LINE, tabulate

from bench.report.formats.letters import visible
from bench.tables.cells import blocks_of, records_of
from bench.tables.fields import SHORT, fields_of, fields_table
from bench.tables.metrics import Metric
from bench.tables.model import Row, Table, Value
from bench.tables.overall import overall_tables, recovery_tables
from bench.tables.titles import Titles

if TYPE_CHECKING:
    import pandas as pd

    from bench.data.store.fields import DataFields

__all__ = ["plain_table", "run_text", "terminal_table", "written_line"]

_PIPED = 100
"""Letters in a line where no terminal says how many."""
_LEAST = 40
"""A terminal is taken to be at least so wide."""
_TOP_FIELDS = 8
"""Fields of a data set that are shown."""
_LEGEND = "¹ best, ² second best of a column."


def terminal_table(
    frame: pd.DataFrame, titles: Titles | None = None, *, width: int | None = None, colour: bool = False
) -> str:
    """AUC, Logloss and TT of a run and what was found of a known truth, in lines of at most ``width`` letters.

    Args:
        frame: a run as ``bench.records.load_frame`` returns it.
        titles: names and order of data sets and backbones in print; by default those that are registered.
        width: letters in a line; by default as many as the terminal has, 100 where there is none, as in a pipe.
        colour: mark the best bold and the second best underlined by escape sequences, for a terminal.
    """
    columns = shutil.get_terminal_size((_PIPED, 24)).columns if width is None else width
    tables = [*overall_tables(frame, titles), *recovery_tables(frame, titles)]
    return "\n\n".join(_text(table, columns, colour) for table in tables)


def run_text(
    frame: pd.DataFrame, facts: Sequence[DataFields], titles: Titles | None = None, *, colour: bool = False
) -> str:
    """The top of the table of fields, then ``terminal_table``, as wide as the terminal.

    Args:
        frame: a run as ``bench.records.load_frame`` returns it.
        facts: what lies in the run folder of its fields.
        titles: as in ``terminal_table``.
        colour: as in ``terminal_table``.
    """
    titles = Titles.registered() if titles is None else titles
    columns = shutil.get_terminal_size((_PIPED, 24)).columns
    cells = records_of(frame)
    placed = blocks_of(cells, titles, facts)
    fields = [fields_table(one, _TOP_FIELDS, SHORT) for one in fields_of(cells, titles, facts)]
    tables = [*fields, *overall_tables(placed, titles), *recovery_tables(placed, titles)]
    return "\n\n".join(_text(table, columns, colour) for table in tables)


def plain_table(table: Table, width: int | None = None) -> str:
    """One table, in lines of at most ``width`` letters; by default as in ``terminal_table``."""
    return _text(table, shutil.get_terminal_size((_PIPED, 24)).columns if width is None else width, False)


def written_line(run: Path, n_files: int) -> str:
    """What a report of ``n_files`` files has left in a run folder."""
    return f"{n_files} files: {run}/tables, {run}/figures, and both in one page: {run}/report.html"


def _text(table: Table, width: int, colour: bool) -> str:
    width = max(width, _LEAST)
    whole = list(range(len(table.columns)))
    grids = [_grid(table, whole, colour)] if _fits(table, whole, width) else list(_stacked(table, width, colour))
    notes = [visible(f"{note.symbol or ' '} {note.text}") for note in table.notes]
    if not colour and any(value.mark for row in table.rows for value in row.values):
        notes.insert(0, _LEGEND)
    wrapped = [textwrap.fill(note, width, subsequent_indent="  ") for note in notes]
    caption = textwrap.fill(visible(f"{table.title}. {table.caption}"), width)
    return "\n".join([caption, "", "\n\n".join(grids), *([""] if wrapped else []), *wrapped])


def _fits(table: Table, columns: Sequence[int], width: int) -> bool:
    return max(len(line) for line in _grid(table, columns, False).splitlines()) <= width


def _stacked(table: Table, width: int, colour: bool) -> Iterator[str]:
    """A grid by data set, or several where its columns do not fit: titles and headings are broken then."""
    first = 0
    for group in table.groups:
        own = list(range(first, first + len(group.metrics)))
        first += len(own)
        if _fits(table, own, width):
            yield _grid(table, own, colour)
            continue
        narrow = _Narrow(table, width)
        parts = [narrow.grid(part, colour) for part in narrow.parts(own)]
        yield "\n\n".join([textwrap.fill(visible(group.title), width), *parts])


def _grid(table: Table, columns: Sequence[int], colour: bool) -> str:
    headings, before = [table.stub], None
    for i in columns:
        group, metric = table.columns[i]
        headings.append(f"{visible(group.title) if group is not before else ''}\n{metric.heading}")
        before = group
    return _tabulated(table, columns, headings, colour, str)


def _title(row: Row) -> str:
    return visible("".join([row.title, *row.flags]))


def _tabulated(
    table: Table, columns: Sequence[int], headings: Sequence[str], colour: bool, fill: Callable[[str], str]
) -> str:
    """Rows of some columns as text.

    Args:
        table: whose.
        columns: their numbers.
        headings: that of the titles, then theirs.
        colour: as in ``terminal_table``.
        fill: breaks titles into lines.
    """
    rows: list[list[str]] = []
    for row in table.rows:
        if row.heading:
            rows += [*([[SEPARATING_LINE]] if rows else []), [fill(row.heading), *("" for _ in columns)]]
        rows.append([fill(_title(row)), *(_value(row.values[i], colour) for i in columns)])
    return tabulate(rows, headings, tablefmt="simple", disable_numparse=True, stralign="left")


class _Narrow:
    """A table in a window that is too narrow for it: long titles take several lines, columns go below each other."""

    def __init__(self, table: Table, width: int) -> None:
        self._table, self._width = table, width
        self._headings = []
        for i, (_, metric) in enumerate(table.columns):
            cells = max((len(_value(row.values[i], False)) for row in table.rows), default=0)
            self._headings.append(_broken(metric, cells))
        longest = max((len(_title(row)) for row in table.rows), default=0)
        self._stub = max(1, min(longest, width // 2))

    def parts(self, columns: Sequence[int]) -> list[list[int]]:
        """``columns`` in runs that fit beside the titles."""
        found: list[list[int]] = [[]]
        for i in columns:
            grid = self.grid([*found[-1], i], False)
            if found[-1] and max(map(len, grid.splitlines())) > self._width:
                found.append([])
            found[-1].append(i)
        return found

    def grid(self, columns: Sequence[int], colour: bool) -> str:
        headings = [self._table.stub, *(self._headings[i] for i in columns)]
        return _tabulated(self._table, columns, headings, colour, self._fill)

    def _fill(self, text: str) -> str:
        return textwrap.fill(text, self._stub, subsequent_indent=" ")


def _broken(metric: Metric, cells: int) -> str:
    """A heading in lines that are hardly longer than the cells below."""
    longest = max(cells, *map(len, metric.heading.split()))
    return "\n".join(textwrap.wrap(metric.heading, longest, break_on_hyphens=False))


def _value(value: Value, colour: bool) -> str:
    text = value.text
    if value.mark and colour:
        text = f"\x1b[{1 if value.mark == 'best' else 4}m{text}\x1b[0m"
    elif not colour:
        text += {"best": "¹", "second": "²", "": ""}[value.mark]
    sd = f" ±{value.sd_text}" if value.sd_text else ""
    ends = f" ({value.range_text})" if value.range_text else ""
    return f"{text}{sd}{ends}{''.join(value.flags)}"
