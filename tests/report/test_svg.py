"""Figures in a page: the same lines and letters as in their files, with what they share written once."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from bench.report.formats.svg import Drawings, _path
from plots.style import look, new_figure, render

pytestmark = pytest.mark.figures


def drawn(title: str) -> bytes:
    with look():
        figure = new_figure(2, 1)
        axes = figure.add_axes((0.2, 0.2, 0.6, 0.6))
        axes.plot([0, 1, 2], [0.3, -1, 2], "o-")
        axes.set_title(title)
    return render(figure)[".svg"]


@pytest.mark.parametrize(
    ("long", "short"),
    [
        ("M 0 418.752 \nL 504 418.752 \nL 504 0 \nL 0 0 \nz\n", "M0 418.75H504V0H0z"),
        ("M 1 2 \nL 3 4 \nL 5 6 ", "M1 2 3 4 5 6"),
        ("M -0.004 0.5 \nL 0.25 -0.126 ", "M0 .5 .25-.13"),
        ("M 1 1 \nQ 2 2 3 3 \nQ 4 4 5 5 \nC 1 2 3 4 5 6 \nL 5 9 ", "M1 1Q2 2 3 3 4 4 5 5C1 2 3 4 5 6V9"),
        ("M 0 0 \nL 1 0 \nz\nM 3 3 \nL 4 3 \nL 6 3 \nz\n", "M0 0H1zM3 3H4 6z"),
        ("m 1 1 h 2", "m 1 1 h 2"),
    ],
)
def test_paths_are_written_with_what_can_be_seen(long: str, short: str) -> None:
    assert _path(long) == short


def test_shapes_and_styles_that_figures_share_are_written_once() -> None:
    page = Drawings()
    first, again, other = (page.add(drawn(title)) for title in ("nono", "nono", "no!"))
    shapes = re.findall(r'<path id="(s\d+)"', page.shapes)
    assert len(shapes) == len(set(shapes))
    for text in (first, again, other):
        used = re.findall(r'href="#([^"]+)"', text)
        assert used and set(used) <= set(shapes)
        classes = set(re.findall(r'class="([^"]+)"', text))
        assert classes and all(f".{name}{{" in page.style for name in classes)
        assert "style=" not in text and "<metadata" not in text and "\n" not in text
    assert re.findall(r'href="#([^"]+)"', first) == re.findall(r'href="#([^"]+)"', again)
    assert first.replace("g0-", "g1-") == again, "what only one figure has goes by its number"
    assert "url(#g0-" in first and 'id="g0-' in first
    assert len(shapes) == len(re.findall(r"<path id=", drawn("no!nono").decode()))
    scaled = [text.count("scale(0.015625)") for text in (page.shapes, drawn("no!nono").decode())]
    assert scaled[0] == scaled[1] > 3, "a letter keeps what its shape says of its size"
    assert Drawings().shapes == "" == Drawings().style


def test_every_letter_and_mark_is_where_it_was() -> None:
    svg = drawn("no!")
    page = Drawings()
    places = [_places(ElementTree.fromstring(text)) for text in (svg, page.add(svg))]
    assert len(places[0]) > 10
    for (x, y), (x_now, y_now) in zip(*places, strict=True):
        assert (x_now, y_now) == (pytest.approx(x, abs=0.05), pytest.approx(y, abs=0.05))


def _places(root: ElementTree.Element) -> list[tuple[float, float]]:
    """Of everything that is used, in the order of the drawing."""
    found = []
    for element in root.iter():
        if element.tag.rpartition("}")[2] == "use":
            moved = re.fullmatch(r"translate\((\S+) (\S+)\)", element.get("transform", ""))
            found.append(
                (float(moved[1]), float(moved[2]))
                if moved
                else (float(element.get("x", "0")), float(element.get("y", "0")))
            )
    return found
