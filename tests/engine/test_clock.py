from __future__ import annotations

import time

import pytest
import torch

from bench.engine.clock import Clock

CPU = torch.device("cpu")


@pytest.fixture
def tick(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still unless the test moves it."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def test_phases_add_up_nest_and_leave_a_remainder(tick: list[float]) -> None:
    clock = Clock(CPU)
    tick[0] += 1  # untracked
    with clock.phase("select"):
        tick[0] += 2
        for seconds in (4, 8):
            with clock.phase("pretrain"):
                tick[0] += seconds
    with clock.phase("train"):
        tick[0] += 16
    tick[0] += 32  # untracked
    with clock.phase("select"):
        tick[0] += 64
    assert clock.report() == {
        "select/pretrain": 12,
        "select": 2 + 12 + 64,
        "train": 16,
        "total": 127,
        "untracked": 33,
    }


def test_a_phase_that_raises_is_closed_and_counted(tick: list[float]) -> None:
    clock = Clock(CPU)
    with pytest.raises(ZeroDivisionError), clock.phase("select"):
        tick[0] += 3
        raise ZeroDivisionError
    with clock.phase("train"):
        tick[0] += 5
    assert clock.seconds == {"select": 3, "train": 5}
