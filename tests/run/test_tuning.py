"""``--tune lr``: what a trial sees, which rate wins, what is kept, and what the cells say of it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from cell_records import TINY, Watcher, contents

from bench.errors import DataError
from bench.profiles import PROFILES
from bench.records import CellRecord, load_frame
from bench.run import estimate as planning
from bench.run.cell import run_cell
from bench.run.config import RunConfig
from bench.run.forecast import forecasts
from bench.run.forecast_table import forecast_table
from bench.run.job import Job
from bench.run.selections import shared_key
from bench.run.session import Session, resolve
from bench.run.sweep import run
from bench.run.trial import run_trial
from bench.run.tuning import Asked, Trial, TrialStore, Tuning
from bench.tables.overall import overall_tables
from bench.tables.titles import Titles

GRID = (1e-5, 1e-4, 3e-4, 1e-3)


@pytest.fixture
def config(tmp_path: Path, data_dir: Path) -> RunConfig:
    return RunConfig(
        datasets=(TINY,),
        methods=("no-selection", "random-k"),
        backbones=("dnn[mlp=8]",),
        tune="lr",
        epochs=2,
        out=tmp_path / "run",
        data_dir=data_dir,
    )


def compute(config: RunConfig, interrupt_at: int = 0) -> tuple[list[CellRecord], Watcher]:
    watcher = Watcher(interrupt_at)
    return run(resolve(config), watcher), watcher


def tuned(own: float, *scores: tuple[float, float | None]) -> Tuning:
    trials = [
        Trial(values={"lr": lr}, status="failed" if auc is None else "ok", valid_auc=auc, seconds=1.5)
        for lr, auc in scores
    ]
    return Tuning(tuple(lr for lr, _ in scores), own, tuple(trials))


def test_trials_stand_in_the_order_of_the_grid_whoever_made_them_first() -> None:
    tuning = Tuning((0.1, 0.2, 0.3), 0.2)
    for lr in (0.3, 0.1, 0.2):
        tuning = tuning.add(Trial(values={"lr": lr}, status="ok", valid_auc=0.5, seconds=1.0))
    assert [tuning.value_of(trial) for trial in tuning.trials] == [0.1, 0.2, 0.3]


@pytest.mark.parametrize(
    ("own", "scores", "winner"),
    [
        (1e-3, [(1e-5, 0.6), (1e-4, 0.8), (1e-3, 0.7)], 1e-4),
        (1e-3, [(1e-5, 0.8), (1e-4, 0.8), (1e-3, 0.8)], 1e-3),  # equal: the profile's own
        (1e-3, [(1e-4, 0.8), (1e-5, 0.8), (1e-3, 0.7)], 1e-5),  # equal, the own behind: the smaller
        (2e-4, [(1e-3, 0.8), (1e-4, 0.8)], 1e-4),  # the own rate is not in the grid
        (1e-3, [(1e-5, 0.6), (1e-4, 0.5), (1e-3, None)], 1e-5),  # a failed trial is no result
        (1e-3, [(1e-5, None), (1e-3, None)], 1e-3),
    ],
)
def test_the_highest_validation_auc_wins(own: float, scores: list[tuple[float, float | None]], winner: float) -> None:
    assert tuned(own, *scores).value == winner


def test_what_is_missing_and_when_cells_can_run() -> None:
    none = Tuning(GRID, 1e-3)
    assert (none.missing, none.failure, none.decided) == (GRID, None, False)
    one = none.add(Trial(values={"lr": 1e-4}, status="ok", valid_auc=0.5, seconds=2.0))
    assert (one.missing, one.decided) == ((1e-5, 3e-4, 1e-3), False)
    assert tuned(1e-3, (1e-4, 0.5), (1e-3, None)).decided
    assert tuned(1e-3, (1e-4, 0.5), (1e-3, None)).seconds == 3.0
    skipped = Tuning((1e-4,), 1e-4).add(Trial(values={"lr": 1e-4}, status="skipped", reason="no"))
    assert (skipped.failure, skipped.decided, skipped.seconds) == (None, True, 0.0)


def test_where_every_trial_failed_the_cells_get_their_reasons() -> None:
    trials = [
        Trial(values={"lr": lr}, status=status, reason="why", traceback="T")
        for lr, status in ((1e-4, "oom"), (1e-3, "oom"))
    ]
    tuning = Tuning((1e-4, 1e-3), 1e-3, tuple(trials))
    assert not tuning.decided
    assert tuning.failure is not None
    assert (tuning.failure["status"], tuning.failure["traceback"]) == ("oom", "T")
    assert tuning.failure["reason"].endswith("failed: lr 0.0001: oom: why; lr 0.001: oom: why")
    mixed = replace(tuning, trials=(trials[0], replace(trials[1], status="timeout")))
    assert mixed.failure is not None
    assert mixed.failure["status"] == "failed"


def test_the_grids_hold_the_paper_s_rates_and_the_profile_s_own() -> None:
    for profile in PROFILES.values():
        assert profile.lr_grid == tuple(sorted({1e-5, 1e-4, 3e-4, profile.lr}))


def test_an_untuned_cell_is_identified_as_ever_and_a_tuned_one_by_grid_and_rate(make_job: Callable[..., Job]) -> None:
    job = make_job("random-k", tau=0.25, seed=2)
    profile = asdict(job.profile) | {"evaluate_every": 1}  # whole numbers are written without a point
    del profile["lr_grid"], profile["set_apart"]
    written_out = {
        "protocol": 1,
        "dataset": job.cell.dataset,
        "dataset_revision": "1",
        "split_rows": {"train": 960, "valid": 120, "test": 120},
        "backbone": "dnn",
        "backbone_params": asdict(job.backbone.params),
        "method": "random-k",
        "params": job.method.params_dict(),
        "budget": "field",
        "sel_split": "train",
        "profile": profile,
        "tau": 0.25,
        "seed": 2,
    }
    assert job.identity == written_out
    text = json.dumps(written_out, sort_keys=True, separators=(",", ":"))
    assert job.hash == hashlib.sha256(text.encode()).hexdigest()
    tuning = Tuning(GRID, 1e-3)
    cell = replace(job, tuning=tuning)
    other = replace(cell, profile=replace(job.profile, lr=1e-4))
    narrow = replace(cell, tuning=Tuning((1e-4, 1e-3), 1e-3))
    assert len({job.hash, cell.hash, other.hash, narrow.hash}) == 4
    scored = replace(cell, tuning=tuning.add(Trial(values={"lr": 1e-3}, status="ok", valid_auc=0.7, seconds=1.0)))
    assert scored.hash == cell.hash
    method = job.method.make()
    assert shared_key(cell.identity, method) == shared_key(job.identity, method)


class Forbidden:
    """Stands for the test split; fails whoever touches it."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"{name} of the test split was looked at")

    def __len__(self) -> int:
        raise AssertionError("the test split was counted")


@pytest.mark.parametrize("method", ["no-selection", "random-k", "light-fmp", "xgboost", "adafs"])
def test_a_trial_never_looks_at_the_test_split(make_job: Callable[..., Job], method: str) -> None:
    job = make_job(method)
    forbidden: Any = Forbidden()
    locked = replace(job, data=replace(job.data, test=forbidden, test_truth=forbidden))
    assert "test split" in str(run_cell(locked).reason)
    trial = run_trial(locked, Asked({"lr": 1e-3}))
    assert (trial.status, trial.reason) == ("ok", None), trial.traceback
    assert trial.valid_auc == pytest.approx(run_cell(job).valid_auc, abs=1e-12)


def test_a_run_is_tuned_before_its_cells_and_all_seeds_take_the_winner(
    config: RunConfig, make_job: Callable[..., Job]
) -> None:
    records, watcher = compute(replace(config, seeds=2, prune_ratio=(0.25, 0.5)))
    assert [record.status for record in records] == ["ok"] * 6
    units = [("no-selection", None), ("random-k", 0.25), ("random-k", 0.5)]
    assert len(watcher.trials) == len(units) * len(GRID) == len(list((config.out / "trials").iterdir()))
    assert all("validation AUC" in text and "seed 0" in text for text in watcher.trials)
    for method, tau in units:
        mine = [record for record in records if (record.method, record.tau) == (method, tau)]
        scores = {}
        for lr in GRID:
            job = make_job(method, tau=tau)
            alone = run_cell(replace(job, profile=replace(job.profile, lr=lr)))
            scores[lr] = alone.valid_auc, alone.auc
        best = max(GRID, key=lambda lr: (scores[lr][0], lr == 1e-3, -lr))
        assert [record.seed for record in mine] == [0, 1]
        assert mine[0].auc == scores[best][1]
        for record in mine:
            assert record.tuning is not None
            assert record.tuning == mine[0].tuning
            assert (record.tuning["lr"], record.tuning["seed"]) == (best, 0)
            trials = record.tuning["trials"]
            assert [trial["lr"] for trial in trials] == list(GRID) == record.profile["lr"]
            assert [trial["valid_auc"] for trial in trials] == pytest.approx([scores[lr][0] for lr in GRID], abs=1e-12)
            assert record.tune_s == pytest.approx(sum(trial["seconds"] for trial in trials))
            assert record.tt_s == record.pt_s + record.ct_s
            assert not {"trials", "tuning"} & set(record.phases)


def test_a_second_run_computes_nothing_and_a_grown_one_what_is_missing(config: RunConfig) -> None:
    first, _ = compute(config)
    same, idle = compute(config)
    assert (idle.planned, idle.started, idle.trials) == ((2, 2), [], [])
    assert [record.to_dict() for record in same] == [record.to_dict() for record in first]
    _, grown = compute(replace(config, seeds=2, prune_ratio=(0.5, 0.25)))
    assert grown.planned == (6, 2)
    assert len(grown.trials) == len(GRID)  # of the new prune ratio; seeds share theirs
    _, again = compute(replace(config, rerun="always"))
    assert len(again.trials) == 2 * len(GRID)
    untuned, _ = compute(replace(config, tune="none"))
    assert {record.config_hash for record in untuned}.isdisjoint(record.config_hash for record in first)
    assert all(record.tuning is None and record.tune_s is None for record in untuned)


def test_an_interrupted_tuning_goes_on_where_it_was(config: RunConfig, tmp_path: Path) -> None:
    config = replace(config, methods=("random-k", "light-fmp"))
    _, watcher = compute(replace(config, out=tmp_path / "whole"))
    whole = contents(tmp_path / "whole")
    assert len(whole) == 2 + 2 * len(GRID)
    for at in (2, watcher.events // 3, 2 * watcher.events // 3):
        shutil.rmtree(config.out, ignore_errors=True)
        with pytest.raises(KeyboardInterrupt):
            compute(config, interrupt_at=at)
        kept = len(list((config.out / "trials").glob("*.json")))
        _, rest = compute(config)
        assert len(rest.trials) == 2 * len(GRID) - kept
        assert contents(config.out) == whole


@pytest.mark.usefixtures("zoo")
def test_rankings_are_shared_by_trials_and_cells(config: RunConfig) -> None:
    records, _ = compute(replace(config, methods=("zoo-counted",), prune_ratio=(0.5, 0.25), seeds=2))
    assert [record.status for record in records] == ["ok"] * 4
    rates = {record.tuning["lr"] for record in records if record.tuning is not None}
    selections = Path(os.environ["ZOO_LOG"]).read_text().split()
    assert len(selections) == len(GRID) + len(rates)  # seed 0 once a rate; seed 1 at the chosen rates


def test_a_rate_that_fails_has_no_result(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROFILES, "small", replace(PROFILES["small"], lr_grid=(1e-3, 1e30)))
    records, _ = compute(config)
    for record in records:
        assert record.status == "ok"
        assert record.tuning is not None
        good, bad = record.tuning["trials"]
        assert (good["status"], bad["status"], bad["valid_auc"]) == ("ok", "failed", None)
        assert "NonFiniteLossError" in bad["reason"] or "not finite" in bad["reason"]
        assert (record.tuning["lr"], record.tune_s) == (1e-3, good["seconds"])
    _, idle = compute(config)
    assert (idle.started, idle.trials) == ([], [])


@pytest.mark.usefixtures("zoo")
def test_a_method_that_fails_at_every_rate_fails_its_cells_and_is_tried_again(config: RunConfig) -> None:
    config = replace(config, methods=("zoo-raises", "zoo-broken", "zoo-skips", "random-k"), seeds=2)
    for done in (0, 4):
        records, watcher = compute(config)
        assert watcher.planned == (8, done)
        assert [record.status for record in records[:4]] == ["failed", "failed", "skipped", "ok"]
        assert [record.status for record in records[4:]] == ["failed", "failed", "skipped", "ok"]
        assert len(watcher.trials) == (2 if done else 4) * len(GRID)
        for record, reason in zip(records, ("no such thing", "a_module_that_nobody_has"), strict=False):
            assert str(record.reason).startswith("every trial of the learning rate failed: lr 1e-05: failed: ")
            assert str(record.reason).count(reason) == len(GRID)
            assert str(record.traceback).startswith("Traceback")
        assert records[2].reason == "not on Sundays"


@pytest.mark.slow
def test_isolated_trials_and_cells_find_the_same(config: RunConfig, tmp_path: Path) -> None:
    config = replace(config, methods=("random-k",), threads=1)
    (here,), _ = compute(config)
    (isolated,), watcher = compute(replace(config, isolate=True, out=tmp_path / "isolated"))
    assert isolated.status == "ok", isolated.traceback
    assert isolated.config_hash == here.config_hash
    assert (isolated.auc, isolated.logloss) == (here.auc, here.logloss)
    assert len(watcher.trials) == len(GRID)
    assert contents(tmp_path / "isolated").keys() == contents(config.out).keys()


@pytest.mark.usefixtures("zoo")
def test_a_killed_trial_does_not_kill_the_run(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROFILES, "small", replace(PROFILES["small"], lr_grid=(1e-3,)))
    (record,), watcher = compute(replace(config, methods=("zoo-killed",), isolate=True, threads=1))
    assert record.status == "oom"
    assert len(watcher.trials) == 1


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"values": {"lr": "x"}, "status": "ok"}', '{"values": {"lr": 0.1}, "status": "fine"}'],
)
def test_a_damaged_trial_is_refused_by_its_file(tmp_path: Path, text: str) -> None:
    store = TrialStore(tmp_path)
    assert store.read("a" * 64) is None
    (tmp_path / f"{'a' * 16}.json").write_text(text)
    with pytest.raises(DataError, match=rf"{'a' * 16}\.json is not a readable trial .*Delete it"):
        store.read("a" * 64)


def test_a_trial_that_was_kept_when_trials_had_one_setting_is_read(tmp_path: Path) -> None:
    store = TrialStore(tmp_path)
    old = {"value": 1e-2, "status": "ok", "parameter": "l2", "valid_auc": 0.7, "seconds": 1.5}
    store.file("a" * 64).write_text(json.dumps(old | {"reason": None, "traceback": None}))
    assert store.read("a" * 64) == Trial(values={"l2": 1e-2}, status="ok", valid_auc=0.7, seconds=1.5)


def test_the_plan_counts_the_trials(config: RunConfig) -> None:
    session = Session(resolve(replace(config, seeds=3, prune_ratio=(0.25, 0.5), threads=1)))
    (size,) = planning.sizes(session)
    assert (size.cells, size.trials) == (9, 3 * len(GRID))
    (found,) = forecasts(session, [planning.Pace(size, 0.5)])
    assert (found.cells, found.trials) == (9, 12)
    assert "9 + 12 trials" in forecast_table([found])
    assert not config.out.exists()


def test_tables_say_that_rows_were_tuned_and_keep_others_apart(config: RunConfig) -> None:
    compute(config)
    (table,) = overall_tables(load_frame(config.out), Titles())
    (note,) = [note.text for note in table.notes if "uned" in note.text]
    assert note.startswith("Learning rate tuned on validation AUC over {1e-05, 0.0001, 0.0003, 0.001} for every row")
    assert table.caption.startswith("Profile small with max_epochs=2, learning rate tuned; seed 0")
    compute(replace(config, tune="none"))
    (both,) = overall_tables(load_frame(config.out), Titles())
    assert len(both.groups) == 2
    (note,) = [note.text for note in both.notes if "uned" in note.text]
    assert any(f"on {group.title} tuned" in note for group in both.groups)
    assert not any("several configurations" in note.text for note in both.notes)
