"""What the speed command measures, how it is bounded, and that every stage runs."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.engine.fast import windowed
from bench.engine.fast.memory import peak_rss
from bench.engine.table import EmbeddingTable
from bench.errors import ConfigError
from bench.plugins import backbones
from bench.speed import limits, stages
from bench.speed.bound import bound_rows_per_s, step_flops_per_row
from bench.speed.data import make_rows, make_schema, write_raw
from bench.speed.gates import GATES
from bench.speed.limits import Limits, measure_limits
from bench.speed.rate import ChildDiedError, Rate, TreePeak, in_child, summary, tree_bytes
from bench.speed.run import Report, shallow_methods
from bench.speed.settings import SpeedConfig, check
from bench.speed.table import text

TINY = SpeedConfig(
    rows=600,
    vocabulary=2000,
    fields=6,
    dim=4,
    batch=50,
    mlp=(8, 4),
    predictions=500,
    repeats=2,
    window_s=1e-6,
    threads=1,
)
LIMITS = Limits(
    gemm_flops_per_s=1e9,
    copy_bytes_per_s=1e9,
    adam_bytes_per_s=2e9,
    gather_rows_per_s=1e6,
    scatter_rows_per_s=1e5,
)
NET = "dnn"


def test_fields_fill_the_vocabulary_and_ids_stay_in_their_blocks() -> None:
    config = replace(TINY, vocabulary=10_007, fields=39)
    schema, rows = make_schema(config), make_rows(config)
    assert schema.vocabulary_rows == 10_007
    assert list(schema.cardinalities[:-1]) == sorted(schema.cardinalities[:-1])
    ids = rows.ids.numpy()
    assert ids.dtype == np.int32
    assert (ids >= schema.offsets[:-1]).all()
    assert (ids < schema.offsets[1:]).all()


def test_values_are_heavy_tailed_and_the_frequent_ones_lie_apart() -> None:
    rows = make_rows(replace(TINY, rows=20_000, fields=1, vocabulary=5000))
    counts = np.sort(np.bincount(rows.ids.numpy().ravel(), minlength=5000))[::-1]
    # P(rank 1) of the continuous law (2^-0.1 - 1) / (5001^-0.1 - 1)
    share = (2**-0.1 - 1) / (5001**-0.1 - 1)
    assert counts[0] / 20_000 == pytest.approx(share, rel=0.05)
    assert counts[:500].sum() > 0.7 * 20_000
    top = np.argsort(-np.bincount(rows.ids.numpy().ravel()))[:10]
    assert np.abs(np.diff(np.sort(top))).min() > 1


def test_the_same_seed_gives_the_same_rows() -> None:
    assert torch.equal(make_rows(TINY).ids, make_rows(TINY).ids)
    assert not torch.equal(make_rows(TINY).ids, make_rows(replace(TINY, seed=1)).ids)


def test_the_bound_adds_up_what_a_step_must_do() -> None:
    rows = make_rows(TINY)
    model = stages.context(TINY, rows, NET).model()
    batch = next(rows.slices(TINY.batch))
    flops = step_flops_per_row(model, batch)
    sizes = (6 * 4, 8, 4, 1)
    assert flops == sum(3 * 2 * i * o for i, o in pairwise(sizes))  # forward, to the inputs, to the weights
    assert all(param.grad is None for param in model.parameters())
    n_ids = 50 * 6
    seconds = 50 * flops / 1e9 + n_ids / 1e6 + n_ids / 1e5 + 28 * 2000 * 4 / 2e9
    assert bound_rows_per_s(model, batch, flops, LIMITS) == pytest.approx(50 / seconds)
    model.gate = GATES["value [V]"](rows.schema, 4)
    seconds += n_ids / 4 / 1e6 + n_ids / 4 / 1e5 + 28 * 2000 / 2e9  # a quarter as wide as an embedding
    assert bound_rows_per_s(model, batch, flops, LIMITS) == pytest.approx(50 / seconds)


def test_the_bound_of_lazy_adam_moves_the_rows_of_the_batch_alone() -> None:
    rows = make_rows(TINY)
    model = stages.context(TINY, rows, NET).model()
    batch = next(rows.slices(TINY.batch))
    n_ids, distinct = 50 * 6, len(np.unique(batch.ids.numpy()))
    assert distinct < n_ids < 2000
    seconds = n_ids / 1e6 + n_ids / 1e5 + 28 * distinct * 4 / 2e9
    assert bound_rows_per_s(model, batch, 0.0, LIMITS, "lazy-adam") == pytest.approx(50 / seconds)
    model.gate = GATES["value [V]"](rows.schema, 4)
    seconds += n_ids / 4 / 1e6 + n_ids / 4 / 1e5 + 28 * distinct / 2e9
    assert bound_rows_per_s(model, batch, 0.0, LIMITS, "lazy-adam") == pytest.approx(50 / seconds)
    rate = stages.train(replace(TINY, optimizer="lazy-adam"), NET, None, LIMITS)
    seconds = 50 * (rate.flops_per_row or 0) / 1e9 + n_ids / 1e6 + n_ids / 1e5 + 28 * distinct * 4 / 2e9
    assert rate.bound_rows_per_s == pytest.approx(50 / seconds)


def test_the_table_says_whose_bound_it_is() -> None:
    for optimizer, limit, bound in (
        ("adam", ", Adam 2 GB/s", "Adam over the whole table"),
        ("lazy-adam", ", lazy Adam 2 GB/s", "lazy Adam over a batch's rows"),
    ):
        config = replace(TINY, optimizer=optimizer)  # type: ignore[arg-type]
        said = text(Report(config, None, LIMITS, [Rate("train", NET, 1.0, 1.0, 1.0, bound_rows_per_s=2.0)]))
        assert limit in said
        assert f"gather, scatter and {bound} alone" in said


@pytest.mark.slow
def test_limits_are_measured() -> None:
    found = measure_limits(replace(TINY, vocabulary=500))
    assert all(math.isfinite(value) and value > 0 for value in vars(found).values())


@pytest.mark.parametrize("gate", [None, *GATES])
def test_training_is_measured_in_windows(gate: str | None) -> None:
    rate = stages.train(TINY, NET, gate, LIMITS)
    assert rate.stage == ("train" if gate is None else "gated train")
    assert rate.low is not None
    assert rate.high is not None
    assert rate.rows_per_s is not None
    assert 0 < rate.low <= rate.rows_per_s <= rate.high
    assert rate.share == pytest.approx(rate.rows_per_s / (rate.bound_rows_per_s or 0))
    assert rate.flops_per_row


def test_windows_count_whole_batches_between_two_readings_of_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(stages, "now", lambda device: clock[0])
    monkeypatch.setattr("bench.speed.stages.time.perf_counter", lambda: clock[0])
    windows = stages.Windows(replace(TINY, window_s=5.0), torch.device("cpu"))
    iteration = 0
    with pytest.raises(stages.WindowsDone):
        while True:
            windows(iteration, 10**6)
            clock[0] += 2.0 if iteration < 7 else 0.5
            iteration += 1
    # 4 steps to warm up; a window of 3 steps of 2 s, the least number; then steps of 0.5 s until 5 s are full
    assert windows.rates == [50 * 3 / 6.0, 50 * 10 / 5.0]


def test_windows_hold_all_the_work_of_updates_that_come_later(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(stages, "now", lambda device: clock[0])
    monkeypatch.setattr("bench.speed.stages.time.perf_counter", lambda: clock[0])
    model = stages.context(TINY, make_rows(TINY), NET).model()
    assert stages.updates_window(model, TINY) == 1
    monkeypatch.setattr(windowed, "LEAST_NUMBERS", 1)
    whole = stages.updates_window(model, TINY)
    assert whole == windowed.WINDOW
    windows = stages.Windows(replace(TINY, window_s=5.0), torch.device("cpu"), whole)
    iteration = 0
    with pytest.raises(stages.WindowsDone):
        while True:
            windows(iteration, 10**6)
            iteration += 1
            clock[0] += 3.0 if iteration % whole == 0 else 0.5
    assert windows.rates == [50 * whole / (3.0 + 0.5 * (whole - 1))] * 2


def test_limits_are_those_of_updates_that_come_later_where_tables_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_second(work: Callable[[], object], device: torch.device) -> float:
        work()
        return 1.0

    monkeypatch.setattr(limits, "seconds", one_second)
    monkeypatch.setattr(windowed, "LEAST_NUMBERS", 1)
    found = measure_limits(replace(TINY, vocabulary=2000))
    assert found.adam_bytes_per_s == 28 * 2000 * 4 * windowed.WINDOW
    assert found.gather_rows_per_s == windowed.WINDOW * 50 * 6
    monkeypatch.setattr(windowed, "LEAST_NUMBERS", 10**9)
    found = measure_limits(replace(TINY, vocabulary=2000))
    assert found.adam_bytes_per_s == 28 * 2000 * 4
    assert found.gather_rows_per_s == 600 * 6


def test_limits_of_lazy_adam_are_those_of_the_rows_of_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve batches of 50 rows a second; no row is put off, however large the table."""

    def one_second(work: Callable[[], object], device: torch.device) -> float:
        work()
        return 1.0

    monkeypatch.setattr(limits, "seconds", one_second)
    monkeypatch.setattr(windowed, "LEAST_NUMBERS", 1)
    lazy = replace(TINY, optimizer="lazy-adam")
    found, ids = measure_limits(lazy), make_rows(TINY).ids.numpy()
    assert found.adam_bytes_per_s == 28 * 4 * sum(
        len(np.unique(ids[start : start + 50])) for start in range(0, 600, 50)
    )
    assert found.gather_rows_per_s == 600 * 6
    assert stages.updates_window(stages.context(lazy, make_rows(TINY), NET).model(), lazy) == 1


def test_evaluation_metrics_and_selection_are_measured() -> None:
    assert stages.evaluation(TINY, NET).rows_per_s
    metrics = stages.metrics(TINY)
    assert metrics.rows_per_s
    assert "500 predictions" in metrics.note
    assert shallow_methods()
    for name in shallow_methods():
        rate = stages.selector(replace(TINY, repeats=1), name)
        assert rate.rows_per_s or rate.note


def test_preparation_encodes_the_generated_table_and_clears_up(tmp_path: Path) -> None:
    raw = stages.raw_table(TINY, tmp_path)
    before = sorted(tmp_path.iterdir())
    assert stages.preparation(replace(TINY, repeats=1), raw).rows_per_s
    assert sorted(tmp_path.iterdir()) == before


def test_the_raw_table_has_the_rows_and_fields_of_its_card(tmp_path: Path) -> None:
    raw = write_raw(TINY, tmp_path)
    lines = raw.text.read_text().splitlines()
    assert len(lines) == 601
    assert lines[0].split("\t") == ["label", *raw.kinds]
    assert {len(line.split("\t")) for line in lines} == {40}  # the label, 13 integers, 26 codes
    assert raw.card.read_text().count('= "integer"') == list(raw.kinds.values()).count("integer") == 13


def test_a_gate_of_each_shape_is_there() -> None:
    schema = make_schema(TINY)
    e, ids = torch.zeros(50, 6, 4), make_rows(TINY).ids[:50]
    shapes = [tuple(make(schema, 4)(e, ids).shape) for make in GATES.values()]
    assert shapes == [(6,), (50, 6), (50, 6)]
    values = GATES["value [V]"](schema, 4)
    assert [type(module) for module in values.children()] == [EmbeddingTable]


def test_summary_is_median_and_range() -> None:
    assert summary([3.0, 1.0, 9.0]) == {"rows_per_s": 3.0, "low": 1.0, "high": 9.0}


def test_ratios_and_shares_need_both_sides() -> None:
    rate = Rate("train", "x", rows_per_s=30.0, bound_rows_per_s=40.0, peer_rows_per_s=10.0)
    assert (rate.share, rate.ratio(rate.peer_rows_per_s), rate.ratio(None)) == (0.75, 3.0, None)
    assert rate.to_dict()["ratio"] == 3.0
    assert Rate("train", "x").share is None


def _die() -> None:
    os._exit(9)


def test_a_child_returns_its_result_or_is_found_dead() -> None:
    assert in_child(math.sqrt, 9.0) == 3.0
    with pytest.raises(ChildDiedError, match="killed"):
        in_child(_die)


def test_memory_of_a_tree_counts_children_and_their_children() -> None:
    hold = "held = b'x' * 60_000_000; input()"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])"
    before = tree_bytes(os.getpid())
    with TreePeak(0.01) as peak, subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as child:
        deadline = time.monotonic() + 20
        while peak.most < before + 60_000_000 and time.monotonic() < deadline:
            time.sleep(0.02)
        child.communicate(b"\n")
    assert peak.most >= before + 60_000_000


def test_peak_memory_is_at_least_what_is_held() -> None:
    held = np.ones(4_000_000)
    assert peak_rss() > held.nbytes


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"rows": 5}, "rows=5"),
        ({"vocabulary": 10}, "vocabulary=10"),
        ({"batch": 601}, "batch=601 is above rows=600"),
        ({"threads": 0}, "threads=0"),
        ({"window_s": math.nan}, "window-s=nan"),
        ({"repeats": 0}, "repeats=0"),
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(change: dict[str, float], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        check(replace(TINY, **change))  # type: ignore[arg-type]


def test_every_backbone_can_be_measured() -> None:
    rows = make_rows(TINY)
    for name in backbones().names():
        model = stages.context(TINY, rows, name).model()
        assert bound_rows_per_s(model, next(rows.slices(50)), 0.0, LIMITS) > 0
