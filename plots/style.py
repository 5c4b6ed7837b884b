"""One look for all figures, and a way to save them that gives the same bytes for the same figure.

Nothing here changes Matplotlib's global settings: figures are drawn and saved inside ``look()``. Only the font of
``plots.font`` becomes known to it, under a name of its own.
"""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import pypdfium2
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from plots.font import families, others

__all__ = ["ACCENT", "COLUMN_IN", "INK", "MUTED", "PAGE_IN", "Mark", "look", "mark", "new_figure", "render"]

PAGE_IN, COLUMN_IN = 7.0, 3.3
"""Width in inches of a figure that spans both columns of a paper, and of one that spans one."""
INK = "#222222"
MUTED = "#6b6b6b"
ACCENT = "#0b61c9"
"""Blue that stands out from a warm colour scale for every kind of colour vision."""

_LOOK: dict[Any, Any] = {
    "font.size": 7.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 7.0,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.labelcolor": INK,
    "axes.formatter.useoffset": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "hatch.linewidth": 0.5,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 7.0,
    "pdf.fonttype": 42,
    "text.parse_math": False,  # a $ in the name of a field is a $
    "svg.hashsalt": "ctr-field-bench",
    "savefig.facecolor": "white",
}
_DPI = 200
_POINTS = 72
"""To the inch."""
_METADATA: dict[str, dict[str, None]] = {
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    "svg": {"Date": None, "Creator": None},
}
_MISSING = "Glyph .* missing from font"
_PAD_IN, _NOTE_LETTER_IN, _NOTE_LINE_IN = 0.08, 0.049, 0.13
"""Of what is said about letters without a font."""
_MISSING_SHOWN = 3
"""Letters without a font that are named."""
_AS_DRAWN = 3
"""Type of fonts in a PDF whose letters are drawings; OpenType's own curves can be embedded in no other."""
_PNG_LEVEL = 1
"""Of compression: a tenth larger, and written much sooner, than with the default."""
_COLOURS = (
    "#332288", "#cc6677", "#117733", "#44aa99", "#882255", "#d08a00", "#0069ff", "#999933",
    "#ff5aff", "#006996", "#965a00", "#9696ff", "#d2000f", "#9600ff", "#00b400", "#aa4499",
    "#ff4b00", "#7878b4", "#ff00a5", "#0000e1", "#ff78b4", "#781ea5", "#d20fe1",
)  # fmt: skip
"""Chosen one after the other to be far from those before, as all eyes and as those without green see them; the first
after Tol's muted scheme. All stand out from white paper, and inverted from a dark page. Their number shares no divisor
with that of the markers."""
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
_LINES: tuple[Any, ...] = ("-", (0, (4, 1.2)), (0, (1.2, 1)), (0, (5, 1.2, 1.2, 1.2)))


@dataclass(frozen=True)
class Mark:
    """How one method looks in every figure: three ways to tell it, of which colour is only one."""

    colour: str
    marker: str
    line: Any


def mark(number: int | None) -> Mark:
    """The look of method ``number`` of a run; of the baseline without one."""
    if number is None:
        return Mark(INK, "*", (0, (3, 2)))
    return Mark(*(looks[number % len(looks)] for looks in (_COLOURS, _MARKERS, _LINES)))


@contextmanager
def look() -> Iterator[None]:
    """Matplotlib's own defaults plus the common look, whatever the user's settings say."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update({**_LOOK, "font.family": families()[0]})
        yield


def new_figure(width_in: float, height_in: float) -> Figure:
    """A figure that no global state of Matplotlib knows; call it inside ``look()``."""
    figure = Figure(figsize=(width_in, height_in))
    FigureCanvasAgg(figure)
    return figure


def render(figure: Figure) -> dict[str, bytes]:
    """``figure`` by file suffix: PDF with embedded fonts, PNG, and SVG; none holds a date."""
    with look(), warnings.catch_warnings():
        warnings.filterwarnings("error", _MISSING)
        try:
            pdf, svg = _save(figure, "pdf"), _save(figure, "svg")
        except UserWarning:  # a letter that the lean font lacks
            page = _widen(figure)
            warnings.filterwarnings("ignore", _MISSING)  # it shows as a box, and the figure says so
            pdf, svg = _save(figure, "pdf", page), _save(figure, "svg", page)
    return {".pdf": pdf, ".png": _png(pdf), ".svg": svg}


def _widen(figure: Figure) -> Bbox | None:
    """Take in more fonts, and say below the figure which letters even these lack; the larger page that this takes."""
    texts = figure.findobj(Text)
    found = others(letter for text in texts for letter in text.get_text())
    for text in texts:
        text.set_fontfamily([*families(), *found.families])
    if found.families:
        mpl.rcParams["pdf.fonttype"] = _AS_DRAWN
    if not found.missing:
        return None
    width, height = figure.get_size_inches()
    lines = textwrap.wrap(_missing_text(found.missing), int((width - 2 * _PAD_IN) / _NOTE_LETTER_IN))
    figure.text(_PAD_IN / width, 0, "\n".join(lines), size=6, color=ACCENT, va="top", linespacing=1.3)
    return Bbox([[0, -_NOTE_LINE_IN * len(lines) - _PAD_IN], [width, height]])


def _missing_text(letters: str) -> str:
    more = f" and {len(letters) - _MISSING_SHOWN} more" if len(letters) > _MISSING_SHOWN else ""
    shown = ", ".join(f"U+{ord(letter):04X}" for letter in letters[:_MISSING_SHOWN])
    return (
        f"Letters shown as boxes: no font of this machine has {shown}{more}. Install one that does (Noto Sans CJK for "
        f"Chinese, Japanese and Korean) and make the report anew."
    )


def _save(figure: Figure, kind: str, page: Bbox | None = None) -> bytes:
    data = io.BytesIO()
    figure.savefig(data, format=kind, metadata=_METADATA[kind], bbox_inches=page)
    return data.getvalue()


def _png(pdf: bytes) -> bytes:
    """The only page of ``pdf`` in pixels: PDFium paints it in a tenth of the time that Matplotlib takes."""
    with closing(pypdfium2.PdfDocument(pdf)) as document, closing(document[0]) as page:
        image = page.render(scale=_DPI / _POINTS).to_pil()
    data = io.BytesIO()
    image.save(data, "PNG", compress_level=_PNG_LEVEL, dpi=(_DPI, _DPI))
    return data.getvalue()
