from __future__ import annotations

import json
import os
import shutil
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from cell_records import TINY, Watcher, contents

from bench.cli.run import parse
from bench.data.store.fields import read_fields
from bench.data.store.store import store_folder
from bench.datasets import resolve_dataset
from bench.errors import ConfigError, DataError
from bench.records import CellRecord, RunFolder
from bench.run.config import RunConfig
from bench.run.session import resolve
from bench.run.sweep import run

HOME = Path(__file__).resolve().parents[2]


Run = Callable[..., list[CellRecord]]


@pytest.fixture
def config(tmp_path: Path, data_dir: Path) -> RunConfig:
    return RunConfig(
        datasets=(TINY,),
        methods=("no-selection", "random-k"),
        backbones=("dnn[mlp=8]",),
        epochs=2,
        out=tmp_path / "run",
        data_dir=data_dir,
    )


def compute(config: RunConfig, interrupt_at: int = 0) -> tuple[list[CellRecord], Watcher]:
    watcher = Watcher(interrupt_at)
    return run(resolve(config), watcher), watcher


def as_stored(records: Sequence[CellRecord | None]) -> list[dict[str, Any]]:
    return [record.to_dict() for record in records if record is not None]


def test_a_run_leaves_the_facts_of_its_fields_which_a_repetition_does_not_touch(config: RunConfig) -> None:
    config = replace(config, methods=("random-k",), epochs=1)
    for rows in (None, 600):
        records, _ = compute(replace(config, rows=rows))
        found = {one.key: one for one in read_fields(config.out)}
        first = records[0]
        key = (first.dataset, first.dataset_revision, json.dumps(first.split_rows, sort_keys=True))
        assert [field.name for field in found[key].measured.fields] == first.field_names
        assert found[key].measured.train_rows == first.split_rows["train"]
    files = {file: file.stat().st_mtime_ns for file in (config.out / "fields").iterdir()}
    assert len(files) == 2
    compute(replace(config, rerun="always"))
    assert {file: file.stat().st_mtime_ns for file in (config.out / "fields").iterdir()} == files


def test_a_run_leaves_one_record_a_cell_and_its_settings(config: RunConfig) -> None:
    config = replace(config, seeds=2, prune_ratio=(0.25, 0.5, 0.5))
    records, watcher = compute(config)
    assert [(r.method, r.tau, r.seed) for r in records] == [
        (method, tau, seed)
        for seed in (0, 1)
        for method, tau in (("no-selection", None), ("random-k", 0.25), ("random-k", 0.5))
    ]
    assert watcher.planned == (6, 0)
    assert watcher.statuses == ["ok"] * 6
    folder = RunFolder(config.out)
    assert {file.stem for file in folder.cells.iterdir()} == {r.config_hash[:16] for r in records}
    assert as_stored([folder.read(r.config_hash) for r in records]) == as_stored(records)
    settings = tomllib.loads(folder.config_file.read_text())
    assert (settings["seeds"], settings["prune_ratio"]) == (2, [0.25, 0.5, 0.5])
    assert resolve(replace(parse(["--config", str(folder.config_file)]), config=None)).config == config
    assert list(config.out.glob("**/*.tmp")) == []


def test_the_same_run_twice_gives_the_same_bits(config: RunConfig, tmp_path: Path) -> None:
    config = replace(config, methods=("paper", "random-k"), prune_ratio=(0.5,))
    compute(config)
    compute(replace(config, out=tmp_path / "again"))
    first = contents(config.out)
    assert len(first) >= 4
    assert first == contents(tmp_path / "again")


def test_a_grid_grows_and_only_what_is_missing_is_computed(config: RunConfig) -> None:
    first, _ = compute(config)
    grown, watcher = compute(replace(config, seeds=2, prune_ratio=(0.5, 0.25), methods=("random-k", "no-selection")))
    assert watcher.planned == (6, 2)
    assert [(cell.method, cell.tau, cell.seed) for cell in watcher.started] == [
        ("random-k", 0.25, 0),
        ("random-k", 0.5, 1),
        ("no-selection", None, 1),
        ("random-k", 0.25, 1),
    ]
    assert as_stored([grown[1], grown[0]]) == as_stored(first)
    _, idle = compute(config)
    assert (idle.planned, idle.started) == ((2, 2), [])


def test_rerun_always_computes_everything_again(config: RunConfig, zoo: Path) -> None:
    config = replace(config, methods=("no-selection", "zoo-counted"), prune_ratio=(0.5, 0.25))
    compute(config)
    before = contents(config.out)
    _, watcher = compute(replace(config, rerun="always"))
    assert len(watcher.started) == 3
    assert Path(os.environ["ZOO_LOG"]).read_text().split() == ["select"] * 2  # once each run
    assert contents(config.out) == before


@pytest.mark.usefixtures("zoo")
def test_failing_cells_stop_nothing_and_are_computed_again(config: RunConfig) -> None:
    bad = ("zoo-raises", "zoo-broken", "zoo-leaks", "zoo-hungry", "zoo-skips")
    config = replace(config, methods=(*bad, "random-k"))
    _, watcher = compute(config)
    assert watcher.statuses == ["failed", "failed", "failed", "oom", "skipped", "ok"]
    records, again = compute(config)
    assert [cell.method for cell in again.started] == list(bad[:4])
    assert again.planned == (6, 2)
    assert [record.status for record in records] == watcher.statuses


def test_a_backbone_that_cannot_be_imported_fails_its_cells_only(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    import backbones

    broken = replace(backbones.TABLE["xdeepfm"], target="no_such_module:Net")
    monkeypatch.setitem(resolve.__globals__["plugins"].backbones()._entries, "xdeepfm", broken)
    config = replace(config, methods=("random-k",), backbones=("xdeepfm", "dnn[mlp=8]"))
    records, _ = compute(config)
    assert [record.status for record in records] == ["failed", "ok"]
    assert "no_such_module" in str(records[0].reason)
    assert "Traceback" in str(records[0].traceback)


def test_an_interrupted_run_goes_on_and_ends_as_if_never_interrupted(config: RunConfig, tmp_path: Path) -> None:
    config = replace(config, methods=("no-selection", "random-k", "light-fmp"), prune_ratio=(0.25, 0.5))
    _, watcher = compute(replace(config, out=tmp_path / "whole"))
    whole = contents(tmp_path / "whole")
    assert len(whole) == 5
    for at in (1, watcher.events // 3, watcher.events // 2, watcher.events):
        shutil.rmtree(config.out, ignore_errors=True)
        with pytest.raises(KeyboardInterrupt):
            compute(config, interrupt_at=at)
        done = len(contents(config.out))
        assert done < 5
        _, rest = compute(config)
        assert rest.planned == (5, done)
        assert contents(config.out) == whole


def test_a_shared_ranking_is_computed_once_and_charged_to_every_cell(config: RunConfig, zoo: Path) -> None:
    log = Path(os.environ["ZOO_LOG"])
    config = replace(
        config, methods=("zoo-counted",), backbones=("dnn[mlp=8]", "zoo-linear"), prune_ratio=(0.0, 0.5), seeds=2
    )
    records, _ = compute(config)
    assert len(records) == 8
    assert log.read_text().split() == ["select"] * 2  # one a seed
    for seed in (0, 1):
        mine = [record for record in records if record.seed == seed]
        assert len({record.pt_s for record in mine}) == 1
        assert len({tuple(record.field_scores or ()) for record in mine}) == 1
        assert all(record.pt_s > 0 and record.pt_shared for record in mine)
        assert all(record.tt_s == record.pt_s + record.ct_s for record in mine)
        assert {len(record.kept_fields or ()) for record in mine} == {8, 4}
        notes = [{**record.to_dict()["notes"], "flags": None} for record in mine]
        assert notes == [notes[0]] * 4
    assert all((record.notes["logged"], record.notes["noted"]) == (1.5, 7) for record in records)
    assert records[0].field_scores != records[-1].field_scores

    # killed between the ranking and the record of its first cell: the stored ranking serves, the record is the same
    before = contents(config.out)
    first = RunFolder(config.out).cell_file(records[0].config_hash)
    first.unlink()
    compute(config)
    assert contents(config.out) == before
    assert len(log.read_text().split()) == 2


@pytest.mark.parametrize(
    ("damage", "parts"),
    [
        (lambda text: text[: len(text) // 2], ["not readable", "Delete the file"]),
        (lambda text: text.replace('"logloss"', '"loglos"'), ["unknown key 'loglos'", "'logloss'"]),
        (lambda text: text.replace('"status": "ok"', '"status": "fine"'), ["status='fine'"]),
    ],
)
def test_a_damaged_record_is_refused_by_its_file(
    config: RunConfig, damage: Callable[[str], str], parts: list[str]
) -> None:
    records, _ = compute(config)
    file = RunFolder(config.out).cell_file(records[1].config_hash)
    file.write_text(damage(file.read_text()))
    with pytest.raises(DataError) as caught:
        compute(config)
    for part in [file.name, *parts]:
        assert part in str(caught.value)


@pytest.mark.usefixtures("zoo")
def test_checkpoints_go_when_their_cell_is_done_and_stay_when_it_failed(config: RunConfig) -> None:
    config = replace(config, methods=("random-k", "zoo-exploding"), checkpoint=True)
    records, _ = compute(config)
    assert [record.status for record in records] == ["ok", "failed"]
    left = [folder.name for folder in (config.out / "checkpoints").iterdir()]
    assert left == [records[1].config_hash[:16]]


def test_a_damaged_store_or_too_few_rows_leave_no_run_behind(config: RunConfig, tmp_path: Path, data_dir: Path) -> None:
    with pytest.raises(DataError, match="rows=10"):
        compute(replace(config, rows=10))
    copy = tmp_path / "data"
    shutil.copytree(data_dir, copy)
    labels = store_folder(copy, resolve_dataset(TINY)) / "labels.npy"
    content = bytearray(labels.read_bytes())
    content[-1] ^= 1
    labels.write_bytes(content)
    with pytest.raises(DataError, match=r"labels\.npy"):
        compute(replace(config, data_dir=copy))
    assert not config.out.exists()


@pytest.mark.parametrize("isolate", [False, True])
def test_a_store_whose_ids_are_damaged_leaves_no_run_behind(
    config: RunConfig, tmp_path: Path, data_dir: Path, isolate: bool
) -> None:
    copy = tmp_path / "data"
    shutil.copytree(data_dir, copy)
    ids = store_folder(copy, resolve_dataset(TINY)) / "ids.npy"
    ids.write_bytes(ids.read_bytes()[:-4])
    with pytest.raises(DataError, match=r"ids\.npy"):
        compute(replace(config, data_dir=copy, isolate=isolate))
    assert not config.out.exists()


@pytest.mark.parametrize(("rows", "tune"), [(None, "none"), (600, "none"), (None, "lr")])
def test_a_finished_run_is_repeated_without_the_rows(
    config: RunConfig, tmp_path: Path, data_dir: Path, rows: int | None, tune: Literal["none", "lr"]
) -> None:
    """Every other file of the store is gone: labels and splits are enough to tell that all cells are done."""
    copy = tmp_path / "data"
    shutil.copytree(data_dir, copy)
    config = replace(config, data_dir=copy, rows=rows, tune=tune, seeds=2, prune_ratio=(0.25, 0.5))
    first, _ = compute(config)
    store = store_folder(copy, resolve_dataset(TINY))
    for file in store.iterdir():
        if file.name not in ("manifest.json", "labels.npy", "split.npy"):
            file.unlink()
    second, idle = compute(config)
    assert (idle.planned, idle.started) == ((6, 6), [])
    assert as_stored(second) == as_stored(first)
    for changes in ({"seeds": 3}, {"rerun": "always"}):
        with pytest.raises(DataError, match=r"\.npy: cannot be read"):
            compute(replace(config, **changes))
    again, _ = compute(config)  # nothing was removed before that was found out
    assert as_stored(again) == as_stored(first)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ("random-q",)}, "'random-k'"),
        ({"backbones": ("xdeepfmm",)}, "'xdeepfm'"),
        ({"backbones": ("dnn[mpl=8]",)}, "'mlp'"),
        ({"backbones": ("dnn[dropout=1]",)}, r"dropout=1.*\[0, 1\)"),
        ({"datasets": ("plantd",)}, "'planted'"),
        ({"datasets": ("planted[rowz=5]",)}, "'rows'"),
        ({"datasets": ("nowhere.toml",)}, r"nowhere\.toml"),
        ({"device": "tpu"}, "tpu"),
    ],
)
def test_names_that_nobody_has_are_refused_before_anything_runs(
    config: RunConfig, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve(replace(config, **changes))


def test_rows_limit_the_data_and_change_the_identity(config: RunConfig) -> None:
    whole, _ = compute(config)
    part, _ = compute(replace(config, rows=600))
    assert part[0].split_rows == {"train": 480, "valid": 60, "test": 60}
    assert part[0].config_hash != whole[0].config_hash
    same, watcher = compute(replace(config, rows=1200))
    assert watcher.started == []
    assert as_stored(same) == as_stored(whole)
