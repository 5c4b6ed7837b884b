"""Lazy Adam: the touched rows move as Adam moves them, the others not at all."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from bench.engine.fast.gradient import BufferedRows
from bench.engine.fast.lazy import LazyAdam
from bench.engine.table import EmbeddingTable

LR, L2, BETA1, BETA2, EPS = 0.1, 0.01, 0.9, 0.999, 1e-8
BATCHES = ([[0, 1], [0, 2]], [[0, 3], [4, 1]], [[2, 2], [0, 1]])
"""Ids of rows in 6 rows of a table; row 5 never occurs."""


def train(table: EmbeddingTable, optimizer: torch.optim.Optimizer, ids: Tensor) -> None:
    e = table(ids)
    (e * torch.arange(1.0, e.numel() + 1).view_as(e)).sum().backward()
    optimizer.step()
    table.clear_grad()


def make(lr: float = LR) -> tuple[EmbeddingTable, LazyAdam]:
    table = EmbeddingTable(torch.linspace(-1, 1, 18).view(6, 3))
    return table, LazyAdam([{"params": [table.weight], "lr": lr, "weight_decay": L2, "maximize": False}], [table])


def test_three_steps_follow_the_equations() -> None:
    table, optimizer = make()
    weight = table.weight.detach().clone().double()
    first, second = torch.zeros(6, 3, dtype=torch.float64), torch.zeros(6, 3, dtype=torch.float64)
    for step, batch in enumerate(BATCHES, start=1):
        ids = torch.tensor(batch, dtype=torch.int32)
        pull = torch.arange(1.0, 13.0, dtype=torch.float64).view(2, 2, 3)
        grad = torch.zeros(6, 3, dtype=torch.float64).index_add_(0, ids.flatten().long(), pull.flatten(0, 1))
        rows = ids.unique().long()
        g = grad[rows] + L2 * weight[rows]
        first[rows] = BETA1 * first[rows] + (1 - BETA1) * g
        second[rows] = BETA2 * second[rows] + (1 - BETA2) * g * g
        m, v = first[rows] / (1 - BETA1**step), second[rows] / (1 - BETA2**step)
        weight[rows] -= LR * m / (v.sqrt() + EPS)
        train(table, optimizer, ids)
    torch.testing.assert_close(table.weight.detach().double(), weight, rtol=1e-5, atol=1e-6)


def test_rows_without_data_do_not_move_and_the_first_step_is_that_of_adam_elsewhere() -> None:
    table, optimizer = make()
    dense = copy.deepcopy(table)
    before = table.weight.detach().clone()
    reference = torch.optim.Adam(dense.parameters(), lr=LR, weight_decay=L2)
    ids = torch.tensor(BATCHES[0], dtype=torch.int32)
    train(table, optimizer, ids)
    train(dense, reference, ids)
    assert torch.equal(table.weight[3:], before[3:])
    assert not torch.equal(dense.weight[3:], before[3:])  # L2 moves them
    torch.testing.assert_close(table.weight[:3], dense.weight[:3])


def test_a_penalty_on_the_whole_table_makes_the_step_dense() -> None:
    table, optimizer = make()
    dense = copy.deepcopy(table)
    reference = torch.optim.Adam(dense.parameters(), lr=LR, weight_decay=L2)
    ids = torch.tensor(BATCHES[0], dtype=torch.int32)
    for one, opt in ((table, optimizer), (dense, reference)):
        (one(ids).sum() + one.weight.square().sum()).backward()
        opt.step()
        one.clear_grad()
    torch.testing.assert_close(table.weight, dense.weight)


def test_other_parameters_move_as_in_adam_and_the_gradient_stays_in_place() -> None:
    table, _ = make()
    layer = nn.Linear(3, 1)
    copied = copy.deepcopy(layer)
    groups = [{"params": [table.weight], "lr": LR}, {"params": list(layer.parameters()), "lr": LR}]
    optimizer = LazyAdam(groups, [table])
    reference = torch.optim.Adam(copied.parameters(), lr=LR)
    ids = torch.tensor(BATCHES[1], dtype=torch.int32)
    e = table(ids)
    layer(e).square().sum().backward()
    copied(e.detach()).square().sum().backward()
    buffer = table.weight.grad
    optimizer.step()
    reference.step()
    assert table.weight.grad is buffer
    for one, other in zip(layer.parameters(), copied.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_its_state_can_be_saved_and_taken_up() -> None:
    batches = [torch.tensor(batch, dtype=torch.int32) for batch in BATCHES]
    straight, optimizer = make()
    for ids in batches:
        train(straight, optimizer, ids)
    broken, optimizer = make()
    train(broken, optimizer, batches[0])
    resumed = EmbeddingTable(broken.weight.detach().clone())
    again = LazyAdam([{"params": [resumed.weight], "lr": LR, "weight_decay": L2, "maximize": False}], [resumed])
    again.load_state_dict(optimizer.state_dict())
    for ids in batches[1:]:
        train(resumed, again, ids)
    assert torch.equal(resumed.weight, straight.weight)


@pytest.mark.parametrize("repeat", [1, 40], ids=["sparse", "dense"])
def test_distinct_rows_name_every_touched_row_once(repeat: int) -> None:
    table = EmbeddingTable(torch.zeros(50, 2))
    ids = torch.randint(0, 50, (repeat, 3), generator=torch.Generator().manual_seed(0), dtype=torch.int32)
    held = table.gradient
    assert isinstance(held, BufferedRows)
    assert held.distinct() is None
    table(ids).sum().backward()
    found = held.distinct()
    assert found is not None
    rows, grad = found
    assert rows.sort().values.tolist() == sorted(set(ids.flatten().tolist()))
    counts = torch.bincount(ids.flatten().long(), minlength=50).float()  # what a sum sends back
    assert torch.equal(grad, counts[rows, None].expand(-1, 2))
