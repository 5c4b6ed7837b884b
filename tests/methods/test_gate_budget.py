from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.engine.clock import Clock
from bench.engine.steps import FitLog, FitPlan
from bench.profiles import ANCHOR, PAPER, SMALL
from bench.run.job import Job
from methods import adafs, autofield, mvfs, optem, optfs, shufflegate
from methods.parts.gate_budget import CRITEO_ROWS, AuthorsTraining, GatePlan, gate_plan, linear_way, way_in_steps

MakeJob = Callable[..., Job]
THEIRS = AuthorsTraining(batch=100, lr=1e-3, every=10, rows=20_000)  # 200 iterations an epoch, 20 of them with the gate


def plan(make_job: MakeJob, rows: int, authors: AuthorsTraining = THEIRS, **given: object) -> GatePlan:
    job = make_job("no-selection")
    ctx = job.context(Clock(job.device))
    ctx.profile = replace(SMALL, batch_size=100, lr=1.0)  # a bound that is never met
    return gate_plan(ctx, authors, rows, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rows", "every", "lr"),
    [
        (20_000, 10, 1e-3),  # their scale: their numbers
        (10_000, 5, 1e-3),  # 100 iterations, 20 gate steps
        (2_000, 1, 1e-3),  # 20 iterations, each with a gate step
        (1_000, 1, 2e-3),  # 10: the rate makes up for what is missing
        (50, 1, 2e-2),
        (80_000, 10, 1e-3),  # never slower than theirs
    ],
)
def test_an_epoch_has_their_gate_steps_and_their_way(make_job: MakeJob, rows: int, every: int, lr: float) -> None:
    found = plan(make_job, rows)
    assert (found.every, found.steps) == (every, math.ceil(rows / 100))
    assert found.lr == pytest.approx(lr)


def test_what_the_user_names_goes_before_the_rule(make_job: MakeJob) -> None:
    assert plan(make_job, 1_000, every=5, lr=0.3) == GatePlan(5, 0.3, 10)  # goes further than theirs: never faster
    assert plan(make_job, 1_000, every=5).lr == pytest.approx(20 / 2 * 1e-3)  # two gate steps go as far as twenty
    assert plan(make_job, 1_000, lr=0.3).every == 1


def test_adams_rate_is_bounded_by_the_profiles_and_sgds_is_not(make_job: MakeJob) -> None:
    job = make_job("no-selection")
    ctx = job.context(Clock(job.device))
    ctx.profile = replace(SMALL, batch_size=100, lr=2e-4)
    found = gate_plan(ctx, THEIRS, 100)
    assert found.lr == pytest.approx(2e-3)
    assert found.slower == pytest.approx(10)  # one step of 2e-3 an epoch, theirs go 20 times 1e-3
    assert gate_plan(ctx, THEIRS, 100, bounded=False).slower == pytest.approx(1)
    assert gate_plan(ctx, THEIRS, 100, bounded=False).lr == pytest.approx(20e-3)
    ctx.profile = replace(ctx.profile, lr=1e-5)  # ten times that is less than the authors have
    assert gate_plan(ctx, THEIRS, 100).lr == pytest.approx(1e-3)


@pytest.mark.parametrize(("batch", "every"), [(2048, 10), (4096, 1)])
def test_at_criteos_size_the_authors_numbers_come_out(make_job: MakeJob, batch: int, every: int) -> None:
    job = make_job("no-selection")
    ctx = job.context(Clock(job.device))
    ctx.profile = replace(PAPER, batch_size=batch)
    theirs = AuthorsTraining(batch, 3e-4, every)
    assert gate_plan(ctx, theirs, CRITEO_ROWS) == GatePlan(every, 3e-4, math.ceil(CRITEO_ROWS / batch))
    assert way_in_steps(theirs, 4_000, theirs.steps) == 4_000


def test_a_way_takes_their_share_of_an_epoch() -> None:
    assert [way_in_steps(THEIRS, 100, steps) for steps in (200, 20, 3, 1)] == [100, 10, 2, 1]
    buffer = torch.full((), 7.0)
    place = buffer.data_ptr()
    move = linear_way(buffer, 1.0, 5.0, 4)
    for iteration, value in enumerate((1.0, 2.0, 3.0, 4.0, 5.0, 5.0)):
        move(iteration, 1)
        assert buffer.item() == value
    assert buffer.data_ptr() == place


def test_what_is_told_counts_gate_steps_up_to_the_weights_that_are_tested() -> None:
    found = GatePlan(every=3, lr=0.1, steps=10).told(FitLog(epochs=4.0, best_epoch=2.5), 0.7)
    assert found == {"every": 3, "lr": 0.1, "steps": 8, "travel": 0.7}  # of 25 iterations


@pytest.mark.parametrize(
    ("every", "burn_in", "points"),
    [
        (0.5, 0.0, [5, 10, 15, 20]),
        (0.5, 1.0, [10, 15, 20]),
        (1.0, 1.0, [10, 20]),
        (0.25, 1.2, [12, 15, 18, 20]),
        (1.0, 5.0, [20]),
    ],
)
def test_nothing_is_validated_while_a_training_burns_in(every: float, burn_in: float, points: list[int]) -> None:
    assert FitPlan(epochs=2, batch_size=1, evaluate_every=every, burn_in=burn_in).evaluation_points(10) == points


def test_the_protocol_s_table_of_steps_and_rates_is_what_the_rule_gives(make_job: MakeJob) -> None:
    """10,000 and 100,000 rows in batches of 256, a million in batches of 4096; both profiles have rate 1e-3."""
    job = make_job("no-selection")
    ctx = job.context(Clock(job.device))
    text = (Path(__file__).resolve().parents[2] / "bench" / "PROTOCOL.md").read_text(encoding="utf-8")
    rows = {
        "AutoField": (autofield.AUTHORS, True),
        "AdaFS, `bilevel`": (adafs.AUTHORS, True),
        "AdaFS, `joint`": (replace(adafs.AUTHORS, every=1), True),
        "MvFS": (mvfs.AUTHORS, True),
        "OptFS": (optfs.AUTHORS, True),
        "OptEm": (optem.AUTHORS, False),
        "ShuffleGate": (shufflegate.AUTHORS, True),
    }
    for name, (authors, bounded) in rows.items():
        found = []
        for n, profile in ((10_000, SMALL), (100_000, SMALL), (1_000_000, ANCHOR)):
            ctx.profile = profile
            plan = gate_plan(ctx, authors, n, bounded=bounded)
            found.append(f"{plan.steps // plan.every} · {plan.lr:.3g}")
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {name} |")]
        rate = f"{authors.lr:.0e}".replace("e-0", "e-")
        assert line.startswith(f"| {name} | {rate}, {authors.every}, {authors.batch}, {'Adam' if bounded else 'SGD'} |")
        assert line.endswith(f"| {' | '.join(found)} |")
    assert f"{autofield.ANNEALED_IN / autofield.AUTHORS.steps:.2f} epochs" in text
    assert f"{4_000 / mvfs.AUTHORS.steps:.2f} epochs" in text
