"""What a cell takes to a node that sees neither store nor run folder, and brings home."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cell_records import TINY, Watcher, without_circumstances

from bench.data.store.store import store_folder
from bench.records import RunFolder
from bench.run.config import RunConfig, to_json
from bench.run.executors import freight
from bench.run.executors.base import CellTask
from bench.run.executors.remote import work
from bench.run.session import Session, resolve
from bench.run.sweep import run

HELD = "lasso[budget=match:cardinality]"


@pytest.fixture
def config(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    (tmp_path / "node").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "node"))
    return RunConfig(
        datasets=(TINY,),
        methods=("cardinality", HELD),
        backbones=("dnn[mlp=8]",),
        prune_ratio=(0.5,),
        epochs=1,
        threads=1,
        out=tmp_path / "run",
        data_dir=data_dir,
    )


def told(config: RunConfig, task: CellTask) -> dict[str, Any]:
    """The result of ``task`` as a process that knows the plan alone gives it."""
    said: list[tuple[str, Any]] = []
    work(to_json(config), task.text, lambda kind, content: said.append((kind, content)))
    kind, content = said[-1]
    assert kind == "result", content
    found: dict[str, Any] = json.loads(json.dumps(content))
    return found


def test_a_node_that_sees_the_folders_needs_nothing(config: RunConfig) -> None:
    run(resolve(config), Watcher())
    session = Session(resolve(config))
    wanted = freight.address(session, next(session.plan.cells()))
    assert freight.is_there(config, wanted) == (True, True)

    def fetch() -> freight.Store:
        raise AssertionError("nothing is fetched")

    with freight.unpacked(config, wanted, freight.NOTHING, fetch) as (here, written):
        assert here.config == config
    assert written == {}
    config.out.joinpath("run.toml").write_text("seeds = 9\n")
    assert freight.is_there(config, wanted) == (True, False), "a folder of another run under the same path"


def test_a_cell_far_from_home_gives_the_same_record_and_its_files_come_home(config: RunConfig, tmp_path: Path) -> None:
    """The partner's record goes along; the store travels once."""
    at_home = {record.label: record for record in run(resolve(config), Watcher())}
    session = Session(resolve(config))
    cell = next(cell for cell in session.plan.cells() if cell.method == HELD)
    wanted = freight.address(session, cell)
    parcel, store = freight.pack(session, cell), freight.pack_store(session, cell.dataset)
    away = replace(config, out=Path("/no/run"), data_dir=Path("/no/data"))
    assert freight.is_there(away, wanted) == (False, False)
    assert {name.partition("/")[0] for name in parcel["run"]} == {"cells", "selections"}
    sent = {name: text for name, text in parcel["run"].items() if not name.startswith("selections/")}
    fetched: list[str] = []

    def fetch() -> freight.Store:
        fetched.append("store")
        return store

    for _ in range(2):
        with freight.unpacked(away, wanted, {**parcel, "run": sent}, fetch) as (here, written):
            found = told(here.config, CellTask(cell))
            stores = here.config.data_dir
        assert not here.config.out.exists(), "nothing of the run stays on the node"
    assert fetched == ["store"]
    assert stores.is_relative_to(tmp_path / "node" / freight.STORES)
    card = session.plan.cards[cell.dataset]
    for file in store_folder(config.data_dir, card).iterdir():
        assert (store_folder(stores, card) / file.name).read_bytes() == file.read_bytes()
    record = type(at_home[HELD]).from_dict(found)
    assert without_circumstances(record) == without_circumstances(at_home[HELD])

    assert sum(name.startswith("selections/") for name in written) == 1, "the ranking that it made there"
    home = tmp_path / "home"
    written["../stray.txt"] = written["cells/x.json"] = b"not asked for"
    freight.bring_home(home, written)
    assert not (tmp_path / "stray.txt").exists() and not (home / "cells").exists()
    assert record.predictions is not None
    kept = RunFolder(home).predictions
    assert {file.suffix for file in kept.iterdir()} == {".npy", ".part"}
    (kept / record.predictions["labels"]).write_bytes(b"first")
    freight.bring_home(home, written)
    assert (kept / record.predictions["labels"]).read_bytes() == b"first", "what is there stays"


def test_two_cells_of_a_node_that_fetch_at_once_leave_one_store(config: RunConfig) -> None:
    wanted = {"key": "planted@1", "store": "ab" * 32, "run": ""}
    data = {"ids.npy": np.arange(3, dtype=np.uint8)}

    def second() -> freight.Store:
        freight._unpack_store(wanted, lambda: data)  # the other one is faster
        return data

    home = freight._unpack_store(wanted, second)
    assert [path.name for path in home.iterdir()] == ["planted@1"]
    assert (home / "planted@1" / "ids.npy").read_bytes() == b"\x00\x01\x02"
