from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from methods.adafs import ControllerGate, ControllerShape
from methods.mvfs import ViewsGate

B, F, D = 7, 4, 3
SOFT = ControllerShape(None, "linear", 0.0, True, "controller")
IDS = torch.zeros(B, F, dtype=torch.int32)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def embeddings(rows: int = B) -> Tensor:
    return torch.randn(rows, F, D, generator=rng(1))


def controller(**changes: Any) -> ControllerGate:
    return ControllerGate(F, D, replace(SOFT, **changes), rng()).eval()


def with_logits(gate: ControllerGate, logits: Tensor) -> Tensor:
    """Leave ``logits`` [B, F] to the gate in place of its scorer's."""
    gate.scorer.forward = lambda e, affine=None: logits  # type: ignore[method-assign]
    return logits


LOGITS = torch.tensor([[1.0, -0.5, 2.0, 0.3], [-1.0, -2.0, -0.1, -3.0]])


def test_soft_factors_are_f_times_the_softmax() -> None:
    gate = controller()
    with_logits(gate, LOGITS)
    torch.testing.assert_close(gate(embeddings(2), IDS[:2]), LOGITS.softmax(1) * F)


def test_hard_factors_are_the_k_largest_scaled_to_sum_k() -> None:
    gate = controller(kept=2)
    with_logits(gate, LOGITS)
    z = gate(embeddings(2), IDS[:2])
    w = LOGITS.softmax(1)
    first, second = w[0, 0] + w[0, 2], w[1, 0] + w[1, 2]
    expected = torch.stack([w[0] / first, w[1] / second]) * 2
    expected[:, [1, 3]] = 0
    torch.testing.assert_close(z, expected)
    torch.testing.assert_close(z.sum(1), torch.full((2,), 2.0))


def test_without_reweighting_the_kept_factors_are_the_soft_ones() -> None:
    gate = controller(kept=3, reweight=False)
    with_logits(gate, LOGITS)
    z = gate(embeddings(2), IDS[:2])
    expected = LOGITS.softmax(1) * F
    expected[0, 1] = expected[1, 3] = 0
    torch.testing.assert_close(z, expected)


def test_the_gradient_of_hard_factors_flows_through_the_kept_ones_alone() -> None:
    """d z_i / d y_j = z_i (1[i = j] - z_j / K) among the kept, 0 for the others."""
    gate, k = controller(kept=2), 2
    logits = with_logits(gate, LOGITS.clone().requires_grad_())
    z = gate(embeddings(2), IDS[:2])
    z[:, 0].sum().backward()
    for row in range(2):
        p = z[row].detach()
        expected = p[0] * (torch.eye(F)[0] - p / k) * (p > 0)
        assert logits.grad is not None
        torch.testing.assert_close(logits.grad[row], expected)


def test_relu_ties_the_lower_half_but_the_k_largest_are_found_before_it() -> None:
    """Row 2 has no positive logit: after ReLU all its weights are equal, and still its two largest stay."""
    gate = controller(kept=2, head="relu")
    with_logits(gate, LOGITS)
    z = gate(embeddings(2), IDS[:2])
    a, b = math.exp(1.0), math.exp(2.0)
    torch.testing.assert_close(z[0], torch.tensor([2 * a / (a + b), 0, 2 * b / (a + b), 0]))
    torch.testing.assert_close(z[1], torch.tensor([1.0, 0, 1.0, 0]))


def test_dropout_of_the_head_acts_in_training_only() -> None:
    gate = controller(head="relu", dropout=0.5)
    with_logits(gate, torch.ones(2000, F))
    e = embeddings(2000)
    assert torch.equal(gate(e, IDS), torch.ones(2000, F))
    torch.manual_seed(0)
    dropped = gate.train()(e, IDS)
    logits = torch.log(dropped) - torch.log(dropped).min(1, keepdim=True).values  # 0 dropped, 2 = 1 / (1 - 0.5) kept
    mixed = logits.max(1).values > 0  # rows in which not all are alike
    shares = (logits[mixed] > 1).double().mean().item()
    assert shares == pytest.approx(0.5, abs=0.03)
    assert logits[mixed].max().item() == pytest.approx(2, abs=1e-5)


@pytest.mark.parametrize("changes", [{}, {"head": "relu"}, {"kept": F}])
def test_equal_weights_leave_the_embeddings_as_they_are(changes: dict[str, Any]) -> None:
    gate = controller(**changes)
    with torch.no_grad():
        gate.scorer.weight.zero_()
    torch.testing.assert_close(gate(embeddings(), IDS), torch.ones(B, F))


@pytest.mark.parametrize("k", range(1, F + 1))
@pytest.mark.parametrize("head", ["linear", "relu"])
def test_exactly_k_fields_of_every_row_stay_open(k: int, head: Any) -> None:
    gate = controller(kept=k, head=head, dropout=0.5)
    for training in (True, False):
        z = gate.train(training)(embeddings(), IDS)
        assert (z > 0).sum(1).tolist() == [k] * B
        torch.testing.assert_close(z.sum(1), torch.full((B,), float(k)))


def test_the_controller_reads_normalised_embeddings() -> None:
    gate, e = controller().train(), embeddings()
    x = (e - e.mean((0, 1))) / torch.sqrt(e.var((0, 1), correction=0) + 1e-5)
    y = x.flatten(1) @ gate.scorer.weight.T
    y = (y - y.mean(0)) / torch.sqrt(y.var(0, correction=0) + 1e-5)
    torch.testing.assert_close(gate(e, IDS), y.softmax(1) * F)


def test_the_backbone_gets_the_embeddings_as_they_are_or_normalised() -> None:
    e, linear = embeddings(), torch.randn(B, F, generator=rng(3))
    for normalise in ("controller", "all"):
        gate = controller(normalise=normalise).train()
        z = controller().train()(e, IDS)
        x = (e - e.mean((0, 1))) / torch.sqrt(e.var((0, 1), correction=0) + 1e-5) if normalise == "all" else e
        out, out_linear = gate.multiply(e, linear, IDS)
        torch.testing.assert_close(out, x * z[..., None])
        torch.testing.assert_close(out_linear, linear * z)
        torch.testing.assert_close(gate.channels.running_mean, e.mean((0, 1)))
        assert gate.channels.batches.item() == 1  # one update a forward
        assert gate.multiply(e, None, IDS)[1] is None


def views(threshold: float = 0.1, kept: int | None = None, m: int = 3) -> ViewsGate:
    return ViewsGate(F, D, m, threshold, kept, rng()).eval()


def test_views_by_the_equations() -> None:
    gate, e = views(), embeddings()
    with torch.no_grad():
        gate.mix_bias.copy_(torch.tensor([0.3, -0.2, 0.1]))
        gate.temperature.fill_(2.5)
        gate.scorer.norm.running_mean.copy_(torch.linspace(-0.1, 0.1, 3 * F))
    y = torch.relu((e.flatten(1) @ gate.scorer.weight.T - gate.scorer.norm.running_mean) / math.sqrt(1 + 1e-5))
    c = [part.softmax(1) for part in y.split(F, 1)]
    r = torch.sigmoid(torch.cat(c, 1) @ gate.mix_weight.T + gate.mix_bias)
    importance = sum(r[:, i : i + 1] * c[i] for i in range(3))
    torch.testing.assert_close(gate.importance(e, IDS), importance)
    torch.testing.assert_close(gate(e, IDS), (1 + torch.tanh(2.5 * (importance - 0.1))) / 2)


@pytest.mark.parametrize("temperature", [1.0, 5.0])
def test_equal_views_give_every_field_one_factor(temperature: float) -> None:
    """c = 1 / F and r = 1 / 2, so I = M / (2 F)."""
    gate = views(m=5)
    with torch.no_grad():
        gate.scorer.weight.zero_()
        gate.mix_weight.zero_()
        gate.temperature.fill_(temperature)
    factor = (1 + math.tanh(temperature * (5 / (2 * F) - 0.1))) / 2
    torch.testing.assert_close(gate(embeddings(), IDS), torch.full((B, F), factor))


def test_the_factor_of_a_score_has_the_slope_of_the_squashing() -> None:
    gate, e = views(), embeddings()
    gate.temperature.fill_(3.0)
    score = torch.tensor([[0.05, 0.1, 0.4, 1.2]]).requires_grad_()
    gate.importance = lambda e, ids: score  # type: ignore[method-assign]
    s = gate(e[:1], IDS[:1])
    s.sum().backward()
    assert s[0, 1].item() == 0.5  # at the threshold
    torch.testing.assert_close(score.grad, (3.0 / 2 / torch.cosh(3.0 * (score - 0.1)) ** 2).detach())


@pytest.mark.parametrize("k", range(1, F + 1))
def test_hard_views_keep_the_k_largest_factors_as_they_are(k: int) -> None:
    e = embeddings()
    soft, hard = views()(e, IDS), views(kept=k)(e, IDS)
    kept = hard > 0
    assert torch.equal(hard[kept], soft[kept])
    for row in range(B):
        assert (
            sorted(hard[row, kept[row]].tolist(), reverse=True) == soft[row].sort(descending=True).values[:k].tolist()
        )
    assert (hard > 0).sum(1).tolist() == [k] * B


def test_evaluation_does_not_move_the_temperature_and_it_is_saved() -> None:
    gate = views()
    gate.temperature.fill_(2.0)
    gate(embeddings(), IDS)
    gate.train()(embeddings(), IDS)
    assert gate.state_dict()["temperature"].item() == 2.0


def test_factors_of_a_row_do_not_depend_on_its_neighbours_when_evaluated() -> None:
    e = embeddings()
    for gate in (controller(), controller(kept=2, head="relu"), views(), views(kept=2)):
        for row in range(B):
            torch.testing.assert_close(gate(e[row : row + 1], IDS[:1]), gate(e, IDS)[row : row + 1])
