"""Advice in every form: on a terminal, as Markdown and CSV, as a figure, and as the part that opens the page."""

from __future__ import annotations

import bisect
import csv
import io
import shutil
import textwrap

from tabulate import tabulate

from bench.advising.advice import Advice, Look
from bench.report.formats import html, markdown
from bench.report.formats.csv import harmless
from bench.report.formats.letters import visible
from bench.tables.advice import NOTE, Grid, curve, field_grid, look_grid

__all__ = ["FIELDS", "MARKDOWN", "advice_text", "figure", "files", "opening"]

MARKDOWN, FIELDS = "advice.md", "fields.csv"
HEADING = "Advice"
_COSTS = {
    "cost": "cost",
    "embedding_bytes": "embeddings",
    "inference_s": "inference",
    "training_s": "training",
}
"""What a look says of costs, and what the figure calls it."""
_PIPED, _LEAST = 100, 60
"""Letters in a line where no terminal says how many, and those that it has at least."""
_FULL = 40
"""Fields up to which a terminal shows them all."""
_TOP = 10
_NAME = 12
"""Letters of a field's name that stay in the narrowest window."""


def advice_text(advice: Advice, width: int | None = None) -> str:
    """Advice for a terminal of ``width`` letters, by default as wide as the one at hand."""
    columns = shutil.get_terminal_size((_PIPED, 24)).columns if width is None else width
    columns = max(columns, _LEAST)
    said = [advice.sentence, *advice.details]
    parts = ["\n".join(textwrap.fill(visible(text), columns, subsequent_indent="  ") for text in said)]
    if advice.fields:
        parts.append(_fields(advice, columns))
    if advice.looks:
        grid = look_grid(advice)
        parts.append(_grid(grid.only(range(1 + sum(look.ranked for look in advice.looks))), columns))
    return "\n\n".join(parts)


def _fields(advice: Advice, columns: int) -> str:
    grid = field_grid(advice)
    if len(advice.fields) <= _FULL:
        return _grid(grid, columns)
    told = advice.verdict != "open"  # of which all fields are unsure
    shown = [
        i
        for i, one in enumerate(advice.fields)
        if i < _TOP or one.cost is not None or (told and one.verdict == "unsure")
    ]
    rest = len(advice.fields) - len(shown[:_FULL])
    return f"{_grid(grid.only(shown[:_FULL]), columns)}\n{rest} more fields in advice/{FIELDS}"


def _grid(grid: Grid, columns: int) -> str:
    """The table with its caption; names and notes in several lines, and columns left out, where there is no room."""
    gone = []
    text = _fitted(grid, columns)
    for heading in grid.spare:
        if text is not None:
            break
        grid = grid.without(heading)
        gone.append(heading)
        text = _fitted(grid, columns)
    caption = f"{grid.caption} No room here for: {', '.join(gone)}." if gone else grid.caption
    return f"{_drawn(grid, _NAME, _NAME) if text is None else text}\n{textwrap.fill(caption, columns)}"


def _fitted(grid: Grid, columns: int) -> str | None:
    """The table, names and notes in as few lines as the room allows; None where there is too little.

    Notes are broken first: they have several words.
    """
    long = (len(visible(cell)) for row in grid.rows for column, cell in enumerate(row) if _wraps(grid, column))
    rooms = range(_NAME, max([*long, _NAME]) + 1)
    for sizes in ([(rooms[-1], room) for room in rooms], [(room, _NAME) for room in rooms]):
        place = bisect.bisect_right(sizes, columns, key=lambda size: _width(_drawn(grid, *size)))
        if place:
            return _drawn(grid, *sizes[place - 1])
    return None


def _drawn(grid: Grid, name: int, note: int) -> str:
    """The table with at most so many letters in a line of a name, and of a note."""

    def cell(column: int, text: str) -> str:
        own = visible(text)
        room = note if column else name
        return "\n".join(textwrap.wrap(own, room)) or " " if _wraps(grid, column) else own

    filled = [[cell(column, text) for column, text in enumerate(row)] for row in grid.rows]
    return tabulate(filled, grid.headings, tablefmt="simple", disable_numparse=True, stralign="left")


def _width(text: str) -> int:
    return max(map(len, text.splitlines()))


def _wraps(grid: Grid, column: int) -> bool:
    return column == 0 or grid.headings[column] == NOTE


def files(advice: Advice) -> dict[str, str]:
    """Contents by name of the files beside ``advice.json``."""
    return {MARKDOWN: _markdown(advice), FIELDS: _csv(advice)}


def _markdown(advice: Advice) -> str:
    lines = [f"# {HEADING}", "", f"**{markdown.escape(advice.sentence)}**", ""]
    lines += [f"- {markdown.escape(text)}" for text in advice.details]
    for grid in _grids(advice):
        lines += ["", f"## {grid.title}", "", markdown.escape(grid.caption), ""]
        lines += [markdown.line(grid.headings), markdown.line([":--", *("--:" for _ in grid.headings[1:])])]
        lines += [markdown.line([markdown.escape(cell) for cell in row]) for row in grid.rows]
    return "\n".join([*lines, ""])


def _csv(advice: Advice) -> str:
    text = io.StringIO()
    rows = advice.rows
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["field"], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        digits = {name: float(f"{value:.12g}") if isinstance(value, float) else value for name, value in row.items()}
        writer.writerow({name: harmless(value) for name, value in digits.items()})
    return text.getvalue()


def _grids(advice: Advice) -> list[Grid]:
    found = [field_grid(advice)] if advice.fields else []
    return [*found, look_grid(advice)] if advice.looks else found


def opening(advice: Advice, svg: bytes | None) -> html.Opening:
    """What comes first on the page."""
    return html.Opening("advice", HEADING, advice.sentence, advice.details, _title(advice), svg, _grids(advice))


def _title(advice: Advice) -> str:
    return f"Fewer fields of {advice.dataset}: AUC and costs, {advice.backbone}"


def figure(advice: Advice) -> dict[str, bytes]:
    """The figure by suffix; nothing where fewer than two numbers of fields were trained."""
    looks = curve(advice.looks)
    if not looks:
        return {}
    from plots import advice as plot  # noqa: PLC0415 - Matplotlib is slow to import
    from plots.style import render  # noqa: PLC0415

    costs = [key for key in _COSTS if key != "cost" or advice.whole.get(key)]

    def point(look: Look) -> plot.Point:
        test, pairs = look.test, [(getattr(look, key), advice.whole.get(key)) for key in costs]
        shares = tuple(None if now is None or not before else now / before for now, before in pairs)
        return plot.Point(look.k, test.mean, test.low, test.high, look.valid.mean, shares)

    known = (advice.whole.get(key) for key in costs)
    end = plot.Point(advice.n_fields, 0.0, 0.0, 0.0, 0.0, tuple(None if one is None else 1.0 for one in known))
    points = [*map(point, looks), end]
    chosen = None if advice.choice is None or advice.verdict != "drop" else point(advice.choice)
    return render(plot.draw(_title(advice), points, [_COSTS[key] for key in costs], advice.tolerance, chosen))
