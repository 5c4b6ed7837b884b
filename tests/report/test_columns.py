"""What a table shows is one entry: a column more, or training time as time, changes one place and every format."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.cli import main
from bench.records import CellRecord, RunFolder, to_frame
from bench.report import figures
from bench.report.build import build_report
from bench.report.formats.terminal import terminal_table
from bench.tables.kinds import KINDS, TableKind
from bench.tables.metrics import TT, TT_RATIO, Metric
from bench.tables.titles import Titles

pytestmark = pytest.mark.figures
Cell = Callable[..., CellRecord]
TITLES = Titles(from_cards=True)
LOST = Metric(
    "auc_lost", "AUC lost", "lower", 3,
    lambda cell, baseline: None if baseline is None else baseline["auc"] - cell["auc"],
    unit="points", scale=0.01, meaning="AUC lost: to the baseline, at the same seed.",
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "KINDS", ())


@pytest.fixture
def run(tmp_path: Path, cell: Cell) -> RunFolder:
    """Three methods that the paper has too, two seeds, on one of its data sets and two of its backbones."""
    run = RunFolder(tmp_path)
    for backbone in ("xdeepfm", "dnn"):
        place = {"backbone": backbone, "dataset": "criteo"}
        for seed in (0, 1):
            run.write(cell("no-selection", seed, is_baseline=True, tau=None, auc=0.80, tt_s=400.0, **place))
            run.write(cell("light-fmp", seed, auc=0.79 - 0.01 * seed, tt_s=100.0 + 100 * seed, **place))
            run.write(cell("optfs", seed, auc=0.795, tt_s=300.0, **place))
    return run


def show(monkeypatch: pytest.MonkeyPatch, kind: str, *columns: Metric) -> None:
    monkeypatch.setitem(KINDS, kind, replace(KINDS[kind], columns=columns))


def texts(run: RunFolder, suffix: str) -> dict[str, str]:
    return {path.name: path.read_text() for path in run.path.rglob(f"*{suffix}") if "cells" not in path.parts}


def lines(text: str, metric: str) -> list[dict[str, str]]:
    return [line for line in csv.DictReader(io.StringIO(text)) if line["metric"] == metric]


@pytest.mark.parametrize("kind", ["overall", "efficiency", "size"])
def test_one_entry_is_a_column_in_every_format(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    build_report(run, TITLES)
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    show(monkeypatch, kind, *KINDS[kind].columns, LOST)
    assert set(build_report(run, TITLES)) == {path for path in before if "cells" not in path.parts}
    heading = "AUC lost [points] ↓"
    text = texts(run, ".md")[f"{kind}.md"]
    assert r"AUC lost \[points\] ↓ |" in text
    assert r"& \shortstack{AUC lost\\{[}points{]} $\downarrow$} \\" in texts(run, ".tex")[f"{kind}.tex"]
    assert f"<button>{heading}</button>" in texts(run, ".html")["report.html"]
    found = [line for line in lines(texts(run, ".csv")[f"{kind}.csv"], "auc_lost") if line["backbone"] == "dnn"]
    # 0.80 less the mean of 0.79 and 0.78 is 1.5 points; 0.80 less 0.795 half a point
    assert {line["label"]: round(float(line["mean"]), 6) for line in found} == {
        "no-selection": 0.0, "light-fmp": 0.015, "optfs": 0.005,
    }  # fmt: skip
    assert {line["label"]: line["mark"] for line in found} == {
        "no-selection": "best", "light-fmp": "", "optfs": "second",
    }  # fmt: skip
    assert "1.500 <sub>±0.707</sub>" in text
    assert LOST.meaning in text
    # spreads of the three pairs: 0.707, 0.707 and 0 points; two seeds can show 11.5 times the median
    assert "AUC lost 8.2 points on criteo" in text
    assert main(["explain", str(run.path), kind, "criteo", "light-fmp", "auc_lost", "--backbone", "dnn"]) == 0
    assert f"{heading} = 1.500 ± 0.707" in capsys.readouterr().out
    if kind == "overall":
        assert heading in terminal_table(to_frame(run.records()), TITLES, width=200)
    others = [path for path in before if path.suffix != ".html" and not path.stem.startswith(kind)]
    assert all(path.read_bytes() == before[path] for path in others), "the paper's tables stay with its columns"


def test_training_time_as_time_is_one_setting(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    show(monkeypatch, "overall", *(TT if column is TT_RATIO else column for column in KINDS["overall"].columns))
    build_report(run, TITLES)
    text = texts(run, ".md")["overall.md"]
    assert "TT ↓" in text
    assert "6m40s" in text, "400 s"
    assert "2m30s" in text, "the mean of 100 and 200 s"
    assert "the ratio" not in text and TT.meaning in text
    assert {line["label"]: line["mark"] for line in lines(texts(run, ".csv")["overall.csv"], "tt")} == {
        "no-selection": "", "light-fmp": "best", "optfs": "second",
    }  # fmt: skip
    assert "2m30s" in terminal_table(to_frame(run.records()), TITLES, width=200)
    assert main(["explain", str(run.path), "table2", "criteo", "light-fmp", "tt", "--backbone", "dnn"]) == 0
    assert "TT ↓ = 2m30s" in capsys.readouterr().out
    assert lines(texts(run, ".csv")["paper.csv"], "tt_ratio_paper"), "the paper's own is a ratio"


def test_one_entry_is_a_kind_of_table_in_every_format(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(KINDS, "losses", TableKind("losses", (LOST,), "Losses", "What is lost"))
    written = {path.name for path in build_report(run, TITLES)}
    assert {"losses.md", "losses.csv", "losses.tex"} <= written
    assert texts(run, ".md")["losses.md"].startswith("# What is lost\n\n## Losses with dnn")
    assert '<h2 id="t-losses">What is lost</h2>' in texts(run, ".html")["report.html"]
    assert main(["explain", str(run.path), "losses", "criteo", "optfs", "auc_lost", "--backbone", "dnn"]) == 0
    assert "= 0.500" in capsys.readouterr().out
