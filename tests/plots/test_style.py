from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from plots import font
from plots.style import look, mark, new_figure, render


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


def linear(colour: str) -> np.ndarray:
    """Light of red, green and blue (sRGB, IEC 61966-2-1)."""
    shares = np.array(to_rgb(colour))
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)


def oklab(colour: str) -> np.ndarray:
    """Ottosson's coordinates, in which equal distances look alike: black and white are 1 apart."""
    cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    axes = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return np.asarray(axes @ np.cbrt(cones @ linear(colour)))


def test_the_first_methods_have_colours_of_their_own_and_all_stand_out_from_paper() -> None:
    colours = [mark(number).colour for number in range(23)]
    places = np.array([oklab(colour) for colour in colours])
    apart = np.linalg.norm(places[:, None] - places[None], axis=2) + np.eye(23)
    assert apart.min() > 0.08, "several times what an eye can just tell apart"
    for colour in colours:
        light = float(linear(colour) @ np.array([0.2126, 0.7152, 0.0722]))
        assert 1.05 / (light + 0.05) > 2.2, colour


def test_no_two_of_two_hundred_methods_look_alike() -> None:
    looks = {(mark(number).colour, mark(number).marker) for number in range(200)}
    assert len(looks) == 200
