"""STG's gate and regulariser, from its equations."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import pytest
import torch
from torch import Tensor

from bench import plugins
from bench.engine.clock import Clock
from bench.run.cell import run_cell
from bench.run.grid import choose_method
from bench.run.job import Job
from methods.parts.hard_concrete import Lagrangian
from methods.stg import GaussianGate

MU = [0.5, -0.2, 0.9, 1.4]
NOISE = [0.4, -0.6, 1.0, -0.1]
SIGMA = 0.5


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> GaussianGate:
    """A gate in float64 whose draws are known."""
    monkeypatch.setattr(torch, "randn", lambda shape, **how: torch.tensor(NOISE, dtype=how["dtype"]))
    gate = GaussianGate(len(MU), SIGMA).double()
    gate.mu.data.copy_(torch.tensor(MU))
    return gate


def factors(gate: GaussianGate) -> Tensor:
    z: Tensor = gate(torch.zeros(3, len(MU), 2, dtype=torch.float64), torch.zeros(3, len(MU), dtype=torch.int32))
    return z


def test_a_gate_is_a_clipped_normal_variable_and_has_no_noise_in_evaluation(gate: GaussianGate) -> None:
    drawn = [min(1.0, max(0.0, mu + SIGMA * noise)) for mu, noise in zip(MU, NOISE, strict=True)]
    assert drawn == pytest.approx([0.7, 0.0, 1.0, 1.0])
    assert factors(gate).tolist() == pytest.approx(drawn)
    assert factors(gate.eval()).tolist() == pytest.approx([0.5, 0.0, 0.9, 1.0])


def test_the_open_probability_is_that_of_the_normal_distribution(gate: GaussianGate) -> None:
    expected = [1 - NormalDist(mu, SIGMA).cdf(0) for mu in MU]
    assert gate.open_probability().tolist() == pytest.approx(expected)


def test_gradients_of_gate_and_regulariser_are_those_of_finite_differences(gate: GaussianGate) -> None:
    lagrangian = Lagrangian(0.4, torch.device("cpu")).double()
    lagrangian.linear.data.fill_(0.7)
    lagrangian.quadratic.data.fill_(1.3)
    weights = torch.tensor([0.3, -1.1, 0.8, 0.5], dtype=torch.float64)

    def loss() -> Tensor:
        price: Tensor = lagrangian(gate.open_probability().mean())
        return (factors(gate) * weights).square().sum() + price

    loss().backward()  # type: ignore[no-untyped-call]
    assert gate.mu.grad is not None
    for f, given in enumerate(gate.mu.grad.tolist()):
        sides = []
        for h in (1e-6, -1e-6):
            gate.mu.data[f] += h
            sides.append(loss().item())
            gate.mu.data[f] -= h
        assert given == pytest.approx((sides[0] - sides[1]) / 2e-6, abs=1e-8)
    # a gate that noise has closed or opened wholly hears of the regulariser alone: its density at zero
    gap = gate.open_probability().mean().item() - 0.4
    density = NormalDist(0, 1).pdf(MU[1] / SIGMA) / SIGMA
    assert gate.mu.grad[1].item() == pytest.approx((0.7 + 2 * 1.3 * gap) * density / len(MU))


def test_a_fixed_penalty_gives_one_ranking_for_all_prune_ratios() -> None:
    axes = {}
    for text in ("stg", "stg[penalty=0.1]"):
        choice = choose_method(text)
        method = plugins.methods().load("stg")(choice.params, choice.entry)
        axes[text] = method.depends_on()
    assert axes == {"stg": {"tau", "backbone", "seed"}, "stg[penalty=0.1]": {"backbone", "seed"}}


@pytest.mark.parametrize(("method", "told"), [("stg[gate_lr=0.1]", True), ("stg[penalty=0.1]", False)])
def test_multipliers_push_while_more_gates_are_open_than_are_kept(
    make_job: Callable[..., Job], method: str, told: bool
) -> None:
    notes: dict[str, Any] = run_cell(make_job(method, epochs=1)).notes
    assert ("lambda" in notes) == told
    if told:  # at the start Φ(1) of the gates are open, more than the half that is kept, so λ has risen
        assert 0.5 * (1 + math.erf(1 / math.sqrt(2))) > 0.5
        assert notes["lambda"] > 0
        assert notes["open_share"] < 0.84


def test_its_own_rule_keeps_the_fields_whose_gates_are_open_without_noise(make_job: Callable[..., Job]) -> None:
    job = make_job("stg[budget=native,penalty=0.1]", epochs=1)
    rows = job.data.train
    method = plugins.methods().load("stg")(job.method.params, job.method.entry)
    found = method.select(
        job.context(Clock(job.device)), rows.take(torch.arange(800)), rows.take(torch.arange(800, 960))
    )
    assert found.kept == [f for f, mu in enumerate(found.scores) if mu > 0]
