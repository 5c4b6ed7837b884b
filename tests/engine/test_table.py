"""The table's gradient is the dense one of an ordinary embedding, in a buffer that stays."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bench.engine.fast.gradient import BufferedRows
from bench.engine.table import EmbeddingTable

V, W = 50, 3


def pair(rows: int = V) -> tuple[EmbeddingTable, nn.Embedding]:
    weight = torch.randn(rows, W, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return EmbeddingTable(weight.clone()), nn.Embedding.from_pretrained(weight.clone(), freeze=False)  # type: ignore[no-untyped-call]


def draw_ids(seed: int, high: int = V) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(high, (4, 5), generator=generator, dtype=torch.int32)
    ids[1] = ids[0]  # repeated across rows
    ids[2, :] = ids[2, 0]  # and within one
    return ids


def backward(module: nn.Module, ids: Tensor) -> None:
    factors = torch.arange(1.0, ids.numel() * W + 1, dtype=torch.float64).view(*ids.shape, W)
    (module(ids).sin() * factors).sum().backward()


def gradient(table: EmbeddingTable) -> Tensor:
    assert table.weight.grad is not None
    return table.weight.grad


def test_values_and_gradient_are_those_of_an_embedding() -> None:
    table, embedding = pair()
    ids = draw_ids(1)
    assert torch.equal(table(ids), embedding(ids))
    backward(table, ids)
    backward(embedding, ids)
    torch.testing.assert_close(gradient(table), embedding.weight.grad, rtol=0, atol=1e-12)


def test_backward_passes_add_up_until_cleared() -> None:
    table, embedding = pair()
    for seed in (1, 2):
        backward(table, draw_ids(seed))
        backward(embedding, draw_ids(seed))
    torch.testing.assert_close(gradient(table), embedding.weight.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rows", [6, 1000], ids=["more ids than rows", "fewer ids than rows"])
def test_clearing_leaves_zeros_in_the_same_buffer(rows: int) -> None:
    """Both ways of clearing: the whole buffer, or the touched rows."""
    table, embedding = pair(rows)
    for seed in (1, 2):
        backward(table, draw_ids(seed, rows))
    buffer = gradient(table)
    table.clear_grad()
    assert gradient(table) is buffer
    assert not buffer.any()
    backward(table, draw_ids(3, rows))
    backward(embedding, draw_ids(3, rows))
    torch.testing.assert_close(gradient(table), embedding.weight.grad, rtol=0, atol=1e-12)


def test_clearing_forgets_rows_also_where_the_gradient_was_dropped() -> None:
    table, _ = pair()
    backward(table, draw_ids(1))
    table.weight.grad = None  # as an optimiser's zero_grad does
    table.clear_grad()
    assert table.weight.grad is None
    assert isinstance(table.gradient, BufferedRows)
    assert not table.gradient._touched


def test_release_frees_the_buffer_and_training_may_start_again() -> None:
    table, embedding = pair()
    backward(table, draw_ids(1))
    table.release()
    assert table.weight.grad is None
    backward(table, draw_ids(2))
    backward(embedding, draw_ids(2))
    torch.testing.assert_close(gradient(table), embedding.weight.grad, rtol=0, atol=1e-12)


def test_a_frozen_table_passes_no_gradient() -> None:
    table, _ = pair()
    table.weight.requires_grad_(False)
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    rows = table(draw_ids(1))
    assert not rows.requires_grad
    (rows * scale).sum().backward()
    assert scale.grad is not None
    assert table.weight.grad is None


def test_no_graph_under_no_grad_and_inference_mode() -> None:
    table, _ = pair()
    with torch.no_grad():
        assert not table(draw_ids(1)).requires_grad
    with torch.inference_mode():
        assert table(draw_ids(1)).shape == (4, 5, W)


def test_a_batch_without_fields() -> None:
    table, _ = pair()
    assert table(torch.empty(4, 0, dtype=torch.int32)).shape == (4, 0, W)


def test_gradients_of_other_tensors_leave_the_table_alone() -> None:
    """Asking only for the gradient of the gathered rows must not add to the table's buffer."""
    table, _ = pair()
    rows = table(draw_ids(1))
    (grad,) = torch.autograd.grad((rows**2).sum(), [rows])
    torch.testing.assert_close(grad, 2 * rows.detach())
    assert table.weight.grad is None
