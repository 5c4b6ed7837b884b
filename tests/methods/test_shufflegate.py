from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torch import Tensor

from methods import shufflegate
from methods.parts.controllers import without_statistics
from methods.shufflegate import ShuffledGate, own_orders

B, F, D = 5, 3, 2
IDS = torch.zeros(B, F, dtype=torch.int32)
THETA = torch.tensor([1.0, 0.0, -0.4], dtype=torch.float64)
G = 1 / (1 + np.exp(-5 * THETA.numpy()))
ORDER = torch.tensor([[1, 4, 2], [0, 3, 3], [2, 2, 4], [4, 0, 1], [3, 1, 0]])


def batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(B, F, D, generator=draw).double(), torch.randn(B, F, generator=draw).double()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> ShuffledGate:
    """A gate in training mode, whose orders are known."""
    monkeypatch.setattr(shufflegate, "own_orders", lambda rows, fields, device: ORDER)
    made = ShuffledGate(F, D).double().train()
    with torch.no_grad():
        made.theta.copy_(THETA)
    return made


def mixed(e: Tensor, linear: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """e' and the linear weights by hand, row by row."""
    vectors, weights = np.empty((B, F, D)), np.empty((B, F))
    for b in range(B):
        for f in range(F):
            other = int(ORDER[b, f])
            vectors[b, f] = G[f] * e[b, f].numpy() + (1 - G[f]) * e[other, f].numpy()
            weights[b, f] = G[f] * linear[b, f].item() + (1 - G[f]) * linear[other, f].item()
    return vectors, weights


def test_a_field_is_mixed_with_itself_in_another_row(gate: ShuffledGate) -> None:
    e, linear = batch()
    vectors, weights = gate.multiply(e, linear, IDS)
    assert weights is not None
    for found, wanted in zip((vectors, weights), mixed(e, linear), strict=True):
        np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=1e-12)
    assert gate.multiply(e, None, IDS)[1] is None


def test_gates_start_almost_open() -> None:
    np.testing.assert_allclose(ShuffledGate(F, D).values().detach().numpy(), 1 / (1 + np.exp(-5.0)), rtol=1e-6)


def test_the_slope_of_theta_is_that_of_the_mix_and_other_rows_embeddings_have_none(gate: ShuffledGate) -> None:
    e, linear = batch()
    pull, pull_linear = batch(1)
    e.requires_grad_()
    vectors, weights = gate.multiply(e, linear, IDS)
    assert weights is not None
    reached = (vectors * pull).sum() + (weights * pull_linear).sum()
    of_theta, of_e = torch.autograd.grad(reached, [gate.theta, e])

    def value(theta: Tensor) -> float:
        with torch.no_grad():
            gate.theta.copy_(theta)
            vectors, weights = gate.multiply(e, linear, IDS)
            assert weights is not None
            return float((vectors * pull).sum() + (weights * pull_linear).sum())

    for f in range(F):
        step = torch.zeros(F, dtype=torch.float64)
        step[f] = 1e-6
        slope = (value(THETA + step) - value(THETA - step)) / 2e-6
        np.testing.assert_allclose(of_theta[f].item(), slope, rtol=1e-6)
    np.testing.assert_allclose(of_e.numpy(), G[:, None] * pull.numpy(), rtol=1e-12)


def test_every_field_s_order_is_a_permutation_of_the_rows_and_all_are_equally_likely() -> None:
    torch.manual_seed(0)
    cpu = torch.device("cpu")
    orders = own_orders(64, 20, cpu)
    assert torch.equal(orders.sort(0).values, torch.arange(64)[:, None].expand(-1, 20))
    assert len({tuple(column) for column in orders.T.tolist()}) > 15
    found = Counter(tuple(column) for _ in range(1000) for column in own_orders(3, 6, cpu).T.tolist())
    assert len(found) == 6
    assert all(abs(count - 1000) < 5 * np.sqrt(6000 * (1 / 6) * (5 / 6)) for count in found.values())


def test_a_closed_field_keeps_its_vectors_in_another_order_and_nothing_of_its_row() -> None:
    torch.manual_seed(0)
    gate, draw = ShuffledGate(F, D).double().train(), torch.Generator().manual_seed(2)
    with torch.no_grad():
        gate.theta.copy_(torch.tensor([-50.0, 50.0, -50.0]))
    e = torch.randn(400, F, D, generator=draw).double()
    shut, _ = gate.multiply(e, None, torch.zeros(400, F))
    assert torch.equal(shut[:, 1], e[:, 1])
    for f in (0, 2):
        torch.testing.assert_close(shut[:, f].sort(0).values, e[:, f].sort(0).values)
        assert abs(np.corrcoef(shut[:, f, 0].detach(), e[:, f, 0])[0, 1]) < 5 / np.sqrt(400)


def test_in_evaluation_the_mean_of_training_batches_stands_there_whatever_is_scored_together(
    gate: ShuffledGate,
) -> None:
    (e, linear), (later, later_linear) = batch(), batch(1)
    gate.multiply(e, linear, IDS)
    with without_statistics(gate):
        gate.multiply(later, later_linear, IDS)
    gate.eval()
    for rows in (slice(None), slice(1, 3)):
        vectors, weights = gate.multiply(later[rows], later_linear[rows], IDS[rows])
        assert weights is not None
        wanted = G[:, None] * later[rows].numpy() + (1 - G[:, None]) * e.numpy().mean(0)
        np.testing.assert_allclose(vectors.detach().numpy(), wanted, rtol=1e-12)
        wanted = G * later_linear[rows].numpy() + (1 - G) * linear.numpy().mean(0)
        np.testing.assert_allclose(weights.detach().numpy(), wanted, rtol=1e-12)
    gate.train().multiply(later, later_linear, IDS)
    torch.testing.assert_close(gate.mean.e, (e.mean(0) + later.mean(0)) / 2)
    gate.multiply(later, None, IDS)  # three batches: from the second on the mean moves by half a batch
    torch.testing.assert_close(gate.mean.e, e.mean(0) / 4 + later.mean(0) * 3 / 4)
