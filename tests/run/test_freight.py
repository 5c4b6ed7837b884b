"""What a cell takes to a node that sees neither store nor run folder, and brings home."""

from __future__ import annotations

import json
import tempfile
from contextlib import chdir
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cell_records import TINY, Watcher, without_circumstances

from bench.data.prepare.prepare import prepare
from bench.data.store.store import store_folder
from bench.datasets import resolve_dataset
from bench.errors import ConfigError
from bench.records import RunFolder
from bench.run.config import RunConfig, to_json
from bench.run.executors import freight
from bench.run.executors.base import CellTask
from bench.run.executors.remote import work
from bench.run.session import Session, resolve
from bench.run.sweep import run

HELD = "lasso[budget=match:cardinality]"
NONE = freight.Named({}, {}, {})
CARD = """
name = "clicks"
[raw]
[raw.columns]
y = "label"
a = "categorical"
b = "categorical"
c = "categorical"
day = "categorical"
"""


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
    wanted = freight.address(session, next(session.plan.cells()), NONE)
    assert freight.is_there(config, wanted) == (True, True, True)

    def fetch() -> freight.Store:
        raise AssertionError("nothing is fetched")

    with freight.unpacked(config, wanted, freight.NOTHING, fetch) as (here, written):
        assert (here.config, here.cwd) == (config, Path.cwd())
    assert written == {}
    config.out.joinpath("run.toml").write_text("seeds = 9\n")
    assert freight.is_there(config, wanted) == (True, False, True), "a folder of another run under the same path"


def test_a_cell_far_from_home_gives_the_same_record_and_its_files_come_home(config: RunConfig, tmp_path: Path) -> None:
    """The partner's record goes along; the store travels once."""
    at_home = {record.label: record for record in run(resolve(config), Watcher())}
    session = Session(resolve(config))
    cell = next(cell for cell in session.plan.cells() if cell.method == HELD)
    wanted = freight.address(session, cell, NONE)
    parcel, store = freight.pack(session, cell, NONE), freight.pack_store(session, cell.dataset)
    away = replace(config, out=Path("/no/run"), data_dir=Path("/no/data"))
    assert freight.is_there(away, wanted) == (False, False, True)
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


def elsewhere(base: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    """A run of a table that lies in a folder of parts, by a card and rankings that lie in three places."""
    for place in ("desk", "cards", "lists", "raw/day=1", "raw/day=2"):
        (tmp_path / place).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "desk")
    (tmp_path / "cards" / "clicks.toml").write_text(CARD)
    for day in (1, 2):
        rows = "".join(f"{i * i % 7 % 2},{i % 7},{i % 5},{i % 3}\n" for i in range(300 * day))
        (tmp_path / "raw" / f"day={day}" / "part.csv").write_text(f"y,a,b,c\n{rows}")
    (tmp_path / "lists" / "first.txt").write_text("c\na\nb\nday\n")
    Path("second.txt").write_text("day\na\nc\nb\n")
    card = resolve_dataset(str(tmp_path / "cards" / "clicks.toml"))
    prepare(card, tmp_path / "raw", store_folder(tmp_path / "data", card))
    partner = "ranking-file[path=../lists/first.txt]"
    names = (partner, "ranking-file[path=second.txt]", f"lasso[budget=match:{partner}]")
    datasets = (str(tmp_path / "cards" / "clicks.toml"),)
    return replace(base, datasets=datasets, methods=names, set=("l2=1e-5",), data_dir=tmp_path / "data")


def test_files_that_the_settings_name_travel_wherever_they_lie(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card by its absolute path, rankings in the working folder and beside it, a store made of a folder."""
    config = elsewhere(config, tmp_path, monkeypatch)
    at_home = {record.label: record for record in run(resolve(config), Watcher())}
    assert [record.status for record in at_home.values()] == ["ok"] * 3
    session = Session(resolve(config))
    named = freight.Named.by(session.plan.config)
    sent = []
    for cell in session.plan.cells():
        wanted = json.loads(json.dumps(freight.address(session, cell, named)))
        assert freight.is_there(config, wanted) == (True, True, True)
        parcel, store = freight.pack(session, cell, named), freight.pack_store(session, cell.dataset)
        kept = {key: text for key, text in parcel["run"].items() if not key.startswith("selections/")}
        sent.append((cell, wanted, {**parcel, "run": kept}, store))
    assert {path.name for path in store_folder(config.data_dir, session.plan.cards["clicks"]).iterdir()} == store.keys()
    for place in ("cards", "lists", "raw", "data"):
        (tmp_path / place).rename(tmp_path / f"{place} of home")
    Path("second.txt").write_text("b\na\nc\nday\n")
    away = replace(session.plan.config, out=Path("/no/run"))
    for cell, wanted, parcel, store in sent:
        assert freight.is_there(away, wanted) == (False, False, False), "another file under the same path is none"
        with freight.unpacked(away, wanted, parcel, lambda found=store: found) as (here, _), chdir(here.cwd):  # type: ignore[misc]
            record = type(at_home[cell.method]).from_dict(told(here.config, CellTask(cell)))
        assert without_circumstances(record) == without_circumstances(at_home[cell.method])


def test_a_named_file_that_is_gone_is_said_before_a_cell_begins(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = elsewhere(config, tmp_path, monkeypatch)
    plan = resolve(config)
    Path(config.datasets[0]).unlink()
    with pytest.raises(ConfigError, match=r"clicks\.toml cannot be read: No such file"):
        freight.Named.by(plan.config)
    assert freight.Named.by(replace(plan.config, datasets=(TINY,), methods=("lasso",))) == freight.Named(
        {}, {}, {"datasets": (TINY,), "methods": ("lasso",)}
    )


@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: it is an extra")
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_workers_that_see_nothing_of_home_are_sent_what_they_lack(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a node of this machine, which is told of a run folder and a working folder that it has not."""
    from bench.run.executors import ray_cluster

    def far(*given: Any) -> freight.Address:
        return {**freight.address(*given), "run": "0" * 64, "cwd": str(tmp_path / "gone")}

    monkeypatch.setattr(ray_cluster, "address", far)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    config = elsewhere(config, tmp_path, monkeypatch)
    at_home = {record.label: record for record in run(resolve(config), Watcher())}
    found = run(resolve(replace(config, out=tmp_path / "ray", executor="ray:1")), Watcher())
    assert [record.status for record in found] == ["ok"] * 3, [record.reason for record in found]
    for record in found:
        there, here = (without_circumstances(replace(one, host={})) for one in (record, at_home[record.label]))
        assert there == here
    assert len(list((tmp_path / "ray" / "selections").iterdir())) == len(list((config.out / "selections").iterdir()))
