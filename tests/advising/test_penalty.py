"""Which values of L2 are tried in which time, and that a decision stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.advising.penalty import Decision, choose, next_value, read_decision, write_decision
from bench.errors import DataError

LADDER = (1e-5, 1e-4, 1e-3, 1e-2)
AUCS = {1e-5: 0.70, 1e-4: 0.72, 1e-3: 0.74, 1e-2: 0.73}


class Clock:
    """Time that passes only where something is tried."""

    def __init__(self) -> None:
        self.now, self.tried = 0.0, list[float]()

    def monotonic(self) -> float:
        return self.now

    def attempt(self, value: float) -> float:
        self.now += 10.0
        self.tried.append(value)
        return AUCS[value]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr("bench.advising.penalty.time.monotonic", found.monotonic)
    return found


def test_the_profiles_own_comes_first_and_then_what_is_far_and_what_is_near_the_best(clock: Clock) -> None:
    assert choose(1e-2, LADDER, 100.0, 10.0, clock.attempt) == AUCS
    assert clock.tried == [1e-2, 1e-4, 1e-3, 1e-5]
    assert next_value({}, 1e-5, LADDER) == 1e-5
    assert next_value({1e-5: 0.7}, 1e-5, LADDER) == 1e-3
    assert next_value({1e-5: 0.7, 1e-3: 0.74}, 1e-5, LADDER) == 1e-4
    assert next_value(AUCS, 1e-5, LADDER) is None


@pytest.mark.parametrize(("room", "count"), [(20.0, 0), (21.0, 2), (30.0, 2), (32.0, 3), (42.0, 4)])
def test_a_trial_begins_where_the_mean_of_those_before_and_a_tenth_fits(clock: Clock, room: float, count: int) -> None:
    assert len(choose(1e-2, LADDER, room, 10.4, clock.attempt)) == count


def test_where_the_forecast_was_wrong_one_trial_is_all_there_is(clock: Clock) -> None:
    assert choose(1e-2, LADDER, 15.0, 1.0, clock.attempt) == {1e-2: 0.73}
    assert choose(1e-2, LADDER, 100.0, None, lambda value: None) == dict.fromkeys(LADDER, float("-inf"))


def test_a_decision_stands_for_the_same_data_and_settings(tmp_path: Path) -> None:
    file = tmp_path / "advice" / "l2.json"
    assert read_decision(file, "a") is None
    write_decision(file, Decision("a", (1e-3, 1e-2), "so"))
    assert read_decision(file, "a") == Decision("a", (1e-3, 1e-2), "so")
    assert read_decision(file, "b") is None
    file.write_text("{}")
    with pytest.raises(DataError, match="does not say which L2 was chosen"):
        read_decision(file, "a")
