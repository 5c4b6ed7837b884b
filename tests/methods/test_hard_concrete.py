from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from methods.parts.hard_concrete import HardConcreteGate, Lagrangian

BETA, ZETA, GAMMA = 0.83, 1.1, -0.1
A = [0.3, -1.2, 2.5]


def make_gate(noise: Any = "batch", a: list[float] = A) -> HardConcreteGate:
    return HardConcreteGate(torch.tensor(a, dtype=torch.float64), BETA, ZETA, GAMMA, noise)


def stretched(a: float, u: float) -> float:
    """s̄ before clipping, by the module's equations in plain Python."""
    s = 1 / (1 + math.exp(-(math.log(u) - math.log(1 - u) + a) / BETA))
    return s * (ZETA - GAMMA) + GAMMA


def clip(x: float) -> float:
    return min(1.0, max(0.0, x))


@pytest.fixture
def fixed_u(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Replace the uniform draw: ``fixed_u([[...]])``."""

    def fix(values: Any) -> list[tuple[int, ...]]:
        shapes: list[tuple[int, ...]] = []

        def rand(shape: Any, *, device: torch.device, dtype: torch.dtype) -> Tensor:
            shapes.append(tuple(shape))
            return torch.tensor(values, dtype=dtype, device=device)

        monkeypatch.setattr(torch, "rand", rand)
        return shapes

    return fix


def forward(gate: HardConcreteGate, n_rows: int) -> Tensor:
    n_fields = len(gate.log_alpha)
    e = torch.zeros(n_rows, n_fields, 2, dtype=torch.float64)
    return gate(e, torch.zeros(n_rows, n_fields, dtype=torch.int32))


def test_one_draw_a_batch_gives_one_gate_a_field(fixed_u: Any) -> None:
    u = [0.5, 0.7, 0.01]
    shapes = fixed_u(u)
    gate = make_gate()
    z = forward(gate, 4)
    assert shapes == [(3,)]
    expected = [clip(stretched(a, v)) for a, v in zip(A, u, strict=True)]
    assert z.tolist() == pytest.approx(expected, abs=1e-12)
    assert gate.sampled_mean.item() == pytest.approx(sum(expected) / 3, abs=1e-12)


def test_one_draw_a_row_gives_gates_that_differ_from_row_to_row(fixed_u: Any) -> None:
    u = [[0.5, 0.7, 0.2], [0.9, 0.1, 0.6]]
    shapes = fixed_u(u)
    gate = make_gate("sample")
    z = forward(gate, 2)
    assert shapes == [(2, 3)]
    expected = [[clip(stretched(a, v)) for a, v in zip(A, row, strict=True)] for row in u]
    assert torch.allclose(z, torch.tensor(expected, dtype=torch.float64), atol=1e-12)
    assert gate.sampled_mean.item() == pytest.approx(sum(map(sum, expected)) / 6, abs=1e-12)


def test_gradients_by_hand_inside_and_none_outside_the_clip(fixed_u: Any) -> None:
    """dz/da = s (1 - s) (ζ - γ) / β where 0 < s̄ < 1, and 0 where the gate is shut or fully open."""
    u, a = [0.4, 0.001, 0.999], [0.2, -1.0, 1.0]
    fixed_u(u)
    gate = make_gate(a=a)
    forward(gate, 1).sum().backward()
    raw = [stretched(x, v) for x, v in zip(a, u, strict=True)]
    assert 0 < raw[0] < 1
    assert raw[1] < 0
    assert raw[2] > 1
    s = (raw[0] - GAMMA) / (ZETA - GAMMA)
    assert gate.log_alpha.grad is not None
    assert gate.log_alpha.grad.tolist() == pytest.approx([s * (1 - s) * (ZETA - GAMMA) / BETA, 0, 0], abs=1e-12)


def test_draws_at_the_edges_stay_finite(fixed_u: Any) -> None:
    fixed_u([0.0, 1.0, 0.5])
    gate = make_gate()
    z = forward(gate, 1)
    z.sum().backward()
    assert z[:2].tolist() == [0.0, 1.0]
    assert gate.log_alpha.grad is not None
    assert torch.isfinite(gate.log_alpha.grad).all()


def test_without_noise_the_gate_is_the_stretched_sigmoid(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = make_gate(a=[0.0, -9.0, 9.0, 1.0]).eval()
    monkeypatch.setattr(torch, "rand", None)  # evaluation must not draw
    sigma = 1 / (1 + math.exp(-1.0))
    expected = [0.5, 0.0, 1.0, clip(sigma * 1.2 - 0.1)]
    assert forward(gate, 2).tolist() == pytest.approx(expected, abs=1e-12)
    assert gate.deterministic().tolist() == pytest.approx(expected, abs=1e-12)


def test_open_probability_is_the_share_of_draws_above_zero() -> None:
    a = [-2.0, 0.0, 1.5]
    gate = make_gate(a=a)
    closed_form = [1 / (1 + math.exp(-(x - BETA * math.log(0.1 / 1.1)))) for x in a]
    assert gate.open_probability().tolist() == pytest.approx(closed_form, abs=1e-12)
    # z > 0 means s > 1/12, or u above a bound: count on a fine grid of u
    grid = [(i + 0.5) / 20_000 for i in range(20_000)]
    counted = [sum(stretched(x, u) > 0 for u in grid) / len(grid) for x in a]
    assert gate.open_probability().tolist() == pytest.approx(counted, abs=1e-4)


def test_the_mean_gate_follows_the_draws() -> None:
    torch.manual_seed(0)
    gate = make_gate("sample", a=[0.5] * 4)
    z = forward(gate, 50_000)
    grid = [(i + 0.5) / 20_000 for i in range(20_000)]
    expected = sum(clip(stretched(0.5, u)) for u in grid) / len(grid)
    assert z.mean().item() == pytest.approx(expected, abs=0.005)
    assert (z == 0).double().mean().item() == pytest.approx(1 - gate.open_probability()[0].item(), abs=0.005)


def test_the_penalty_and_its_gradients_by_hand() -> None:
    lagrangian = Lagrangian(0.5, torch.device("cpu"))
    assert (lagrangian.linear.item(), lagrangian.quadratic.item()) == (0.0, 0.0)
    with torch.no_grad():
        lagrangian.linear.fill_(2.0)
        lagrangian.quadratic.fill_(3.0)
    mean = torch.tensor(0.75, requires_grad=True)
    penalty = lagrangian(mean)
    penalty.backward()
    assert penalty.item() == pytest.approx(2 * 0.25 + 3 * 0.0625)
    assert mean.grad is not None
    assert lagrangian.linear.grad is not None
    assert lagrangian.quadratic.grad is not None
    assert mean.grad.item() == pytest.approx(2 + 2 * 3 * 0.25)
    assert lagrangian.linear.grad.item() == pytest.approx(0.25)
    assert lagrangian.quadratic.grad.item() == pytest.approx(0.0625)


@pytest.mark.parametrize(("mean", "sign"), [(0.9, 1), (0.1, -1)])
def test_ascent_makes_the_side_of_the_violation_costly(mean: float, sign: int) -> None:
    lagrangian = Lagrangian(0.5, torch.device("cpu"))
    optimizer = torch.optim.Adam(lagrangian.parameters(), lr=0.1, maximize=True)
    for _ in range(3):
        optimizer.zero_grad()
        lagrangian(torch.tensor(mean)).backward()
        optimizer.step()
    assert lagrangian.linear.item() * sign == pytest.approx(0.3, abs=1e-5)  # Adam: one learning rate a step
    assert lagrangian.quadratic.item() == pytest.approx(0.3, abs=1e-5)  # whatever the side
    assert lagrangian(torch.tensor(mean)) > lagrangian(torch.tensor(0.5)) == 0
