from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.figure import Figure
from PIL import Image

from plots import font
from plots.style import look, new_figure, render


def figure_of(text: str) -> Figure:
    with look():
        figure = new_figure(2.0, 1.0)
        figure.text(0.1, 0.5, text)
    return figure


@pytest.mark.parametrize(("text", "whole"), [("field τ ↑ é", False), ("field поле", True)])
def test_letters_beyond_the_lean_font_come_from_the_whole_one(text: str, whole: bool) -> None:
    pdf = render(figure_of(text))[".pdf"]
    assert b"CTRBenchSans" in pdf
    assert (b"DejaVuSans" in pdf) == whole


def test_pixels_show_the_page_at_200_to_the_inch() -> None:
    image = Image.open(io.BytesIO(render(figure_of("████████████"))[".png"]))
    assert image.size == (400, 200)
    assert image.info["dpi"] == pytest.approx((200, 200), abs=0.01)
    dark = image.convert("L").point(lambda value: value < 100).getbbox()
    assert dark is not None
    assert 35 <= dark[0] <= 45, "the text begins at a tenth of the width"
    assert dark[2] > 150


@pytest.fixture
def machine_fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The files of the machine's own fonts, as a list to fill."""
    files: list[str] = []
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: files)
    font._others.cache_clear()
    yield files
    font._others.cache_clear()


def make_font(path: Path, letter: str) -> str:
    """A font in which ``letter`` is a black square as high as the line."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 1000), (1000, 1000), (1000, 0)):
        pen.lineTo(corner)
    pen.closePath()
    made = FontBuilder(1000)
    made.setupGlyphOrder([".notdef", "square"])
    made.setupCharacterMap({ord(letter): "square"})
    made.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "square": pen.glyph()})
    made.setupHorizontalMetrics({".notdef": (1000, 0), "square": (1000, 0)})
    made.setupHorizontalHeader(ascent=1000, descent=0)
    made.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
    made.setupOS2()
    made.setupPost()
    made.save(path)
    return str(path)


def test_letters_that_no_font_has_are_named_under_the_figure(machine_fonts: list[str]) -> None:
    plain, lacking = render(figure_of("field")), render(figure_of("点击率 x 数"))
    text = lacking[".svg"].decode()
    for part in ("Letters shown as boxes", "U+51FB", "U+6570", "U+70B9", "and 1 more", "Noto Sans CJK"):
        assert part in text
    assert b"boxes" not in plain[".svg"]
    sizes = [Image.open(io.BytesIO(found[".png"])).size for found in (plain, lacking)]
    assert sizes[1][0] == sizes[0][0] and sizes[1][1] > sizes[0][1], "the note has room of its own"


def test_a_font_of_the_machine_lends_its_letters(machine_fonts: list[str], tmp_path: Path) -> None:
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    machine_fonts += [str(tmp_path / "broken.ttf"), make_font(tmp_path / "CTR Test Sans.ttf", "\u5b57")]
    found = render(figure_of("\u5b57" * 4))
    assert b"boxes" not in found[".svg"]
    image = Image.open(io.BytesIO(found[".png"])).convert("L")
    # 4 squares of 7 points, 200 dots to 72 points: filled, where the box of a missing letter is hollow
    dark = sum(image.point(lambda value: value < 100).histogram()[1:])
    assert dark == pytest.approx(4 * (7 * 200 / 72) ** 2, rel=0.1)


@pytest.mark.parametrize(
    "text", ["\u05e9\u05dc \u202eabc", "\U0001f600\U0001f9ff", "a\u200db\ufe0f", "e\u0301", "\ue000", "\x07"]
)
def test_no_letter_ends_in_a_traceback(machine_fonts: list[str], text: str) -> None:
    assert set(render(figure_of(text))) == {".pdf", ".png", ".svg"}
