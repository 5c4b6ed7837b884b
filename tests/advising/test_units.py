"""What is dropped as one, in which order it is to stay, and what is tried first near a cut."""

from __future__ import annotations

from fractions import Fraction

from bench.advising.around import Set, near, repaired
from bench.advising.search import grid
from bench.advising.units import Units
from bench.budget import BUDGETED, Terms

TERMS = Terms(locked=(5,), groups={"geo": (1, 3)}, costs={0: 2.5, 4: 10.0})
ROWS = (10, 20, 30, 40, 50, 60)


def test_fields_of_a_group_are_one_and_the_card_says_how_large() -> None:
    by = {name: Units.of(name, TERMS, ROWS) for name in BUDGETED}
    assert by["count"].fields == ((0,), (1, 3), (2,), (4,), (5,))
    assert by["count"].sizes == (1, 2, 1, 1, 1)
    assert by["bytes"].sizes == (10, 60, 30, 50, 60)
    assert by["cost"].sizes == (Fraction(5, 2), 2, 1, 10, 1)
    assert by["groups"].sizes == (1, 1, 1, 1, 1)
    assert (by["cost"].locked, by["cost"].floor) == ({4}, 1)
    assert by["cost"].size((0, 1)) == (Fraction(9, 2), 3)


def test_a_group_has_the_place_of_its_best_field_and_locked_fields_come_first() -> None:
    units = Units.of("count", TERMS, ROWS)
    assert units.places((2, 3, 0, 5, 1, 4)) == {2: 1, 1: 2, 3: 2, 0: 3, 5: 4, 4: 5}
    assert units.of_fields(units.ordered((2, 3, 0, 5, 1, 4), {})) == (5, 2, 1, 3, 0, 4)


def test_of_twins_one_stays_at_the_best_place_and_the_others_come_last() -> None:
    twins = {0: (4,), 4: (0,)}
    order = (4, 2, 1, 0, 3, 5)
    plain = Units.of("count", Terms(), ROWS)
    assert plain.ordered(order, twins) == (4, 2, 1, 3, 5, 0), "equally large: the best one stays"
    assert plain.needless((4, 2, 1, 3, 5, 0), twins) == (0,)
    dear = Units.of("cost", Terms(costs={4: 10.0}), ROWS)
    assert dear.ordered(order, twins) == (0, 2, 1, 3, 5, 4), "the cheap one stays, at the best place of both"
    locked = Units.of("cost", Terms(locked=(4,), costs={4: 10.0}), ROWS)
    assert locked.ordered(order, twins) == (4, 2, 1, 3, 5, 0), "what is locked stays"


def test_a_group_is_needless_only_where_all_of_it_is() -> None:
    units = Units.of("count", Terms(groups={"g": (2, 3)}), (1,) * 4)
    assert units.of_fields(units.ordered((0, 2, 1, 3), {0: (2,), 2: (0,)})) == (0, 2, 3, 1)
    both = {0: (2,), 2: (0,), 1: (3,), 3: (1,)}
    assert units.of_fields(units.ordered((0, 1, 2, 3), both)) == (0, 1, 2, 3)
    assert units.needless(units.ordered((0, 1, 2, 3), both), both) == (2,)


def test_near_a_cut_dear_fields_are_tried_first_and_locked_ones_never() -> None:
    order = (4, 0, 1, 2, 3)  # unit 4 is locked; 1 / (5 + place) over costs 1, 2.5, 2, 1 (kept) and 10 (dropped)
    units = Units.of("cost", TERMS, ROWS)
    # kept: unit 0 1/7/2.5 = 0.057, unit 1 1/8/2 = 0.0625, unit 2 1/9 = 0.111
    assert list(near(Set(order, 4), 3, units)) == [0, 3, 1, 2]
    assert list(near(Set(order, 1), 2, units)) == [2, 1], "only what is locked is left: 1/9 and 1/8/2 are the most"


def test_the_smallest_set_is_what_the_card_keeps() -> None:
    units = Units.of("count", Terms(locked=(1, 2, 3)), (1,) * 9)
    assert (units.floor, grid(9, 3)) == (3, [5, 3])
    assert repaired(Set((1, 2, 3, 0, 4, 5, 6, 7, 8), 3), [], 0.1, units).k == 3
