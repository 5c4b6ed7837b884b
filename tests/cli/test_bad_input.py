"""Bad input through the command line: exit status 2, a message with the thing, the value and the mend, nothing left."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cell_records import TINY

from bench.cli import COMMANDS

Bench = Callable[..., Any]

NO_GPU = not torch.cuda.is_available()


def assert_refused(found: Any, parts: list[str]) -> None:
    assert found.code == 2, found.err
    assert found.out == ""
    text = " ".join(found.err.split())  # the flag parser wraps lines
    for part in parts:
        assert part in text
    assert "Traceback" not in found.err


def left() -> list[str]:
    return sorted(str(path) for path in Path.cwd().iterdir())


def test_a_table_of_one_s_own_is_named_by_its_card(bench: Bench) -> None:
    Path("clicks.toml").write_text('name = "clicks"\n')
    for name in ("clicks", "clicks.csv", "clicks.csv.gz"):
        refused = bench("run", "--datasets", name)
        assert_refused(
            refused, [f"data set {name!r} is unknown. A table of your own is named by its card: clicks.toml"]
        )


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--datasets", "criteoo"], ["error: data set 'criteoo' is unknown.", "Did you mean 'criteo'?", "avazu"]),
        (["--datasets", "planted[rows=99]"], ["'planted': rows=99", "out of range; allowed: [100, 1e+08]"]),
        (["--datasets", "planted[rowz=99]"], ["'planted' has no parameter 'rowz' (value '99')", "'rows'"]),
        (["--datasets", "planted[rows=many]"], ["rows=many", "int"]),
        (["--datasets", "planted[rows=500"], ["'planted[rows=500'", "name[param=value,...]"]),
        (["--datasets", "mine.toml"], ["mine.toml"]),
        (["--datasets", "criteo"], ["data set 'criteo' is not prepared", "python -m bench prepare criteo --raw"]),
        (["--datasets", TINY, "avazu"], ["data set 'avazu' is not prepared"]),
        (["--datasets", "movielens-1m"], ["'movielens-1m' is not prepared", "--download"]),
        (["--methods", "light-fpm"], ["method 'light-fpm' is unknown.", "Did you mean 'light-fmp'?", "xgboost"]),
        (["--methods", "tea-leaves"], ["method 'tea-leaves' is unknown.", "Known: no-selection, "]),
        (["--methods", "light-fmp[noise=loud]"], ["light-fmp: noise=loud", "batch, sample"]),
        (["--methods", "light-fmp[gate_lr=-1]"], ["light-fmp: gate_lr=-1 is out of range; allowed: (0, inf)"]),
        (["--methods", "light-fmp[gate_rl=1]"], ["light-fmp has no parameter 'gate_rl' (value '1')", "'gate_lr'"]),
        (["--methods", "light-fmp[budget=native]"], ["light-fmp: budget=native", "choose one of field"]),
        (["--methods", "light-fmp[sel_split=test]"], ["light-fmp: sel_split=test", "train, valid"]),
        (["--methods", "random-k[a]"], ["'a'", "param=value"]),
        (["--methods", "random-k[carry_over=true,carry_over=false]"], ["'carry_over' is given twice"]),
        (["--backbones", "xdeepfmm"], ["backbone 'xdeepfmm' is unknown.", "Did you mean 'xdeepfm'?"]),
        (["--backbones", "dnn[layers=3]"], ["dnn has no parameter 'layers' (value '3')", "mlp"]),
        (["--backbones", "dnn[mlp=0]"], ["dnn: mlp=0 is out of range; allowed: [1, inf)"]),
        (["--backbones", "xdeepfm[cin=3-4,split=true]"], ["cin=3-4", "split=false"]),
        (["--experiment", "table3x"], ["experiment 'table3x' is unknown.", "table2"]),
        (["--methods", "random-k", "random-k[carry_over=false]"], ["'random-k[carry_over=false]' have the same"]),
        (["--prune-ratio", "1"], ["prune-ratio=1 is out of range; allowed: [0, 1)"]),
        (["--prune-ratio", "0.5", "-0.25"], ["prune-ratio=-0.25", "[0, 1)"]),
        (["--prune-ratio", "nan"], ["prune-ratio=nan", "[0, 1)"]),
        (["--prune-ratio", "half"], ["--prune-ratio", "half"]),
        (["--seeds", "0"], ["seeds=0 is out of range; allowed: [1, inf)"]),
        (["--seeds", "three"], ["--seeds", "three"]),
        (["--rows", "3"], ["rows=3 is out of range"]),
        (["--rows", "10"], ["rows=10", "give more rows"]),
        (["--epochs", "0"], ["epochs=0 is out of range"]),
        (["--threads", "0"], ["threads=0 is out of range"]),
        (["--profile", "huge"], ["profile='huge' is unknown", "anchor", ".toml"]),
        (["--device", "gpu"], ["device='gpu' is unknown; choose auto, cpu, cuda or cuda:N."]),
        (["--timeout-s", "5"], ["timeout-s=5 needs --isolate"]),
        (["--timeout-s", "0", "--isolate"], ["timeout-s=0 is out of range"]),
        (["--config", "nowhere.toml"], ["config=nowhere.toml cannot be read", "TOML"]),
        (["--sedes", "3"], ["--sedes"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value[0].startswith("--") else "",
)
def test_run_refuses_and_leaves_nothing(bench: Bench, data_dir: Path, flags: list[str], parts: list[str]) -> None:
    argv = ["--datasets", TINY, "--methods", "random-k", "--backbones", "dnn[mlp=8]"]
    argv = [*argv, "--out", "runs/x", "--data-dir", str(data_dir)]
    before = sorted(data_dir.iterdir())
    assert_refused(bench("run", *argv, *flags), parts)
    assert left() == []
    assert sorted(data_dir.iterdir()) == before


@pytest.mark.skipif(not NO_GPU, reason="this machine has a GPU")
def test_run_refuses_a_device_that_is_not_there(bench: Bench, data_dir: Path) -> None:
    found = bench("run", "--datasets", TINY, "--data-dir", str(data_dir), "--device", "cuda")
    assert_refused(found, ["device='cuda' is not there: torch sees 0 CUDA devices"])
    assert left() == []


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("sedes = 3\n", ["my.toml: key 'sedes' is unknown.", "Did you mean 'seeds'?"]),
        ('seeds = "three"\n', ["my.toml: seeds='three' is not of type int"]),
        ('methods = ["light-fmp", 3]\n', ["methods", "3 is not of type str"]),
        ("prune_ratio = 1.5\n", ["prune-ratio=1.5 is out of range"]),
        ('experiment = "nothing"\n', ["experiment 'nothing' is unknown."]),
        ("no toml at all\n", ["config=my.toml cannot be read", "line 1"]),
    ],
)
def test_run_refuses_a_bad_config_file(bench: Bench, text: str, parts: list[str]) -> None:
    Path("my.toml").write_text(text)
    assert_refused(bench("run", "--config", "my.toml"), parts)
    assert left() == [str(Path.cwd() / "my.toml")]


def test_data_are_not_made_when_others_are_missing(bench: Bench) -> None:
    found = bench("run", "--datasets", "planted[rows=400]", "criteo", "--data-dir", "new")
    assert_refused(found, ["'criteo' is not prepared"])
    assert left() == []


def test_run_refuses_a_damaged_record_in_its_folder(bench: Bench, data_dir: Path) -> None:
    argv = ["run", "--datasets", TINY, "--methods", "random-k", "--backbones", "dnn[mlp=4]", "--epochs", "1"]
    argv = [*argv, "--seeds", "1", "--out", "x", "--data-dir", str(data_dir)]
    assert bench(*argv).code == 0
    (file,) = Path("x/cells").iterdir()
    whole = file.read_text()
    file.write_text(whole[:100])
    assert_refused(bench(*argv), [file.name, "not readable", "Delete the file and run the cell again"])
    file.write_text(json.dumps(json.loads(whole) | {"flavour": 3}))
    assert_refused(bench(*argv), [file.name, "unknown key 'flavour'"])


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        (["report", "nowhere"], ["nowhere is no run folder: it does not exist", "python -m bench run --out FOLDER"]),
        (["report", "."], ["is no run folder: it has no cells/*.json"]),
        (["report"], ["run"]),
        (["list", "metods"], ["metods", "methods"]),
        (["raport"], ["command 'raport' is unknown.", "Did you mean 'report'?"]),
        (["report", "no\x1b[31mwhere"], ["no\\x1b[31mwhere is no run folder"]),
        (["--version-please"], ["unknown", ", ".join(COMMANDS)]),
    ],
    ids=" ".join,
)
def test_other_commands_refuse_too(bench: Bench, argv: list[str], parts: list[str]) -> None:
    assert_refused(bench(*argv), parts)
    assert left() == []


def test_a_run_that_has_begun_but_finished_no_cell_is_no_report(bench: Bench) -> None:
    Path("x").mkdir()
    Path("x/run.toml").touch()
    assert_refused(bench("report", "x"), ["x has no finished cell yet"])


def test_no_command_shows_the_usage(bench: Bench) -> None:
    found = bench()
    assert found.code == 2
    assert "python -m bench COMMAND" in found.out
