from __future__ import annotations

from typing import Any

from bench.advising.around import Probe, Set, near, repaired
from bench.advising.units import Units
from bench.budget import Terms
from bench.stats.difference import Interval

ORDER = (4, 2, 0, 1, 3, 5)
UNITS = Units.of("count", Terms(), [1] * 6)


def probe(field: int, kept: bool, mean: float, half: float) -> Probe:
    interval = Interval(mean, mean - half, mean + half, half / 2, 10.0, 3, 1000, 1e-5, 1e-5)
    nothing: Any = None
    return Probe(field, kept, Set(ORDER, 3), nothing, interval, interval)


def test_a_set_loses_and_gains_single_fields_at_the_cut() -> None:
    cut = Set(ORDER, 3)
    assert cut.kept == (4, 2, 0)
    less, more = cut.without(2), cut.adding(5)
    assert (less.order, less.k) == ((4, 0, 2, 1, 3, 5), 2)
    assert (more.order, more.k) == ((4, 2, 0, 5, 1, 3), 4)
    assert less.adding(2) == cut and hash(less.adding(2)) == hash(cut), "sets are equal by what they keep"


def test_fields_near_the_cut_come_in_turns() -> None:
    assert list(near(Set(ORDER, 3), 2, UNITS)) == [0, 1, 2, 3]
    assert list(near(Set(ORDER, 1), 2, UNITS)) == [2, 0], "the only field that stays is not dropped"
    assert list(near(Set(ORDER, 5), 3, UNITS)) == [3, 5, 1, 0]


def test_a_repair_drops_what_costs_nothing_and_adds_what_gains_for_certain() -> None:
    cut = Set(ORDER, 3)
    found = repaired(
        cut,
        [
            probe(4, True, 0.02, 0.01),  # costs
            probe(2, True, -0.001, 0.01),  # better without it, as far as can be seen
            probe(0, True, 0.0005, 0.0002),  # costs for certain, and less than the tolerance
            probe(1, False, 0.01, 0.02),  # may gain
            probe(3, False, 0.01, 0.005),  # gains for certain
        ],
        0.001,
        UNITS,
    )
    assert set(found.kept) == {4, 3}
    assert repaired(cut, [probe(0, True, 0.02, 0.01)], 0.001, UNITS) == cut


def test_a_repair_leaves_one_field() -> None:
    assert repaired(Set(ORDER, 2), [probe(4, True, -1, 0.1), probe(2, True, -1, 0.1)], 0.001, UNITS).k == 1
