from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.cli.run import parse
from bench.errors import ConfigError
from bench.run import config as module
from bench.run.check import check
from bench.run.config import RunConfig, base_config, experiment_names, experiment_title, to_toml


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "my.toml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An experiment of the test's own, beside copies of the shipped ones."""
    folder = tmp_path / "experiments"
    folder.mkdir()
    for shipped in module.EXPERIMENTS.glob("*.toml"):
        (folder / shipped.name).write_text(shipped.read_text())
    (folder / "mine.toml").write_text('# Mine: a title\ndatasets = ["x"]\nbackbones = ["y"]\nseeds = 4\nepochs = 7\n')
    monkeypatch.setattr(module, "EXPERIMENTS", folder)


def test_without_data_sets_the_quick_start_runs() -> None:
    quick = parse([])
    shipped = tomllib.loads((module.EXPERIMENTS / "quickstart.toml").read_text())
    assert list(quick.datasets) == shipped["datasets"]
    assert list(quick.methods) == shipped["methods"]
    assert list(quick.backbones) == shipped["backbones"]
    assert quick.seeds == 1


def test_with_data_sets_the_paper_s_table_is_the_default() -> None:
    config = parse(["--datasets", "criteo", "avazu", "--seeds", "3"])
    shipped = tomllib.loads((module.EXPERIMENTS / "table2.toml").read_text())
    assert config.datasets == ("criteo", "avazu")
    assert (list(config.methods), list(config.backbones)) == (shipped["methods"], shipped["backbones"])
    assert (config.seeds, config.prune_ratio) == (3, (0.5,))


@pytest.mark.usefixtures("experiment")
def test_flags_go_over_the_file_and_the_file_over_the_experiment(file: Callable[[str], Path]) -> None:
    path = str(file('experiment = "mine"\nseeds = 5\nprune-ratio = [0.25, 0]\n'))
    plain = parse(["--experiment", "mine"])
    with_file = parse(["--config", path])
    with_flags = parse(["--config", path, "--seeds", "6", "--rows", "500"])
    assert (plain.seeds, plain.epochs, plain.prune_ratio) == (4, 7, (0.5,))
    assert (with_file.seeds, with_file.epochs, with_file.prune_ratio) == (5, 7, (0.25, 0.0))
    assert (with_flags.seeds, with_flags.epochs, with_flags.prune_ratio) == (6, 7, (0.25, 0.0))
    assert with_flags.rows == 500
    assert with_flags.datasets == ("x",)
    other = parse(["--config", path, "--experiment", "quickstart"])
    assert (other.epochs, other.seeds) == (None, 5)  # the flag chooses the experiment, the file still goes over it


def test_a_file_that_names_data_sets_starts_from_the_paper_s_table(file: Callable[[str], Path]) -> None:
    shipped = tomllib.loads((module.EXPERIMENTS / "table2.toml").read_text())
    assert list(parse(["--config", str(file('datasets = ["avazu"]\n'))]).methods) == shipped["methods"]
    assert "random-k" in parse(["--config", str(file("seeds = 2\n"))]).methods


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("sedes = 3\n", ["'sedes'", "unknown", "'seeds'"]),
        ('seeds = "3"\n', ["seeds='3'", "int"]),
        ("seeds = 1.5\n", ["seeds=1.5", "int"]),
        ("seeds = true\n", ["seeds=True", "int"]),
        ("isolate = 1\n", ["isolate=1", "bool"]),
        ('prune_ratio = ["half"]\n', ["prune_ratio", "'half'", "float"]),
        ('precision = "fp8"\n', ["precision='fp8'", "highest, high, medium, bf16"]),
        ('rerun = "never"\n', ["rerun='never'", "missing, always"]),
        ("experiment = 3\n", ["experiment=3", "str"]),
        ('experiment = "tabel2"\n', ["'tabel2'", "unknown", "'table2'"]),
        ('config = "other.toml"\n', ["'config'", "unknown"]),
        ("seeds = \n", ["my.toml", "cannot be read"]),
        ("out = 3\n", ["out=3", "Path"]),
    ],
)
def test_a_bad_file_is_refused_by_name_value_and_mend(file: Callable[[str], Path], text: str, parts: list[str]) -> None:
    path = file(text)
    with pytest.raises(ConfigError) as caught:
        base_config(None, path, False)
    for part in parts:
        assert part in str(caught.value)


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for name in ("absent.toml", "bytes", "."):
        with pytest.raises(ConfigError, match="cannot be read"):
            base_config(None, tmp_path / name, False)


def test_an_unknown_experiment_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        base_config("table22", None, False)
    assert "'table2'?" in str(caught.value)
    assert all(name in str(caught.value) for name in experiment_names())


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"seeds": 0}, ["seeds=0", "[1, inf)"]),
        ({"rows": 9}, ["rows=9", "[10, inf)"]),
        ({"epochs": 0}, ["epochs=0", "[1, inf)"]),
        ({"threads": 0}, ["threads=0", "[1, inf)"]),
        ({"prune_ratio": (0.5, 1.0)}, ["prune-ratio=1", "[0, 1)"]),
        ({"prune_ratio": (-0.1,)}, ["prune-ratio=-0.1", "[0, 1)"]),
        ({"prune_ratio": (float("nan"),)}, ["prune-ratio=nan", "[0, 1)"]),
        ({"prune_ratio": ()}, ["prune-ratio is empty"]),
        ({"methods": ()}, ["methods is empty"]),
        ({"profile": "big"}, ["profile='big'", "auto, paper, anchor, small", ".toml"]),
        ({"timeout_s": 5.0}, ["timeout-s=5", "--isolate"]),
        ({"timeout_s": 0.0, "isolate": True}, ["timeout-s=0", "(0, inf)"]),
        ({"timeout_s": float("nan"), "isolate": True}, ["timeout-s=nan", "(0, inf)"]),
    ],
)
def test_values_out_of_range_are_refused(changes: dict[str, Any], parts: list[str]) -> None:
    good = RunConfig(datasets=("x",), backbones=("y",))
    assert check(good) is good
    with pytest.raises(ConfigError) as caught:
        check(dataclasses.replace(good, **changes))
    for part in parts:
        assert part in str(caught.value)


def test_the_written_settings_read_back_to_the_same(tmp_path: Path) -> None:
    settings = RunConfig(
        datasets=('a "quoted" \\ name', "b[x=1]"),
        methods=("m[p=q]",),
        backbones=("n",),
        seeds=3,
        prune_ratio=(0.0, 0.1, 1 / 3),
        profile="anchor",
        rows=100,
        out=tmp_path / "out",
        isolate=True,
        timeout_s=2.5,
        rerun="always",
        precision="bf16",
        optimizer="lazy-adam",
        compile=True,
    )
    path = tmp_path / "run.toml"
    path.write_text(to_toml(settings, "made by a test"))
    assert path.read_text().startswith("# made by a test\n")
    assert parse(["--config", str(path)]) == dataclasses.replace(settings, config=path)


def test_every_shipped_experiment_can_be_read_and_has_a_title() -> None:
    for name in experiment_names():
        config = check(base_config(name, None, False))
        assert config.datasets
        assert len(experiment_title(name)) > 10


def test_every_setting_is_documented() -> None:
    source = Path(module.__file__).read_text()
    for field in dataclasses.fields(RunConfig):
        after = source.partition(f"    {field.name}: ")[2].splitlines()[1]
        assert after.strip().startswith('"""'), field.name
