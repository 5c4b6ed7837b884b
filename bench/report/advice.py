"""Advice in every form: on a terminal, as Markdown and CSV, as a figure, and as the part that opens the page."""

from __future__ import annotations

import csv
import io
import shutil
import textwrap

from tabulate import tabulate

from bench.advising.advice import Advice, Look
from bench.report.formats import html, markdown
from bench.report.formats.csv import harmless
from bench.report.formats.letters import visible
from bench.tables.advice import Grid, curve, field_grid, look_grid

__all__ = ["FIELDS", "MARKDOWN", "advice_text", "figure", "files", "opening"]

MARKDOWN, FIELDS = "advice.md", "fields.csv"
HEADING = "Advice"
_COSTS = ("embeddings", "inference", "training")
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
    shown = [i for i, one in enumerate(advice.fields) if i < _TOP or one.cost is not None or one.verdict == "unsure"]
    rest = len(advice.fields) - len(shown[:_FULL])
    return f"{_grid(grid.only(shown[:_FULL]), columns)}\n{rest} more fields in advice/{FIELDS}"


def _grid(grid: Grid, columns: int) -> str:
    rows = [[visible(cell) for cell in row] for row in grid.rows]
    longest = max((len(row[0]) for row in rows), default=0)
    for room in (longest, *range(longest - 1, _NAME - 1, -1)):
        filled = [["\n".join(textwrap.wrap(row[0], max(room, 1))) or " ", *row[1:]] for row in rows]
        text = tabulate(filled, grid.headings, tablefmt="simple", disable_numparse=True, stralign="left")
        if max(map(len, text.splitlines())) <= columns:
            break
    return f"{text}\n{textwrap.fill(grid.caption, columns)}"


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

    def point(look: Look) -> plot.Point:
        test, now = look.test, (look.embedding_bytes, look.inference_s, look.training_s)
        before = (advice.whole[name] for name in ("embedding_bytes", "inference_s", "training_s"))
        shares = tuple(None if a is None or not b else a / b for a, b in zip(now, before, strict=True))
        return plot.Point(look.k, test.mean, test.low, test.high, look.valid.mean, shares)

    known = (advice.whole[name] for name in ("embedding_bytes", "inference_s", "training_s"))
    end = plot.Point(advice.n_fields, 0.0, 0.0, 0.0, 0.0, tuple(None if one is None else 1.0 for one in known))
    points = [*map(point, looks), end]
    chosen = None if advice.choice is None or advice.verdict != "drop" else point(advice.choice)
    return render(plot.draw(_title(advice), points, _COSTS, advice.tolerance, chosen))
