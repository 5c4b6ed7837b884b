"""Rows that a device has no room for: decided from its free memory, paged in, and trained on with the same result."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.api import Rows
from bench.engine.batches import Batches, Orders
from bench.engine.clock import Clock
from bench.engine.evaluate import evaluate, flops_per_row, inference_time, predict
from bench.rows import load as loading
from bench.rows import residency
from bench.rows.load import LoadedData, place
from bench.rows.prefetch import stream
from bench.rows.residency import MARGIN, settle, table_bytes
from bench.run.cell import run_cell
from bench.run.job import Job
from bench.run.progress import Lines

CPU = torch.device("cpu")


def limit(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """Let the CPU play a device with ``free`` bytes."""
    for module in (residency, loading):
        monkeypatch.setattr(module, "free_bytes", lambda device: free)


def paged(rows: Rows) -> Rows:
    return replace(rows, goes_to=CPU)


@pytest.fixture
def numeric_rows(tiny: LoadedData) -> Rows:
    """Rows with numbers beside the ids: all tensors must come along."""
    rows = tiny.train
    return replace(rows, numeric=torch.arange(2.0 * len(rows)).view(-1, 2))


def test_parts_come_in_order_and_whole() -> None:
    sources = [torch.arange(20).view(10, 2), torch.arange(10.0)]
    parts = [torch.tensor([9, 0, 3]), slice(2, 7), torch.tensor([1], dtype=torch.int32), slice(7, 7)]
    got = list(stream(sources, parts, CPU))  # kept: later parts must not write over earlier ones
    for (pairs, numbers), part in zip(got, parts, strict=True):
        assert torch.equal(pairs, sources[0][part if isinstance(part, slice) else part.long()])
        assert torch.equal(numbers, sources[1][part if isinstance(part, slice) else part.long()])


def test_one_part_is_on_its_way_while_another_is_worked_on() -> None:
    asked: list[int] = []

    def parts() -> Iterator[slice]:
        for start in range(5):
            asked.append(start)
            yield slice(start, start + 1)

    coming = stream([torch.arange(5)], parts(), CPU)
    assert [int(part[0]) for part in (next(coming), next(coming))] == [0, 1]
    assert asked == [0, 1, 2]
    coming.close()


def test_a_stream_that_is_given_up_leaves_no_thread_and_passes_errors_on() -> None:
    before = threading.active_count()
    coming = stream([torch.arange(5)], [slice(0, 2), slice(2, 4), slice(4, 5)], CPU)
    next(coming)
    coming.close()
    with pytest.raises(IndexError):
        list(stream([torch.arange(5)], [torch.tensor([7])], CPU))
    until = time.monotonic() + 10
    while threading.active_count() > before:  # each ends by itself
        assert time.monotonic() < until
        time.sleep(0.01)


def test_paged_rows_give_the_batches_of_resident_ones(numeric_rows: Rows) -> None:
    rows, other = numeric_rows, paged(numeric_rows)
    assert other.device == CPU
    assert rows.n_bytes == other.n_bytes == rows.ids.numel() * 4 + rows.labels.numel() * 4 + rows.numeric.numel() * 4  # type: ignore[union-attr]
    for one, two in zip(rows.slices(100), other.slices(100), strict=True):
        assert torch.equal(one.ids, two.ids)
        assert torch.equal(one.labels, two.labels)
        assert one.numeric is not None
        assert two.numeric is not None
        assert torch.equal(one.numeric, two.numeric)
    positions = torch.tensor([5, 3, 5])
    assert torch.equal(rows.batch(positions).ids, other.batch(positions).ids)


def test_what_is_made_of_paged_rows_is_paged_until_it_is_moved(numeric_rows: Rows) -> None:
    rows = paged(numeric_rows)
    made = [rows.take(torch.arange(7)), rows.keep([0, 2]), rows.merge_rare(3), rows.without(rows.index[:5])]
    assert all(one.goes_to == CPU for one in made)
    assert all(one.to(CPU).goes_to is None for one in made)


def test_a_stream_that_is_dropped_waits_for_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector may drop it while another thread is being started, which would wait for itself."""
    parts = stream([torch.arange(9)], [slice(0, 3), slice(3, 6), slice(6, 9)], CPU)
    assert next(parts)[0].tolist() == [0, 1, 2]
    monkeypatch.setattr(threading.Thread, "join", lambda *given: pytest.fail("waited for a thread"))
    parts.close()  # type: ignore[attr-defined]
    monkeypatch.undo()
    assert next(parts, None) is None


@pytest.mark.parametrize("rest", [True, False])
def test_batches_are_the_same_resident_and_paged_and_after_resuming(numeric_rows: Rows, rest: bool) -> None:
    def draw(rows: Rows, n: int, resumed: Batches | None = None) -> tuple[list[Tensor], Batches]:
        generator = torch.Generator().manual_seed(2)
        batches = Batches(rows, 100, generator, rest=rest)
        if resumed is not None:
            batches.load(resumed.state())
        return [batches.next().ids for _ in range(n)], batches

    n = 2 * len(numeric_rows) // 100 + 3
    resident, _ = draw(numeric_rows, n)
    other, _ = draw(paged(numeric_rows), n)
    first, stopped = draw(paged(numeric_rows), 4)
    rest_of_it, _ = draw(paged(numeric_rows), n - 4, stopped)
    for found in (other, first + rest_of_it):
        assert len(found) == n
        assert all(torch.equal(one, two) for one, two in zip(resident, found, strict=True))


def test_orders_drawn_ahead_are_those_drawn_in_time() -> None:
    one, two = (torch.Generator().manual_seed(4) for _ in range(2))
    plain, ahead = Orders(1000, one, ahead=False), Orders(1000, two, ahead=True)
    for _ in range(3):
        assert torch.equal(plain.next(), ahead.next().long())
        assert torch.equal(one.get_state(), two.get_state())  # what a checkpoint keeps
    two.manual_seed(9)
    ahead.forget()
    assert torch.equal(ahead.next().long(), torch.randperm(1000, generator=one.manual_seed(9)))
    ahead.close()


def test_rows_are_placed_by_the_free_memory(tiny: LoadedData, monkeypatch: pytest.MonkeyPatch) -> None:
    beside = table_bytes(tiny.schema, 8)
    assert beside == 5 * tiny.schema.vocabulary_rows * 9 * 4  # weights, gradient, two moments, best weights
    splits = [tiny.train, tiny.valid, tiny.test]
    needed = sum(rows.n_bytes for rows in splits) + tiny.train.n_bytes + beside + MARGIN
    limit(monkeypatch, needed)
    assert place(tiny, CPU, beside).warning is None
    limit(monkeypatch, needed - 1)
    outside = place(tiny, CPU, beside)
    assert all(rows.goes_to == CPU for rows in (outside.train, outside.valid, outside.test))
    assert outside.warning is not None
    assert tiny.label in outside.warning
    assert f"{needed / 2**30:.1f} GiB" in outside.warning
    assert "paged in" in outside.warning


def test_paged_rows_settle_where_they_fit_by_now(tiny: LoadedData, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = paged(tiny.test)
    limit(monkeypatch, MARGIN + rows.n_bytes + 10)
    assert settle(rows, 10).goes_to is None
    assert settle(rows, 11) is rows
    assert settle(tiny.test, 10**12) is tiny.test


def test_evaluation_takes_paged_rows(
    tiny: LoadedData, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_job("no-selection").context(Clock(CPU)).model()
    rows = paged(tiny.test)
    assert torch.equal(predict(model, rows, 16), predict(model, tiny.test, 16))
    assert evaluate(model, rows) == evaluate(model, tiny.test)
    assert flops_per_row(model, rows) == flops_per_row(model, tiny.test)
    assert inference_time(model, rows, repeats=1, at_least_s=0.0).total_s > 0


@pytest.mark.parametrize("method", ["no-selection", "light-fmp[pretrain_rows=80,pretrain_epochs=2]"])
def test_a_cell_out_of_core_equals_the_resident_one(
    make_job: Callable[..., Job], tiny: LoadedData, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    inside = run_cell(make_job(method))
    limit(monkeypatch, 0)
    events: list[dict[str, Any]] = []
    data = place(tiny, CPU, 0)
    outside = run_cell(replace(make_job(method, emit=events.append), data=data))
    assert outside.status == inside.status == "ok", outside.traceback
    assert (outside.auc, outside.logloss, outside.kept_fields) == (inside.auc, inside.logloss, inside.kept_fields)
    assert events[0] == {"event": "warning", "text": data.warning}
    assert outside.notes["execution"]["train"] == "rows paged in from main memory"
    assert "execution" not in inside.notes
    names = {"train"} | ({"pretrain"} if "light" in method else set())
    assert set(outside.notes["execution"]) == names


def test_a_subset_of_paged_rows_is_trained_on_resident(
    make_job: Callable[..., Job], tiny: LoadedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = make_job("no-selection").context(Clock(CPU))
    model = ctx.model()
    subset = paged(tiny.train).take(torch.arange(50))
    limit(monkeypatch, MARGIN + subset.n_bytes + 4 * sum(p.numel() * 4 for p in model.parameters()))
    assert ctx.fit(model, subset, epochs=1, name="subset").execution == ""
    limit(monkeypatch, MARGIN)
    assert ctx.fit(ctx.model(), subset, epochs=1, name="subset").execution == "rows paged in from main memory"


def test_labels_stay_with_their_rows(numeric_rows: Rows) -> None:
    rows = replace(numeric_rows, labels=torch.from_numpy(np.arange(len(numeric_rows), dtype=np.float32)))
    batches = Batches(paged(rows), 64, torch.Generator().manual_seed(0), rest=True)
    seen = []
    for _ in range(-(-len(rows) // 64)):
        batch = batches.next()
        assert torch.equal(batch.ids, rows.ids[batch.labels.long()])
        seen += batch.labels.tolist()
    assert sorted(seen) == rows.labels.tolist()


def test_a_warning_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    for text in ("no room", "no room", "no graph"):
        lines.event({"event": "warning", "text": text})
    assert capsys.readouterr().err.splitlines() == ["warning: no room", "warning: no graph"]
