"""The committed reference runs: every record loads and holds together, and their reports come out as committed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import matplotlib
import pytest

from bench.api import n_keep
from bench.records import CellRecord, RunFolder
from bench.report.build import build_report

pytestmark = pytest.mark.figures
HOME = Path(__file__).resolve().parent.parent
REFERENCE = HOME / "results" / "reference"
RUNS = sorted(file.parent for file in REFERENCE.rglob("run.toml"))
TEXTS = (".tex", ".md", ".csv")
PAGES = (".svg", ".html")
"""What holds the paths of glyphs, which differ between versions of Matplotlib."""


def named(run: Path) -> str:
    return run.relative_to(REFERENCE).as_posix()


def test_there_are_reference_runs_and_the_readme_names_each() -> None:
    assert RUNS
    text = (REFERENCE / "README.md").read_text(encoding="utf-8")
    for run in RUNS:
        assert f"`{named(run)}/`" in text


@pytest.mark.parametrize("run", RUNS, ids=named)
def test_every_record_loads_and_holds_together(run: Path) -> None:
    records = RunFolder(run).records()
    assert {file.stem for file in (run / "cells").iterdir()} == {record.config_hash[:16] for record in records}
    for record in records:
        check(record)


def check(record: CellRecord) -> None:
    where = f"{record.dataset} {record.backbone} {record.label} {record.tau} {record.seed}"
    assert record.status == "ok", where
    assert record.command is not None and record.command.startswith("python -m bench run "), where
    assert not re.search(r"/(?:tmp|home|root|work)\b", record.command), where
    assert record.git and record.versions["torch"] and record.profile["name"] and record.split_rows, where
    assert record.auc is not None and 0 < record.auc < 1 and record.logloss is not None and record.logloss > 0, where
    assert record.pt_s is not None and record.ct_s is not None, where
    assert record.tt_s == pytest.approx(record.pt_s + record.ct_s), where
    assert record.kept_fields is not None and record.kept_fields == sorted(set(record.kept_fields)), where
    assert set(record.kept_fields) <= set(range(len(record.field_names))), where
    if record.budget == "field" and record.tau is not None:
        assert len(record.kept_fields) == n_keep(record.tau, len(record.field_names)), where


@pytest.mark.parametrize("run", RUNS, ids=named)
def test_the_report_of_its_records_is_the_committed_one(run: Path, tmp_path: Path) -> None:
    again = tmp_path / run.name
    shutil.copytree(run / "cells", again / "cells")
    shutil.copy(run / "run.toml", again)
    build_report(again)
    kinds = TEXTS + PAGES if matplotlib.__version__ == constrained("matplotlib") else TEXTS
    assert listed(again, kinds) == listed(run, kinds)
    for name in listed(run, kinds):
        assert (again / name).read_bytes() == (run / name).read_bytes(), name


def listed(run: Path, kinds: tuple[str, ...]) -> list[Path]:
    return sorted(path.relative_to(run) for path in run.rglob("*") if path.suffix in kinds)


def constrained(package: str) -> str:
    """The version that the project's constraints name."""
    text = (HOME / "constraints.txt").read_text(encoding="utf-8")
    found = re.search(rf"^{package}==(\S+)", text, re.MULTILINE)
    assert found is not None
    return found[1]
