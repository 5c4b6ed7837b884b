"""Runs that keep the predictions of their cells, and what is left of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cell_records import TINY, Watcher
from scipy.special import expit
from sklearn.metrics import log_loss, roc_auc_score

from bench.predictions import Predictions
from bench.records import CellRecord, RunFolder
from bench.run import session
from bench.run.config import RunConfig, from_json, to_json, to_toml
from bench.run.executors.base import TimingTask
from bench.run.session import Session, resolve
from bench.run.sweep import run


class Listener(Watcher):
    """Keeps warnings."""

    def __init__(self, interrupt_at: int = 0) -> None:
        super().__init__(interrupt_at)
        self.warnings: list[str] = []

    def event(self, event: dict[str, str]) -> None:
        super().event(event)
        if event["event"] == "warning":
            self.warnings.append(event["text"])


@pytest.fixture
def config(tmp_path: Path, data_dir: Path) -> RunConfig:
    return RunConfig(
        datasets=(TINY,),
        methods=("no-selection", "random-k"),
        backbones=("dnn[mlp=8]",),
        epochs=1,
        threads=1,
        out=tmp_path / "run",
        data_dir=data_dir,
    )


def compute(config: RunConfig) -> tuple[list[CellRecord], list[str]]:
    listener = Listener()
    return run(resolve(config), listener), listener.warnings


def kept(config: RunConfig) -> dict[str, bytes]:
    folder = config.out / "predictions"
    return {file.name: file.read_bytes() for file in sorted(folder.glob("*"))}


def check(record: CellRecord, predictions: Predictions) -> None:
    """The record's numbers are those of what is kept."""
    assert record.predictions is not None
    z = predictions.logits(record.config_hash, record.predictions)
    y = predictions.labels(record.predictions)
    p = expit(z.astype(np.float64))
    assert len(z) == record.split_rows["test"] == record.predictions["rows"]
    assert record.auc == pytest.approx(roc_auc_score(y, z), abs=1e-12)
    assert record.logloss == pytest.approx(log_loss(y, p), rel=1e-9)
    assert record.pcoc == pytest.approx(p.mean() / y.mean())
    assert record.ece is not None and 0 < record.ece < 1


def test_every_cell_keeps_what_its_numbers_are_of(config: RunConfig) -> None:
    records, _ = compute(config)
    predictions = Predictions(RunFolder(config.out).predictions)
    for record in records:
        check(record, predictions)
    cells = {f"{record.config_hash[:16]}.npy" for record in records}
    labels = {record.predictions["labels"] for record in records if record.predictions}
    assert len(labels) == 1 and set(kept(config)) == cells | labels
    stored = RunFolder(config.out).read(records[0].config_hash)
    assert stored is not None and stored.predictions == records[0].predictions


def test_nothing_is_kept_where_it_is_not_wanted(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    records, _ = compute(replace(config, keep_predictions="never"))
    assert [(r.predictions, r.pcoc, r.ece) for r in records] == [(None, None, None)] * 2
    monkeypatch.setattr(session, "AUTO_ROWS", records[0].split_rows["test"] - 1)
    records, _ = compute(replace(config, rerun="always"))
    assert [r.predictions for r in records] == [None, None], "more rows than are kept unasked"
    assert not (config.out / "predictions").exists()
    monkeypatch.setattr(session, "AUTO_ROWS", records[0].split_rows["test"])
    compute(replace(config, rerun="always"))
    assert len(kept(config)) == 3


def test_finished_cells_without_predictions_are_named_and_stay_until_all_are_computed_again(config: RunConfig) -> None:
    first, _ = compute(replace(config, keep_predictions="never"))
    wanted = replace(config, keep_predictions="always")
    again, warnings = compute(wanted)
    assert [record.to_dict() for record in again] == [record.to_dict() for record in first]
    assert warnings == [
        "2 finished cells have no predictions here, and none are made now; --rerun always computes all cells again, "
        "with them"
    ]
    records, warnings = compute(replace(wanted, rerun="always"))
    assert warnings == [] and [r.config_hash for r in records] == [r.config_hash for r in first]
    assert [r.auc for r in records] == [r.auc for r in first]
    assert compute(wanted)[1] == []
    Predictions(config.out / "predictions").file(records[0].config_hash).unlink()
    assert compute(wanted)[1][0].startswith("a finished cell has no predictions here")


def test_a_cell_computed_again_without_them_leaves_none_behind(config: RunConfig) -> None:
    compute(config)
    compute(replace(config, keep_predictions="never", rerun="always"))
    assert [name for name in kept(config) if not name.endswith(".labels.npy")] == []


def test_a_timing_pass_keeps_nothing(config: RunConfig) -> None:
    plan = resolve(config)
    (cell, *_) = plan.cells()
    found = TimingTask(cell).compute(Session(plan), lambda event: None)
    assert (found.status, found.predictions) == ("ok", None)
    assert not (config.out / "predictions").exists()


def test_an_executor_that_loses_them_costs_no_result(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Predictions, "settle", lambda self, key, entry: entry is None)
    records, warnings = compute(config)
    assert [record.status for record in records] == ["ok", "ok"]
    assert all("are not there, and not kept" in text for text in warnings) and len(warnings) == 2
    assert [record.predictions for record in RunFolder(config.out).records()] == [None, None]


def test_run_toml_has_the_setting_where_it_is_not_the_default(config: RunConfig) -> None:
    assert "keep_predictions" not in to_toml(config, "x")
    asked = replace(config, keep_predictions="always")
    assert 'keep_predictions = "always"' in to_toml(asked, "x")
    assert from_json(to_json(asked)) == asked
