"""Settings of the training that users give: every field of a profile, by ``--set`` and by a profile of one's own."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cell_records import TINY

from bench.cli.run import parse
from bench.errors import ConfigError
from bench.profiles import ANCHOR, PROFILES, SETTINGS, SMALL, Profile, profile_dict, resolve_profile
from bench.records import load_frame
from bench.run.config import RunConfig, to_toml
from bench.run.session import Session, resolve
from bench.run.settings import settings, spelled
from bench.tables import naming

Bench = Callable[..., Any]
ONE_CELL = ("--datasets", TINY, "--methods", "no-selection", "--backbones", "dnn[mlp=8]", "--seeds", "1")
OTHER: dict[str, Any] = {
    "lr": 2e-3,
    "lr_grid": (1e-3, 5e-3),
    "l2": 0.0,
    "batch_size": 64,
    "max_epochs": 4,
    "patience": 4,
    "lr_decay": 0.5,
    "clip_norm": 5.0,
    "dim": 16,
    "init_std": 0.02,
    "dropout": 0.25,
    "mlp": (20, 10),
    "cin": (6, 4),
    "cin_split": True,
    "evaluate_every": 0.5,
    "precision": "bf16",
    "optimizer": "lazy-adam",
    "compile": True,
}
"""Of every field a value that no profile has."""


def toml(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def profile_of(*argv: str) -> Profile:
    """The profile that a command line gives the quick start's data, as its card leaves them."""
    config = parse(argv)
    return resolve_profile(config.training, 100, {}, config.profile_changes)


def test_every_field_of_a_profile_has_another_value_here() -> None:
    assert set(OTHER) == {field.name for field in dataclasses.fields(Profile)} - {"name", "set_apart"} == set(SETTINGS)
    for name, value in OTHER.items():
        assert all(getattr(profile, name) != value for profile in (SMALL, ANCHOR)), name


@pytest.mark.parametrize("name", SETTINGS)
def test_every_field_can_be_set_by_flag_and_by_file(name: str, tmp_path: Path) -> None:
    value = OTHER[name]
    file = tmp_path / "mine.toml"
    file.write_text(f'base = "small"\n{name} = {toml(value)}\n')
    by_flag = profile_of("--profile", "small", "--set", f"{name}={spelled(value)}")
    by_file = profile_of("--profile", str(file))
    expected = dataclasses.replace(SMALL, **{name: value})
    if name == "lr":  # what is set joins the rates that tuning tries
        expected = dataclasses.replace(expected, lr_grid=(1e-5, 1e-4, 3e-4, 1e-3, 2e-3))
    assert by_flag == expected
    assert by_file == dataclasses.replace(expected, name="mine")
    assert dict(by_flag.set_apart)[name] == value
    assert dict(by_file.set_apart) == {"base": "small", **by_flag.set_apart}


def test_every_setting_reaches_the_training_s_plan_or_model(data_dir: Path) -> None:
    """What a cell is made of: each field but the grid, which says nothing of one training, is in its identity."""
    plain = RunConfig(datasets=(TINY,), methods=("no-selection",), backbones=("xdeepfm",), data_dir=data_dir)
    given = tuple(f"{name}={spelled(value)}" for name, value in OTHER.items())
    session = Session(resolve(dataclasses.replace(plain, set=given)))
    cell = session.cell(next(iter(session.plan.cells())))
    assert cell.identity["profile"] == {"name": "small", **{k: v for k, v in OTHER.items() if k != "lr_grid"}}
    assert cell.identity["backbone_params"]["mlp"] == (20, 10)
    assert cell.identity["backbone_params"]["cin"] == (6, 4)
    assert cell.identity["backbone_params"]["split"] is True
    assert cell.record().profile["set"] == {k: v for k, v in OTHER.items() if k != "lr_grid"}


def test_spellings_of_the_same_values_are_the_same_cell(data_dir: Path) -> None:
    plain = RunConfig(datasets=(TINY,), methods=("no-selection",), backbones=("dnn",), data_dir=data_dir)

    def hash_of(**settings: Any) -> str:
        session = Session(resolve(dataclasses.replace(plain, **settings)))
        return session.cell(next(iter(session.plan.cells()))).hash

    assert hash_of() == hash_of(set=("dim=8", "lr=1e-3")) == hash_of(precision="highest", optimizer="adam")
    assert hash_of(epochs=3) == hash_of(set=("max_epochs=3",)) == hash_of(epochs=3, set=("max_epochs=3",))
    assert hash_of(set=("mlp=20,10", "lr=0.0003")) == hash_of(set=("lr=3e-4", "mlp=20-10"))
    assert len({hash_of(), hash_of(epochs=3), hash_of(set=("lr=3e-4",))}) == 3


def test_embedding_size_by_both_ways_gives_the_same_record_but_for_the_spelling(bench: Bench, data_dir: Path) -> None:
    common = [*ONE_CELL, "--data-dir", str(data_dir)]
    Path("wide.toml").write_text('base = "small"\ndim = 16\n')
    by_flag = bench("run", *common, "--epochs", "2", "--set", "dim=16", "--out", "a")
    by_file = bench("run", *common, "--epochs", "2", "--profile", "wide.toml", "--out", "b")
    assert (by_flag.code, by_file.code) == (0, 0), by_flag.err + by_file.err
    one, other = (json.loads(next(Path(run, "cells").glob("*.json")).read_text()) for run in "ab")
    assert one["embedding_params"] == 16 * one["embedding_rows"]
    differ = {key for key in one if one[key] != other[key] and not key.endswith("_s") and key != "phases"}
    assert differ == {"profile", "config_hash", "command"}
    spelling = {key for key in one["profile"] if one["profile"][key] != other["profile"][key]}
    assert spelling == {"name", "set"}
    assert one["profile"]["set"] == {"dim": 16, "max_epochs": 2}
    assert other["profile"]["set"] == {"base": "small", "dim": 16, "max_epochs": 2}
    assert r"Profile small with dim=16, max\_epochs=2;" in Path("a/tables/overall.md").read_text()
    assert r"Profile wide (small with dim=16, max\_epochs=2);" in Path("b/tables/overall.md").read_text()
    Path("wide.toml").write_text("dim = 4\n")  # what the run has read counts, not what became of the file
    again = bench("run", "--config", "b/run.toml")
    assert (again.code, again.err) == (0, "1 cell, 1 done before, 0 to run\n")
    shown = bench("explain", "b", "overall", one["dataset"], "no-selection", "auc")
    assert '"set": {"base": "small", "dim": 16, "max_epochs": 2}' in shown.out
    assert load_frame("b")["auc"].item() == load_frame("a")["auc"].item()


def test_cells_of_other_settings_stand_in_columns_of_their_own(bench: Bench, data_dir: Path) -> None:
    common = [*ONE_CELL, "--data-dir", str(data_dir)]
    for given in ("dim=4", "dim=6"):
        done = bench("run", *common, "--epochs", "1", "--set", given, "--out", "x")
        assert done.code == 0, done.err
    table = Path("x/tables/overall.md").read_text()
    assert "dim=4" in table and "dim=6" in table and "set=" not in table


def test_names_of_groups_are_written_out_so_that_a_later_plug_in_changes_nothing(data_dir: Path) -> None:
    plain = RunConfig(datasets=(TINY,), methods=("all", "random-k"), backbones=("paper",), data_dir=data_dir)
    plan = resolve(plain)
    assert plan.config.methods == tuple(plan.methods)
    assert not {"all", "paper"} & {*plan.config.methods, *plan.config.backbones}
    assert plan.config.backbones == tuple(plan.backbones)
    assert [resolve(plan.config).methods] == [plan.methods]


def test_precedence_is_profile_card_own_file_set(tmp_path: Path) -> None:
    card = {"l2": {"small": 0.5}, "embedding_dim": {"small": 64}}
    file = tmp_path / "mine.toml"
    file.write_text('base = "small"\ndim = 16\nl2 = 0.25\npatience = 5\n')
    config = parse(["--profile", str(file), "--set", "l2=0"])
    found = resolve_profile(config.training, 100, card, config.profile_changes)
    assert (found.name, found.l2, found.dim, found.patience, found.lr) == ("mine", 0.0, 16, 5, SMALL.lr)
    assert dict(found.set_apart) == {"base": "small", "l2": 0.0, "dim": 16, "patience": 5}
    named = resolve_profile("small", 100, card, {})
    assert (named.l2, named.dim, dict(named.set_apart)) == (0.5, 64, {})  # the card's values are nobody's setting
    same = resolve_profile("small", 100, card, {"dim": 64})
    assert profile_dict(same) == profile_dict(named) and not same.set_apart


def test_brackets_of_a_backbone_stay_over_the_profile(data_dir: Path) -> None:
    plain = RunConfig(datasets=(TINY,), methods=("no-selection",), backbones=("dnn[mlp=8]",), data_dir=data_dir)
    session = Session(resolve(dataclasses.replace(plain, set=("mlp=20,10", "dropout=0.25"))))
    params = session.cell(next(iter(session.plan.cells()))).identity["backbone_params"]
    assert params == {"mlp": (8,), "dropout": 0.25}


def test_a_profile_of_ones_own_may_start_from_auto(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('name = "half the rate"\nlr = 5e-4\n')
    own = parse(["--profile", str(file)]).training
    small, anchor = resolve_profile(own, 100, {}), resolve_profile(own, 200_000, {})
    assert small.set_apart["base"] == "small" and small.dim == PROFILES["small"].dim
    assert anchor.set_apart["base"] == "anchor" and anchor.dim == PROFILES["anchor"].dim
    assert small.name == anchor.name == "half the rate"


@pytest.mark.parametrize(
    ("value", "grid"),
    [
        (["lr=5e-4"], (1e-5, 1e-4, 3e-4, 5e-4, 1e-3)),
        (["lr=1e-3"], (1e-5, 1e-4, 3e-4, 1e-3)),
        (["lr=5e-4", "lr_grid=1e-2,1e-3,1e-2"], (1e-3, 1e-2)),
    ],
)
def test_a_rate_joins_the_grid_unless_the_grid_is_given(value: list[str], grid: tuple[float, ...]) -> None:
    assert profile_of("--profile", "small", "--tune", "lr", "--set", *value).lr_grid == grid


def test_a_later_source_goes_over_an_earlier_one_setting_by_setting(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('datasets = ["x"]\nepochs = 3\n[set]\ndim = 16\nmlp = [20, 10]\nlr_decay = "none"\n')

    def changes(*argv: str) -> dict[str, Any]:
        return parse(["--config", str(file), *argv]).profile_changes

    base = {"dim": 16, "mlp": (20, 10), "lr_decay": None, "max_epochs": 3}
    assert changes() == base
    assert changes("--set", "dim=4", "--set", "l2=0") == base | {"dim": 4, "l2": 0.0}
    assert changes("--set=dim=4", "--seeds", "2") == base | {"dim": 4}
    assert changes("--set", "max_epochs=5") == base | {"max_epochs": 5}
    assert changes("--epochs", "6") == base | {"max_epochs": 6}
    file.write_text('datasets = ["x"]\nset = ["max_epochs=5"]\n')
    assert changes("--epochs", "6") == {"max_epochs": 6}
    assert changes("--epochs", "5", "--set", "max_epochs=5") == {"max_epochs": 5}


def test_run_toml_gives_the_same_again_without_the_profile_s_file(tmp_path: Path) -> None:
    file, written = tmp_path / "mine.toml", tmp_path / "run.toml"
    file.write_text('base = "anchor"\nlr_decay = "none"\nmlp = []\nlr_grid = [1e-3, 1e-4]\n')
    first = parse(["--datasets", "x", "--profile", str(file), "--set", "dim=4", "clip_norm=none", "--epochs", "2"])
    written.write_text(to_toml(first, "made by a test"))
    file.unlink()
    again = parse(["--config", str(written)])
    assert again == dataclasses.replace(first, config=written)
    assert (again.training, again.profile_changes) == (first.training, first.profile_changes)
    assert parse(["--config", str(written), "--profile", "small"]).training == "small"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("dims=16", ["--set", "'dims'", "unknown", "'dim'?", "batch_size"]),
        ("dim", ["'dim'", "setting=value"]),
        ("dim=", ["'dim='", "setting=value"]),
        ("dim=0", ["dim=0", "[1, inf)", "dim=8"]),
        ("dim=1.5", ["dim=1.5", "int", "dim=8"]),
        ("dropout=1", ["dropout=1", "[0, 1)"]),
        ("dropout=-0.1", ["dropout=-0.1", "[0, 1)"]),
        ("lr=0", ["lr=0", "(0, inf)"]),
        ("lr=nan", ["lr=nan", "finite"]),
        ("lr=fast", ["lr=fast", "float", "lr=0.001"]),
        ("lr_grid=1e-3,0", ["lr_grid", "(0, inf)"]),
        ("lr_grid=none", ["lr_grid=none", "nothing in it"]),
        ("l2=-1", ["l2=-1", "[0, inf)"]),
        ("batch_size=0", ["batch_size=0", "[1, inf)"]),
        ("max_epochs=0", ["max_epochs=0", "[1, inf)"]),
        ("patience=0", ["patience=0", "[1, inf)"]),
        ("lr_decay=2", ["lr_decay=2", "(0, 1]"]),
        ("clip_norm=0", ["clip_norm=0", "(0, inf)"]),
        ("init_std=0", ["init_std=0", "(0, inf)"]),
        ("evaluate_every=0", ["evaluate_every=0", "(0, inf)"]),
        ("mlp=200,0", ["mlp=200,0", "[1, inf)", "mlp=400,400,200"]),
        ("mlp=200,,10", ["mlp=200,,10", "int"]),
        ("cin=none", ["cin=none", "nothing in it"]),
        ("cin_split=yes", ["cin_split=yes", "true or false"]),
        ("precision=fp8", ["precision=fp8", "highest, high, medium, bf16"]),
        ("name=x", ["'name'", "unknown"]),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name_value_and_mend(text: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(["--datasets", "x", "--set", text])
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("dims = 16\n", ["mine.toml", "'dims'", "'dim'?", "batch_size"]),
        ('dim = "wide"\n', ["mine.toml", "dim=wide", "dim=8"]),
        ("dim = true\n", ["dim=true", "int"]),
        ("dim = 16.0\n", ["dim=16.0", "int"]),
        ("mlp = [20, [10]]\n", ["mlp=[20, [10]]", "number, text or list"]),
        ("compile = 1\n", ["compile=1", "true or false"]),
        ('base = "smal"\n', ["base='smal'", "'small'?"]),
        ("base = 3\n", ["base=3", "small"]),
        ('name = "small"\n', ["name='small'", "my-small"]),
        ('name = ""\n', ["name=''", "1 to 60"]),
        ('name = "a\\nb"\n', ["name=", "one line"]),
        ("name = 3\n", ["name=3", "text"]),
        ("dim = \n", ["not valid TOML"]),
    ],
)
def test_a_profile_that_cannot_be_is_refused(tmp_path: Path, text: str, parts: list[str]) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        parse(["--datasets", "x", "--profile", str(file)])
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        (["--epochs", "3", "--set", "max_epochs=5"], ["epochs=3", "max_epochs=5", "leave one out"]),
        (["--precision", "high", "--set", "precision=bf16"], ["precision=high", "precision=bf16"]),
        (["--compile", "--set", "compile=false"], ["compile=true", "compile=false"]),
        (["--set", "dim=4", "dim=5"], ["dim is given twice", "4", "5"]),
        (["--profile", "mine"], ["profile='mine'", "ends in .toml"]),
        (["--profile", "absent.toml"], ["absent.toml", "cannot be read"]),
    ],
)
def test_what_does_not_agree_or_is_not_there_is_refused(argv: list[str], parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(["--datasets", "x", *argv])
    for part in parts:
        assert part in str(caught.value)


def test_hints_say_what_a_setting_is() -> None:
    """The example at the end of a message is itself a setting that can be."""
    for name in typing.get_type_hints(Profile):
        if name in SETTINGS:
            value = getattr(SMALL, name)
            assert settings([f"{name}={spelled(value)}"], "here") == {name: value}


def test_captions_part_sizes_by_dashes_and_rates_by_commas() -> None:
    own = {"base": "small", "mlp": [20, 10], "lr_grid": [1e-5, 0.001], "cin": []}
    assert naming._apart_text({"profile": {"set": own}}) == " (small with mlp=20-10, lr_grid=1e-05,0.001, cin=none)"
