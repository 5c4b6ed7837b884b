"""The L2 of a table of one's own is chosen by validation with a model of all fields, for all methods."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cell_records import TINY, Watcher, without_circumstances

from bench.data.prepare.prepare import prepare
from bench.data.store.store import store_folder
from bench.datasets import resolve_dataset
from bench.profiles import SMALL
from bench.records import CellRecord
from bench.run.config import RunConfig
from bench.run.forecast import pending
from bench.run.session import PENALTIES_TRIED, Session, resolve
from bench.run.sweep import run
from bench.run.tuning import PENALTIES

CARD = """
name = "mine"
{more}
[raw]
files = ["clicks.csv"]
[raw.columns]
clicked = "label"
city = "categorical"
visitor = "categorical"
"""


def make(folder: Path, more: str = "") -> RunConfig:
    """Settings of a run on 600 rows: a city that tells something, and a visitor of almost every row."""
    rng = np.random.default_rng(0)
    cities, visitors = rng.integers(0, 4, 600), rng.integers(0, 2000, 600)
    clicked = rng.random(600) < 0.2 + 0.15 * cities
    rows = [f"{int(y)},c{c},v{v}\n" for y, c, v in zip(clicked, cities, visitors, strict=True)]
    (folder / "clicks.csv").write_text("clicked,city,visitor\n" + "".join(rows))
    card = folder / "mine.toml"
    card.write_text(CARD.format(more=more))
    found = resolve_dataset(str(card))
    prepare(found, folder / "clicks.csv", store_folder(folder / "data", found))
    return RunConfig(
        datasets=(str(card),),
        methods=("random-k", "cardinality"),
        backbones=("dnn[mlp=4]",),
        seeds=2,
        epochs=2,
        out=folder / "run",
        data_dir=folder / "data",
    )


def compute(config: RunConfig) -> tuple[list[CellRecord], Watcher]:
    watcher = Watcher()
    return run(resolve(config), watcher), watcher


def test_every_cell_trains_with_the_l2_of_the_highest_validation_auc(tmp_path: Path) -> None:
    config = make(tmp_path)
    records, watcher = compute(config)
    assert [record.status for record in records] == ["ok"] * 4
    assert len(watcher.trials) == len(PENALTIES), "once for all cells"
    alone, _ = compute(replace(config, methods=("no-selection",), seeds=1, out=tmp_path / "own"))
    for record in (*records, *alone):
        assert record.penalty is not None
        trials = record.penalty["trials"]
        assert [trial["l2"] for trial in trials] == list(PENALTIES) == record.penalty["grid"]
        best = max(trial["valid_auc"] for trial in trials)
        winners = [trial["l2"] for trial in trials if trial["valid_auc"] == best]
        chosen = SMALL.l2 if SMALL.l2 in winners else winners[0]  # of equal ones the profile's own, else the smallest
        assert record.penalty["l2"] == record.profile["l2"] == chosen
    # a trial is a cell without test rows: the chosen one has the validation AUC of the cell of its seed
    assert alone[0].penalty is not None
    (won,) = [trial for trial in alone[0].penalty["trials"] if trial["l2"] == alone[0].penalty["l2"]]
    assert won["valid_auc"] == alone[0].valid_auc


def test_it_is_chosen_once_and_the_same_command_goes_on(tmp_path: Path) -> None:
    config = make(tmp_path)
    first, _ = compute(config)
    again, watcher = compute(config)
    assert watcher.planned == (4, 4) and watcher.trials == []
    assert [record.to_dict() for record in again] == [record.to_dict() for record in first]
    (left, *_) = sorted((config.out / PENALTIES_TRIED).glob("*.json"))
    left.unlink()
    assert sum(map(len, pending(Session(resolve(config))).values())) == 4, "without a trial no cell is known"
    third, watcher = compute(config)
    assert len(watcher.trials) == 1
    assert list(map(without_penalty_times, third)) == list(map(without_penalty_times, first))


def test_a_search_goes_around_the_l2_that_was_chosen(tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="optuna is not installed: it is an extra")
    config = replace(make(tmp_path), methods=("random-k",), tune="optuna", trials=3, seeds=1, l2_grid=(1e-4, 1e-3))
    (first,), watcher = compute(config)
    assert len(watcher.trials) == 2 + 3
    assert first.penalty is not None
    assert first.tuning is not None
    own = first.penalty["l2"]
    assert first.tuning["default"]["l2"] == own
    assert first.tuning["space"]["l2"][:2] == pytest.approx([own / 10, own * 10])
    (again,), watcher = compute(config)
    assert (watcher.trials, again.config_hash) == ([], first.config_hash)


def without_penalty_times(record: CellRecord) -> str:
    values = without_circumstances(record)
    for trial in values["penalty"]["trials"]:
        del trial["seconds"]
    return json.dumps(values, sort_keys=True)


@pytest.mark.parametrize(
    ("more", "changes", "l2"),
    [
        ("[l2]\nsmall = 1e-5", {}, 1e-5),
        ("", {"set": ("l2=1e-5",)}, 1e-5),
        ("", {"datasets": (TINY,)}, SMALL.l2),
    ],
    ids=["card", "settings", "registered"],
)
def test_an_l2_that_is_given_stays(
    tmp_path: Path, data_dir: Path, more: str, changes: dict[str, tuple[str, ...]], l2: float
) -> None:
    config = replace(make(tmp_path, more), **changes)  # type: ignore[arg-type]
    if "datasets" in changes:
        config = replace(config, data_dir=data_dir)
    records, watcher = compute(replace(config, methods=("random-k",), seeds=1))
    assert (watcher.trials, records[0].penalty, records[0].profile["l2"]) == ([], None, l2)


def test_where_no_trial_works_cells_fail_with_their_own_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("no such thing")

    config = replace(make(tmp_path), seeds=1)
    monkeypatch.setattr("methods.random_k.RandomK.select", broken)
    monkeypatch.setattr("methods.no_selection.NoSelection.select", broken)
    records, _ = compute(config)
    assert [record.status for record in records] == ["failed", "ok"]
    assert records[0].reason == "RuntimeError: no such thing"
    assert records[1].profile["l2"] == SMALL.l2
