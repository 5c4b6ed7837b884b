"""Results and recovery of a known truth as plain text: data sets side by side if they fit, else below each other."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tabulate import SEPARATING_LINE, tabulate

from bench.tables.model import Group, Table, Value
from bench.tables.overall import overall_tables, recovery_tables
from bench.tables.titles import Titles

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["terminal_table", "written_line"]

_LEGEND = "¹ best, ² second best of a column."


def terminal_table(
    frame: pd.DataFrame, titles: Titles | None = None, *, width: int | None = None, colour: bool = False
) -> str:
    """AUC, Logloss and TT of a run and what was found of a known truth, in lines of about ``width`` letters.

    Args:
        frame: a run as ``bench.records.load_frame`` returns it.
        titles: names and order of data sets and backbones in print; by default those that are registered.
        width: letters in a line; by default as many as the terminal has.
        colour: mark the best bold and the second best underlined by escape sequences, for a terminal.
    """
    columns = shutil.get_terminal_size((120, 24)).columns if width is None else width
    tables = [*overall_tables(frame, titles), *recovery_tables(frame, titles)]
    return "\n\n".join(_text(table, columns, colour) for table in tables)


def written_line(run: Path, n_files: int) -> str:
    """What a report of ``n_files`` files has left in a run folder."""
    return f"{n_files} files: {run}/tables, {run}/figures, and both in one page: {run}/report.html"


def _text(table: Table, width: int, colour: bool) -> str:
    whole = _grid(table, table.groups, colour)
    fits = max(len(line) for line in _grid(table, table.groups, False).splitlines()) <= width
    grids = [whole] if fits else [_grid(table, [group], colour) for group in table.groups]
    notes = [f"{note.symbol or ' '} {note.text}" for note in table.notes]
    if not colour and any(value.mark for row in table.rows for value in row.values):
        notes.insert(0, _LEGEND)
    wrapped = [textwrap.fill(note, width, subsequent_indent="  ") for note in notes]
    caption = textwrap.fill(f"{table.title}. {table.caption}", width)
    return "\n".join([caption, "", "\n\n".join(grids), *([""] if wrapped else []), *wrapped])


def _grid(table: Table, groups: Sequence[Group], colour: bool) -> str:
    headings = [table.stub]
    for group in groups:
        titles = [group.title, *("" for _ in group.metrics[1:])]
        headings += [f"{title}\n{metric.heading}" for title, metric in zip(titles, group.metrics, strict=True)]
    chosen = [i for i, (group, _) in enumerate(table.columns) if group in groups]
    rows: list[list[str]] = []
    for row in table.rows:
        if row.heading:
            rows += [*([[SEPARATING_LINE]] if rows else []), [row.heading, *("" for _ in chosen)]]
        rows.append(["".join([row.title, *row.flags]), *(_value(row.values[i], colour) for i in chosen)])
    return tabulate(rows, headings, tablefmt="simple", disable_numparse=True, stralign="left")


def _value(value: Value, colour: bool) -> str:
    text = value.text
    if value.mark and colour:
        text = f"\x1b[{1 if value.mark == 'best' else 4}m{text}\x1b[0m"
    elif not colour:
        text += {"best": "¹", "second": "²", "": ""}[value.mark]
    sd = f" ±{value.sd_text}" if value.sd_text else ""
    return f"{text}{sd}{''.join(value.flags)}"
