"""The figures' font: DejaVu Sans, as Matplotlib ships it, without the parts that figures do not use.

A PDF embeds the glyphs that it shows. To cut them out of the whole font takes longer than to draw a figure, mostly for
its tables of ligatures and scripts. So that is done once in a process, for Latin and Greek letters and signs; a figure
with other letters is drawn with the whole font beside it.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from fontTools import subset
from matplotlib import font_manager

__all__ = ["families"]

_WHOLE = "DejaVu Sans"
_LEAN = "CTR Bench Sans"
_RANGES = ((0x20, 0x7F), (0xA0, 0x180), (0x370, 0x400), (0x2010, 0x2070), (0x2190, 0x2300))
"""Latin, Greek, punctuation, arrows, mathematical signs: [first, last)."""
_NAMES, _POSTSCRIPT_NAME = (1, 3, 4, 6, 16), 6
"""Entries of a font's name table that hold its name, and the one without blanks."""


@cache
def families() -> tuple[str, ...]:
    """Names for Matplotlib's ``font.family``, the lean font first; it is made and made known on the first call."""
    options = subset.Options(glyph_names=True, layout_features=[], recalc_timestamp=False)
    options.drop_tables += ["FFTM", "GDEF", "GPOS", "GSUB"]
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=[letter for first, last in _RANGES for letter in range(first, last)])
    folder = Path(tempfile.mkdtemp(prefix="ctr-font-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = folder / "lean.ttf"
    with subset.load_font(font_manager.findfont(_WHOLE), options) as font:
        cutter.subset(font)
        for entry in font["name"].names:
            if entry.nameID in _NAMES:
                entry.string = _LEAN.replace(" ", "") if entry.nameID == _POSTSCRIPT_NAME else _LEAN
        font.save(file)
    font_manager.fontManager.addfont(file)
    return _LEAN, _WHOLE
