from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.budget import Budget, Budgeted, Terms, keep_top, n_keep, tied_fields


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


NAMES = tuple("abcdefgh")


def budget(by: Budgeted, tau: float, costs: list[float], locked: tuple[int, ...] = (), **groups: list[int]) -> Budget:
    """Over fields of these costs, whose tables have ten times as many rows."""
    terms = Terms((), {name: tuple(fields) for name, fields in groups.items()}, dict(enumerate(costs)))
    terms = Terms(terms.complete(locked) if locked else (), terms.groups, terms.costs)
    return Budget.of(by, tau, terms, [round(10 * cost) for cost in costs])


@pytest.mark.parametrize(
    ("by", "tau", "kept"),
    [
        ("count", 0.5, (0, 1, 2)),  # 5 - floor(2.5) = 3 fields
        ("groups", 0.5, (0, 1, 2)),
        ("cost", 0.5, (0, 4)),  # 7.5 of 15: 6 fits, 3 and 3 and 2 do not fit beside it, 1 does
        ("bytes", 0.5, (0, 4)),  # 75 of 150 rows, in the same way
        ("cost", 0.7, (1, 4)),  # 4.5: the best field alone is too dear
        ("cost", 0.0, (0, 1, 2, 3, 4)),
    ],
)
def test_planted_costs_give_the_known_choice(by: Budgeted, tau: float, kept: tuple[int, ...]) -> None:
    assert budget(by, tau, [6, 3, 3, 2, 1]).choose([5, 4, 3, 2, 1]).fields == kept


@pytest.mark.parametrize(
    ("by", "kept"),
    [
        ("count", (2, 3, 5)),  # 3 of 6: locked 5; the pair of score 9 fills it
        ("groups", (2, 3, 4, 5)),  # units 0, 1, 2+3, 4, 5: 5 - floor(2.5) = 3
        ("cost", (0, 1, 4, 5)),  # 6 of 12: locked 1; the pair costs 7 and does not fit; 1 + 1 + 2 do
    ],
)
def test_locked_fields_come_first_and_groups_go_by_their_best_field(by: Budgeted, kept: tuple[int, ...]) -> None:
    found = budget(by, 0.5, [1, 1, 3, 4, 2, 1], locked=(5,), pair=[2, 3]).choose([1, 2, -5, 9, 8, -9])
    assert found.fields == kept


def test_a_locked_field_locks_its_group() -> None:
    found = budget("count", 0.5, [1, 1, 1, 1], locked=(3,), pair=[0, 3]).choose([0, 1, 2, 0])
    assert found.fields == (0, 3)


def test_costs_are_added_in_decimals() -> None:
    # 0.1 + 0.2 is all of the 0.3 that are left of 0.6; in binary it is more
    assert budget("cost", 0.5, [0.1, 0.2, 0.3]).choose([3, 2, 1]).fields == (0, 1)


sizes = st.lists(st.integers(0, 5), min_size=1, max_size=7)


@given(sizes, st.sampled_from([0.0, 0.25, 0.5, 0.9]), st.sampled_from(["count", "bytes", "cost", "groups"]), st.data())
def test_the_choice_is_the_first_of_all_that_fit_by_order_of_scores(
    costs: list[int], tau: float, by: Budgeted, data: st.DataObject
) -> None:
    n = len(costs)
    scores = data.draw(st.permutations(range(n)))
    locked = tuple(sorted(data.draw(st.sets(st.integers(0, n - 1), max_size=2))))
    groups = {"pair": [0, n - 1]} if n > 2 and data.draw(st.booleans()) else {}
    rule = budget(by, tau, list(map(float, costs)), locked=locked, **groups)
    units = {place: max(scores[f] for f in unit) for place, unit in enumerate(rule.units)}
    every = [set(some) for k in range(len(units) + 1) for some in itertools.combinations(units, k)]
    fit = [some for some in every if some >= rule.locked and rule.size(some) <= rule.limit]
    if not fit:
        assert "lower the prune ratio" in str(rule.impossible(NAMES))
        return
    ranked = sorted(units, key=lambda place: -units[place])
    best = max(fit, key=lambda some: [place in some for place in ranked])
    kept = rule.choose(scores).fields
    assert kept == tuple(sorted(f for place in best for f in rule.units[place]))
    assert rule.choose([2.0**score - 100 for score in scores]).fields == kept  # scores are an order, and no more


@given(st.lists(st.integers(-2, 2), min_size=1, max_size=9), st.sampled_from([0.0, 0.25, 0.5, 0.75]))
def test_without_terms_a_budget_by_count_or_groups_is_the_top_k(scores: list[int], tau: float) -> None:
    for by in ("count", "groups"):
        rule = Budget.of(by, tau, Terms(), [3] * len(scores))
        assert rule.choose(scores) == keep_top(scores, n_keep(tau, len(scores)))
        assert rule.plain is (by == "count")


def test_ties_are_counted_among_fields_that_may_go() -> None:
    rule = budget("count", 0.5, [1] * 6, locked=(0,), pair=[2, 3])
    found = rule.choose(
        [1, 1, 1, 0, 1, 0]
    )  # of score 1 are 1, the pair and 4: two places, and the pair does not fit beside 1
    assert (found.fields, found.ties) == ((0, 1, 4), 4)
    assert tied_fields([1, 1, 1, 0, 1, 0], found.fields, Terms((0,), {"pair": (2, 3)})) == {1: [1, 2, 3, 4]}


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (
            budget("count", 0.75, [1] * 8, locked=(0, 1, 2)),
            "prune ratio 0.75 leaves 2 of 8 fields, and the fields that the card keeps (a, b, c) take 3: lower the "
            "prune ratio, or take keep = true off some",
        ),
        (
            budget("cost", 0.5, [1, 2.5, 0.5], locked=(1,)),
            "prune ratio 0.5 leaves 2 of 4 units of cost, and the fields that the card keeps (b) take 2.5",
        ),
        (
            budget("count", 0.5, [1] * 4, all=[0, 1, 2, 3]),
            "prune ratio 0.5 leaves 2 of 4 fields, and none of the fields and groups fits: the smallest (a, b, c and "
            "1 more) takes 4: lower the prune ratio, or make groups smaller",
        ),
        (budget("cost", 0.5, [0, 0]), "all fields cost 0"),
        (budget("cost", 0.5, [1, 1, 2], locked=(0,)), None),
    ],
)
def test_a_budget_that_nothing_can_keep_says_so_with_the_numbers(rule: Budget, why: str | None) -> None:
    found = rule.impossible(NAMES)
    assert found is None if why is None else str(found).startswith(why)


def test_terms_are_described_by_name_and_read_back() -> None:
    terms = Terms((0, 2), {"geo": (0, 2)}, {1: 2.5})
    described = terms.described(NAMES)
    assert described == {"locked": ["a", "c"], "groups": {"geo": ["a", "c"]}, "costs": {"b": 2.5}}
    assert Terms.read(described, NAMES) == terms
    assert Terms().described(NAMES) == {}
    assert budget("cost", 0.5, [1, 2]).limit == Fraction(3, 2)
