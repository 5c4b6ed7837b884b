from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Text

from bench.records import CellRecord, to_frame
from plots.importance import draw, heatmap, normalised
from plots.style import ACCENT, look, render

FIELDS = ["a", "b", "c"]


def cell(label: str, scores: list[float | None] | None, **changes: Any) -> CellRecord:
    values: dict[str, Any] = {
        "dataset": "d", "backbone": "net", "method": label, "method_title": label.title(), "method_order": 1,
        "label": label, "seed": 0, "status": "ok", "tau": 0.5, "field_names": FIELDS, "field_scores": scores,
        "kept_fields": [0, 1], "config_hash": "0" * 64,
    }  # fmt: skip
    return CellRecord(**{**values, **changes})


def frame(*cells: CellRecord) -> pd.DataFrame:
    return to_frame(cells)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([1.0, 3.0, 2.0], [0.0, 1.0, 0.5]),
        ([-4.0, 0.0, -1.0], [0.0, 1.0, 0.75]),
        ([2.0, 2.0, 2.0], [0.5, 0.5, 0.5]),
        ([np.nan, 5.0, 7.0], [np.nan, 0.0, 1.0]),
        ([np.nan, 5.0, 5.0], [np.nan, 0.5, 0.5]),
    ],
)
def test_normalised_by_the_extremes_of_the_row(scores: list[float], expected: list[float]) -> None:
    np.testing.assert_array_equal(normalised(np.array(scores)), expected)


def test_scores_and_kept_fields_are_means_over_seeds() -> None:
    content = heatmap(
        frame(
            cell("x", [1.0, 2.0, None], seed=0, kept_fields=[0, 1]),
            cell("x", [3.0, None, None], seed=1, kept_fields=[0]),
        )
    )
    (line,) = content.lines
    np.testing.assert_array_equal(line.scores, [2.0, 2.0, np.nan])
    np.testing.assert_array_equal(line.kept, [1.0, 0.5, 0.0])
    assert content.fields == FIELDS


def test_methods_without_scores_are_named_and_left_out() -> None:
    content = heatmap(
        frame(
            cell("none", None, method_order=0, tau=None),
            cell("empty", [None, None, None]),
            cell("x", [1.0, 2.0, 3.0], method_order=2),
            cell("broken", [9.0, 9.0, 9.0], method_order=3, status="failed"),
        )
    )
    assert [line.title for line in content.lines] == ["X"]
    assert content.without == ["None", "Empty"]
    figure = draw(frame(cell("none", None, tau=None), cell("x", [1.0, 2.0, 3.0])), "title")
    assert figure is not None
    assert "No field scores: None." in [text.get_text() for text in figure.texts]


def test_rows_are_methods_or_taus_or_both() -> None:
    s: list[float | None] = [1.0, 2.0, 3.0]
    methods = heatmap(frame(cell("x", s), cell("y[p=1]", s, method_title=None)))
    assert ([line.title for line in methods.lines], methods.method) == (["X", "y [p=1]"], "")
    taus = heatmap(frame(cell("x", s, tau=0.25), cell("x", s, tau=0.0)))
    assert ([line.title for line in taus.lines], taus.method) == (["τ = 0", "τ = 0.25"], "X")
    both = heatmap(frame(cell("x", s, tau=0.25), cell("x", s, tau=0.5), cell("y", s, tau=None)))
    assert [line.title for line in both.lines] == ["X, τ = 0.25", "X, τ = 0.5", "Y"]
    assert [line.opens for line in both.lines] == [False, False, True], "where the next method begins"
    assert not any(line.opens for line in (*methods.lines, *taus.lines)), "nothing to keep together"


def test_every_scored_method_shows_scores_and_kept_fields_at_every_prune_ratio() -> None:
    kept = {0.0: [0, 1, 2], 0.25: [0, 2], 0.5: [2]}
    cells = [
        cell(label, [1.0, 0.0, 2.0 + tau], tau=tau, kept_fields=fields, method_order=order)
        for order, label in enumerate(("x", "y"))
        for tau, fields in kept.items()
    ]
    content = heatmap(frame(*cells))
    assert [line.title for line in content.lines] == [f"{name}, τ = {tau:g}" for name in "XY" for tau in kept]
    for line, fields in zip(content.lines, [*kept.values(), *kept.values()], strict=True):
        assert np.flatnonzero(line.kept).tolist() == fields


def test_nothing_to_show_gives_no_figure() -> None:
    assert draw(frame(cell("x", None)), "t") is None
    assert draw(frame(cell("x", [1.0, 2.0, 3.0], status="failed")), "t") is None


def _shade(shades: Any, x: float, y: float) -> Any:
    """The colour of the cell at a place."""
    (found,) = [shade for shade in shades if shade.get_path().contains_point((x, y))]
    return found.get_facecolor()


def _heat(figure: Figure) -> Any:
    return figure.axes[0]


def test_figure_shows_fields_by_name_and_kept_ones_in_blue() -> None:
    figure = draw(frame(cell("x", [1.0, 2.0, 3.0], kept_fields=[2]), cell("y", [0.0, 0.0, 0.0], kept_fields=[])), "t")
    assert figure is not None
    axes = _heat(figure)
    assert [label.get_text() for label in axes.texts] == [*FIELDS, "X", "Y"]
    *shades, bars = axes.patches
    shown = [[_shade(shades, column + 0.5, row + 0.5) for column in range(3)] for row in range(2)]
    light, middle, dark = shown[0]
    assert shown[1] == [middle] * 3, "equal scores are in the middle"
    assert sum(light) > sum(middle) > sum(dark), "the darker, the more important"
    assert bars.get_facecolor() == to_rgba(ACCENT)
    box = bars.get_path().get_extents()
    assert 2 < box.x0 < box.x1 < 3, "the third field"
    assert 0 < box.y0 < box.y1 < 1, "the first row"
    assert box.width == pytest.approx(0.8), "kept by all seeds"


def test_figure_spans_a_page_and_grows_with_many_fields() -> None:
    few = draw(frame(cell("x", [1.0, 2.0, 3.0])), "t")
    names = [f"field_{i}" for i in range(200)]
    many = draw(frame(cell("x", list(map(float, range(200))), field_names=names, kept_fields=[])), "t")
    assert few is not None
    assert many is not None
    assert few.get_figwidth() == 7.0
    assert many.get_figwidth() > 20


def test_drawing_changes_no_global_setting_and_obeys_none() -> None:
    data = frame(cell("x", [1.0, 2.0, 3.0]))
    before = dict(mpl.rcParams)
    first = draw(data, "t")
    assert first is not None
    clean = render(first)
    assert dict(mpl.rcParams) == before
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "red", "savefig.bbox": "tight"}):
        second = draw(data, "t")
        assert second is not None
        assert render(second) == clean


def test_look_is_undone_after_an_error() -> None:
    before = dict(mpl.rcParams)
    with pytest.raises(RuntimeError), look():
        raise RuntimeError
    assert dict(mpl.rcParams) == before


def test_names_of_fields_are_shown_letter_by_letter() -> None:
    names = ["a$b$c", "点", "x_{y}"]
    figure = draw(frame(cell("m$1$", [1.0, 2.0, 3.0], field_names=names)), "$t$")
    assert figure is not None
    labels = _heat(figure).texts
    assert [label.get_text() for label in labels] == [*names, "M$1$"]
    assert not any(text.get_parse_math() for text in [*figure.texts, *labels])
    assert set(render(figure)) == {".pdf", ".png", ".svg"}


def test_long_names_are_cut_in_the_middle_and_stay_apart() -> None:
    names = ["p" * 250, "p" * 240, "q" * 100 + "end", "short"]
    scores: list[float | None] = [1.0, 2.0, 3.0, 4.0]
    figure = draw(frame(cell("x", scores, field_names=names)), "T" * 240 + " and more")
    assert figure is not None
    texts = [text.get_text() for text in figure.findobj(Text)]
    cut = "p" * 27 + "…" + "p" * 12
    assert {f"1: {cut}", f"2: {cut}", "q" * 27 + "…" + "q" * 9 + "end", "short"} <= set(texts)
    assert any("Names of more than 40 letters are cut in the middle." in text for text in texts)
    assert figure.get_size_inches()[1] < 5


def test_letters_of_chinese_take_twice_the_room() -> None:
    figures = [draw(frame(cell("x", [1.0, 2.0], field_names=[name, "b"])), "t") for name in ("a" * 60, "字" * 30)]
    # the first is cut to 27 + 1 + 12 letters, 30 of the second are as wide as 60
    heights = [figure.get_size_inches()[1] for figure in figures if figure is not None]
    assert heights[1] > heights[0]


def bars_of(figure: Figure) -> set[tuple[int, int]]:
    """(row, column) of every bar of a kept field."""
    (bars,) = [
        patch for patch in _heat(figure).patches if patch.get_facecolor() == to_rgba(ACCENT) and patch.get_zorder() < 2
    ]
    return {(int(y), int(x)) for x, y in bars.get_path().vertices.tolist()}


def test_a_row_that_drops_no_field_has_no_bars_and_is_named() -> None:
    s: list[float | None] = [1.0, 2.0, 3.0]
    figure = draw(frame(cell("x", s, kept_fields=[0, 1, 2]), cell("y", s, kept_fields=[1]), cell("z", s, seed=1)), "t")
    assert figure is not None
    assert bars_of(figure) == {(1, 1), (2, 0), (2, 1)}
    assert "Without bars, since no field is dropped at any seed: X." in " ".join(figure.texts[-1].get_text().split())


def test_true_roles_are_a_line_of_letters_above_the_rows() -> None:
    data = frame(cell("x", [1.0, 2.0, 3.0]))
    roles = {"a": "main", "b": "redundant:a", "c": "noise-low"}
    figure, plain = draw(data, "t", roles), draw(data, "t")
    assert figure is not None
    assert plain is not None
    letters = {text.get_text(): text.get_position() for text in _heat(figure).texts}
    assert letters["M"][0] == 0.5 and letters["C"][0] == 1.5
    assert letters["M"][1] < 0 and letters["true role"][1] < 0, "above the first row"
    assert {text.get_color() for text in _heat(figure).texts}.isdisjoint({"white", "#ffffff"}), "the page drops white"
    assert figure.get_figheight() > plain.get_figheight()
    assert "true role" not in {text.get_text() for text in _heat(plain).texts}
