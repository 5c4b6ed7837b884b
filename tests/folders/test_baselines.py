"""``run --baselines``: recorded cells beside a new method, each checked, none computed again; and bundles of them."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cell_records import TINY
from folders_of_runs import altered, cell, change, tree

from bench.cli.run import parse
from bench.folders import baselines
from bench.run import job
from bench.run.session import resolve

Bench = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("runs")
MINE = '''"""Keeps the last fields."""
from dataclasses import dataclass
import numpy as np
from bench.api import Method, MethodEntry, Selection


class Last(Method):
    def select(self, ctx, train, selection_rows):
        return Selection(scores=np.arange(ctx.schema.n_fields, dtype=float))


ENTRY = MethodEntry(f"{__name__}:Last", "Last")
'''


@pytest.fixture
def flags(data_dir: Path, fresh_registries: Callable[[], None]) -> list[str]:
    Path("last.py").write_text(MINE)
    common = ["--data-dir", str(data_dir), "--backbones", "dnn[mlp=8]", "--epochs", "1", "--seeds", "1", "--out", "new"]
    return ["run", "--datasets", TINY, "--methods", "last", "--plugin", "last.py", *common]


def test_a_new_method_costs_its_own_cells_only(bench: Bench, flags: list[str]) -> None:
    done = bench(*flags, "--baselines", "a", "b")
    assert done.code == 0, done.err
    assert "1 cell, 0 done before, 1 to run" in done.err
    assert "a: 2 recorded cells fit\n" in done.err and "b: 2 recorded cells fit\n" in done.err
    table = Path("new", "tables", "overall.md").read_text()
    for label, title, source in (("no-selection", "No Selection", "a"), ("cardinality", "Cardinality", "b")):
        there, here = (json.loads(cell(folder, label).read_text()) for folder in (source, "new"))
        sha256 = hashlib.sha256(cell(source, label).read_bytes()).hexdigest()
        assert here["origin"] == {"source": source, "sha256": sha256, "times": True}
        assert {**here, "origin": None} == there
        assert title in table and f"{there['auc']:.4f}" in table
    assert f"RECORDED, taken from another run: from a, recorded {there['recorded']} on {there['host']['cpu']}" in table
    assert json.loads(cell("new", "last").read_text())["origin"] is None
    assert "| Last" in Path("new", "tables", "difference.md").read_text()  # against predictions of the baseline's cell
    again = bench(*flags, "--baselines", "a", "b")
    assert again.code == 0 and "1 cell, 1 done before, 0 to run" in again.err
    told = bench("explain", "new", "table2", there["dataset"], "cardinality", "auc")
    assert '"source": "b"' in told.out


def test_what_the_grid_names_itself_is_taken_too(bench: Bench, flags: list[str]) -> None:
    both = [*flags[: flags.index("last")], "cardinality", "no-selection", *flags[flags.index("last") :]]
    done = bench(*both, "--baselines", "b")
    assert done.code == 0, done.err
    assert "3 cells, 1 done before, 2 to run" in done.err


def test_times_of_another_machine_stay_where_they_are(bench: Bench, flags: list[str]) -> None:
    for label in ("no-selection", "random-k"):
        change(cell("a", label), host={"system": "Linux", "cpu": "another", "cores": 64}, recorded=None)
    done = bench(*flags, "--baselines", "a")
    assert "2 recorded cells fit, 2 of them without their times (there and here: " in done.err
    assert f"cores 64 and {os.cpu_count()}" in done.err
    record = json.loads(cell("new", "no-selection").read_text())
    assert record["origin"]["times"] is False and record["host"]["cpu"] == "another"
    assert all(record[key] is None for key in ("pt_s", "ct_s", "tt_s", "it_s", "disturbed"))
    text = Path("new", "tables", "overall.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith("| Last"))
    assert row.split("|")[4].strip() == "—"
    assert f"recorded at commit {str(record['git'])[:7]} on another, 64 cores; their times, measured under" in text


@pytest.mark.parametrize("wanted", [1, 2])
@pytest.mark.parametrize("recorded", [1, 2])
def test_times_are_taken_of_as_many_workers_and_results_of_any_number(
    flags: list[str], recorded: int, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers differ from one process in the last digits, which no identity holds."""
    monkeypatch.setattr("bench.run.check.cores", lambda: 2)
    for label in ("no-selection", "random-k"):
        there = json.loads(cell("a", label).read_text())
        host = there["host"] | ({"workers": recorded} if recorded > 1 else {})
        there = change(cell("a", label), host=host, auc=there["auc"], ct_s=7.0)
    argv = [*flags[1:], "--workers-per-cell", str(wanted), "--threads", str(there["threads"]), "--baselines", "a"]
    said: list[str] = []
    assert baselines.take(resolve(parse(argv)), said.append) == 2
    here = json.loads(cell("new", "random-k").read_text())
    assert (here["config_hash"], here["auc"], here["host"]) == (there["config_hash"], there["auc"], there["host"])
    assert here["origin"]["times"] == (recorded == wanted)
    assert here["ct_s"] == (7.0 if recorded == wanted else None)
    told = f", 2 of them without their times (there and here: workers {recorded} and {wanted})"
    assert said == [f"a: 2 recorded cells fit{told if recorded != wanted else ''}"]


def test_the_plan_of_a_run_with_workers_promises_no_gain(
    bench: Bench, flags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.run.check.cores", lambda: 2)
    threads = str(json.loads(cell("a", "no-selection").read_text())["threads"])
    done = bench(*flags, "--baselines", "a", "--plan", "--workers-per-cell", "2", "--threads", threads)
    assert done.code == 0, done.err
    assert "2 of them without their times (there and here: workers 1 and 2)" in done.err
    assert "2 workers MiB" in done.out
    assert "times of last are reckoned for one process with" in done.out


def test_recorded_cells_of_other_settings_are_refused_by_name(bench: Bench, flags: list[str]) -> None:
    done = bench(*flags, "--baselines", "a", "--set", "lr=0.002")
    assert done.code == 2
    assert "baselines=a: 2 recorded cells are not those of this run:" in done.err
    assert "dnn[mlp=8] no-selection seed 0 and 1 more: profile lr=0.002 here and 0.001 there." in done.err
    assert "Run with the settings that it was recorded with" in done.err
    assert not Path("new").exists()


def test_recorded_cells_of_another_protocol_are_refused_by_name(
    bench: Bench, flags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "PROTOCOL", job.PROTOCOL + 1)
    done = bench(*flags, "--baselines", "a")
    assert done.code == 2
    assert f"protocol {job.PROTOCOL} here and {job.PROTOCOL - 1} there" in done.err


def clicks(bench: Bench, flipped: int = 0) -> None:
    """Prepare a table of one's own; ``flipped``: with the other labels."""
    columns = 'y = "label"\na = "categorical"\nb = "categorical"\n'
    Path("clicks.toml").write_text(f'name = "clicks"\n[raw.columns]\n{columns}')
    rows = [f"{(i * i % 7 % 2) ^ flipped},{i % 7},{i % 5}" for i in range(600)]
    Path("clicks.csv").write_text("\n".join(["y,a,b", *rows]))
    assert bench("prepare", "clicks.toml", "--raw", "clicks.csv", "--force").code == 0


CLICKS = ("run", "--datasets", "clicks.toml", "--backbones", "dnn[mlp=8]", "--epochs", "1", "--seeds", "1")


def test_recorded_cells_of_other_data_are_refused_by_name(bench: Bench) -> None:
    argv = [*CLICKS, "--set", "l2=1e-5"]
    clicks(bench)
    assert bench(*argv, "--methods", "no-selection", "--out", "old").code == 0
    revision = json.loads(cell("old", "no-selection").read_text())["dataset_revision"]
    clicks(bench, flipped=1)
    done = bench(*argv, "--methods", "cardinality", "--out", "new", "--baselines", "old")
    assert done.code == 2
    assert f"data revision {revision[:2]}" in done.err and f"{revision} there" in done.err
    assert "Prepare the data that it was recorded with" in done.err


def test_cells_whose_l2_was_chosen_come_with_the_trials(bench: Bench) -> None:
    clicks(bench)
    argv = [*CLICKS, "--l2-grid", "1e-5", "1e-3"]
    first = bench(*argv, "--methods", "no-selection", "--out", "old")
    assert first.code == 0 and first.err.count("trial:") == 2
    done = bench(*argv, "--methods", "cardinality", "--out", "new", "--baselines", "old")
    assert done.code == 0, done.err
    assert "1 cell, 0 done before, 1 to run" in done.err and "trial:" not in done.err
    old, new = (json.loads(cell("new", label).read_text()) for label in ("no-selection", "cardinality"))
    assert new["profile"]["l2"] == old["profile"]["l2"] and new["penalty"] == old["penalty"]
    other = bench(*CLICKS, "--l2-grid", "1e-5", "1e-4", "--methods", "cardinality", "--out", "x", "--baselines", "old")
    assert other.code == 2 and "L2: grid 1e-05, 0.0001 here and 1e-05, 0.001 there" in other.err


def test_a_record_whose_auc_was_changed_is_caught_by_its_predictions(bench: Bench, flags: list[str]) -> None:
    record = change(cell("b", "cardinality"), auc=0.9)
    done = bench(*flags, "--baselines", "b")
    assert done.code == 2
    assert f"cells/{record['config_hash'][:16]}.json" in done.err
    assert "was changed: AUC 0.900000 in the record" in done.err
    change(cell("b", "cardinality"), auc=0.9, positives={"train": 1, "valid": 1, "test": 1})
    other = bench(*flags, "--baselines", "b")
    assert other.code == 2 and "was changed: positives" in other.err


def test_what_has_no_cell_for_a_run_is_refused(bench: Bench, flags: list[str]) -> None:
    done = bench(*flags, "--baselines", "a", "--backbones", "dnn[mlp=4]")
    assert done.code == 2
    assert "baselines=a has no cell for this run: its records are 2 of the backbone dnn[mlp=8]" in done.err
    both = bench(*flags, "--baselines", "a", "--rerun", "always")
    assert both.code == 2 and "--rerun always computes all cells anew" in both.err
    other = bench(*flags, "--baselines", "a", "--prune-ratio", "0.25")
    assert other.code == 0, other.err
    assert "a: 1 recorded cells fit; left: 1 of the prune ratio 0.5" in other.err


def test_an_earlier_version_of_the_new_method_is_left_where_it_is(bench: Bench, flags: list[str]) -> None:
    assert bench(*flags).code == 0
    Path("new").rename("old")
    Path("last.py").write_text(MINE.replace("np.arange", "2 * np.arange"))
    done = bench(*flags, "--baselines", "old", "b")
    assert done.code == 2 and "its records are 1 of another version of last" in done.err
    other = bench(*[*flags[:4], "no-selection", *flags[4:]], "--baselines", "b")
    assert other.code == 0, other.err


def test_the_plan_of_a_run_takes_nothing(bench: Bench, flags: list[str]) -> None:
    done = bench(*flags, "--baselines", "a", "--plan")
    assert done.code == 0, done.err
    assert "a: 2 recorded cells fit" in done.err
    assert not Path("new", "cells").exists()


def test_a_bundle_is_checked_and_serves_as_baselines(bench: Bench, flags: list[str]) -> None:
    done = bench("submit", "a", "--to", "a.zip")
    assert done.code == 0, done.err
    assert "a.zip: 2 cells, 2 with predictions" in done.out
    whole = Path("a.zip").read_bytes()
    assert bench("submit", "a", "--to", "a.zip").code == 0 and Path("a.zip").read_bytes() == whole
    with zipfile.ZipFile("a.zip") as bundle:
        manifest = json.loads(bundle.read("manifest.json"))
        assert set(bundle.namelist()) == {"manifest.json", *manifest["files"]}
        assert all(
            hashlib.sha256(bundle.read(name)).hexdigest() == one["sha256"] for name, one in manifest["files"].items()
        )
        assert b'data_dir = "data"' in bundle.read("run.toml")
    checked = bench("verify", "a.zip")
    assert checked.code == 0 and "2 cells computed anew from predictions" in checked.out and "agrees" in checked.out
    run = bench(*flags, "--baselines", "a.zip")
    assert run.code == 0, run.err
    assert json.loads(cell("new", "no-selection").read_text())["origin"]["source"] == "a.zip"
    bare = bench("submit", "a", "--to", "bare.zip", "--no-predictions")
    assert bare.code == 0 and "2 cells, 0 with predictions" in bare.out


def test_an_altered_auc_in_a_bundle_is_caught(bench: Bench, flags: list[str]) -> None:
    assert bench("submit", "a", "--to", "a.zip").code == 0
    altered("a.zip", "b.zip", honest=False)
    for argv in (["verify", "b.zip"], [*flags, "--baselines", "b.zip"]):
        done = bench(*argv)
        assert done.code == 2
        assert "was changed or damaged: its checksum is not the manifest's" in done.err
    altered("a.zip", "b.zip", honest=True)
    checked = bench("verify", "b.zip")
    assert checked.code == 1 and "does not agree: 2 numbers" in checked.out
    taken = bench(*flags, "--baselines", "b.zip")
    assert taken.code == 2 and "by its predictions" in taken.err
    assert not Path("new").exists()


def test_no_file_of_a_bundle_gets_out_of_its_folder(bench: Bench) -> None:
    assert bench("submit", "a", "--to", "a.zip").code == 0
    with zipfile.ZipFile("a.zip") as bundle:
        manifest = json.loads(bundle.read("manifest.json"))
    manifest["files"] = {"../x.json": {"bytes": 1, "sha256": hashlib.sha256(b"1").hexdigest()}}
    with zipfile.ZipFile("b.zip", "w") as bundle:
        bundle.writestr("manifest.json", json.dumps(manifest))
        bundle.writestr("../x.json", b"1")
    done = bench("verify", "b.zip")
    assert done.code == 2 and "'../x.json' is no file of a run" in done.err
    with zipfile.ZipFile("a.zip", "a") as bundle:
        bundle.writestr("more.txt", b"1")
    more = bench("verify", "a.zip")
    assert more.code == 2 and "'more.txt' is not in its manifest" in more.err


def test_what_is_no_bundle_or_does_not_agree_is_refused(bench: Bench) -> None:
    Path("x.zip").write_bytes(b"not a zip")
    done = bench("verify", "x.zip")
    assert done.code == 2 and "x.zip is no bundle, or is damaged" in done.err
    with zipfile.ZipFile("y.zip", "w") as bundle:
        bundle.writestr("a.txt", b"1")
    other = bench("verify", "y.zip")
    assert other.code == 2 and "it has no manifest.json" in other.err
    named = bench("submit", "a", "--to", "a.tar")
    assert named.code == 2 and "it must end in .zip" in named.err
    change(cell("a", "no-selection"), auc=0.9)
    before = tree(".")
    wrong = bench("submit", "a", "--to", "a.zip")
    assert wrong.code == 2 and "a does not agree with its predictions" in wrong.err
    assert tree(".") == before
