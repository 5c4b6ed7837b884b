"""One protocol for the gradient of looked-up rows: in a buffer, taken as dense, or of hot rows alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from bench.engine.fast import gradient
from bench.engine.fast.gradient import BufferedRows, RowGradient
from bench.engine.fast.windowed import WINDOW, HotRows, WindowedAdam
from bench.engine.table import EmbeddingTable

V, W = 640, 4
IDS = torch.tensor([3, 9, 3, 500], dtype=torch.int32)
SENT = torch.arange(1.0, 17.0, dtype=torch.float64).view(4, W)


def dense() -> Tensor:
    """The gradient [V, W] that ``SENT`` to rows ``IDS`` makes: row 3 was looked up twice."""
    total = torch.zeros(V, W, dtype=torch.float64)
    total[3], total[9], total[500] = SENT[0] + SENT[2], SENT[1], SENT[3]
    return total


@pytest.fixture(params=["buffered", "dense", "hot"])
def table(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> EmbeddingTable:
    made = EmbeddingTable(torch.arange(float(V * W), dtype=torch.float64).view(V, W))
    if request.param == "dense":
        monkeypatch.setattr(gradient, "on_cpu", lambda tensor: False)
    if request.param == "hot":
        WindowedAdam([{"params": [made.weight]}], [made], len(IDS))
    assert isinstance(made.gradient, HotRows if request.param == "hot" else BufferedRows)
    return made


def held_rows(held: RowGradient, ids: Tensor) -> Tensor:
    """The gradient that lies at rows ``ids`` of the table."""
    places = held.places(ids).long()
    if isinstance(held, HotRows):
        return held.grad[places]
    assert isinstance(held, BufferedRows)
    assert held.weight.grad is not None
    return held.weight.grad[places]


def test_places_lead_to_the_rows_of_the_table(table: EmbeddingTable) -> None:
    held = table.gradient
    places = held.places(IDS)
    assert places.dtype == torch.int32
    assert torch.equal(held.weight[places.long()], table.parameter[IDS.long()])


def test_norm_and_scaling_are_those_of_the_rows_added_up(table: EmbeddingTable) -> None:
    held = table.gradient
    held.accumulate(held.places(IDS), [(0, SENT[:, :3]), (3, SENT[:, 3:])])
    assert torch.equal(held_rows(held, IDS), dense()[IDS.long()])
    norm = held.norm()
    assert norm is not None
    torch.testing.assert_close(norm, torch.linalg.vector_norm(dense()))
    held.scale(torch.tensor(0.5, dtype=torch.float64))
    assert torch.equal(held_rows(held, IDS), 0.5 * dense()[IDS.long()])
    assert held.clear() is held
    assert held.norm() == 0.0


def test_lookups_of_a_training_send_their_gradient_there(table: EmbeddingTable) -> None:
    (table(IDS[None])[0] * SENT).sum().backward()
    assert torch.equal(held_rows(table.gradient, IDS), dense()[IDS.long()])
    table.clear_grad()
    assert not held_rows(table.gradient, IDS).any()
    table.settle()
    assert not table.gradient.ahead
    assert torch.equal(table.weight, torch.arange(float(V * W), dtype=torch.float64).view(V, W))


def test_a_released_table_starts_anew_with_a_buffer(table: EmbeddingTable) -> None:
    before = table.gradient
    (table(IDS[None])[0] * SENT).sum().backward()
    table.release()
    assert isinstance(table.gradient, BufferedRows)
    assert table.gradient is not before
    assert table.gradient.norm() is None
    assert table.weight.grad is None


def test_hot_rows_are_ahead_from_a_lookup_to_the_end_of_their_window() -> None:
    table = EmbeddingTable(torch.ones(V, W))
    optimizer = WindowedAdam([{"params": [table.weight]}], [table], len(IDS))
    seen: list[Any] = [table.gradient.ahead]
    for _ in range(WINDOW):
        table(IDS[None]).sum().backward()
        seen.append(table.gradient.ahead)
        optimizer.step()
        table.clear_grad()
    assert [*seen, table.gradient.ahead] == [False, *[True] * WINDOW, False]
