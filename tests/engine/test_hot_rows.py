"""A table that is trained through a copy of the rows in use: windows, lookups beside them, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.engine.fast import windowed
from bench.engine.fast.adam import FusedAdam
from bench.engine.fast.gradient import BufferedRows
from bench.engine.fast.windowed import WINDOW, HotRows, WindowedAdam
from bench.engine.table import EmbeddingTable


def test_windows_end_after_their_steps_and_for_good_with_too_many_hot_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windowed, "MOST", 4)
    weight = torch.randn(4000, 4)
    table, plain = EmbeddingTable(weight.clone()), nn.Parameter(weight.clone())
    group = {"lr": 0.1, "weight_decay": 0.1}
    ours = WindowedAdam([{"params": [table.weight], **group}], [table], 10)
    theirs = FusedAdam([{"params": [plain], **group}])
    ahead, hot = [], table.gradient
    assert isinstance(hot, HotRows)
    for n in [*[5] * (WINDOW + 2), 600, 300, 1000, 5]:
        ids = torch.arange(n, dtype=torch.int32)[None]
        table(ids).square().sum().backward()
        plain[ids].square().sum().backward()
        ours.step()
        theirs.step()
        table.clear_grad()
        plain.grad = None
        ahead.append(hot.ahead)
    # 8 steps; then two, one that brings 595 more rows, one that brings none; then a quarter of all rows in one step
    assert ahead == [*[True] * (WINDOW - 1), False, True, True, True, True, False, False]
    assert isinstance(table.gradient, BufferedRows)
    assert torch.equal(table.weight, plain)
    assert table.weight.grad is not None  # the last step was dense
    assert not table.weight.grad.any()


def test_rows_looked_up_late_have_gone_through_the_steps_before() -> None:
    weight = torch.randn(1600, 4, dtype=torch.float64)  # a window stays open for all three steps
    table, plain = EmbeddingTable(weight.clone()), nn.Parameter(weight.clone())
    group = {"lr": 0.1, "weight_decay": 0.1}
    ours, theirs = (
        WindowedAdam([{"params": [table.weight], **group}], [table], 2),
        FusedAdam([{"params": [plain], **group}]),
    )
    for ids in ([3, 5], [5, 9], [40, 3]):
        batch = torch.tensor([ids], dtype=torch.int32)
        looked = table(batch)
        assert torch.equal(looked, plain[batch])
        with torch.no_grad():  # a look beside, while hot rows are ahead of the table, at a row that none has looked at
            assert torch.equal(table(batch + 7), plain[batch + 7])
        looked.square().sum().backward()
        plain[batch].square().sum().backward()
        for optimizer in (ours, theirs):
            optimizer.step()
        table.clear_grad()
        plain.grad = None
    assert not torch.equal(table.parameter, plain)
    table.settle()
    assert torch.equal(table.weight, plain)
    table.settle()  # at rest: nothing to do
    assert torch.equal(table.weight, plain)


def test_a_gradient_that_is_not_used_is_lost_with_the_window() -> None:
    table = EmbeddingTable(torch.ones(64, 4))
    optimizer = WindowedAdam([{"params": [table.weight]}], [table], 2)
    table(torch.zeros(1, 2, dtype=torch.int32)).sum().backward()
    table.settle()
    table(torch.ones(1, 2, dtype=torch.int32)).sum().backward()
    assert isinstance(table.gradient, HotRows)
    assert table.gradient.grad.sum() == 2 * 4
    optimizer.step()
    table.release()
    assert isinstance(table.gradient, BufferedRows)
    assert (table.weight == 1).all(dim=1).nonzero().flatten().tolist() == [0, *range(2, 64)]


def test_a_gradient_that_does_not_come_from_looking_rows_up_is_refused() -> None:
    table = EmbeddingTable(torch.ones(64, 4))
    optimizer = WindowedAdam([{"params": [table.weight]}], [table], 2)
    table.weight.square().sum().backward()
    with pytest.raises(RuntimeError, match="does not come from lookups alone"):
        optimizer.step()


@pytest.mark.parametrize("use", ["weight", "state_dict", "parameters"])
def test_a_table_that_lags_behind_is_neither_read_nor_written(use: str) -> None:
    table = EmbeddingTable(torch.ones(640, 4))
    held = table.weight
    optimizer = WindowedAdam([{"params": [table.weight]}], [table], 2)
    for step in range(2):
        table(torch.tensor([[step, 5]], dtype=torch.int32)).sum().backward()
        optimizer.step()
        table.clear_grad()
    with pytest.raises(RuntimeError, match="train with by_lookup=False"):
        if use == "weight":
            table.weight.sum()
        elif use == "state_dict":
            table.state_dict()
        else:
            with torch.no_grad():
                held.clamp_(-0.5, 0.5)
            table.settle()
    if use != "parameters":
        table.settle()
        assert len(table.state_dict()["weight"]) == len(table.weight)
        with torch.no_grad():
            table.weight.clamp_(-0.5, 0.5)  # between windows anybody may
        table(torch.tensor([[7, 5]], dtype=torch.int32)).sum().backward()
        optimizer.step()
        table.settle()
        assert table.weight.max() == 0.5


def test_steps_before_the_first_gradient_are_none_and_later_ones_without_are() -> None:
    weight, ids = torch.randn(640, 4), torch.tensor([[1, 2]], dtype=torch.int32)
    table, plain = EmbeddingTable(weight.clone()), EmbeddingTable(weight.clone())
    group = {"lr": 0.1, "weight_decay": 0.1}
    ours = WindowedAdam([{"params": [table.weight], **group}], [table], 2)
    theirs = FusedAdam([{"params": [plain.weight], **group}])
    for looked in (False, True, False, *[False] * WINDOW, True, False):
        for one, optimizer in ((table, ours), (plain, theirs)):
            if looked:
                one(ids).square().sum().backward()
            optimizer.step()
            one.clear_grad()
        with torch.no_grad():
            assert torch.equal(table(ids), plain(ids))
    table.settle()
    assert torch.equal(table.weight, plain.weight)
    assert ours.state[table.weight]["step"] == theirs.state[plain.weight]["step"] == WINDOW + 4


@pytest.mark.parametrize("left", [0.0, 1.0])
def test_a_gradient_left_from_before_is_no_step_if_it_is_zero(left: float) -> None:
    table = EmbeddingTable(torch.ones(64, 4))
    table.weight.grad = torch.full((64, 4), left)
    optimizer = WindowedAdam([{"params": [table.weight]}], [table], 2)
    if left:
        with pytest.raises(RuntimeError, match="does not come from lookups alone; train with by_lookup=False"):
            optimizer.step()
    else:
        optimizer.step()
        assert (table.weight == 1).all()


def test_memory_grows_with_the_hot_rows_that_a_step_brings() -> None:
    table = EmbeddingTable(torch.arange(256.0).view(64, 4))
    moments = {"exp_avg": torch.zeros(64, 4), "exp_avg_sq": torch.zeros(64, 4)}
    hot = HotRows(table.weight, lambda weight: moments, 1)
    room = len(hot.weight)
    first = hot.places(torch.arange(8, dtype=torch.int32))
    second = hot.places(torch.arange(60, dtype=torch.int32).flip(0))
    assert len(hot.weight) > room
    assert torch.equal(second.flip(0)[:8], first)
    assert torch.equal(hot.weight[second.long()], table.weight[:60].flip(0))
    assert len(hot.grad) == 16 + 64
    assert not hot.grad.any()
