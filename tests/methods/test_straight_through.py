from __future__ import annotations

import math

import pytest
import torch

from methods.parts.straight_through import sigmoid, unit_step


def slope(x: float) -> float:
    """The step's slope, by its definition."""
    if abs(x) <= 0.4:
        return 2 - 4 * abs(x)
    return 0.4 if abs(x) <= 1 else 0.0


@pytest.mark.parametrize("x", [0.0, 0.1, -0.1, 0.25, 0.4, -0.4, 0.41, 0.7, -0.7, 1.0, -1.0, 1.001, -1.001, 30.0, -30.0])
def test_the_step_is_strict_and_its_slope_is_made_up(x: float) -> None:
    point = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    y = unit_step(point)
    assert y.item() == (1.0 if x > 0 else 0.0)
    (3 * y).backward()
    assert point.grad is not None
    assert point.grad.item() == pytest.approx(3 * slope(x), abs=1e-12)


def test_the_slope_is_two_at_the_step_and_continuous_until_it_ends() -> None:
    assert (slope(0), slope(0.4), slope(1.0), slope(1.0001)) == (2.0, pytest.approx(0.4), 0.4, 0.0)


@pytest.mark.parametrize("x", [-40.0, -3.0, 0.0, 0.5, 3.0, 16.0, 20.0, 40.0])
def test_the_sigmoid_keeps_a_slope_where_it_rounds_to_one(x: float) -> None:
    point = torch.tensor(x, requires_grad=True)
    y = sigmoid(point)
    y.backward()
    assert torch.equal(y.detach(), torch.sigmoid(torch.tensor(x)))
    assert point.grad is not None
    assert point.grad.item() == pytest.approx(math.exp(-abs(x)) / (1 + math.exp(-abs(x))) ** 2, rel=1e-5)
    plain = torch.tensor(x, requires_grad=True)
    torch.sigmoid(plain).backward()
    assert plain.grad is not None
    assert (plain.grad.item() == 0) == (x >= 20)  # what is avoided


def test_both_are_right_by_finite_differences_where_they_are_smooth() -> None:
    x = torch.linspace(-4, 4, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(sigmoid, (x,))
