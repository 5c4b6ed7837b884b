"""Tables in Markdown, as GitHub shows it."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.formats.letters import visible
from bench.tables.model import Table, Value

__all__ = ["document", "escape", "line"]

_SPECIAL = str.maketrans({char: f"\\{char}" for char in "\\`*_[]|#~"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"})
_LEGEND = " Best **bold**, second best <u>underlined</u>."


def escape(text: str) -> str:
    """Any text as itself, in one line."""
    return " ".join(visible(text).translate(_SPECIAL).split())


def document(tables: Sequence[Table], heading: str) -> str:
    """All tables under one heading, each with its caption above and its notes below."""
    return "\n".join([f"# {escape(heading)}", "", *("\n".join(_table(table)) for table in tables)])


def _table(table: Table) -> list[str]:
    names = [f"{escape(group.title)}<br>{escape(metric.heading)}" for group in table.groups for metric in group.metrics]
    lines = [f"## {escape(table.title)}", "", f"{escape(table.caption)}{_LEGEND if table.by_column else ''}", ""]
    lines += [line([escape(table.stub), *names]), line([":--", *("--:" for _ in names)])]
    for row in table.rows:
        if row.heading:
            lines.append(line([f"*{escape(row.heading)}*", *("" for _ in names)]))
        lines.append(line([escape(row.title) + "".join(row.flags), *(_value(value) for value in row.values)]))
    notes = [f"- {escape(f'{note.symbol} {note.text}'.strip())}" for note in table.notes]
    return [*lines, "", *notes, *([""] if notes else [])]


def line(cells: Sequence[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"


def _value(value: Value) -> str:
    text = {"best": f"**{value.text}**", "second": f"<u>{value.text}</u>", "": value.text}[value.mark]
    sd = f" <sub>±{value.sd_text}</sub>" if value.sd_text else ""
    ends = f" <sub>({value.range_text})</sub>" if value.range_text else ""
    return f"{text}{sd}{ends}{''.join(value.flags)}"
