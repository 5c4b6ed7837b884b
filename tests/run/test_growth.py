"""Wide tables: a backbone whose operations grow with the square of the fields is named before anything begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bench.plugins import backbones
from bench.profiles import SMALL
from bench.run import estimate as planning
from bench.run.estimate import Pace
from bench.run.growth import FLAT, growth

Bench = Callable[..., Any]
WIDE = "planted[fields=200,main=4,interaction=2,redundant=1,rows=400]"
FLAGS = ("run", "--datasets", WIDE, "--methods", "random-k", "--seeds", "1", "--epochs", "1")


def test_powers_are_those_of_the_formulas() -> None:
    """Without hidden layers an MLP is one product a column; products of all pairs add F(F - 1) / 2 columns and F²D."""
    linear = growth("dnn", 400, replace(SMALL, mlp=()))
    assert linear is not None and linear.power == pytest.approx(1)
    assert linear.flops_per_row == 6 * 400 * SMALL.dim
    pairs = growth("pnn", 4000, replace(SMALL, mlp=()))
    assert pairs is not None and pairs.power == pytest.approx(2, abs=0.01)


def test_what_has_no_matrix_product_does_not_count_as_steep() -> None:
    found = growth("logistic", 1000, SMALL)
    assert found is not None and (found.flops_per_row, found.power) == (0, 1)


def test_a_backbone_that_cannot_be_reckoned_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise NotImplementedError("no numbers here")

    monkeypatch.setattr("bench.run.growth.footprint", refuse)
    assert growth("dnn", 400, SMALL) is None


def test_plan_and_run_name_what_is_steep_and_what_to_take_instead(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "pace", lambda session, size: Pace(size, 1.0, 0.1))
    plan = bench(*FLAGS, "--backbones", "pnn", "dnn", "--plan")
    assert plan.code == 0, plan.err
    (warning,) = plan.err.splitlines()
    assert warning.startswith("warning: planted[") and ", pnn: operations grow as F^1." in warning
    assert "at F = 200" in warning and "times those of" in warning
    named = warning.partition("; take ")[2].partition(",")[0]
    found = growth(named, 200, SMALL)
    assert named in backbones().names() and found is not None and found.power <= FLAT

    def interrupted(*rest: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.run.sweep.run", interrupted)
    assert bench(*FLAGS, "--backbones", "pnn").err.splitlines()[0] == warning
    assert bench(*FLAGS, "--backbones", "dnn").err.startswith("interrupted")
    monkeypatch.setattr("bench.run.growth.pending", lambda session: {})
    assert bench(*FLAGS, "--backbones", "pnn").err.startswith("interrupted")  # nothing is left that could be slow
