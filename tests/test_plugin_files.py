"""Plug-ins in single files: how they are read, what they are called, and that a changed file is other code."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cell_records import TINY

from bench import plugins
from bench.cli import main
from bench.errors import ConfigError
from bench.plugin_files import read_plugin, read_plugins
from bench.records import RunFolder
from bench.run.check import check
from bench.run.config import RunConfig, from_json, to_json, to_toml
from bench.run.job import ResolvedCell
from bench.run.selections import shared_key
from bench.run.session import Session, resolve

METHOD = """
import torch
from bench.api import Method, MethodEntry, Selection


class Lot(Method):
    def select(self, ctx, train, selection_rows):
        lot = torch.rand(ctx.schema.n_fields, generator=ctx.rng("lot"), dtype=torch.float64)
        return Selection(scores=lot.numpy())


ENTRY = MethodEntry(f"{__name__}:Lot", "My lot", depends_on=frozenset({"seed"}))
"""
NET = """
from backbones.dnn import DNN
from bench.api import BackboneEntry


class Net(DNN):
    pass


ENTRY = BackboneEntry(f"{__name__}:Net", "My net")
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_registries: Callable[[], None]) -> Path:
    """A working folder with a method and a backbone in a file each."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_lot.py").write_text(METHOD, encoding="utf-8")
    (tmp_path / "my_net.py").write_text(NET, encoding="utf-8")
    return tmp_path


def test_a_file_is_called_as_it_is_named_and_known_by_its_checksum(files: Path) -> None:
    file = read_plugin("my_lot.py")
    digest = hashlib.sha256((files / "my_lot.py").read_bytes()).hexdigest()
    assert (file.name, file.sha256) == ("my-lot", digest)
    plugins.add_files([file, read_plugin("my_net.py")])
    known = plugins.methods()
    assert known.names()[-1] == "my-lot" and plugins.backbones().names()[-1] == "my-net"
    assert known.load("my-lot").__name__ == "Lot"
    assert known.origin("my-lot") == "my_lot.py"
    assert known.version("my-lot") == {"file": "my_lot.py", "sha256": digest}
    assert known.version("random-k") == {}


def test_the_file_runs_once_a_version_and_a_later_version_takes_its_place(files: Path) -> None:
    plugins.add_files([read_plugin("my_lot.py")])
    first = plugins.methods().load("my-lot")
    plugins.add_files([read_plugin("my_lot.py")])
    assert plugins.methods().load("my-lot") is first
    (files / "my_lot.py").write_text(METHOD.replace("My lot", "My other lot"), encoding="utf-8")
    plugins.add_files([read_plugin("my_lot.py")])
    assert plugins.methods().load("my-lot") is not first
    assert plugins.methods().entry("my-lot").title == "My other lot"
    assert plugins.methods().names().count("my-lot") == 1


def test_a_broken_file_leaves_no_module_behind(files: Path) -> None:
    (files / "my_bad.py").write_text("import bench\n1 / 0\n", encoding="utf-8")
    file = read_plugin("my_bad.py")
    with pytest.raises(ConfigError, match=r"my_bad.py, line 2 \(1 / 0\): ZeroDivisionError"):
        file.load()
    assert file.module not in sys.modules


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("gone.py", "plugin=gone.py is not there. Give the Python file of a method or backbone."),
        (".", "plugin=. is a folder."),
        ("my_lot.txt", "plugin=my_lot.txt does not end in .py."),
        ("MyLot.py", "the file's name becomes the plug-in's"),
        ("latin.py", "plugin=latin.py cannot be read: 'utf-8' codec"),
    ],
)
def test_a_file_that_cannot_be_one_is_refused(path: str, said: str, files: Path) -> None:
    (files / "latin.py").write_bytes(b"# caf\xe9\n")
    with pytest.raises(ConfigError) as caught:
        read_plugin(path)
    assert said in str(caught.value)


def test_taken_names_and_namesakes_are_refused(files: Path) -> None:
    (files / "random_k.py").write_text(METHOD, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"random_k.py: the method 'random-k' is there already .methods.random_k"):
        plugins.add_files([read_plugin("random_k.py")])
    (files / "b").mkdir()
    (files / "b" / "my_lot.py").write_text(METHOD, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"my_lot.py and b/my_lot.py would both be called 'my-lot'"):
        read_plugins(["my_lot.py", "b/my_lot.py"])
    assert len(read_plugins(["my_lot.py", str(files / "my_lot.py")])) == 1


def settings(data_dir: Path, out: Path, **changes: object) -> RunConfig:
    plain = RunConfig(
        datasets=(TINY,),
        methods=("no-selection", "my-lot"),
        backbones=("my-net[mlp=4]",),
        plugin=("my_lot.py", "my_net.py"),
        epochs=1,
        out=out,
        data_dir=data_dir,
    )
    return check(replace(plain, **changes))  # type: ignore[arg-type]


def test_settings_carry_the_text_to_other_processes_and_keep_the_path(files: Path, data_dir: Path) -> None:
    config = settings(data_dir, files / "run")
    assert config.plugin_texts == (METHOD, NET)
    (files / "my_lot.py").unlink()
    there = from_json(to_json(config))
    assert [file.text for file in there.plugin_files] == [METHOD, NET]
    toml = to_toml(config, "x")
    assert 'plugin = ["my_lot.py", "my_net.py"]' in toml
    assert "plugin_texts" not in toml


def cell_of(config: RunConfig, method: str) -> ResolvedCell:
    session = Session(resolve(config))
    return session.cell(next(cell for cell in session.plan.cells() if cell.method == method))


def test_a_changed_file_makes_other_cells_and_others_stay(files: Path, data_dir: Path) -> None:
    shipped = settings(data_dir, files / "run", plugin=(), methods=("no-selection",), backbones=("dnn[mlp=4]",))
    before = cell_of(shipped, "no-selection")
    assert not {key for key in before.identity if key.endswith("_code")}
    assert before.record().plugins is None
    config = settings(data_dir, files / "run")
    own, base = cell_of(config, "my-lot"), cell_of(config, "no-selection")
    assert own.identity["method_code"] == read_plugin("my_lot.py").sha256
    assert set(base.record().plugins or {}) == {"backbone"}
    known = own.hash, base.hash
    (files / "my_lot.py").write_text(METHOD + "# more\n", encoding="utf-8")
    again = settings(data_dir, files / "run")
    assert cell_of(again, "my-lot").hash != known[0]
    assert cell_of(again, "no-selection").hash == known[1]
    method = own.method.make()
    other_net = {**own.identity, "backbone_code": "another"}
    assert shared_key(own.identity, method) == shared_key(other_net, method)
    other_method = {**own.identity, "method_code": "another"}
    assert shared_key(own.identity, method) != shared_key(other_method, method)


def test_a_run_computes_a_changed_file_again_and_nothing_else(
    files: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second time in a process of its own, which gets the plug-ins too."""
    out = files / "run"
    argv = ["run", "--datasets", TINY, "--methods", "no-selection", "my-lot", "--backbones", "my-net[mlp=4]"]
    argv += ["--plugin", "my_lot.py", "--plugin", "my_net.py", "--epochs", "1", "--seeds", "1", "--out", str(out)]
    assert main([*argv, "--data-dir", str(data_dir)]) == 0
    said = capsys.readouterr().err
    assert f"plug-in my-lot: my_lot.py, version {read_plugin('my_lot.py').sha256[:7]}" in said
    (files / "my_lot.py").write_text(METHOD.replace('rng("lot")', 'rng("more")'), encoding="utf-8")
    again = ["run", "--config", str(out / "run.toml"), "--isolate"]
    assert main(again) == 2, "a folder that somebody hands on runs no code unasked"
    assert "run.toml names the plug-in my_lot.py, whose code would be run. Where you" in capsys.readouterr().err
    assert main([*again, "--plugin", "my_lot.py", "my_net.py"]) == 0
    assert "2 cells, 1 done before, 1 to run" in capsys.readouterr().err
    records = RunFolder(out).records()
    versions = {cell.plugins["method"]["sha256"] for cell in records if cell.plugins and "method" in cell.plugins}
    assert [cell.status for cell in records] == ["ok"] * 3
    assert len(versions) == 2
    kept = {hashlib.sha256(file.read_bytes()).hexdigest() for file in (out / "plugins").glob("my_lot_*.py")}
    assert kept == versions
    page = (out / "tables").glob("*.md")
    text = "\n".join(file.read_text(encoding="utf-8") for file in page)
    assert all(f"My lot (version {version[:7]})" in text for version in versions)
    assert "was changed between cells of this run" in text
