"""Rows that stay in the store: the same rows as in memory, read ahead, in bounded memory."""

from __future__ import annotations

import gc
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data.card.card import DatasetCard, load_card
from bench.data.prepare.prepare import prepare
from bench.engine.batches import Batches
from bench.errors import DataError
from bench.rows import stored
from bench.rows.load import LoadedData, load
from bench.rows.order import BLOCKS, Blocks
from bench.rows.rows import Batch, Rows
from bench.rows.stored import StoredRows

N = 3000
BLOCK = 4
SMALL = Blocks(BLOCK * BLOCKS)
CARD = """
name = "mixed"
[raw.columns]
y = "label"
c = "categorical"
x = "numeric"
t = { kind = "categorical", multi = "mean", separator = "|", positions = 3 }
z = "numeric"
d = "integer"
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DatasetCard]:
    """A store with all kinds of columns."""
    folder = tmp_path_factory.mktemp("mixed")
    draw = np.random.default_rng(3)
    lines = ["y,c,x,t,z,d"]
    for _ in range(N):
        tags = "|".join(draw.choice(list("pqrs"), draw.integers(0, 4)))
        x = "" if draw.random() < 0.1 else f"{draw.normal():.3f}"
        lines.append(
            f"{int(draw.random() < 0.4)},{draw.integers(40)},{x},{tags},{draw.normal():.3f},{draw.integers(9)}"
        )
    (folder / "mixed.csv").write_text("\n".join(lines))
    (folder / "mixed.toml").write_text(CARD)
    card = load_card(folder / "mixed.toml")
    return prepare(card, folder / "mixed.csv", folder / "store"), card


@pytest.fixture(scope="module", params=[None, 1500], ids=["all rows", "fewer rows"])
def both(made: tuple[Path, DatasetCard], request: pytest.FixtureRequest) -> tuple[LoadedData, LoadedData]:
    """The data in memory, and in the store."""
    store, card = made
    return load(store, card, request.param), load(store, card, request.param, SMALL, 10**9)


@pytest.fixture(autouse=True)
def nothing_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are taken stay in the store, whatever their number."""
    monkeypatch.setattr(stored, "SMALL_BYTES", 0)


def equal(one: Rows | Batch, other: Rows | Batch) -> None:
    for name in ("ids", "numeric", "labels", "pooled"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert (mine is None) == (theirs is None), name
        if mine is not None:
            assert mine.dtype == theirs.dtype
            assert torch.equal(mine, theirs), name


def test_the_rows_are_those_in_memory(both: tuple[LoadedData, LoadedData]) -> None:
    inside, outside = both
    assert outside.schema == inside.schema
    for name in ("train", "valid", "test"):
        one, other = getattr(inside, name), getattr(outside, name)
        assert isinstance(other, StoredRows)
        assert other.on_disk
        assert len(one) == len(other)
        assert torch.equal(one.index, other.index.long())
        equal(one, other)
        equal(one, other.resident())
        assert not other.resident().on_disk
        assert other.n_bytes == one.n_bytes


def test_whatever_is_made_of_them_is_what_is_made_of_rows_in_memory(both: tuple[LoadedData, LoadedData]) -> None:
    one, other = (data.train for data in both)
    some = torch.tensor([7, 3, 900, 3, 0, 41])
    made = (
        lambda rows: rows.take(some),
        lambda rows: rows.take(torch.arange(5, 800)).take(some[[0, 1, 4, 5]]),
        lambda rows: rows.keep([0, 2, 4]),
        lambda rows: rows.keep([1, 2, 3]),
        lambda rows: rows.keep([0, 1, 2, 4]).keep([1, 2, 3]),
        lambda rows: rows.keep([1, 3]),
        lambda rows: rows.without(rows.index[10:50]),
        lambda rows: rows.merge_rare(20),
        lambda rows: rows.bucketed(8),
        lambda rows: rows.keep([0]).bucketed(8),
    )
    for make in made:
        mine, theirs = make(one), make(other)
        assert mine.schema == theirs.schema
        assert torch.equal(mine.index, theirs.index.long())
        equal(mine, theirs)
        equal(mine.batch(torch.tensor([2, 0])), theirs.batch(torch.tensor([2, 0])))


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
@pytest.mark.parametrize("ahead", [1, 50, 1 << 20])
def test_slices_are_those_of_rows_in_memory(
    both: tuple[LoadedData, LoadedData], size: int, ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (data.valid.keep([0, 1, 2]) for data in both)
    assert isinstance(other, StoredRows)
    monkeypatch.setattr(stored, "SLICE_BYTES", ahead * other.row_bytes)
    got = list(other.slices(size))  # kept: later ones must not write over earlier ones
    for mine, theirs in zip(one.slices(size), got, strict=True):
        equal(mine, theirs)


@pytest.mark.parametrize("size", [64, 100, 10_000])
@pytest.mark.parametrize("rest", [True, False])
def test_batches_are_those_of_rows_in_memory_in_the_same_order_and_go_on_after_a_stop(
    both: tuple[LoadedData, LoadedData], size: int, rest: bool
) -> None:
    inside, outside = replace(both[0].train, blocks=SMALL), both[1].train
    assert len(inside) > 2 * SMALL.window

    def draw(rows: Rows, n: int, stopped: Batches | None = None) -> tuple[list[Batch], Batches]:
        batches = Batches(rows, size, torch.Generator().manual_seed(1), rest=rest)
        if stopped is not None:
            batches.load(stopped.state())
        found = [batches.next() for _ in range(n)]
        batches.close()
        return found, batches

    n = 2 * (len(inside) // size) + 3
    expected, _ = draw(inside, n)
    whole, _ = draw(outside, n)
    first, stopped = draw(outside, 2)
    goes_on, _ = draw(outside, n - 2, stopped)
    for found in (whole, first + goes_on):
        for mine, theirs in zip(expected, found, strict=True):
            equal(mine, theirs)


def test_every_row_comes_once_an_epoch(both: tuple[LoadedData, LoadedData]) -> None:
    rows = both[1].train
    numbered = rows._with(labels=torch.arange(float(len(rows))))  # type: ignore[attr-defined]
    batches = Batches(numbered, 50, torch.Generator().manual_seed(0), rest=True)
    seen = torch.cat([batches.next().labels for _ in range(-(-len(rows) // 50))])
    batches.close()
    assert torch.equal(seen.sort().values, numbered.labels)
    assert not torch.equal(seen, numbered.labels)


def test_what_is_read_at_once_is_two_windows_and_a_buffer(
    both: tuple[LoadedData, LoadedData], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the arrays that are made: nothing grows with the rows."""
    lanes: list[stored._Lane] = []
    make = stored._Lane.__init__

    def noted(lane: stored._Lane, rows: StoredRows) -> None:
        make(lane, rows)
        lanes.append(lane)

    monkeypatch.setattr(stored._Lane, "__init__", noted)
    rows = both[1].train
    batches = Batches(rows, 32, torch.Generator().manual_seed(0), rest=True)
    for _ in range(len(rows) // 32):
        batches.next()
    assert len(lanes) == 2
    row_bytes = rows.n_bytes // len(rows) - 4  # labels are in memory as they are
    for lane in lanes:
        assert sum(held.nbytes for held in lane._held) == SMALL.window * row_bytes
    batches.close()


def test_one_window_is_read_while_another_is_worked_on(both: tuple[LoadedData, LoadedData]) -> None:
    asked: list[int] = []

    def parts() -> Iterator[torch.Tensor]:
        for start in range(0, 5 * SMALL.window, SMALL.window):
            asked.append(start)
            yield torch.arange(start, start + SMALL.window)

    coming = both[1].train.batches(parts())
    next(coming)
    assert len(asked) <= 3  # that one, the one on its way, and the one that begins the next group
    coming.close()  # type: ignore[attr-defined]


def test_a_file_that_is_cut_short_reaches_the_reader_and_leaves_no_thread(
    made: tuple[Path, DatasetCard], tmp_path: Path
) -> None:
    store, card = made
    shutil.copytree(store, tmp_path / "store")
    rows = load(tmp_path / "store", card, None, SMALL, 10**9).train
    file = tmp_path / "store" / "ids.npy"
    with file.open("r+b") as ids:
        ids.truncate(file.stat().st_size // 2)
    before = threading.active_count()
    with pytest.raises(DataError, match=r"ids\.npy: is cut short: row 1,\d+ is not there"):
        list(rows.slices(100))
    batches = Batches(rows, 50, torch.Generator().manual_seed(0), rest=True)
    with pytest.raises(DataError, match="cut short"):
        for _ in range(len(rows) // 50):
            batches.next()
    batches.close()
    file.unlink()
    with pytest.raises(DataError, match="was removed meanwhile"):
        _ = rows.ids
    gc.collect()
    until = time.monotonic() + 10
    while threading.active_count() > before:  # each ends by itself
        assert time.monotonic() < until
        time.sleep(0.01)


def test_rows_that_are_asked_for_at_once_must_fit(made: tuple[Path, DatasetCard]) -> None:
    store, card = made
    rows = load(store, card, None, SMALL, 100_000).train
    asked = len(rows) * 5 * 4 / 1e6
    assert asked < 0.1
    assert len(rows.ids) == len(rows)
    tight = load(store, card, None, SMALL, 40_000).train
    with pytest.raises(MemoryError, match=f"{len(rows):,} rows of 5 columns .* give more memory"):
        _ = tight.ids
    assert len(tight.keep([0]).ids) == len(rows)
    assert "rows of 5 fields" in repr(tight)  # reads nothing


def test_few_rows_are_taken_into_memory(made: tuple[Path, DatasetCard], monkeypatch: pytest.MonkeyPatch) -> None:
    store, card = made
    rows = load(store, card, None, SMALL, 10**9).train
    assert isinstance(rows, StoredRows)
    monkeypatch.setattr(stored, "SMALL_BYTES", 100 * rows.row_bytes)
    assert not rows.take(torch.arange(100)).on_disk
    assert rows.take(torch.arange(101)).on_disk
    assert rows.take(torch.arange(100)).blocks == SMALL  # so that memory does not decide the order
    assert len(rows.some(10 * rows.row_bytes)) == 10
