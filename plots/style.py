"""One look for all figures, and a way to save them that gives the same bytes for the same figure.

Nothing here changes Matplotlib's global settings: figures are drawn and saved inside ``look()``.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = ["ACCENT", "INK", "MUTED", "PAGE_IN", "look", "new_figure", "render"]

PAGE_IN = 7.0
"""Width in inches of a figure that spans both columns of a paper."""
INK = "#222222"
MUTED = "#6b6b6b"
ACCENT = "#0b61c9"
"""Blue that stands out from a warm colour scale for every kind of colour vision."""

_LOOK: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 7.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 7.0,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "text.parse_math": False,  # a $ in the name of a field is a $
    "svg.hashsalt": "ctr-field-bench",
    "savefig.facecolor": "white",
}
_DPI = 200


@contextmanager
def look() -> Iterator[None]:
    """Matplotlib's own defaults plus the common look, whatever the user's settings say."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_LOOK)
        yield


def new_figure(width_in: float, height_in: float) -> Figure:
    """A figure that no global state of Matplotlib knows; call it inside ``look()``."""
    figure = Figure(figsize=(width_in, height_in))
    FigureCanvasAgg(figure)
    return figure


def render(figure: Figure) -> dict[str, bytes]:
    """``figure`` by file suffix: PDF with embedded fonts, PNG, and SVG; none holds a date."""
    metadata: dict[str, dict[str, None]] = {
        ".pdf": {"CreationDate": None, "Producer": None, "Creator": None},
        ".png": {"Software": None},
        ".svg": {"Date": None, "Creator": None},
    }
    files = {}
    with look(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # it shows as a box; names are the user's
        for suffix, entries in metadata.items():
            data = io.BytesIO()
            figure.savefig(data, format=suffix[1:], dpi=_DPI, metadata=entries)
            files[suffix] = data.getvalue()
    return files
