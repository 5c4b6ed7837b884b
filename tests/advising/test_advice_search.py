"""Which numbers of fields are looked at and chosen, against oracles with a known answer."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from bench.advising.search import Outcome, chosen, grid, next_k, outcome, tau_for
from bench.budget import n_keep
from bench.stats.difference import Interval


def interval(low: float, high: float) -> Interval:
    return Interval((low + high) / 2, low, high, 0.01, 10.0, 3, 1000, 1e-5, 1e-5)


@pytest.mark.parametrize(
    ("n_fields", "points"),
    [
        (2, [1]),
        (3, [2, 1]),  # 3 ** (1/2) = 1.73
        (8, [4, 2, 1]),
        (24, [13, 7, 4, 2, 1]),  # 24 ** (4/5) = 12.7, 6.7, 3.6, 1.9
        (39, [21, 12, 6, 3, 2, 1]),  # 39 ** (5/6) = 21.2, 11.5, 6.2, 3.4, 1.8
    ],
)
def test_the_grid_is_geometric(n_fields: int, points: list[int]) -> None:
    assert grid(n_fields) == points


@pytest.mark.parametrize("n_fields", [2, 3, 7, 24, 39, 300, 999])
def test_a_prune_ratio_keeps_exactly_k(n_fields: int) -> None:
    for k in {1, 2, n_fields // 3 or 1, n_fields - 1, n_fields}:
        tau = tau_for(k, n_fields)
        assert n_keep(tau, n_fields) == k
        assert len(repr(tau)) <= 2 + math.ceil(math.log10(n_fields)) + 1


def test_what_an_interval_says() -> None:
    assert outcome(interval(-0.0009, 0.5), 0.001) == "within"
    assert outcome(interval(-0.002, -0.0011), 0.001) == "worse"
    assert outcome(interval(-0.002, 0.002), 0.001) == "open"
    assert outcome(interval(-0.001, 0.002), 0.001) == "open", "below the tolerance, not at it"


def test_chosen_is_the_smallest_with_all_larger_ones_within() -> None:
    assert chosen({}) is None
    assert chosen({5: "open", 3: "within"}) is None
    assert chosen({9: "within", 5: "within", 3: "worse", 1: "within"}) == 5


def search(n_fields: int, oracle: Callable[[int], Outcome]) -> tuple[int | None, list[int]]:
    """(the choice, the numbers looked at in their order)."""
    seen: dict[int, Outcome] = {}
    while (k := next_k(seen, n_fields)) is not None:
        assert 1 <= k < n_fields and k not in seen
        seen[k] = oracle(k)
    return chosen(seen), list(seen)


@pytest.mark.parametrize("n_fields", [2, 3, 8, 24, 39, 300])
def test_a_monotone_oracle_is_solved_exactly_in_few_looks(n_fields: int) -> None:
    for least in range(1, n_fields + 1):
        found, looks = search(n_fields, lambda k, least=least: "within" if k >= least else "worse")  # type: ignore[misc]
        assert found == (least if least < n_fields else None)
        assert len(looks) <= 2 * math.ceil(math.log2(n_fields)) + 2


def test_looks_go_down_the_grid_then_by_halves() -> None:
    assert search(24, lambda k: "within" if k >= 10 else "worse") == (10, [13, 7, 10, 8, 9])
    assert search(24, lambda k: "within" if k >= 15 else "open") == (15, [13, 23, 18, 15, 14])


def test_data_that_can_tell_nothing_end_after_two_looks() -> None:
    assert search(300, lambda k: "open") == (None, [159, 299])  # 300 ** (8/9) = 159.2


def test_the_grid_of_all_fields_serves_a_smaller_reference() -> None:
    assert next_k({}, 13, grid(24)) == 7
    assert next_k({7: "worse"}, 13, grid(24)) == 12
    assert next_k({7: "worse", 12: "within"}, 13, grid(24)) == 9
