"""``bench verify --rerun-cell``: a recorded cell trained again, and what is said of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cell_records import TINY, Watcher

from bench import environment
from bench.checks.rerun import MEASURED, WITHIN, Rerun, Tolerance, draw, tolerance_of
from bench.identity import config_hash
from bench.records import CellRecord, RunFolder
from bench.run.config import RunConfig
from bench.run.session import resolve
from bench.run.sweep import run

Bench = Callable[..., Any]


def cell(method: str, **changes: Any) -> CellRecord:
    values: dict[str, Any] = {
        "dataset": "clicks", "backbone": "net", "method": method, "label": method, "seed": 0, "tau": 0.5,
        "status": "ok", "kept_fields": [0, 1], "config_hash": config_hash({"method": method}), **changes,
    }  # fmt: skip
    return CellRecord(**values)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    out = tmp_path_factory.mktemp("made") / "run"
    methods, nets = ("no-selection", "random-k"), ("dnn[mlp=4]",)
    settings = RunConfig((TINY,), methods, nets, seeds=2, epochs=1, out=out, data_dir=data_dir)
    run(resolve(replace(settings, keep_predictions="never")), Watcher())
    return out


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> RunFolder:
    """A copy to change."""
    shutil.copytree(made, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def contents(folder: RunFolder) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}


def test_a_cell_comes_out_identical_and_leaves_the_run_as_it_was(folder: RunFolder, bench: Bench) -> None:
    before = contents(folder)
    record = next(one for one in folder.records() if one.label == "random-k" and one.seed == 1)
    found = bench("verify", str(folder.path), "--rerun-cell", record.config_hash[:12])
    assert found.code == 0, found.err
    assert f"random-k on {record.dataset} with dnn[mlp=4], τ = 0.5, seed 1 ({record.config_hash[:12]})" in found.out
    assert "trained again: identical\n" in found.out and f"{record.auc:.9f} recorded, the same" in found.out
    assert "4 cells without predictions, not verified" in found.out and "agrees" not in found.out
    assert contents(folder) == before


def test_a_record_that_was_changed_differs(folder: RunFolder, bench: Bench) -> None:
    record = next(one for one in folder.records() if one.label == "random-k")
    assert record.auc is not None and record.kept_fields is not None
    folder.write(replace(record, auc=record.auc + 1e-9))
    found = bench("verify", str(folder.path), "--rerun-cell", record.config_hash[:8])
    assert found.code == 1 and "trained again: differs\n" in found.out
    assert "1e-09 away" in found.out, "on this very machine nothing but the same number will do"
    other = sorted(set(range(len(record.field_names))) - set(record.kept_fields))[0]
    folder.write(replace(record, kept_fields=sorted([*record.kept_fields[1:], other])))
    found = bench("verify", str(folder.path), "--rerun-cell", record.config_hash[:8])
    assert found.code == 1 and f"{record.field_names[other]} only recorded" in found.out


def test_cells_are_drawn_by_a_number_that_can_be_named(folder: RunFolder, bench: Bench) -> None:
    first = [one.config_hash for one in draw(folder, 2, 0)]
    assert first == [one.config_hash for one in draw(folder, 2, 0)] and len(set(first)) == 2
    assert any([one.config_hash for one in draw(folder, 2, seed)] != first for seed in range(1, 9))
    assert len(draw(folder, 99, 0)) == 4, "no more than there are"
    found = bench("verify", str(folder.path), "--rerun-cell", "2")
    assert found.code == 0 and found.out.count("trained again: identical") == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rerun-cell", "0"], "give a number of cells from 1 to 999"),
        (["--rerun-cell", "abc"], "give a number of cells from 1 to 999"),
        (["--rerun-cell", "zzzz"], "begins the hash of none"),
        (["--draw", "1"], "add --rerun-cell"),
        (["--card", "x.toml"], "add --rerun-cell"),
        ([], "--rerun-cell 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(folder: RunFolder, bench: Bench, words: list[str], said: str) -> None:
    found = bench("verify", str(folder.path), *words)
    assert found.code == 2 and said in found.err


def one(off: float, circumstances: tuple[str, ...], limit: float | None, **now: Any) -> Rerun:
    record = cell("alpha", auc=0.75, logloss=0.5)
    again = replace(record, **{"auc": 0.75 + off, "logloss": 0.5 + off} | now)
    return Rerun(record, again, circumstances, (), None if limit is None else Tolerance(limit, "measured here"))


def test_the_tolerance_holds_for_other_processors_alone() -> None:
    elsewhere = ("processor A and B",)
    assert one(0.0, (), None).verdict == "identical" == one(0.0, elsewhere, 0.1).verdict
    assert one(0.001, elsewhere, 0.002).verdict == WITHIN
    assert one(0.001, (), 0.002).verdict == "differs"
    assert one(0.003, elsewhere, 0.002).verdict == "differs"
    assert one(0.001, elsewhere, None).verdict == "differs", "nobody has measured it"
    assert one(0.0, elsewhere, 0.1, kept_fields=[0]).verdict == "differs"
    assert one(0.0, elsewhere, 0.1, auc=None, status="failed", reason="no").verdict == "differs"


def test_the_tolerance_is_that_of_the_run_then_of_the_data_set_then_of_the_method(tmp_path: Path) -> None:
    table = tmp_path / "rounding.csv"
    table.write_text("dataset,method,largest\nclicks,alpha,0.001\nother,alpha,0.01\nother,beta,0.02\nmore,beta,0.03\n")
    found = {label: tolerance_of(cell(label), table) for label in ("alpha", "beta", "gamma")}
    assert [None if x is None else x.auc for x in found.values()] == [0.001, 0.03, None]
    own = tolerance_of(cell("alpha", notes={"rounding": {"largest": 0.5}}), table)
    assert own is not None and own.auc == 0.5 and "on this run" in own.source


def test_the_recorded_table_is_that_of_the_reference_runs() -> None:
    text = (MEASURED.parent / "README.md").read_text(encoding="utf-8")
    lines = MEASURED.read_text(encoding="utf-8").splitlines()[1:]
    shown = [line.split(" | ")[1:7] for line in text.splitlines() if line.startswith(("| planted, ", "| Criteo, "))]
    assert [line.split(",")[3:] for line in lines] == shown and len(lines) > 20


def test_another_processor_is_told_by_what_the_record_holds(
    folder: RunFolder, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = next(one for one in folder.records() if one.label == "random-k")
    assert record.auc is not None
    folder.write(replace(record, auc=record.auc + 1e-6, notes={"rounding": {"largest": 1e-5}}))
    here = dict(environment.host())
    monkeypatch.setattr(environment, "host", lambda: {**here, "cpu": "another"})
    found = bench("verify", str(folder.path), "--rerun-cell", record.config_hash[:8])
    assert found.code == 0 and f"trained again: {WITHIN}\n" in found.out
    assert "another" in found.out and "up to 0.00001 (measured by `bench rounding` on this run)" in found.out
