from __future__ import annotations

import math

import pytest
import torch

from methods.autofield import TwoLogitGate

E, IDS = torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.int32)
LOGITS = torch.tensor([[0.9, 0.1], [0.5, 0.5], [-0.2, 0.4]])


def gate(relaxation: str, temperature: float = 1.0, logits: torch.Tensor = LOGITS) -> TwoLogitGate:
    made = TwoLogitGate(len(logits), relaxation)  # type: ignore[arg-type]
    with torch.no_grad():
        made.logits.copy_(logits)
        made.temperature.fill_(temperature)
    return made


def test_every_field_starts_undecided() -> None:
    for relaxation in ("gumbel", "softmax"):
        made = TwoLogitGate(3, relaxation).eval()  # type: ignore[arg-type]
        assert made.logits.tolist() == [[0.5, 0.5]] * 3
        assert made(E, IDS).tolist() == [0.5] * 3
        assert made.preference().tolist() == [0.0] * 3


@pytest.mark.parametrize(("relaxation", "temperature"), [("softmax", 0.2), ("gumbel", 1.0), ("gumbel", 0.2)])
def test_without_noise_it_is_the_softmax_of_the_two_logits(relaxation: str, temperature: float) -> None:
    """The plain softmax knows no temperature."""
    found = gate(relaxation, temperature).eval()(E, IDS)
    divisor = 1.0 if relaxation == "softmax" else temperature
    torch.testing.assert_close(found, (LOGITS / divisor).softmax(1)[:, 0])


def test_the_plain_softmax_has_no_noise_in_training_and_its_gradient_is_p_times_one_minus_p() -> None:
    made = gate("softmax").train()
    p = made(E, IDS)
    assert torch.equal(p, made(E, IDS))
    p.sum().backward()
    slope = (p * (1 - p)).detach()
    torch.testing.assert_close(made.logits.grad, torch.stack([slope, -slope], 1))


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_the_gumbel_gradient_is_that_over_the_temperature(temperature: float) -> None:
    made = gate("gumbel", temperature).train()
    torch.manual_seed(0)
    p = made(E, IDS)
    p.sum().backward()
    slope = (p * (1 - p)).detach() / temperature
    torch.testing.assert_close(made.logits.grad, torch.stack([slope, -slope], 1))


def test_the_noise_is_the_difference_of_two_gumbels() -> None:
    """Logistic: mean 0, variance π² / 3; kept with probability σ(A_keep - A_drop), whatever the temperature."""
    n = 200_000
    logits = torch.tensor([[0.8, 0.1]]).expand(n, 2)
    torch.manual_seed(1)
    for temperature in (1.0, 0.05):
        p = gate("gumbel", temperature, logits).train()(torch.zeros(1, n, 1), torch.zeros(1, n))
        kept = 1 / (1 + math.exp(-0.7))
        assert (p > 0.5).double().mean().item() == pytest.approx(kept, abs=5 * math.sqrt(kept * (1 - kept) / n))
        inside = (p > 1e-6) & (p < 1 - 1e-6)
        if temperature == 1.0:
            assert inside.all()
            noise = torch.logit(p.double()) - 0.7
            variance = math.pi**2 / 3
            assert noise.mean().item() == pytest.approx(0, abs=5 * math.sqrt(variance / n))
            assert noise.var().item() == pytest.approx(variance, rel=0.03)
        else:
            assert inside.double().mean() < 0.3  # cold gates are nearly closed or open


def test_two_gumbels_drawn_apart_give_the_same_law() -> None:
    n = 100_000
    torch.manual_seed(2)
    g = -torch.log(-torch.log(torch.rand(n, 2, dtype=torch.float64).clamp(1e-12)))
    direct = ((torch.tensor([0.8, 0.1], dtype=torch.float64) + g) / 0.5).softmax(1)[:, 0]
    made = gate("gumbel", 0.5, torch.tensor([[0.8, 0.1]]).expand(n, 2)).train()
    found = made(torch.zeros(1, n, 1), torch.zeros(1, n)).double()
    for share in (0.1, 0.25, 0.5, 0.75, 0.9):
        assert found.quantile(share).item() == pytest.approx(direct.quantile(share).item(), abs=0.02)


def test_gates_stay_finite_at_the_coldest_temperature() -> None:
    made = gate("gumbel", 0.01, torch.tensor([[50.0, -50.0], [-50.0, 50.0], [0.0, 0.0]])).train()
    p = made(E, IDS)
    p.sum().backward()
    assert torch.isfinite(p).all()
    assert made.logits.grad is not None
    assert torch.isfinite(made.logits.grad).all()
    assert p[:2].tolist() == [1.0, 0.0]


def test_the_temperature_is_saved_with_the_logits() -> None:
    other = TwoLogitGate(3, "gumbel")
    other.load_state_dict(gate("gumbel", 0.25).state_dict())
    assert other.temperature.item() == 0.25
    assert torch.equal(other.logits, LOGITS)
