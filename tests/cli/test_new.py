"""What ``new`` writes works as it is, wherever it is written, and nothing that is there is touched."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.checks import check_plugin
from bench.cli import main
from bench.plugin_files import read_plugin

HOME = Path(__file__).resolve().parents[2]
KINDS = ("shallow", "field", "value", "per-sample")
GUIDE = HOME / "methods" / "README.md"


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_registries: Callable[[], None]) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shown_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("kind", KINDS)
def test_a_method_of_each_kind_keeps_the_contract_as_it_is_written(kind: str, empty: Path) -> None:
    assert main(["new", "method", "my-method", "--kind", kind]) == 0
    assert sorted(file.name for file in empty.iterdir()) == ["my_method.py", "test_my_method.py"]
    check_plugin("my_method.py", backbones=["dnn[mlp=4]"])


@pytest.mark.parametrize("kind", ["field", "value", "per-sample"])
def test_the_guide_shows_what_is_written(kind: str, empty: Path) -> None:
    assert main(["new", "method", "my-method", "--kind", kind]) == 0
    written = Path("my_method.py").read_text(encoding="utf-8")
    code = written[written.index("class MyMethodMask" if kind == "value" else "class MyMethodGate") :]
    assert f"{code.partition(chr(10) * 3 + 'ENTRY')[0].strip()}\n" in [
        block.rstrip() + "\n" for block in shown_blocks()
    ]


def test_a_backbone_keeps_the_contract_as_it_is_written(empty: Path) -> None:
    assert main(["new", "backbone", "my-net"]) == 0
    check_plugin("my_net.py")


def run(*argv: str, cwd: Path, **more: str) -> str:
    done = subprocess.run(argv, cwd=cwd, env={**os.environ, **more}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_card_prepares_a_table(empty: Path) -> None:
    assert main(["new", "dataset", "my-table"]) == 0
    names: dict[str, object] = {"__file__": str(empty / "test_my_table.py")}
    exec((empty / "test_my_table.py").read_text(encoding="utf-8"), names)
    names["test_a_table_is_prepared"](empty)  # type: ignore[operator]


@pytest.fixture
def checkout(empty: Path) -> Path:
    """The parts of a checkout that lines are added to."""
    for place in ("methods/__init__.py", "backbones/__init__.py", "bench/datasets/__init__.py", "bench/plugins.py"):
        (empty / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(HOME / place, empty / place)
    shutil.copy(HOME / "Makefile", empty / "Makefile")
    return empty


@pytest.mark.parametrize(
    ("argv", "table", "files"),
    [
        (
            ["method", "my-method", "--kind", "value"],
            "methods",
            ["methods/my_method.py", "tests/methods/test_my_method.py"],
        ),
        (["backbone", "my-net"], "backbones", ["backbones/my_net.py", "tests/backbones/test_my_net.py"]),
        (["dataset", "my-data"], "bench/datasets", ["bench/datasets/my-data.toml", "tests/datasets/test_my_data.py"]),
    ],
)
def test_in_a_checkout_a_line_joins_the_table_and_the_rest_stays(
    argv: list[str], table: str, files: list[str], checkout: Path
) -> None:
    before = (checkout / table / "__init__.py").read_text(encoding="utf-8")
    assert main(["new", *argv]) == 0
    after = (checkout / table / "__init__.py").read_text(encoding="utf-8")
    assert all((checkout / file).is_file() for file in files)
    names: dict[str, dict[str, object]] = {}
    exec(compile(after, table, "exec"), names)
    assert list(names["TABLE"])[-1] == argv[1]
    added = [line for line in after.splitlines() if line not in before.splitlines()]
    assert len(after.splitlines()) - len(before.splitlines()) >= len(added) >= 1
    assert "ENTRY" not in (checkout / files[0]).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["method", "My-Method"], "it needs small letters, digits and single dashes"),
        (["method", "random-k"], "the method 'random-k' is there already (methods.random_k:RandomK)"),
        (["backbone", "dnn"], "the backbone 'dnn' is there already"),
        (["dataset", "planted"], "the data set 'planted' is there already"),
        (["method", "lambda"], "is a word of Python"),
        (["method", "all"], "means something else here"),
        (["method", "gate"], "makes the class Gate, which bench.api has"),
        (["method", "json"], "makes the module json, which Python has"),
        (["backbone", "my-net", "--kind", "value"], "kind=value is for methods"),
        (["method", "my-method", "--form", "checkout"], "is no checkout of the suite"),
        (["dataset", "my-data", "--form", "package"], "a data set is one card"),
        (["method", "my-method", "--to", "nowhere"], "to=nowhere is no folder"),
    ],
)
def test_what_cannot_be_made_is_refused(
    argv: list[str], said: str, empty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", *argv]) == 2
    assert said in capsys.readouterr().err
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize("there", ["my_method.py", "test_my_method.py"])
def test_nothing_is_overwritten(there: str, empty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path(there).write_text("mine = 1\n", encoding="utf-8")
    assert main(["new", "method", "my-method"]) == 2
    assert f"{there} is there already, and nothing is overwritten" in capsys.readouterr().err.replace("\n", " ")
    assert {file.name: file.read_text(encoding="utf-8") for file in empty.iterdir()} == {there: "mine = 1\n"}


def test_the_file_of_a_package_is_that_of_a_plug_in_without_its_entry(empty: Path) -> None:
    assert main(["new", "method", "my-method", "--form", "package"]) == 0
    assert main(["new", "method", "my-method"]) == 0
    alone = read_plugin("my_method.py").text
    inside = (empty / "my-method" / "my_method" / "method.py").read_text(encoding="utf-8")
    assert alone.replace("MethodEntry, ", "").startswith(inside)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["method", "backbone"])
def test_a_package_that_is_installed_is_known_by_its_entry_point(what: str, empty: Path) -> None:
    """Into a folder of its own, without a network; then listed, checked and run."""
    assert main(["new", what, "my-own", "--form", "package"]) == 0
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation")
    run(*pip, "--target", "site", "./my-own", cwd=empty)
    bench = (sys.executable, "-m", "bench")
    path = {"PYTHONPATH": f"{HOME}{os.pathsep}{empty / 'site'}"}
    assert "[entry point my_own:ENTRY]" in run(*bench, "list", f"{what}s", cwd=empty, **path)
    assert "rules kept" in run(*bench, "check", "my-own", "--backbone", "dnn", cwd=empty, **path)
    run(sys.executable, "-m", "pytest", "-q", "my-own", cwd=empty, PYTHONPATH=str(HOME))
