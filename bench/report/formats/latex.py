r"""Tables in LaTeX: a document that compiles by itself, and bare tabulars for ``\input``, with booktabs.

A document is on A4 paper, turned where a table needs it; a table that is wider still is cut between columns.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate, groupby

from bench.report.formats.latex_widths import (
    GAP_PT,
    GROUP_PT,
    LANDSCAPE,
    MARGIN_MM,
    PORTRAIT,
    STUB_PT,
    Paper,
    columns_pt,
    heading_lines,
    height_mm,
    stub_pt,
    text_pt,
    width_pt,
)
from bench.tables.model import Flag, Group, Row, Table, Value

__all__ = ["document", "escape", "parts", "tabular"]

_FLAGS: dict[Flag, str] = {
    "†": r"\dagger", "‡": r"\ddagger", "§": r"\S", "¶": r"\P", "‖": r"\parallel", "◇": r"\diamond",
    "△": r"\bigtriangleup", "▽": r"\bigtriangledown", "⋆": r"\star", "∘": r"\circ", "♯": r"\sharp", "♭": r"\flat",
    "♮": r"\natural", "♠": r"\spadesuit", "♣": r"\clubsuit",
}  # fmt: skip
"""Symbols of notes that LaTeX knows without a package, more than are in use: a flag to come takes one."""
_SPECIAL: dict[str, str] = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_",
    "%": r"\%", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}", "]": "{]}", '"': "''", "—": "---", "–": "--",
    "…": r"\ldots{}", "·": r"$\cdot$", "×": r"$\times$", "±": r"$\pm$", "↑": r"$\uparrow$",
    "↓": r"$\downarrow$", "≤": r"$\le$", "≥": r"$\ge$", "τ": r"$\tau$", "λ": r"$\lambda$", "α": r"$\alpha$",
    "Φ": r"$\Phi$", "ρ": r"$\rho$",
    "µ": r"$\mu$", "μ": r"$\mu$", **{symbol: f"$^{{{name}}}$" for symbol, name in _FLAGS.items()},
}  # fmt: skip
_LATIN_END = 0x17F
_LACKING = "ÐÞðþĄąĐđĘęĦħĮįĸĿŀŉŊŋŦŧŲųſ"
"""Latin letters that LaTeX's own fonts do not have."""
_LONG_WORD, _BREAK_EVERY = 30, 10
"""Letters beyond which a word may be broken, and after how many."""
_CODE, _CODE_LETTERS = "{[}U+", 8
"""How the code point of a letter begins, and how many letters it is in print."""
_MINUS = re.compile(r"(?:^|(?<=[\s(]))-(?=[\d.])")
_MM_PT = 2.845


@lru_cache(maxsize=4096)
def escape(text: str) -> str:
    """``text`` as LaTeX prints it letter by letter; a letter that its fonts lack becomes its code point."""
    words = unicodedata.normalize("NFC", text).split(" ")
    return _MINUS.sub("$-$", " ".join(map(_word, words)))


def _word(word: str) -> str:
    """A word that may be broken if it is long; dashes typed one after the other stay apart."""
    signs = [_SPECIAL.get(char) or _letter(char) for char in word]
    signs = [f"{sign}{{}}" if word[i : i + 2] == "--" else sign for i, sign in enumerate(signs)]
    lengths = [_CODE_LETTERS if sign.startswith(_CODE) else 1 for sign in signs]
    if sum(lengths) <= _LONG_WORD:
        return "".join(signs)
    places = [end // _BREAK_EVERY for end in accumulate(lengths)]
    runs = groupby(range(len(signs)), lambda i: places[i])
    return r"\allowbreak{}".join("".join(signs[i] for i in run) for _, run in runs)


def _letter(char: str) -> str:
    if char.isascii():
        return char if char.isprintable() else " "
    known = ord(char) <= _LATIN_END and char.isalpha() and char not in _LACKING
    return char if known else f"{_CODE}{ord(char):04X}{{]}}"


def tabular(table: Table) -> str:
    """The tabular alone, its caption and notes as comments before it."""
    comments = [
        f"needs \\usepackage{{booktabs}}; about {width_pt(table) / _MM_PT / 10:.0f} cm wide",
        f"{table.title}. {table.caption}",
        *(f"{n.symbol} {n.text}".strip() for n in table.notes),
    ]
    lines = [f"% {' '.join(text.split())}" for text in comments]
    stub = "l" if stub_pt(table) < STUB_PT + GAP_PT else rf"p{{{STUB_PT:g}pt}}"
    columns = "".join("c" * len(group.metrics) for group in table.groups)
    lines += [rf"\begin{{tabular}}{{@{{}}{stub}{columns}@{{}}}}", r"\toprule", *_heading(table), r"\midrule"]
    for i, row in enumerate(table.rows):
        title = _title(row) if stub == "l" else rf"\raggedright {_title(row)}"
        lines += [*([r"\midrule"] if row.opens and i else []), *_row_heading(row), _row(row, title)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _heading(table: Table) -> list[str]:
    spans, rules, names = [], [], []
    widths, place = columns_pt(table), 0
    for group in table.groups:
        last = place + len(group.metrics)
        spans.append(rf"\multicolumn{{{len(group.metrics)}}}{{c}}{{{_group(group, sum(widths[place:last]))}}}")
        rules.append(rf"\cmidrule(lr){{{place + 2}-{last + 1}}}")
        for i, metric in enumerate(group.metrics, place):
            cells = widths[i] - GAP_PT
            names.append(_stacked(heading_lines(metric.heading, cells)))
        place = last
    return [rf"& {' & '.join(spans)} \\", " ".join(rules), rf"{escape(table.stub)} & {' & '.join(names)} \\"]


def _group(group: Group, own_pt: float) -> str:
    """The title over some columns, broken where it would widen them."""
    title, room = escape(group.title), max(own_pt, GROUP_PT) - GAP_PT
    return title if text_pt(group.title) <= room else rf"\parbox[b]{{{room:.0f}pt}}{{\centering {title}}}"


def _stacked(lines: Sequence[str]) -> str:
    texts = r"\\".join(map(escape, lines))
    return rf"\shortstack{{{texts}}}" if len(lines) > 1 else texts


def _row_heading(row: Row) -> list[str]:
    span = rf"\multicolumn{{{len(row.values) + 1}}}{{@{{}}l}}"
    return [rf"{span}{{\textit{{{escape(row.heading)}}}}} \\"] if row.heading else []


def _title(row: Row) -> str:
    return f"{escape(row.title)}{_flags(row.flags)}"


def _row(row: Row, title: str) -> str:
    return rf"{title} & {' & '.join(_value(value) for value in row.values)} \\"


def _value(value: Value) -> str:
    text = escape(value.text)
    if value.mark:
        text = rf"\{'textbf' if value.mark == 'best' else 'underline'}{{{text}}}"
    sd = rf"{{\scriptsize\,$\pm$\,{escape(value.sd_text)}}}" if value.sd_text else ""
    ends = rf"{{\scriptsize\,({escape(value.range_text)})}}" if value.range_text else ""
    return f"{text}{sd}{ends}{_flags(value.flags)}"


def _flags(flags: Sequence[Flag]) -> str:
    """Symbols that take no width, so that columns stay in line."""
    return rf"\rlap{{$^{{{''.join(_FLAGS[flag] for flag in flags)}}}$}}" if flags else ""


def document(tables: Sequence[Table]) -> str:
    """All tables, one a page, on A4 paper, which is as long as the longest of them needs it."""
    paper = PORTRAIT if all(width_pt(table) <= PORTRAIT.text_pt for table in tables) else LANDSCAPE
    shown = [part for table in tables for part in parts(table, paper)]
    size = f"paperwidth={paper.width_mm}mm,paperheight={height_mm(shown, paper)}mm,margin={MARGIN_MM}mm"
    return "\n".join(
        [
            r"\documentclass{article}",
            rf"\usepackage[{size}]{{geometry}}",
            r"\usepackage{booktabs}",
            r"\pagestyle{empty}",
            r"\setlength{\parindent}{0pt}",
            rf"\setlength{{\tabcolsep}}{{{GAP_PT / 2:g}pt}}",
            r"\emergencystretch=3em",
            r"\begin{document}",
            *map(_page, shown),
            r"\end{document}",
            "",
        ]
    )


def parts(table: Table, paper: Paper) -> list[Table]:
    """``table`` as it fits on ``paper``: whole, or cut between groups of columns, within one that is too wide."""
    if width_pt(table) <= paper.text_pt:
        return [table]
    found: list[list[int]] = []
    for columns in _pieces(table, paper):
        joined = [*found[-1], *columns] if found else columns
        if found and _fits(table, joined, paper):
            found[-1] = joined
        else:
            found.append(columns)
    whole = [_cut(table, columns) for columns in found]
    count = len(whole)
    return [replace(part, title=f"{part.title} (part {i} of {count})") for i, part in enumerate(whole, 1)]


def _pieces(table: Table, paper: Paper) -> Iterator[list[int]]:
    """Numbers of the columns that stay together: a group, or single columns of one that is too wide."""
    first = 0
    for group in table.groups:
        own = list(range(first, first + len(group.metrics)))
        yield from [own] if _fits(table, own, paper) else [[i] for i in own]
        first += len(own)


def _fits(table: Table, columns: Sequence[int], paper: Paper) -> bool:
    return width_pt(_cut(table, columns)) <= paper.text_pt


def _cut(table: Table, columns: Sequence[int]) -> Table:
    """``table`` with some of its columns."""
    groups, first = [], 0
    for group in table.groups:
        metrics = tuple(metric for i, metric in enumerate(group.metrics, first) if i in columns)
        groups += [replace(group, metrics=metrics)] if metrics else []
        first += len(group.metrics)
    rows = tuple(replace(row, values=tuple(row.values[i] for i in columns)) for row in table.rows)
    return replace(table, groups=tuple(groups), rows=rows)


def _page(table: Table) -> str:
    notes = [
        rf"{escape(note.symbol)} {escape(note.text)}\par".strip() if note.symbol else rf"{escape(note.text)}\par"
        for note in table.notes
    ]
    legend = r" Best \textbf{bold}, second best \underline{underlined}." if table.by_column else ""
    return "\n".join(
        [
            r"\begin{table}[!ht]",
            r"\centering",
            rf"\caption{{{escape(table.title)}. {escape(table.caption)}{legend}}}",
            r"\smallskip",
            r"\footnotesize",
            r"\renewcommand{\arraystretch}{1.1}",
            tabular(table).rstrip(),
            *([r"\par\medskip", r"\raggedright\scriptsize", *notes] if notes else []),
            r"\end{table}",
            r"\clearpage",
        ]
    )
