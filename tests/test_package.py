"""What leaves the checkout: the wheel and what it carries, an installed suite in an empty folder, the citation."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

HOME = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((HOME / "pyproject.toml").read_text(encoding="utf-8"))["project"]
needs_builder = pytest.mark.skipif(
    importlib.util.find_spec("hatchling") is None, reason="hatchling, of the extra dev, is not installed"
)
SMALL = "planted[rows=600,fields=6,main=3,interaction=0,redundant=0]"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked as an installation would."""
    out = tmp_path_factory.mktemp("site")
    unpack(HOME, out)
    return out


def unpack(source: Path, site: Path) -> None:
    """Build the wheel of a source tree and unpack it into ``site``."""
    with tempfile.TemporaryDirectory() as out:
        words = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "-w", out]
        subprocess.run([sys.executable, "-m", "pip", *words, str(source)], check=True)
        (wheel,) = Path(out).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)


def tracked(*folders: str) -> set[str]:
    """Files of the checkout that are its own, not caches."""
    found = (path for folder in folders for path in (HOME / folder).rglob("*") if path.is_file())
    return {path.relative_to(HOME).as_posix() for path in found if "__pycache__" not in path.parts}


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@needs_builder
def test_a_wheel_carries_all_that_the_suite_reads(site: Path) -> None:
    carried = {name for name in files(site) if ".dist-info/" not in name}
    code = tracked("bench", "methods", "backbones", "plots", "results/paper")
    records = {
        name for name in tracked("results/reference") if re.search(r"/cells/|/run\.toml$|reference/[^/]*$", name)
    }
    assert carried == code | records
    for suffix in (".toml", ".md", ".py", ".csv"):
        assert any(name.endswith(suffix) for name in carried)
    (info,) = site.glob("*.dist-info")
    assert info.name == f"ctr_field_bench-{PROJECT['version']}.dist-info"
    assert (info / "licenses" / "LICENSE").is_file()


def bench(site: Path, folder: Path, *words: str) -> str:
    """What a command of the unpacked wheel prints in another folder."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_builder
def test_an_installed_suite_finds_its_parts_from_an_empty_folder(site: Path, tmp_path: Path) -> None:
    listed = bench(site, tmp_path, "list")
    names = {"datasets": "bench/datasets/*.toml", "experiments": "bench/experiments/*.toml"}
    for section, pattern in names.items():
        here = {line.split()[0] for line in listed.partition(f"{section}\n")[2].partition("\n\n")[0].splitlines()}
        assert {Path(file).stem for file in HOME.glob(pattern)} - {"quickstart"} <= here
    assert "BROKEN" not in listed and list(tmp_path.iterdir()) == []
    where = "import bench, bench.tables.paper as paper; print(bench.__file__); print(len(paper.paper_rows('table2')))"
    paths = {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    words = [sys.executable, "-c", where]
    done = subprocess.run(words, cwd=tmp_path, env={**os.environ, **paths}, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str(site / "bench" / "__init__.py"), "90"], "ten methods, three data sets"


@needs_builder
@pytest.mark.slow
def test_an_installed_suite_runs_in_an_empty_folder(site: Path, tmp_path: Path) -> None:
    before = files(site)
    flags = ["--datasets", SMALL, "--methods", "no-selection", "pca", "--backbones", "dnn[mlp=4]", "--epochs", "1"]
    assert "No Selection" in bench(site, tmp_path, "run", *flags, "--seeds", "1", "--out", "mine")
    long = bench(site, tmp_path, "list", "methods", "--long")
    assert "reference run planted" in long, "how methods stand comes from the records in the wheel"
    assert files(site) == before
    assert {path.name for path in tmp_path.iterdir()} == {"data", "mine"}
    assert (tmp_path / "mine" / "report.html").is_file()


@needs_builder
@pytest.mark.slow
def test_the_wheel_of_the_source_archive_is_that_of_the_checkout(site: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(words, cwd=HOME, check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    source = tmp_path / archive.name.removesuffix(".tar.gz")
    held = files(source)
    assert {"constraints.txt", "CITATION.cff", "results/reproduce.sh", "tests/test_package.py"} <= held
    assert not [name for name in held if name.startswith(("data/", "results/runs/"))]
    (tmp_path / "site").mkdir()
    unpack(source, tmp_path / "site")
    assert files(tmp_path / "site") == files(site)


def test_the_citation_names_what_the_project_is() -> None:
    told = yaml.safe_load((HOME / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(told)  # what version 1.2.0 of the format requires
    assert told["cff-version"] == "1.2.0" and told["type"] == "software"
    assert told["version"] == PROJECT["version"] and told["license"] == PROJECT["license"]
    assert told["title"].startswith(PROJECT["name"])
    assert [one["name"] for one in told["authors"]] == [one["name"] for one in PROJECT["authors"]]
    for one in told["references"]:
        assert {"type", "title", "authors"} <= set(one)


def test_every_recorded_run_is_a_step_of_the_script_that_remakes_them() -> None:
    script = HOME / "results" / "reproduce.sh"
    listed = subprocess.run(["bash", script, "list"], capture_output=True, text=True, check=True).stdout.split()
    runs = sorted(file.parent.name for file in (HOME / "results" / "reference").glob("*/run.toml"))
    assert listed == ["environment", "data", *runs, "page"]
    wrong = subprocess.run(["bash", script, "plantd"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2 and "no step is called plantd" in wrong.stderr
    assert "constraints.txt" in script.read_text(encoding="utf-8")
