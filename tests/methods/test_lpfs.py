"""LPFS: gates by hand and by finite differences, the proximal step, a cut model that goes on as the gated one."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench import plugins
from bench.api import ConfigError, CTRModel, Rows, Selection, predict
from bench.engine.clock import Clock
from bench.run.cell import run_cell
from bench.run.context import CellContext
from bench.run.grid import choose_method
from bench.run.job import Job
from methods.lpfs import PolarisingGate, Variant, geometric_way

MakeJob = Callable[..., Job]
VARIANTS: tuple[Variant, ...] = ("lpfs++", "lpfs")


def gate(variant: Variant, x: list[float], epsilon: float = 0.01, slope: float = 10.0) -> PolarisingGate:
    """In float64, started at ε = 0.1 and now at ``epsilon``."""
    made = PolarisingGate(len(x), variant, 0.1, slope).double()
    made.epsilon.fill_(epsilon)
    with torch.no_grad():
        made.x.copy_(torch.tensor(x, dtype=torch.float64))
    return made


def select(job: Job) -> Selection:
    method = plugins.methods().load(job.method.name)(job.method.params, job.method.entry)
    rows = job.data.train
    found: Selection = method.select(
        job.context(Clock(job.device)), rows.take(torch.arange(800)), rows.take(torch.arange(800, 960))
    )
    return found


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """Calls of ``fit`` by name, with ε and x as they were before each iteration, and scores at the end."""
    calls: dict[str, dict[str, Any]] = {}
    original = CellContext.fit

    def fit(ctx: Any, model: CTRModel, train: Rows, valid: Any = None, **plan: Any) -> Any:
        call: dict[str, Any] = {"model": model, "train": train, "valid": valid, "gate": model.gate, "epsilons": []}
        calls[plan["name"]] = call | plan
        move: Any = plan.get("schedule")
        before = predict(model, train)

        def schedule(iteration: int, planned: int) -> None:
            move(iteration, planned)
            call["epsilons"].append(float(model.gate.epsilon))  # type: ignore[union-attr, arg-type]

        log = original(ctx, model, train, valid, **(plan if move is None else plan | {"schedule": schedule}))
        calls[plan["name"]] |= {"log": log, "before": before, "after": predict(model, train)}
        return log

    monkeypatch.setattr(CellContext, "fit", fit)
    return calls


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("epsilon", "slope"), [(0.1, 10.0), (0.004, 100.0)])
def test_gates_are_one_at_the_start(variant: Variant, epsilon: float, slope: float) -> None:
    values = PolarisingGate(3, variant, epsilon, slope).values()
    torch.testing.assert_close(values, torch.ones(3))


def test_gates_by_hand() -> None:
    x, epsilon = 0.5, 0.01
    near = 0.25 / 0.26
    assert gate("lpfs", [x]).values().item() == pytest.approx(near * 1.1)  # 1 / (1 / 1.1) at the start
    start = 1 / 1.1 + 10 * math.sqrt(0.1) * math.atan(1)
    assert start == pytest.approx(3.39, abs=0.005)
    wanted = (near + 10 * math.sqrt(epsilon) * math.atan(x)) / start
    assert gate("lpfs++", [x]).values().item() == pytest.approx(wanted)
    torch.testing.assert_close(gate("lpfs++", [-0.5, 0.0]).values(), torch.tensor([-wanted, 0.0]).double())
    torch.testing.assert_close(gate("lpfs", [-0.5, 0.0]).values(), torch.tensor([near * 1.1, 0.0]).double())


def test_gates_are_polarised_when_epsilon_is_small() -> None:
    values = gate("lpfs", [0.0, 0.1, 1.0], epsilon=1e-6).values() / 1.1
    assert values.tolist() == pytest.approx([0, 1, 1], abs=2e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_slopes_are_those_of_finite_differences(variant: Variant) -> None:
    made = gate(variant, [1.0, 0.3, 0.02, -0.4])
    (slope,) = torch.autograd.grad(made.values().sum(), made.x)
    values = [made.x.detach() + step for step in (1e-6, -1e-6)]
    up, down = (gate(variant, x.tolist()).values() for x in values)
    torch.testing.assert_close(slope, (up - down) / 2e-6, rtol=1e-6, atol=1e-8)


def test_the_proximal_step_ends_at_exactly_zero() -> None:
    made = gate("lpfs", [1.0, -0.5, 0.1, -0.1, 0.05])
    made.shrink(0.125)
    assert made.x.tolist() == [0.875, -0.375, 0.0, 0.0, 0.0]
    made.shrink(0.125)
    assert made.x.tolist() == [0.75, -0.25, 0.0, 0.0, 0.0]
    assert made.lived.tolist() == [1.625, 0.625, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("pull", [0.5, 0.1])
def test_a_closed_gate_of_lpfs_stays_closed_and_one_of_its_extension_may_return(pull: float) -> None:
    lr, penalty, epsilon = 0.1, 0.05, 0.01
    x = {}
    for variant in VARIANTS:
        made = gate(variant, [0.0], epsilon)
        (slope,) = torch.autograd.grad(-pull * made.values().sum(), made.x)  # the loss asks for a wider gate
        with torch.no_grad():
            made.x.sub_(lr * slope)
        made.shrink(lr * penalty)
        x[variant] = made.x.item()
    start = 1 / 1.1 + 10 * math.sqrt(0.1) * math.atan(1)
    force = pull * 10 * math.sqrt(epsilon) / start  # .147 or .029, where μ is .05
    assert x["lpfs"] == 0
    assert x["lpfs++"] == pytest.approx(max(0.0, lr * (force - penalty)), abs=1e-12)


def test_closed_fields_are_ranked_by_how_long_they_were_open() -> None:
    made = gate("lpfs", [0.5, -0.7, 0.0, 0.0, 0.0])
    made.lived.copy_(torch.tensor([6.0, 8.0, 3.0, 5.0, 0.0]))
    assert made.ranking(10).tolist() == pytest.approx([0.5, 0.7, -1 / 1.3, -1 / 1.5, -1])


def test_epsilon_falls_from_its_start_in_the_first_step_to_its_end_in_the_last() -> None:
    buffer = torch.zeros(())
    move = geometric_way(buffer, 0.1, 1e-4)
    seen = []
    for iteration in range(4):
        move(iteration, 4)
        seen.append(buffer.item())
    assert seen == pytest.approx([0.1, 0.01, 0.001, 0.0001])
    move(0, 1)
    assert buffer.item() == pytest.approx(0.1)


def test_rate_and_epsilon_follow_from_the_planned_steps(make_job: MakeJob, searches: dict[str, dict[str, Any]]) -> None:
    selection = select(make_job("lpfs[search_epochs=3]"))
    call = searches["search"]
    assert (call["epochs"], call["valid"]) == (3, None)
    assert call["log"].iterations == 12  # four batches of 256 from 800 rows
    assert call["epsilons"] == pytest.approx([0.1 * 1e-3 ** (i / 11) for i in range(12)])
    (step,) = call["steps"]
    group = step.groups[-1]
    assert (group.optimizer, group.lr) == ("sgd", pytest.approx(1 / (0.02 * 0.8 * 12)))
    assert selection.gates is not None
    assert (selection.gates["steps"], selection.gates["every"]) == (12, 1)


def test_without_a_pull_every_field_closes_at_its_share_of_the_steps(make_job: MakeJob) -> None:
    job = make_job("lpfs[search_epochs=3,zero_at=0.5,penalty=1e6]")  # no loss pulls like that
    selection = select(job)
    assert selection.notes["open_fields"] == 0
    assert selection.notes["gates_end"] == [0.0] * 8
    # after k of the 12 steps |x| is 1 - k / 6
    mean = sum(1 - k / 6 for k in range(1, 7)) / 12
    assert selection.scores is not None
    np.testing.assert_allclose(selection.scores, -1 / (1 + mean), rtol=1e-4)


def test_the_cut_model_goes_on_where_the_gated_one_ended(
    make_job: MakeJob, searches: dict[str, dict[str, Any]]
) -> None:
    record = run_cell(make_job("lpfs[budget=native,penalty=0.1,search_epochs=10]", timed_once=True))
    assert record.status == "ok", record.traceback
    ended, cut = searches["search"], searches["train"]
    opened = ended["gate"].x.nonzero().squeeze(1).tolist()
    assert record.kept_fields == opened
    assert 0 < len(opened) < 8
    held = torch.isin(cut["train"].index, ended["train"].index)  # the holdout is back
    assert int(held.sum()) == len(ended["train"])
    order = {int(index): place for place, index in enumerate(ended["train"].index)}
    places = [order[int(index)] for index in cut["train"].index[held]]
    torch.testing.assert_close(cut["before"][held], ended["after"][places], rtol=1e-4, atol=1e-5)


def test_a_fresh_start_keeps_the_ranking_and_no_weights(make_job: MakeJob) -> None:
    fresh, searched = select(make_job("lpfs[start=fresh]")), select(make_job("lpfs"))
    assert (fresh.start, fresh.scale) == (None, None)
    assert searched.start is not None
    assert searched.start.gate is None
    assert searched.scale is not None
    assert searched.scale.tolist() == searched.notes["gates_end"]
    np.testing.assert_array_equal(fresh.scores, searched.scores)


def test_its_own_rule_keeps_one_field_at_least(make_job: MakeJob) -> None:
    record = run_cell(make_job("lpfs[budget=native,penalty=1e6,start=fresh]", epochs=1, timed_once=True))
    assert record.status == "ok", record.traceback
    assert record.tau is None
    assert len(record.kept_fields or ()) == 1


def test_a_finished_search_is_taken_up_again(make_job: MakeJob, tmp_path: Path) -> None:
    first, again = (run_cell(make_job("lpfs", checkpoints=tmp_path, timed_once=True)) for _ in range(2))
    assert (first.resumed, again.resumed) == (False, True)
    assert (first.field_scores, first.logloss) == (again.field_scores, again.logloss)


def test_the_gate_of_the_field_that_is_the_label_stays_widest(make_job: MakeJob) -> None:
    job, field = make_job("lpfs[search_epochs=10]"), 3
    rows = job.data.train
    labels = (rows.ids[:, field] % 2).float()
    method = plugins.methods().load("lpfs")(job.method.params, job.method.entry)
    named = Rows(rows.schema, rows.ids, rows.numeric, labels, rows.index, pooled=rows.pooled)
    found = method.select(job.context(Clock(job.device)), named, named)
    assert found.scores[field] == max(found.scores)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("variant=lpfspp", "lpfs++, lpfs"),
        ("variant=lpfs,slope=3", "slope=3 has no part in variant=lpfs"),
        ("penalty=0", "(0, inf)"),
        ("zero_at=1.5", "(0, 1]"),
        ("budget=exact", "field, native"),
    ],
)
def test_parameters_out_of_range_are_refused(given: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        choose_method(f"lpfs[{given}]")
    assert said in str(caught.value)
