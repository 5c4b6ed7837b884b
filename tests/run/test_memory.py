"""Bounds on memory: what they decide, what they refuse, and cells whose rows stay in the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cell_records import TINY, Watcher
from torch import Tensor

from bench.data.store.store import StoreFacts, read_facts, store_folder
from bench.datasets import resolve_dataset
from bench.engine.clock import Clock
from bench.errors import ConfigError
from bench.records import CellRecord, RunFolder
from bench.rows import stored
from bench.rows.load import LoadedData, load
from bench.rows.order import BLOCKS, Blocks, blocks_of
from bench.rows.residency import table_bytes
from bench.run import session
from bench.run.again import resolve_again, train
from bench.run.cell import run_cell
from bench.run.check import check
from bench.run.config import RunConfig, base_config
from bench.run.job import Job
from bench.run.memory import ALL, BATCH_BYTES, PROGRAM_BYTES, SHARE, Residence, residence
from bench.run.session import resolve
from bench.run.settings import bytes_of
from bench.run.sweep import run

FIELDS = 8
ROW_BYTES = 4 * (FIELDS + 1)


@pytest.fixture
def facts(data_dir: Path) -> StoreFacts:
    card = resolve_dataset(TINY)
    return read_facts(store_folder(data_dir, card), card)


@pytest.fixture
def shuffled_in(tiny: LoadedData, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], LoadedData]:
    """The tiny data in the store, shuffled in windows of so many rows; also what few rows are taken stays there."""
    monkeypatch.setattr(stored, "SMALL_BYTES", 0)
    card = resolve_dataset(TINY)
    return lambda window: load(store_folder(data_dir, card), card, None, Blocks(window), 10**9)


@pytest.mark.parametrize(
    ("text", "size"),
    [("8GB", 8 * 10**9), ("2 GiB", 2 * 2**30), ("1.5g", 15 * 10**8), ("500MB", 5 * 10**8), ("7", 7), ("1kib", 1024)],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "much", "0", "0.0GB", "-1GB", "8 PB", "GB", "8ib", "1e9"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="8GB, 500MB or 2GiB"):
        check(replace(base_config(None, None, True), datasets=("planted",), memory=text))


def test_rows_are_in_memory_where_they_fit_with_their_copy_and_the_table(facts: StoreFacts) -> None:
    assert facts.row_bytes == ROW_BYTES
    inside = 1200 * (ROW_BYTES + 8) + 960 * ROW_BYTES
    needed = PROGRAM_BYTES + inside + table_bytes(facts.schema, 8)
    assert residence(facts, 8, str(needed), None, True) == ALL
    found = replace(facts, split_rows={"train": 10**9, "valid": 1, "test": 1})
    with pytest.raises(ConfigError, match="too small"):
        residence(found, 8, str(needed), None, True)


def test_without_a_bound_rows_may_take_a_share_of_the_machine(facts: StoreFacts) -> None:
    inside = 1200 * (ROW_BYTES + 8) + 960 * ROW_BYTES
    total = round(inside / SHARE)
    assert residence(facts, 8, None, total + 1, True) == ALL
    assert residence(facts, 8, None, None, True) == ALL
    found = residence(facts, 8, None, total - 2, True)
    assert found.blocks == blocks_of(ROW_BYTES)
    assert found.warning is not None
    assert facts.label in found.warning
    assert "60%" in found.warning


def test_a_bound_leaves_a_quarter_of_the_rest_to_what_methods_ask_for(facts: StoreFacts) -> None:
    many = replace(facts, split_rows={"train": 8 * 10**6, "valid": 10**6, "test": 10**6})
    table = table_bytes(facts.schema, 8)
    found = residence(many, 8, "1.1GB", None, True)
    assert found.blocks == blocks_of(ROW_BYTES)
    assert found.room == (11 * 10**8 - PROGRAM_BYTES - table - 10**7 * 8) // 4
    assert found.warning is not None
    assert "--memory 1.1GB" in found.warning


def test_a_bound_that_even_blocks_exceed_is_refused_with_the_parts(facts: StoreFacts) -> None:
    few = replace(facts, split_rows={"train": 10**6, "valid": 10, "test": 10})
    window = blocks_of(ROW_BYTES).window
    needed = PROGRAM_BYTES + (10**6 + 20) * 8 + 10**6 * 4
    needed += 4 * min(window, 10**6) * ROW_BYTES + BATCH_BYTES + table_bytes(facts.schema, 8)
    with pytest.raises(ConfigError) as caught:
        residence(few, 8, "300MB", None, True)
    for said in ("memory=300MB", facts.label, f"{needed / 1e6:,.0f} MB at least", "4 windows", "table of"):
        assert said in str(caught.value)
    assert residence(few, 8, str(needed), None, True) == ALL  # so few rows then fit as they are


@pytest.mark.parametrize(
    "method",
    [
        "no-selection",
        "light-fmp[pretrain_rows=80,pretrain_epochs=2]",
        "autofield[search_epochs=2]",
        "lasso",
        "xgboost[rounds=5]",
        "mutual-information",
        "optfs",
        "shadow[rounds=2]",
    ],
)
def test_a_cell_in_one_window_equals_the_cell_in_memory(
    make_job: Callable[..., Job], shuffled_in: Callable[[int], LoadedData], method: str
) -> None:
    inside = run_cell(make_job(method))
    if inside.status == "skipped":
        pytest.skip(str(inside.reason))
    outside = run_cell(replace(make_job(method), data=shuffled_in(2048)))
    assert outside.status == inside.status == "ok", outside.traceback
    assert (outside.auc, outside.logloss, outside.valid_auc) == (inside.auc, inside.logloss, inside.valid_auc)
    assert (outside.kept_fields, outside.field_scores) == (inside.kept_fields, inside.field_scores)
    assert (outside.it_rows, outside.flops_per_row) == (inside.it_rows, inside.flops_per_row)
    assert outside.notes["execution"]["train"] == "rows read from the store in blocks"


def test_a_cell_in_several_windows_is_another_and_the_same_in_memory(
    make_job: Callable[..., Job], tiny: LoadedData, shuffled_in: Callable[[int], LoadedData]
) -> None:
    blocks = Blocks(2 * BLOCKS)
    jobs = [make_job("autofield[search_epochs=2]", order=order) for order in (None, blocks)]
    assert jobs[0].hash != jobs[1].hash
    outside = run_cell(replace(jobs[1], data=shuffled_in(blocks.window)))
    assert outside.order == {"order": "blocks", "block": 2, "window": 128}
    assert "BLOCKS" in outside.notes["flags"]
    parts: dict[str, Any] = {name: replace(getattr(tiny, name), blocks=blocks) for name in ("train", "valid", "test")}
    inside = run_cell(replace(jobs[1], data=replace(tiny, **parts)))
    assert (outside.auc, outside.logloss, outside.field_scores) == (inside.auc, inside.logloss, inside.field_scores)
    assert outside.auc != run_cell(jobs[0]).auc


def test_a_method_that_asks_for_more_rows_than_fit_ends_so_and_says_what_it_asked_for(
    make_job: Callable[..., Job], data_dir: Path
) -> None:
    card = resolve_dataset(TINY)
    data = load(store_folder(data_dir, card), card, None, Blocks(2 * BLOCKS), 1000)
    record = run_cell(replace(make_job("lasso"), data=data))
    assert record.status == "oom"
    assert record.reason is not None
    assert "rows of 8 columns were asked for at once" in record.reason
    assert "--memory" in record.reason


@pytest.fixture
def config(tmp_path: Path, data_dir: Path) -> RunConfig:
    return RunConfig(
        datasets=(TINY,), methods=("no-selection",), backbones=("dnn[mlp=8]",), epochs=2, out=tmp_path / "run",
        data_dir=data_dir,
    )  # fmt: skip


def one(config: RunConfig) -> CellRecord:
    (record,) = run(resolve(config), Watcher())
    assert record.status == "ok", record.traceback
    return record


def test_a_run_within_a_bound_is_another_run_and_can_be_trained_again(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = one(config)
    assert plain.order is None
    assert "\nmemory = " not in (config.out / "run.toml").read_text()
    assert one(replace(config, memory="8GB")).config_hash == plain.config_hash
    in_blocks = Residence(Blocks(2 * BLOCKS), 10**9, "in blocks")
    monkeypatch.setattr(session, "residence", lambda *given: in_blocks)
    bound = one(replace(config, memory="1GB"))
    assert bound.order == {"order": "blocks", "block": 2, "window": 128}
    assert bound.config_hash != plain.config_hash
    assert bound.line == plain.line | {key: bound.line[key] for key in ("difference", "error")}  # type: ignore[operator,index]
    assert 'memory = "1GB"' in (config.out / "run.toml").read_text()
    monkeypatch.undo()  # a machine with more memory
    folder = RunFolder(config.out)
    again = resolve_again(folder, bound, None, config.data_dir, lambda text: None)
    model, _ = train(again, folder, lambda event: None)  # compares the AUC
    assert not model.training


def test_a_training_in_blocks_goes_on_where_it_was_stopped_within_an_epoch(
    make_job: Callable[..., Job], shuffled_in: Callable[[int], LoadedData], tmp_path: Path
) -> None:
    data = shuffled_in(2 * BLOCKS)

    def fit(folder: Path | None, stop_at: int | None) -> dict[str, Tensor]:
        ctx = replace(make_job("no-selection"), data=data, checkpoints=folder).context(Clock(torch.device("cpu")))
        model = ctx.model()

        def schedule(iteration: int, planned: int) -> None:
            if iteration == stop_at:
                raise InterruptedError

        settings: dict[str, Any] = {"batch_size": 32, "evaluate_every": 0.25, "patience": 9, "schedule": schedule}
        ctx.fit(model, data.train, data.valid, name="train", **settings)
        assert ctx.resumed is (folder is not None and stop_at is None)
        return model.state_dict()

    whole = fit(None, None)
    with pytest.raises(InterruptedError):
        fit(tmp_path, 20)  # of 30 an epoch; the last state is that after 15
    again = fit(tmp_path, None)
    for name, value in whole.items():
        assert torch.equal(value, again[name]), name
