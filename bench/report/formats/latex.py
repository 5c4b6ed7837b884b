r"""Tables in LaTeX: a document that compiles by itself, and bare tabulars for ``\input``, with booktabs."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from bench.tables.model import Flag, Row, Table, Value

__all__ = ["document", "escape", "tabular"]

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

_MARGIN_MM = 12
_PT_MM = 0.3515
_DIGIT_PT, _SMALL_PT, _GAP_PT, _LINE_PT = 5.0, 4.4, 26.0, 10.5


@lru_cache(maxsize=4096)
def escape(text: str) -> str:
    """``text`` as LaTeX prints it letter by letter; a letter beyond Latin becomes its code point."""
    return "".join(_SPECIAL.get(char) or _letter(char) for char in unicodedata.normalize("NFC", text))


def _letter(char: str) -> str:
    if char.isascii():
        return char if char.isprintable() else " "
    return char if ord(char) <= _LATIN_END and char.isalpha() else f"{{[}}U+{ord(char):04X}{{]}}"


def tabular(table: Table) -> str:
    """The tabular alone, its caption and notes as comments before it."""
    comments = [
        "needs \\usepackage{booktabs}",
        f"{table.title}. {table.caption}",
        *(f"{n.symbol} {n.text}".strip() for n in table.notes),
    ]
    lines = [f"% {' '.join(text.split())}" for text in comments]
    columns = "".join("c" * len(group.metrics) for group in table.groups)
    lines += [rf"\begin{{tabular}}{{@{{}}l{columns}@{{}}}}", r"\toprule", *_heading(table), r"\midrule"]
    for i, row in enumerate(table.rows):
        lines += [*([r"\midrule"] if row.opens and i else []), *_row_heading(row), _row(row)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _heading(table: Table) -> list[str]:
    spans, rules, first = [], [], 2
    for group in table.groups:
        last = first + len(group.metrics) - 1
        spans.append(rf"\multicolumn{{{len(group.metrics)}}}{{c}}{{{escape(group.title)}}}")
        rules.append(rf"\cmidrule(lr){{{first}-{last}}}")
        first = last + 1
    names = [escape(metric.heading) for group in table.groups for metric in group.metrics]
    return [rf"& {' & '.join(spans)} \\", " ".join(rules), rf"{escape(table.stub)} & {' & '.join(names)} \\"]


def _row_heading(row: Row) -> list[str]:
    span = rf"\multicolumn{{{len(row.values) + 1}}}{{@{{}}l}}"
    return [rf"{span}{{\textit{{{escape(row.heading)}}}}} \\"] if row.heading else []


def _row(row: Row) -> str:
    return rf"{escape(row.title)}{_flags(row.flags)} & {' & '.join(_value(value) for value in row.values)} \\"


def _value(value: Value) -> str:
    text = escape(value.text)
    if value.mark:
        text = rf"\{'textbf' if value.mark == 'best' else 'underline'}{{{text}}}"
    sd = rf"{{\scriptsize\,$\pm$\,{escape(value.sd_text)}}}" if value.sd_text else ""
    return f"{text}{sd}{_flags(value.flags)}"


def _flags(flags: Sequence[Flag]) -> str:
    """Symbols that take no width, so that columns stay in line."""
    return rf"\rlap{{$^{{{''.join(_FLAGS[flag] for flag in flags)}}}$}}" if flags else ""


def document(tables: Sequence[Table]) -> str:
    """All tables, one a page, on paper that is large enough for the largest."""
    width, height = _paper_mm(tables)
    pages = [_page(table) for table in tables]
    return "\n".join(
        [
            r"\documentclass{article}",
            rf"\usepackage[paperwidth={width}mm,paperheight={height}mm,margin={_MARGIN_MM}mm]{{geometry}}",
            r"\usepackage{booktabs}",
            r"\pagestyle{empty}",
            r"\setlength{\parindent}{0pt}",
            r"\begin{document}",
            *pages,
            r"\end{document}",
            "",
        ]
    )


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


def _paper_mm(tables: Sequence[Table]) -> tuple[int, int]:
    """Width and height in mm, from the letters of the widest table and the lines of the longest."""
    widths, heights = [500.0], [280.0]
    for table in tables:
        titles = max((len(row.title) for row in table.rows), default=0) * _DIGIT_PT
        columns = [
            max(
                len(heading) * _DIGIT_PT,
                *(len(v.text) * _DIGIT_PT + len(v.sd_text) * _SMALL_PT for v in column),
            )
            + _GAP_PT
            for heading, column in _columns(table)
        ]
        widths.append(titles + sum(columns))
        lines = len(table.rows) + sum(1 + len(note.text) // 120 for note in table.notes)
        heights.append(150 + lines * _LINE_PT + len(table.caption) / 80 * _LINE_PT)
    return round(max(widths) * _PT_MM) + 2 * _MARGIN_MM, round(max(heights) * _PT_MM) + 2 * _MARGIN_MM


def _columns(table: Table) -> list[tuple[str, list[Value]]]:
    headings = [metric.heading for group in table.groups for metric in group.metrics]
    return [(heading, [row.values[i] for row in table.rows]) for i, heading in enumerate(headings)]
