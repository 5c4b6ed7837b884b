from __future__ import annotations

import io

import pytest
from matplotlib.figure import Figure
from PIL import Image

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
