"""The catalogue as text: a block a method, in the terminal or in Markdown."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from bench.catalogue.facts import Facts, Parameter, link
from bench.catalogue.standing import Setting, Standing
from bench.report.formats.markdown import escape
from bench.tables.model import MISSING

__all__ = ["markdown", "terminal"]

_LABEL = 11
"""Columns of the words in front of a line of a block."""
_WIDEST = 100
"""Longer lines are hard to read."""
_BULLETS = ("variants", "departs")
_CODE = re.compile(r"``(.+?)``|`(.+?)`")
_HEAD = """# Catalogue of the methods

Written by `{command}` from entries, docstrings, parameters
and the [recorded runs](../results/reference/README.md); a test holds it to them. What is worth knowing first is in the
[guide](README.md).

- *Level*: what is selected; row by row where a gate differs from row to row, so that nothing can be removed.
- *Scores*: when a method has scores of fields, and what changes them besides data and parameters.
- *Cost*: time of selection (PT) and of the training that follows (CT), lowest to highest, as `run --plan` reckons with.
- *Tuned*: what `run --tune optuna` searches beside the profile's learning rate and L2.
- *Recovery*: on generated data, whose true fields are known: precision at K, the share of true fields among as many
  highest scores, and test AUC, mean ± standard deviation over seeds, beside the controls and a draw by lot.

"""
COMMAND = "python -m bench list methods --long --format markdown"


def terminal(methods: Iterable[Facts], settings: Sequence[Setting], width: int) -> str:
    """Blocks of lines no wider than ``width``."""
    return "\n\n".join("\n".join(_block(one, settings, min(width, _WIDEST))) for one in methods) + "\n"


def markdown(methods: Iterable[Facts], settings: Sequence[Setting]) -> str:
    """A document with a section a method."""
    sections = ["\n".join(_section(one, settings)) for one in methods]
    return _HEAD.format(command=COMMAND) + "\n\n".join(sections) + "\n"


def _block(one: Facts, settings: Sequence[Setting], width: int) -> Iterator[str]:
    yield f"{one.name}: {one.entry.title}"
    for label, texts in _lines(one, settings):
        for number, text in enumerate(texts):
            head = f"  {'' if number else label:<{_LABEL}}"
            bullet = "- " if len(texts) > 1 and label in _BULLETS else ""
            plain = _CODE.sub(lambda code: code[1] or code[2], text)
            yield textwrap.fill(
                plain,
                width,
                initial_indent=head + bullet,
                subsequent_indent=" " * len(head + bullet),
                break_on_hyphens=False,
            )


def _section(one: Facts, settings: Sequence[Setting]) -> Iterator[str]:
    yield f"## {escape(one.entry.title)}"
    yield ""
    yield f"`{one.name}`"
    yield ""
    for label, texts in _lines(one, settings, linked=True):
        shown, first = [_marked(text) for text in texts], f"- **{label.capitalize()}:**"
        yield f"{first} {shown[0]}" if len(shown) == 1 else "\n".join([first, *(f"  - {text}" for text in shown)])


def _marked(text: str) -> str:
    """Text of a docstring in Markdown: code stays code, all else stands for itself."""
    parts = []
    end = 0
    for code in _CODE.finditer(text):
        parts += [_plain(text[end : code.start()]), f"`{code[1] or code[2]}`"]
        end = code.end()
    return "".join([*parts, _plain(text[end:])])


def _plain(text: str) -> str:
    """Escaped, with the spaces at its ends and with addresses as links."""
    shown = escape(text)
    shown = f"{' ' if text[:1] == ' ' else ''}{shown}{' ' if text[-1:] == ' ' and shown else ''}"
    return re.sub(r"https://\S+", lambda found: f"<{found[0]}>".replace("\\", ""), shown)


def _lines(one: Facts, settings: Sequence[Setting], linked: bool = False) -> Iterator[tuple[str, Sequence[str]]]:
    """Label and texts of every line of a block; those without a text are left out."""
    entry = one.entry
    address = link(entry.reference)
    source = [entry.citation, address if linked else entry.reference]
    table = "a row of the paper's Table 2" if entry.paper else ""
    pairs: list[tuple[str, Sequence[str]]] = [
        ("paper", [text] if (text := ", ".join(filter(None, source))) else ["none"]),
        ("broken", [one.broken]),
        ("level", [one.level]),
        ("family", [", ".join(filter(None, (entry.family, table)))]),
        ("stages", [one.stages]),
        ("scores", [one.scores]),
        ("cost", [one.cost]),
        ("budgets", [_budgets(one.budgets)]),
        ("variants", [_variant(parameter) for parameter in one.variants]),
        ("numbers", [", ".join(f"``{number.name}={number.default}``" for number in one.numbers)]),
        ("tuned", [", ".join(f"``{number.name}`` {number.searched}" for number in one.searched)]),
        ("departs", one.departs or _no_departures(one)),
        ("recovery", [] if one.broken else list(_recovery(one.name, settings))),
        ("note", [entry.note]),
    ]
    return ((label, [text for text in texts if text]) for label, texts in pairs if any(texts))


def _budgets(names: Sequence[str]) -> str:
    return ", ".join([f"``{names[0]}`` (default)", *(f"``{name}``" for name in names[1:])])


def _variant(parameter: Parameter) -> str:
    values = "|".join(parameter.choices)
    return f"``{parameter.name}={values}``, default ``{parameter.default}``: {parameter.meaning}"


def _no_departures(one: Facts) -> list[str]:
    if one.broken:
        return []
    return ["there is no paper"] if one.no_paper else ["not said"]


def _recovery(method: str, settings: Sequence[Setting]) -> Iterator[str]:
    """A line a recorded setting, and under it a line a row."""
    found = [(setting, rows) for setting in settings if (rows := setting.of(method))]
    if not found:
        yield "not recorded"
    for setting, rows in found:
        yield setting.title
        yield from (_row(row) for row in rows)
        yield from (f"beside it {_row(row)}" for row in setting.controls if row not in rows)
        if setting.by_lot:
            yield f"beside it fields drawn by lot: precision {setting.by_lot}"


def _row(row: Standing) -> str:
    precision = "" if row.precision == MISSING else f"precision {row.precision}, "
    return f"{row.title}: {precision}AUC {row.auc}"
