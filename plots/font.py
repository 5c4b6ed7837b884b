"""The figures' fonts: DejaVu Sans, as Matplotlib ships it, without the parts that figures do not use; others at need.

A PDF embeds the glyphs that it shows. To cut them out of the whole font takes longer than to draw a figure, mostly for
its tables of ligatures and scripts. So that is done once in a process, for Latin and Greek letters and signs; a figure
with other letters is drawn with the whole font beside it. Letters that DejaVu Sans lacks, as those of Chinese, come
from the machine's own fonts, if one of them has them.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fontTools import subset
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

__all__ = ["Others", "families", "others"]

_WHOLE = "DejaVu Sans"
_LEAN = "CTR Bench Sans"
_RANGES = ((0x20, 0x7F), (0xA0, 0x180), (0x370, 0x400), (0x2010, 0x2070), (0x2190, 0x2300))
"""Latin, Greek, punctuation, arrows, mathematical signs: [first, last)."""
_UNLIKE = ("bold", "italic", "oblique", "light", "thin", "black", "heavy", "condensed", "mono", "serif")
"""Words in the names of fonts that stand out beside DejaVu Sans."""
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


@dataclass(frozen=True)
class Others:
    """What stands in for DejaVu Sans where it lacks letters."""

    families: tuple[str, ...]
    """Names for Matplotlib's ``font.family``, the preferred one first."""
    missing: str
    """Letters that no font of the machine has, in the order of their numbers."""


def others(letters: Iterable[str]) -> Others:
    """The machine's fonts for those of ``letters`` that DejaVu Sans lacks; they are made known on the first call."""
    known = _letters_of_whole()
    return _others("".join(sorted({letter for letter in letters if ord(letter) not in known and letter != "\n"})))


@cache
def _letters_of_whole() -> frozenset[int]:
    return frozenset(FT2Font(font_manager.findfont(_WHOLE)).get_charmap())


@cache
def _others(letters: str) -> Others:
    found, missing = [], set(letters)
    for file in sorted(font_manager.findSystemFonts(), key=_preference) if missing else []:
        try:
            font = FT2Font(file)
        except (OSError, RuntimeError):  # damaged, or of a kind that cannot be scaled
            continue
        has = {letter for letter in missing if font.get_char_index(ord(letter))}
        if has and font.scalable:
            font_manager.fontManager.addfont(file)
            found.append(font.family_name)
            missing -= has
        if not missing:
            break
    return Others(tuple(found), "".join(sorted(missing)))


def _preference(file: str) -> tuple[bool, int, str]:
    """A key that puts upright sans-serif fonts of usual weight first."""
    name = Path(file).stem.lower()
    return "sans" not in name, sum(word in name.replace("sansserif", "") for word in _UNLIKE), name
