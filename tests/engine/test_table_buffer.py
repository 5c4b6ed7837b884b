"""The table's gradient buffer: parts, norms, scaling, clipping, and gradients that others write."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bench.engine.fast.scatter import add_rows, number_rows
from bench.engine.table import EmbeddingTable
from bench.engine.update import clip_gradients

W = 4


def make(rows: int, dtype: torch.dtype = torch.float64) -> tuple[EmbeddingTable, nn.Embedding]:
    weight = torch.randn(rows, W, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return EmbeddingTable(weight.clone()), nn.Embedding.from_pretrained(weight.clone(), freeze=False)


def draw_ids(rows: int, seed: int = 1) -> Tensor:
    ids = torch.randint(rows, (6, 5), generator=torch.Generator().manual_seed(seed), dtype=torch.int32)
    ids[1] = ids[0]
    return ids


def grad_of(module: EmbeddingTable | nn.Embedding) -> Tensor:
    assert module.weight.grad is not None
    return module.weight.grad


SIZES = pytest.mark.parametrize("rows", [20, 2000], ids=["small table", "large table"])


def test_split_gives_contiguous_parts_whose_gradients_meet_in_one_buffer() -> None:
    table, embedding = make(50)
    ids = draw_ids(50)
    e, linear = table.split(ids, W - 1)
    assert linear is not None
    assert torch.equal(torch.cat([e, linear[..., None]], -1), embedding(ids))
    assert e.is_contiguous()
    assert linear.is_contiguous()
    rows = embedding(ids)
    (e.sin().sum() + (linear**3).sum()).backward()
    (rows[..., :-1].sin().sum() + (rows[..., -1] ** 3).sum()).backward()
    torch.testing.assert_close(grad_of(table), embedding.weight.grad, rtol=0, atol=1e-12)


def test_a_table_without_a_column_more_has_no_linear_part() -> None:
    table, embedding = make(50)
    e, linear = table.split(draw_ids(50), W)
    assert linear is None
    assert torch.equal(e, embedding(draw_ids(50)))


@pytest.mark.parametrize("part", [0, 1], ids=["embeddings", "linear"])
def test_a_part_that_nobody_uses_gets_no_gradient(part: int) -> None:
    table, _ = make(50)
    ids = draw_ids(50)
    used = table.split(ids, W - 1)[part]
    assert used is not None
    used.sum().backward()
    counts = torch.bincount(ids.flatten().long(), minlength=50).double()[:, None]
    expected = counts.expand(-1, W).clone()
    expected[:, W - 1 if part == 0 else slice(0, W - 1)] = 0
    assert torch.equal(grad_of(table), expected)


def test_a_table_of_no_embeddings_is_all_linear() -> None:
    table = EmbeddingTable(torch.arange(10.0)[:, None])
    ids = torch.tensor([[3, 4], [4, 4]], dtype=torch.int32)
    e, linear = table.split(ids, 0)
    assert e.shape == (2, 2, 0)
    assert linear is not None
    linear.sum().backward()
    assert grad_of(table).squeeze(1).nonzero().flatten().tolist() == [3, 4]
    assert grad_of(table)[4].item() == 3


@pytest.mark.parametrize("first", ["penalty", "rows"])
def test_the_gradient_of_a_penalty_on_all_weights_is_kept_and_cleared(first: str) -> None:
    """Such a gradient is dense: it must not stay behind in rows that no lookup has touched."""
    table, embedding = make(2000)
    ids = draw_ids(2000)
    for step in range(3):
        for module in (table, embedding):
            losses = [module.weight.square().sum(), module(ids + step).sin().sum()]
            for loss in losses if first == "penalty" else losses[::-1]:
                loss.backward()
        torch.testing.assert_close(grad_of(table), embedding.weight.grad, rtol=0, atol=1e-12)
        norm = table.gradient.norm()
        assert norm is not None
        torch.testing.assert_close(norm, torch.linalg.vector_norm(grad_of(embedding)), rtol=1e-12, atol=0)
        table.clear_grad()
        embedding.weight.grad = None
        assert not grad_of(table).any()


@SIZES
def test_norm_and_scaling_are_those_of_the_dense_gradient(rows: int) -> None:
    table, embedding = make(rows)
    for seed in (1, 2):  # two backward passes before the optimiser's step
        for module in (table, embedding):
            module(draw_ids(rows, seed)).sin().sum().backward()
    expected = grad_of(embedding)
    norm = table.gradient.norm()
    assert norm is not None
    torch.testing.assert_close(norm, torch.linalg.vector_norm(expected), rtol=1e-12, atol=0)
    table.gradient.scale(torch.tensor(0.25, dtype=torch.float64))
    torch.testing.assert_close(grad_of(table), expected * 0.25, rtol=0, atol=1e-12)
    table.clear_grad()
    assert not grad_of(table).any()


def test_without_a_gradient_there_is_no_norm_and_nothing_to_scale() -> None:
    table, _ = make(20)
    assert table.gradient.norm() is None
    table.gradient.scale(torch.tensor(0.5))
    assert table.weight.grad is None


@SIZES
@pytest.mark.parametrize("bound", [0.5, 1e6], ids=["clipped", "within bounds"])
def test_clipping_equals_that_of_torch(rows: int, bound: float) -> None:
    table, embedding = make(rows)
    ours, theirs = (nn.Linear(W, 1, dtype=torch.float64) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    for module, head in ((table, ours), (embedding, theirs)):
        head(module(draw_ids(rows))).square().sum().backward()
    unused = nn.Parameter(torch.zeros(3))
    clip_gradients([table.weight, *ours.parameters(), unused], [table], bound)
    norm = nn.utils.clip_grad_norm_([embedding.weight, *theirs.parameters()], bound)
    assert bool(norm > bound) is (bound == 0.5)
    torch.testing.assert_close(grad_of(table), embedding.weight.grad, rtol=0, atol=1e-12)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=1e-12)


def test_clipping_leaves_parameters_of_other_steps_alone() -> None:
    table, _ = make(20)
    table(draw_ids(20)).sum().backward()
    before = grad_of(table).clone()
    other = nn.Parameter(torch.ones(2, dtype=torch.float64))
    other.sum().backward()
    clip_gradients([other], [table], 0.1)
    assert torch.equal(grad_of(table), before)
    assert other.grad is not None
    assert torch.linalg.vector_norm(other.grad).item() == pytest.approx(0.1, rel=1e-4)
    clip_gradients([nn.Parameter(torch.ones(2))], [table], 0.1)


def test_rows_are_numbered_by_their_last_places_whatever_the_threads() -> None:
    """Sums over rows are formed in that order, so that it decides their last bits."""
    ids = torch.randint(50_000, (200_000,), generator=torch.Generator().manual_seed(2), dtype=torch.int32)
    last = {row: place for place, row in enumerate(ids.tolist())}
    expected = sorted(last, key=lambda row: last[row])
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 2, 2, 2):
            torch.set_num_threads(count)
            rows, numbers = number_rows(ids, torch.empty(50_000, dtype=torch.int32))
            assert rows.tolist() == expected
            assert torch.equal(rows[numbers], ids)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("columns", [(0, 4), (1, 3)], ids=str)
def test_rows_are_added_in_their_order_to_the_last_bit(columns: tuple[int, int]) -> None:
    draw = torch.Generator().manual_seed(3)
    flat = torch.randint(7, (500,), generator=draw, dtype=torch.int32)
    grad = torch.randn(500, columns[1] - columns[0], generator=draw)
    total, expected = torch.zeros(7, W), torch.zeros(7, W)
    add_rows(total, flat, columns[0], grad)
    expected[:, columns[0] : columns[1]].index_add_(0, flat, grad)
    assert torch.equal(total, expected)
