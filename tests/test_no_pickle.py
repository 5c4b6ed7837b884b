"""Nothing that the suite reads back can run code: no source holds such a reader, and planted files are refused."""

from __future__ import annotations

import ast
import json
import os
import pickle
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cell_records import TINY

from bench.cli import main
from bench.data.store.store import store_folder
from bench.datasets import resolve_dataset

Bench = Callable[..., Any]
HOME = Path(__file__).resolve().parent.parent
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml"}
BUILTINS = {"eval", "exec", "compile"}
CODE = {"bench/plugin_files.py": ["exec", "compile"]}
"""What is there to run code: that of files which the user names on the command line."""
READERS = {"read_pickle", "to_pickle", "read_hdf", "allow_pickle"}
SAFE = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False), "numpy.load": ("allow_pickle", False)}


def faults(tree: ast.AST) -> list[str]:
    """What in a source could run code that stands in data."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            found += [name for name in names if name.partition(".")[0] in MODULES]
        if isinstance(node, ast.Attribute) and node.attr in READERS:
            found.append(node.attr)
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name in BUILTINS:
            found.append(name)
        if name in SAFE:
            key, wanted = SAFE[name]
            given = [word.value for word in node.keywords if word.arg == key]
            if not given or ast.unparse(given[0]) != str(wanted):
                found.append(f"{name} without {key}={wanted}")
    return found


def test_the_search_finds_what_could_run_code() -> None:
    lines = ["import pickle", "from joblib import load", "eval('1')", "torch.load(f)"]
    lines += ["np.load(f, allow_pickle=True)", "pd.read_pickle(f)"]
    assert faults(ast.parse("\n".join(lines))) == [
        "pickle", "joblib", "eval", "torch.load without weights_only=True", "np.load without allow_pickle=False",
        "read_pickle",
    ]  # fmt: skip
    assert faults(ast.parse("torch.load(f, weights_only=True)\nnp.load(f, allow_pickle=False)\nm.eval()")) == []


@pytest.mark.parametrize("package", ["bench", "methods", "backbones", "plots"])
def test_no_source_reads_what_could_run_code(package: str) -> None:
    for file in sorted((HOME / package).rglob("*.py")):
        name = file.relative_to(HOME).as_posix()
        assert faults(ast.parse(file.read_text(encoding="utf-8"))) == CODE.get(name, []), name


class Planted:
    """Makes the witness when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.witness),)


def bare(file: Path, thing: Any) -> None:
    file.write_bytes(pickle.dumps(thing))


def by_torch(file: Path, thing: Any) -> None:
    with file.open("wb") as out:
        torch.save(thing, out)


def by_numpy(file: Path, thing: Any) -> None:
    with file.open("wb") as out:
        np.save(out, np.array([thing, thing], dtype=object), allow_pickle=True)


def nested(file: Path, thing: Any) -> None:
    file.write_text("[" * 100_000)


METHODS = ("cardinality", "optem[supernet_epochs=1,generations=1,mutations=1,crossovers=1]")
RUN_FILES = (
    "cells/*.json",
    "trials/*.json",
    "selections/*.json",
    "checkpoints/*/*train-1.pt",
    "checkpoints/*/*.stage.pt",
)
STORE_FILES = ("manifest.json", "labels.npy", "split.npy", "ids.npy", "truth.npy")
WAYS = (bare, by_torch, by_numpy, nested)


def flags(out: Path, data: Path) -> list[str]:
    argv = ["run", "--datasets", TINY, "--methods", *METHODS, "--backbones", "dnn[mlp=4]", "--epochs", "1"]
    argv = [*argv, "--seeds", "1", "--prune-ratio", "0.5", "--tune", "lr", "--checkpoint"]
    return [*argv, "--out", str(out), "--data-dir", str(data)]


@pytest.fixture(scope="module")
def begun(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with records, trials, shared rankings, and checkpoints of fits and stages, as a kill leaves them."""
    folder = tmp_path_factory.mktemp("begun") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *args, **options: None)  # so that checkpoints stay
        assert main(flags(folder, data_dir)) == 0
    for pattern in RUN_FILES:
        assert list(folder.glob(pattern)), pattern
    return folder


@pytest.mark.parametrize("write", WAYS)
@pytest.mark.parametrize("pattern", RUN_FILES)
def test_a_file_planted_in_a_run_folder_is_refused_and_runs_no_code(
    bench: Bench, begun: Path, data_dir: Path, pattern: str, write: Callable[[Path, Any], None]
) -> None:
    shutil.copytree(begun, "run")
    run, witness = Path("run"), Path("witness")
    if pattern != "cells/*.json":
        shutil.rmtree("run/cells")
    if pattern == "selections/*.json":  # from the checkpoints, nothing would be ranked
        shutil.rmtree("run/checkpoints")
    for file in run.glob(pattern):
        write(file, Planted(witness))
    found = bench(*flags(run, data_dir))
    assert found.code == 2, found.err
    assert found.err.count("error: ") == 1 and "Traceback" not in found.err
    assert "elete" in found.err.splitlines()[-1] and run.glob(pattern)
    if pattern == "cells/*.json":
        for command in (["report", "run"], ["explain", "run", "overall", TINY, "cardinality", "auc"]):
            refused = bench(*command)
            assert (refused.code, "not readable as a cell record" in refused.err) == (2, True)
    assert not witness.exists()


@pytest.mark.parametrize("write", WAYS)
@pytest.mark.parametrize("name", STORE_FILES)
@pytest.mark.parametrize("agrees", [False, True])
def test_a_file_planted_in_a_store_is_refused_and_runs_no_code(
    bench: Bench, data_dir: Path, name: str, write: Callable[[Path, Any], None], agrees: bool
) -> None:
    """Also where whoever planted it has made the manifest agree."""
    shutil.copytree(data_dir, "data")
    store, witness = store_folder(Path("data"), resolve_dataset(TINY)), Path("witness")
    write(store / name, Planted(witness))
    if agrees and name != "manifest.json":
        manifest = json.loads((store / "manifest.json").read_text())
        manifest["files"][name] = sha256((store / name).read_bytes()).hexdigest()
        (store / "manifest.json").write_text(json.dumps(manifest))
    found = bench(*flags(Path("run"), Path("data")))
    assert found.code == 2, found.err
    assert found.err.count("error: ") == 1 and "Traceback" not in found.err
    assert name in found.err.splitlines()[-1]
    bench("list", "datasets", "--data-dir", "data")
    assert not witness.exists()


@pytest.mark.parametrize("write", WAYS[:3])
def test_it_was_no_empty_threat(tmp_path: Path, write: Callable[[Path, Any], None]) -> None:
    """Whoever unpickles such a file makes the witness."""
    write(tmp_path / "planted", Planted(tmp_path / "witness"))
    if write is bare:
        pickle.loads((tmp_path / "planted").read_bytes())
    elif write is by_torch:
        torch.load(tmp_path / "planted", weights_only=False)
    else:
        np.load(tmp_path / "planted", allow_pickle=True)
    assert (tmp_path / "witness").exists()
