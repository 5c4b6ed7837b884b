"""``bench verify``: what a run says against what it kept."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cell_records import TINY, Watcher

from bench.checks import verify as module
from bench.checks.verify import verify
from bench.files import file_sha256
from bench.predictions import Predictions
from bench.records import RunFolder, load_frame
from bench.report.formats import csv
from bench.run.config import RunConfig
from bench.run.session import resolve
from bench.run.sweep import run
from bench.tables.difference import difference_tables

Bench = Callable[..., Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    """A run of three methods and two seeds, one of them without τ, with its table of differences."""
    out = tmp_path_factory.mktemp("made") / "run"
    methods = ("no-selection", "random-k", "no-selection[restart=true]")
    run(
        resolve(
            RunConfig(
                (TINY,),
                methods,
                ("dnn[mlp=8]",),
                seeds=2,
                prune_ratio=(0.25, 0.5),
                epochs=1,
                out=out,
                data_dir=data_dir,
            )
        ),
        Watcher(),
    )
    write_table(RunFolder(out))
    return out


def write_table(folder: RunFolder) -> None:
    folder.tables.mkdir(exist_ok=True)
    tables = difference_tables(load_frame(folder), Predictions(folder.predictions))
    (folder.tables / "difference.csv").write_text(csv.document(tables))


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> RunFolder:
    """A copy to change."""
    shutil.copytree(made, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def test_numbers_of_a_run_agree_with_its_predictions(folder: RunFolder, bench: Bench) -> None:
    found = verify(folder)
    assert (found.cells, found.unkept, found.faults) == (8, 0, [])
    assert (found.differences, found.unclear) == (4, 0), "two methods at two prune ratios"
    assert all(off < 1e-6 for off in found.off.values()) and set(found.off) == {"auc", "logloss", "pcoc", "ece"}
    outcome = bench("verify", str(folder.path))
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("8 cells computed anew from predictions\n")
    assert outcome.out.endswith("agrees\n")


@pytest.mark.parametrize("name", ["auc", "logloss", "pcoc", "ece"])
def test_a_number_that_was_changed_is_named_with_both(folder: RunFolder, bench: Bench, name: str) -> None:
    record = next(record for record in folder.records() if record.label == "random-k" and record.tau == 0.25)
    was = getattr(record, name)
    folder.write(replace(record, **{name: was + 1e-4}))
    outcome = bench("verify", str(folder.path))
    assert outcome.code == 1
    where = f"random-k on {record.dataset} with {record.backbone}, τ = 0.25, seed {record.seed}: {name} "
    (line,) = [line for line in outcome.out.splitlines() if line.startswith(where)]
    recorded, _, again = line.removeprefix(where).partition(" in the record, ")
    assert float(recorded) == was + 1e-4
    assert float(again.partition(" ")[0]) == pytest.approx(was)
    assert outcome.out.endswith("does not agree: 1 number\n")


def test_predictions_that_were_changed_are_named(folder: RunFolder) -> None:
    record, kept = folder.records()[0], Predictions(folder.predictions)
    assert record.predictions is not None
    z = kept.logits(record.config_hash, record.predictions).copy()
    z[0] += 1
    np.save(kept.file(record.config_hash), z)
    (fault,) = verify(folder).faults
    assert record.label in fault and "was changed or damaged" in fault
    # with a checksum to match, the numbers give it away
    entry = record.predictions | {"sha256": file_sha256(kept.file(record.config_hash))}
    folder.write(replace(record, predictions=entry))
    assert any(": logloss " in fault for fault in verify(folder).faults)


def test_an_interval_that_was_changed_is_named(folder: RunFolder) -> None:
    file = folder.tables / "difference.csv"
    (line,) = [
        line
        for line in file.read_text().splitlines()
        if ",difference_low," in line and "random-k," in line and "tau0.5" in line and not line.endswith(",,0,,,")
    ]
    number = line.split(",difference_low,no-selection,")[1].partition(",")[0]
    changed = line.replace(number, f"{float(number) - 1e-4:.12g}")
    file.write_text(file.read_text().replace(line, changed))
    (fault,) = verify(folder).faults
    assert ": difference_low " in fault and fault.startswith("random-k on ") and "bench report" in fault


def test_what_cannot_be_verified_is_counted(folder: RunFolder, bench: Bench) -> None:
    for record in folder.records():
        if record.label == "random-k" and record.seed == 0:
            Predictions(folder.predictions).file(record.config_hash).unlink()
    found = verify(folder)
    assert (found.cells, found.unkept, found.differences, found.unclear, found.faults) == (6, 2, 2, 2, [])
    assert "2 cells without predictions, not verified" in bench("verify", str(folder.path)).out
    shutil.rmtree(folder.predictions)
    outcome = bench("verify", str(folder.path))
    assert outcome.code == 2 and "has no predictions to verify its numbers by" in outcome.err


def test_a_table_that_is_none_is_refused(folder: RunFolder, bench: Bench) -> None:
    (folder.tables / "difference.csv").write_text("no table\n1\n")
    outcome = bench("verify", str(folder.path))
    assert outcome.code == 2 and "Write it anew by `python -m bench report" in outcome.err


def test_it_uses_no_statistics_of_the_harness() -> None:
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name for name in imported if name and name.startswith("bench")} == {
        "bench.errors",
        "bench.predictions",
        "bench.records",
    }
