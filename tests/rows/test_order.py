"""The order of rows that are read in blocks: whole, by lot, and in windows of blocks."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from bench.engine.batches import Orders
from bench.rows.order import BLOCKS, FEWEST, MOST, WINDOW_BYTES, Blocks, blocks_of

WINDOW = 2 * BLOCKS
"""Blocks of two rows."""


def drawn(n: int, seed: int = 0) -> Tensor:
    return Blocks(WINDOW).draw(n, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("n", [WINDOW + 1, 2 * WINDOW, 5 * WINDOW - 1, 5 * WINDOW + 1])
def test_every_row_comes_once(n: int) -> None:
    assert torch.equal(drawn(n).sort().values.long(), torch.arange(n))


def test_another_pass_and_another_seed_give_other_orders_and_the_same_seed_the_same() -> None:
    n, generator = 4 * WINDOW, torch.Generator().manual_seed(0)
    first, second = (Blocks(WINDOW).draw(n, generator) for _ in range(2))
    assert torch.equal(first, drawn(n))
    assert not torch.equal(first, second)
    assert not torch.equal(first, drawn(n, seed=1))


def test_rows_that_fit_in_a_window_come_as_rows_in_memory_do() -> None:
    expected = torch.randperm(WINDOW, generator=torch.Generator().manual_seed(0))
    assert torch.equal(drawn(WINDOW), expected)


def test_a_window_has_the_rows_of_its_blocks_from_all_over_the_data_in_an_order_by_lot() -> None:
    n = 10 * WINDOW + 1
    order = drawn(n)
    pairs = 0
    for start in range(0, 9 * WINDOW, WINDOW):
        window = set(order[start : start + WINDOW].tolist())
        neighbours = [row for row in window if (row + 1) % n in window]
        assert len(neighbours) >= BLOCKS  # each block is a pair
        assert max(window) - min(window) > n // 2
        rows = order[start : start + WINDOW].tolist()
        pairs += sum((b - a) % n == 1 for a, b in pairwise(rows))
    assert pairs < 9 * WINDOW // 10  # of two rows in a row, hardly any are neighbours


def test_blocks_are_cut_anew_in_every_pass() -> None:
    n, generator = 4 * WINDOW, torch.Generator().manual_seed(0)
    parities = set()
    for _ in range(8):
        first = set(Blocks(WINDOW).draw(n, generator)[:WINDOW].tolist())
        parities |= {row % 2 for row in first if (row + 1) % n in first and (row - 1) % n not in first}
    assert parities == {0, 1}


def test_windows_follow_the_bytes_of_a_row_and_nothing_else() -> None:
    assert blocks_of(160) == Blocks(1 << 19)
    assert blocks_of(160).block == 8192
    assert (1 << 19) * 160 <= WINDOW_BYTES < (1 << 20) * 160
    assert blocks_of(8) == Blocks(MOST)
    assert blocks_of(20_000) == Blocks(FEWEST)
    assert blocks_of(10**9) == Blocks(FEWEST)


def test_orders_drawn_ahead_are_those_drawn_in_time() -> None:
    one, two = (torch.Generator().manual_seed(4) for _ in range(2))
    plain, ahead = (Orders(4 * WINDOW, g, a, Blocks(WINDOW)) for g, a in ((one, False), (two, True)))
    for _ in range(3):
        assert torch.equal(plain.next(), ahead.next())
        assert torch.equal(one.get_state(), two.get_state())
    ahead.close()
