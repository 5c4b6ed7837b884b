from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cell_records import TINY

from bench.cli.run import parse
from bench.records import RunFolder

Bench = Callable[..., Any]


@pytest.fixture
def common(data_dir: Path) -> list[str]:
    flags = ["--datasets", TINY, "--data-dir", str(data_dir), "--backbones", "dnn[mlp=8]"]
    return [*flags, "--epochs", "2", "--seeds", "1"]


def records(folder: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(file.read_text()) for file in (folder / "cells").glob("*.json")]
    return {record["label"]: record for record in found}


def result(record: dict[str, Any]) -> dict[str, Any]:
    """A record without times, memory, resumption, command, and the commit, which may be edited meanwhile."""
    left_out = ("phases", "disturbed", "peak_mem_bytes", "resumed", "command", "recorded", "git")
    return {name: value for name, value in record.items() if not name.endswith("_s") and name not in left_out}


def test_cells_of_a_table_that_has_changed_are_run_again_and_stand_apart(bench: Bench) -> None:
    card = 'name = "clicks"\n[raw.columns]\ny = "label"\na = "categorical"\nb = "categorical"\nc = "categorical"\n'
    rows = [(i * i % 7 % 2, i % 7, i % 5, i % 3) for i in range(600)]
    flags = ["--datasets", "clicks.toml", "--methods", "no-selection", "cardinality", "--backbones", "dnn[mlp=8]"]
    argv = ["run", *flags, "--epochs", "1", "--seeds", "1", "--set", "l2=1e-5", "--out", "runs/x"]

    def outcome(card: str, flipped: bool) -> str:
        lines = ["y,a,b,c", *(f"{y ^ flipped},{a},{b},{c}" for y, a, b, c in rows)]
        Path("clicks.csv").write_text("\n".join(lines))
        Path("clicks.toml").write_text(card)
        assert bench("prepare", "clicks.toml", "--raw", "clicks.csv", "--force").code == 0
        done = bench(*argv)
        assert done.code == 0, done.err
        return str(done.err.splitlines()[0])

    fewer = card.replace('c = "categorical"', 'c = "ignore"')
    assert outcome(card, False) == "2 cells, 0 done before, 2 to run"
    assert outcome(card, False) == "2 cells, 2 done before, 0 to run"
    assert outcome(card, True) == "2 cells, 0 done before, 2 to run"
    assert outcome(fewer, True) == "2 cells, 0 done before, 2 to run"
    assert outcome(card, False) == "2 cells, 2 done before, 0 to run"
    cells = [json.loads(file.read_text()) for file in Path("runs/x/cells").glob("*.json")]
    assert len({cell["dataset_revision"] for cell in cells}) == 3
    table = Path("runs/x/tables/overall.md").read_text()
    assert all(f"revision {cell['dataset_revision']}" in table for cell in cells)
    changed = bench("prepare", "clicks.toml", "--raw", "clicks.csv")
    assert changed.code == 0  # the same file
    Path("clicks.csv").write_text("y,a,b,c\n")
    refused = bench("prepare", "clicks.toml", "--raw", "clicks.csv")
    assert refused.code == 2
    assert "made from clicks.csv (600 rows), of another content; --force replaces it." in refused.err


@pytest.mark.figures
def test_a_run_ends_with_its_table_and_a_repeat_computes_nothing(bench: Bench, common: list[str]) -> None:
    argv = ["run", *common, "--methods", "no-selection", "random-k", "light-fmp", "--prune-ratio", "0.25"]
    first = bench(*argv, "--out", "runs/x")
    assert first.code == 0, first.err
    lines = first.err.splitlines()
    assert lines[0] == "3 cells, 0 done before, 3 to run"
    assert [line.split("]")[0] for line in lines[1:]] == ["[1/3", "[2/3", "[3/3"]
    found = records(Path("runs/x"))
    for name in ("No Selection", "Random K", "Light-FMP", "AUC", "Logloss", "TT"):
        assert name in first.out
    for record in found.values():
        assert f"{record['auc']:.4f}" in first.out
    assert first.out.splitlines()[-1].endswith("in one page: runs/x/report.html")
    assert Path("runs/x/report.html").is_file()
    assert {path.suffix for path in Path("runs/x/tables").iterdir()} >= {".tex", ".md", ".csv"}
    assert {path.suffix for path in Path("runs/x/figures").iterdir()} >= {".pdf", ".png", ".svg"}
    assert found["light-fmp"]["command"].startswith("python -m bench run --datasets")
    again = bench(*argv, "--out", "runs/x")
    assert (again.code, again.err) == (0, "3 cells, 3 done before, 0 to run\n")
    assert again.out == first.out
    report = bench("report", "runs/x")
    assert report.code == 0
    assert report.out.strip() == first.out.strip()


@pytest.mark.usefixtures("zoo")
def test_a_failing_cell_makes_the_status_one_and_is_listed_last(bench: Bench, common: list[str]) -> None:
    methods = ["no-selection", "zoo-raises", "zoo-broken", "zoo-skips", "zoo-hungry", "random-k"]
    found = bench("run", *common, "--methods", *methods, "--out", "x")
    assert found.code == 1
    listed = found.err.splitlines()[-3:]
    assert listed[0].startswith(f"failed: {'planted[fields=8,main=4,redundant=1,rows=1200]'} dnn[mlp=8] zoo-raises")
    assert "KeyError: 'no such thing'" in listed[0]
    assert "a_module_that_nobody_has" in listed[1]
    assert listed[2].startswith("oom: ")
    assert "Random K" in found.out
    assert "—" in found.out  # what has no result is a dash in the table
    statuses = {label: record["status"] for label, record in records(Path("x")).items()}
    assert list(map(statuses.get, methods)) == ["ok", "failed", "failed", "skipped", "oom", "ok"]
    file = Path("x", "cells", listed[0].rpartition("cells/")[2].rstrip(")"))
    assert json.loads(file.read_text())["label"] == "zoo-raises"
    again = bench("run", *common, "--methods", *methods, "--out", "x")
    assert again.code == 1
    assert again.err.startswith("6 cells, 3 done before, 3 to run")


@pytest.mark.usefixtures("zoo")
def test_a_run_in_which_everything_fails_still_reports(bench: Bench, common: list[str]) -> None:
    found = bench("run", *common, "--methods", "zoo-raises", "--out", "x")
    assert found.code == 1
    assert "Traceback" not in found.err
    assert records(Path("x"))["zoo-raises"]["traceback"].startswith("Traceback")


@pytest.mark.usefixtures("zoo")
def test_a_plug_in_of_method_and_backbone_runs_end_to_end(bench: Bench, common: list[str]) -> None:
    """Written with ``bench.api`` alone, announced by entry points, in a package of its own."""
    methods = ["no-selection", "zoo-plain", "zoo-plain[shift=3]", "light-fmp"]
    flags = ["--methods", *methods, "--backbones", "zoo-linear", "dnn[mlp=8]", "--prune-ratio", "0.5"]
    found = bench("run", *common, *flags, "--out", "x")
    assert found.code == 0, found.err
    cells = RunFolder(Path("x")).records()
    assert len(cells) == 8
    assert {cell.status for cell in cells} == {"ok"}
    kept = {cell.label: cell.kept_fields for cell in cells if cell.backbone.startswith("zoo-linear")}
    assert kept["zoo-plain"] == [0, 1, 2, 3]
    assert kept["zoo-plain[shift=3]"] == [3, 4, 5, 6]
    linear = next(cell for cell in cells if cell.label == "zoo-plain" and cell.backbone == "zoo-linear")
    assert linear.network_params == 4 * 8 + 1
    assert linear.embedding_params == linear.embedding_rows * 9  # the linear weight is a column of the table
    for text in ("Plain", "Plain [shift=3]", "Linear"):
        assert text in found.out


@pytest.mark.usefixtures("zoo")
def test_a_plug_in_s_parameters_are_checked(bench: Bench, common: list[str]) -> None:
    found = bench("run", *common, "--methods", "zoo-plain[shift=8]", "--out", "y")
    assert found.code == 2
    assert "zoo-plain: shift=8 is out of range; allowed: [0, 7]" in found.err
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.slow
def test_a_run_killed_in_the_middle_of_a_cell_goes_on_inside_it(
    bench_process: Bench, bench: Bench, common: list[str], zoo: Path, tmp_path: Path
) -> None:
    argv = ["run", *common, "--epochs", "4", "--methods", "no-selection", "zoo-fragile", "light-fmp", "--checkpoint"]
    killed = bench_process(*argv, "--out", "x", path=zoo)
    assert killed.code == -signal.SIGKILL
    assert list(records(tmp_path / "x")) == ["no-selection"]
    again = bench_process(*argv, "--out", "x", path=zoo)
    assert again.code == 0, again.err
    assert again.err.startswith("3 cells, 1 done before, 2 to run")
    assert bench(*argv, "--out", str(tmp_path / "y")).code == 0
    resumed, plain = records(tmp_path / "x"), records(tmp_path / "y")
    assert {label: result(record) for label, record in resumed.items()} == {
        label: result(record) for label, record in plain.items()
    }
    assert [resumed[label]["resumed"] for label in ("no-selection", "zoo-fragile", "light-fmp")] == [False, True, False]
    assert not any(record["resumed"] for record in plain.values())
    left = [path for path in (tmp_path / "x").rglob("*") if path.suffix in (".tmp", ".pt", ".pkl")]
    assert left == []


def test_the_reference_command_parses_and_says_what_to_do_where_data_are_missing(bench: Bench) -> None:
    argv = ["--datasets", "criteo", "avazu", "--seeds", "3"]
    config = parse(argv)
    assert (config.datasets, config.seeds, config.backbones) == (("criteo", "avazu"), 3, ("xdeepfm",))
    found = bench("run", *argv)
    assert (found.code, found.out) == (2, "")
    for name in ("criteo", "avazu"):
        assert f"data set '{name}' is not prepared" in found.err
        assert f"python -m bench prepare {name} --raw PATH" in found.err
    assert list(Path.cwd().iterdir()) == []


def test_data_that_can_be_made_are_made(bench: Bench) -> None:
    found = bench(
        "run", "--datasets", "planted[rows=400,fields=4,main=2,interaction=0,redundant=0]", "--data-dir", "new",
        "--methods", "random-k", "--backbones", "dnn[mlp=4]", "--epochs", "1", "--seeds", "1", "--out", "x",
    )  # fmt: skip
    assert found.code == 0, found.err
    assert len(list(Path("new").iterdir())) == 1


@pytest.mark.parametrize("argv", [["--help"], ["-h"], ["help"]])
def test_help_names_every_command(bench: Bench, argv: list[str]) -> None:
    found = bench(*argv)
    assert (found.code, found.err) == (0, "")
    for command in ("run", "prepare", "report", "list"):
        assert f"\n  {command} " in found.out


def test_every_flag_is_explained(bench: Bench) -> None:
    found = bench("run", "--help")
    assert found.code == 0
    for flag in (
        "--datasets", "--methods", "--backbones", "--seeds", "--prune-ratio", "--profile", "--epochs", "--rows",
        "--device", "--out", "--data-dir", "--isolate", "--executor", "--timeout-s", "--checkpoint", "--rerun",
        "--threads", "--experiment", "--config", "--set", "--timing",
    ):  # fmt: skip
        assert flag in found.out


def test_an_interruption_says_that_finished_cells_are_kept(
    bench: Bench, common: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*rest: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.run.executors.base.run_cell", interrupted)
    found = bench("run", *common, "--methods", "random-k")
    assert found.code == 130
    assert "finished cells are kept" in found.err


@pytest.mark.figures
def test_controls_alone_make_a_report(bench: Bench, common: list[str]) -> None:
    found = bench("run", *common, "--methods", "random-k", "cardinality", "--out", "x")
    assert found.code == 0, found.err
    assert any(Path("x/figures").glob("pareto*.svg"))
