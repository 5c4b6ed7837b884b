"""Importance of every field to every method, and what was kept: the heatmap of the paper's Figure 3."""

from __future__ import annotations

import math
import textwrap
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path
from matplotlib.transforms import offset_copy

from bench.records import display_title
from bench.stats.recovery import INTERACTION, MAIN, REDUNDANT
from plots.style import ACCENT, INK, MUTED, PAGE_IN, look, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Heatmap", "Line", "draw", "heatmap", "normalised"]

_ROW_IN, _COLUMN_IN, _HEAD_IN, _PAD_IN = 0.21, 0.1, 0.46, 0.08
_LETTER_IN, _SMALL_LETTER_IN = 0.062, 0.056
"""Mean width of a letter in row titles, and in field names."""
_TITLE_LETTER_IN, _TITLE_LINE_IN = 0.075, 0.17
_MAX_LETTERS, _BEGIN, _END = 40, 27, 12
"""Of a field's name; of a longer one, the letters at its beginning and its end are shown."""
_LABEL_PT = ((0.0, -2.0), (-2.0, 0.0))
"""From the heatmap to the names of fields below it, and to the titles of rows aside."""
_SCALE = LinearSegmentedColormap.from_list("importance", ["#fdf6e9", "#fbd08a", "#f19a4b", "#c4562f", "#6e1f1f"])
"""Light to dark evenly in lightness: readable in grey and with every kind of colour vision."""
_NO_SCORE = "#e4e4e4"
_PALE = "#a9c9f2"
_ON_BLUE = "#fdfdfd"
"""No pure white, which the page takes out of figures as their ground."""
_COPY = "C"
_ROLES = {MAIN: "M", INTERACTION: "I", REDUNDANT: _COPY}
_TRUTH = "true role"
_ROLES_NOTE = "True role: M, main effect; I, effect together with another field; C, copy of a true field; none: noise."
_ROLES_LINE = 1.25
"""Height of the line of roles with the gap below, in rows."""
_LEVELS = 64
"""Shades: more than an eye tells apart, and far fewer shapes to draw than one for every cell."""


@dataclass(frozen=True)
class Line:
    """One row of a heatmap: a method at one τ."""

    title: str
    scores: np.ndarray
    """Mean score over seeds, [F]; NaN where no seed has one."""
    kept: np.ndarray
    """Share of seeds that kept the field, [F]."""
    opens: bool = False
    """Whether the rows of another method begin here, to be set apart where methods have several rows."""

    @property
    def keeps_all(self) -> bool:
        """Whether every seed kept every field."""
        return bool((self.kept >= 1).all())


@dataclass(frozen=True)
class Heatmap:
    """What the figure shows, before it is drawn."""

    fields: list[str]
    lines: list[Line]
    method: str
    """Title of the one method whose lines differ in τ only; empty where there are several methods."""
    without: list[str]
    """Titles of the methods that have no field scores."""


def normalised(scores: np.ndarray) -> np.ndarray:
    """Scores [F] on the scale 0 to 1 by their extremes; 0.5 where all are equal, NaN stays."""
    low, high = np.nanmin(scores), np.nanmax(scores)
    if high == low:
        return np.where(np.isnan(scores), np.nan, 0.5)
    return np.asarray((scores - low) / (high - low))


def heatmap(frame: pd.DataFrame) -> Heatmap:
    """Scores and kept fields by method and τ in table order, means over seeds.

    Args:
        frame: cells of one data set and one backbone, as ``bench.records.load_frame`` returns them.
    """
    done = frame[frame["status"] == "ok"]
    groups = list(done.groupby(["method_order", "label", "budget", "tau"], dropna=False, sort=True))
    names = _names([key for key, _ in groups], [cells["method_title"].iloc[0] for _, cells in groups])
    scored, without = [], []
    for name, (key, cells) in zip(names, groups, strict=True):
        line = _line(cells)
        if line is None:
            without.append(name)
        else:
            scored.append((name, _tau(key[3]), line))
    methods, taus = {name for name, _, _ in scored}, {tau for _, tau, _ in scored}
    parts = [[name] if len(methods) > 1 or len(taus) < 2 else [] for name, _, _ in scored]
    titles = [
        ", ".join([*part, *([tau] if tau and len(taus - {""}) > 1 else [])])
        for part, (_, tau, _) in zip(parts, scored, strict=True)
    ]
    opens = [i > 0 and len(methods) < len(scored) and name != scored[i - 1][0] for i, (name, _, _) in enumerate(scored)]
    lines = [
        Line(title, scores, kept, new) for title, (_, _, (scores, kept)), new in zip(titles, scored, opens, strict=True)
    ]
    method = methods.pop() if len(methods) == 1 and len(taus) > 1 else ""
    fields = list(done["field_names"].iloc[0]) if len(done) else []
    return Heatmap(fields, lines, method, list(dict.fromkeys(without)))


def _names(keys: list[tuple[Any, ...]], titles: list[Any]) -> list[str]:
    """Methods by title, with the budget where two rows differ in nothing else."""
    alike = Counter((key[1], str(key[3])) for key in keys)
    return [
        display_title(key[1], _text(title))
        + (f" ({_text(key[2]) or 'no'} budget)" if alike[key[1], str(key[3])] > 1 else "")
        for key, title in zip(keys, titles, strict=True)
    ]


def _tau(value: Any) -> str:
    return "" if math.isnan(value) else f"τ = {value:g}"


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _line(cells: pd.DataFrame) -> tuple[np.ndarray, np.ndarray] | None:
    """Mean scores and shares of seeds that kept the field, [F] each, from the cells by seed; None without scores."""
    n_fields = len(cells["field_names"].iloc[0])
    found = [scores for scores in cells["field_scores"] if scores is not None and len(scores) == n_fields]
    scores = np.array(found, dtype=np.float64).reshape(-1, n_fields)  # [seeds, F]
    known = ~np.isnan(scores)
    if not known.any():
        return None
    counts = known.sum(axis=0)
    sums = np.where(known, scores, 0.0).sum(axis=0)
    means = np.where(counts, sums / np.maximum(counts, 1), np.nan)
    kept = np.zeros(n_fields)
    chosen = [indices for indices in cells["kept_fields"] if indices is not None]
    for indices in chosen:
        kept[list(indices)] += 1
    return means, kept / max(len(chosen), 1)


def draw(frame: pd.DataFrame, title: str, roles: Mapping[str, str] | None = None) -> Figure | None:
    """Heatmap of one data set and one backbone: a row by method and τ, a column by field, means over seeds.

    Colour is the score on the scale of its own row; the blue bar in a cell is as long as the share of seeds
    that kept the field. A row that drops no field at any seed has no bars.

    Args:
        frame: cells of one data set and one backbone, as ``bench.records.load_frame`` returns them.
        title: heading of the figure.
        roles: what the fields were made to be, by name, where that is known: a line of letters above the rows.

    Returns:
        The figure, or None where no cell has field scores.
    """
    content = heatmap(frame)
    if not content.lines:
        return None
    with look():
        letters = [_role(roles[name]) for name in content.fields] if roles else []
        return _compose(content, f"{title}, {content.method}" if content.method else title, letters)


def _role(role: str) -> str:
    """The letter of a role; nothing for noise."""
    return _ROLES.get(role.partition(":")[0], "")


def _compose(content: Heatmap, title: str, roles: Sequence[str]) -> Figure:
    """Place heading, heatmap and note; all lengths in inches."""
    rows, names = content.lines, _short(content.fields)
    stubs = [row.title for row in rows] + ([_TRUTH] if roles else [])
    n_lines = len(rows) + (_ROLES_LINE if roles else 0)
    left = _PAD_IN + _LETTER_IN * max(map(len, stubs)) + 0.08
    width = max(PAGE_IN, left + _COLUMN_IN * len(names) + _PAD_IN)
    longest = max(_letters(name) for name in names) * _SMALL_LETTER_IN
    upright = longest > (width - left - _PAD_IN) / len(names)
    parts = [f"No field scores: {', '.join(content.without)}."] if content.without else []
    whole = [row.title or "all rows" for row in rows if row.keeps_all]
    parts += [f"Without bars, since no field is dropped at any seed: {', '.join(whole)}."] if whole else []
    parts += [_ROLES_NOTE] if roles else []
    parts += [f"Names of more than {_MAX_LETTERS} letters are cut in the middle."] if names != content.fields else []
    notes = textwrap.wrap(" ".join(parts), int((width - 2 * _PAD_IN) / _SMALL_LETTER_IN))
    heading = textwrap.wrap(title, int((width - 2 * _PAD_IN) / _TITLE_LETTER_IN))
    more = _TITLE_LINE_IN * (len(heading) - 1)
    below = (longest if upright else 0.1) + 0.1 + _PAD_IN + 0.13 * len(notes)
    height = _HEAD_IN + more + _ROW_IN * n_lines + below
    figure = new_figure(width, height)
    box = (left / width, below / height, 1 - (left + _PAD_IN) / width, _ROW_IN * n_lines / height)
    axes = figure.add_axes(box)
    _paint(axes, rows, names, upright)
    if roles:
        _paint_roles(axes, roles, len(rows))
    figure.text(_PAD_IN / width, 1 - (0.16 + more / 2) / height, "\n".join(heading), size=9, va="center")
    _legend(figure, width, height, 0.33 + more)
    at = (_PAD_IN / width, _PAD_IN / height)
    figure.text(*at, "\n".join(notes), size=6, color=MUTED, va="bottom", linespacing=1.3)
    return figure


def _short(names: Sequence[str]) -> list[str]:
    """Field names, cut in the middle where they are long; those that become equal by it are numbered."""
    cut = [name if len(name) <= _MAX_LETTERS else f"{name[:_BEGIN]}…{name[-_END:]}" for name in names]
    uses = Counter(cut)
    return [f"{number}: {name}" if uses[name] > 1 else name for number, name in enumerate(cut, start=1)]


def _letters(text: str) -> int:
    """The width of ``text`` in letters; those of Chinese, Japanese and Korean are two wide."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _paint(axes: Axes, rows: list[Line], names: list[str], upright: bool) -> None:
    scores = np.stack([normalised(row.scores) for row in rows])  # [rows, F]
    axes.set_facecolor(_NO_SCORE)
    levels = np.where(np.isnan(scores), -1, np.rint(scores * (_LEVELS - 1))).astype(np.int64)
    for level in np.unique(levels[levels >= 0]).tolist():
        cells = [_bar(column, row, 1, 1) for row, column in np.argwhere(levels == level).tolist()]
        path = Path.make_compound_path(*cells)
        axes.add_artist(PathPatch(path, facecolor=_SCALE(level / (_LEVELS - 1)), edgecolor="none"))
    axes.hlines(range(len(rows) + 1), 0, len(names), colors="white", linewidth=1.6)
    axes.hlines([row for row, line in enumerate(rows) if line.opens], 0, len(names), colors="white", linewidth=4.5)
    axes.vlines(range(len(names) + 1), 0, len(rows), colors="white", linewidth=1.6)
    bars = [
        _bar(column + 0.1, row + 0.73, 0.8 * share, 0.16)
        for row, line in enumerate(rows)
        for column, share in enumerate(() if line.keeps_all else line.kept)
        if share > 0
    ]
    if bars:
        path = Path.make_compound_path(*bars)
        axes.add_artist(PathPatch(path, facecolor=ACCENT, edgecolor="white", linewidth=0.35))
    axes.set_xlim(0, len(names))
    axes.set_ylim(len(rows), 0)
    axes.set(xticks=[], yticks=[])  # Matplotlib makes five artists of a tick
    below, aside = (offset_copy(axes.transData, axes.get_figure(root=True), *by, "points") for by in _LABEL_PT)
    for column, name in enumerate(names):
        turned = 90 if upright else 0
        axes.text(column + 0.5, len(rows), name, size=6.5, rotation=turned, ha="center", va="top", transform=below)
    for row, line in enumerate(rows):
        axes.text(0, row + 0.5, line.title, ha="right", va="center_baseline", transform=aside)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _paint_roles(axes: Axes, roles: Sequence[str], n_rows: int) -> None:
    """A letter by field above the rows: dark on blue for a true field, on pale blue for a copy, nothing for noise."""
    top, bottom = -_ROLES_LINE, -_ROLES_LINE + 1
    axes.set_ylim(n_rows, top)
    axes.add_artist(Rectangle((0, top), len(roles), _ROLES_LINE, color="white", zorder=1))
    for column, letter in enumerate(roles):
        colour = {"": _NO_SCORE, _COPY: _PALE}.get(letter, ACCENT)
        axes.add_artist(Rectangle((column + 0.04, top + 0.06), 0.92, 0.88, color=colour, linewidth=0, zorder=2))
        ink = _ON_BLUE if colour == ACCENT else INK
        axes.text(column + 0.5, (top + bottom) / 2, letter, size=6.5, color=ink, ha="center", va="center", zorder=3)
    aside = offset_copy(axes.transData, axes.get_figure(root=True), *_LABEL_PT[1], "points")
    axes.text(0, (top + bottom) / 2, _TRUTH, ha="right", va="center_baseline", transform=aside)


def _bar(x: float, y: float, width: float, height: float) -> Path:
    return Path([(x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y)], closed=True)


def _legend(figure: Figure, width: float, height: float, down: float) -> None:
    """Colour scale and the meaning of the bar, in one line ``down`` from the top; all lengths in inches."""
    y = 1 - down / height

    def say(x: float, text: str, size: float, colour: str) -> None:
        figure.text((_PAD_IN + x) / width, y, text, size=size, color=colour, va="center")

    say(0, "importance", 6.5, INK)
    say(0.62, "lowest", 6, MUTED)
    scale = figure.add_axes(((_PAD_IN + 0.95) / width, y - 0.04 / height, 0.9 / width, 0.08 / height))
    bar = figure.colorbar(ScalarMappable(Normalize(0, 1), _SCALE), cax=scale, orientation="horizontal", ticks=[])
    bar.outline.set_visible(False)
    say(1.9, "highest of the row", 6, MUTED)
    corner = ((_PAD_IN + 2.95) / width, y - 0.02 / height)
    figure.add_artist(Rectangle(corner, 0.14 / width, 0.04 / height, color=ACCENT, transform=figure.transFigure))
    say(3.15, "kept; as long as the share of seeds that kept the field", 6.5, INK)
