from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.budget import keep_top, n_keep


@pytest.mark.parametrize(
    ("tau", "n", "kept"),
    [
        (0.0, 39, 39),
        (0.5, 39, 20),  # floor(19.5) = 19 go
        (0.25, 39, 30),
        (0.75, 39, 10),
        (0.5, 24, 12),
        (0.99, 7, 1),
        (0.29, 100, 71),  # in binary 0.29 · 100 is below 29
        (0.57, 100, 43),
        (0.1, 30, 27),
    ],
)
def test_n_keep_is_n_less_the_floor_of_the_decimal_product(tau: float, n: int, kept: int) -> None:
    assert n_keep(tau, n) == kept


def test_the_highest_scores_stay_in_field_order() -> None:
    kept = keep_top(np.array([0.1, 5.0, -2.0, 3.0]), 2)
    assert (kept.fields, kept.ties) == ((1, 3), 0)


@pytest.mark.parametrize(
    ("scores", "k", "fields", "ties"),
    [
        ([1, 1, 1, 1], 2, (0, 1), 4),
        ([0, 2, 1, 1, 1], 2, (1, 2), 3),
        ([3, 2, 1, 1], 2, (0, 1), 0),  # the tie lies below the cut
        ([2, 2, 1, 0], 2, (0, 1), 0),  # and here above it
        ([1, 1], 2, (0, 1), 0),
        ([0.0, -0.0, 1], 2, (0, 2), 2),
    ],
)
def test_ties_go_to_the_lower_index_and_are_counted(
    scores: list[float], k: int, fields: tuple[int, ...], ties: int
) -> None:
    kept = keep_top(np.array(scores, dtype=float), k)
    assert (kept.fields, kept.ties) == (fields, ties)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=12), st.data())
def test_keep_top_agrees_with_sorting_pairs(scores: list[int], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(scores)))
    ranked = sorted(range(len(scores)), key=lambda f: (-scores[f], f))
    cut = k < len(scores) and scores[ranked[k - 1]] == scores[ranked[k]]
    kept = keep_top(np.array(scores, dtype=float), k)
    assert kept.fields == tuple(sorted(ranked[:k]))
    assert kept.ties == (scores.count(scores[ranked[k]]) if cut else 0)


def test_scores_that_are_not_finite_are_refused_by_field() -> None:
    with pytest.raises(ValueError, match=r"fields \[1, 3\] have \[nan, inf\]"):
        keep_top(np.array([0, np.nan, 1, np.inf]), 2)
