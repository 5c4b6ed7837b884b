"""A run with a failed, a skipped and a missing cell: no table averages over them, all say so, all LaTeX compiles."""

from __future__ import annotations

import csv
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from bench.data.card.card import Anchor
from bench.records import CellRecord, RunFolder
from bench.report.build import build_report
from bench.tables.titles import Titles

pytestmark = pytest.mark.figures
Cell = Callable[..., CellRecord]
NAMES = ["f_1", "f&2", "f3", "f4"]
TAUS, SEEDS, BACKBONES = (0.25, 0.5, 0.75), (0, 1, 2), ("xdeepfm", "dnn")
METHODS = ("light-fmp", "lasso", "optfs")
KINDS = (
    *("overall", "efficiency", "size", "recovery", "k-sweep", "stability", "agreement", "significance"),
    *("table1", "table3", "paper", "tradeoffs", "fields"),
)
FAILED, SKIPPED, ABSENT = ("lasso", 0.5, 1), ("light-fmp", 0.5, 2), ("optfs", 0.5, 0)
"""Method, prune ratio and seed of the cells that are not there, on the first backbone."""
TITLES = replace(Titles.registered(), anchors={"criteo": Anchor(1000, {"xdeepfm": 0.99}, "a & b, 2020")})


def auc(method: str, tau: float | None, seed: int) -> float:
    return 0.70 + 0.02 * len(method) / 10 + (0 if tau is None else 0.01 * tau) + 0.001 * seed**2


def scores(method: str, seed: int) -> list[float]:
    return [float((len(method) * (i + 1) * 7 + seed * i * i) % 11) for i in range(4)]


def records(cell: Cell) -> list[CellRecord]:
    """Two backbones, three methods, three prune ratios and seeds on generated data of Criteo's name."""
    found = []
    for backbone in BACKBONES:
        place: dict[str, Any] = {"dataset": "criteo", "backbone": backbone, "field_names": NAMES}
        for seed in SEEDS:
            whole = {"kept_fields": [0, 1, 2, 3], "auc": auc("no-selection", None, seed), "ct_s": 3.0 + seed}
            found.append(cell("no-selection", seed, is_baseline=True, tau=None, **whole, **place))
            for method in METHODS:
                found += [one(cell, method, tau, seed, place) for tau in TAUS]
    return [record for record in found if record is not None]


def one(cell: Cell, method: str, tau: float, seed: int, place: dict[str, Any]) -> CellRecord | None:
    at = (method, tau, seed)
    first = place["backbone"] == BACKBONES[0]
    if first and at == ABSENT:
        return None
    ending: dict[str, Any] = {"status": "ok"}
    if first and at == FAILED:
        ending = {"status": "failed", "reason": "ValueError: 50% of f_1 & f~2"}
    if first and at == SKIPPED:
        ending = {"status": "skipped", "reason": "needs #numbers"}
    kept = sorted(range(4), key=lambda i: -scores(method, seed)[i])[: {0.25: 3, 0.5: 2, 0.75: 1}[tau]]
    more = {"recovery": {"precision_at_k": 0.5}, "peak_mem_bytes": 10**8, "optimizer": "adam"}
    results = {"auc": auc(method, tau, seed), "field_scores": scores(method, seed), "kept_fields": sorted(kept), **more}
    results["ct_s"] = 2.0 + 0.1 * seed
    return cell(method, seed, tau=tau, **ending, **(results if ending["status"] == "ok" else {}), **place)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, cell: Cell) -> Path:
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    for record in records(cell):
        folder.write(record)
    build_report(folder, TITLES)
    return folder.path


def rows(run: Path, kind: str) -> list[dict[str, str]]:
    with (run / "tables" / f"{kind}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def numbers(run: Path, kind: str, metric: str) -> dict[tuple[str, str], dict[str, str]]:
    """The numbers of the first backbone at τ = 0.5 by label."""
    at = [row for row in rows(run, kind) if (row["backbone"], row["tau"], row["metric"]) == ("xdeepfm", "0.5", metric)]
    return {(row["label"], row["against"]): row for row in at}


def test_there_is_every_kind_of_table(run: Path) -> None:
    for kind in KINDS:
        for suffix in ("tex", "md", "csv"):
            assert (run / "tables" / f"{kind}.{suffix}").is_file(), kind


def test_means_are_over_the_seeds_that_are_there_and_flagged(run: Path) -> None:
    seeds = {method: [s for s in SEEDS if (method, 0.5, s) not in (FAILED, SKIPPED, ABSENT)] for method in METHODS}
    for kind in ("overall", "k-sweep", "paper"):
        found = numbers(run, kind, "auc")
        for method in METHODS:
            if (method, "") in found:
                row = found[method, ""]
                assert row["seeds"] == " ".join(map(str, seeds[method])), kind
                assert float(row["mean"]) == pytest.approx(fmean(auc(method, 0.5, s) for s in seeds[method]))
                assert "†" in row["flags"]
                assert row["mark"] == ""


def test_every_table_that_lacks_them_says_so(run: Path) -> None:
    for kind in ("overall", "efficiency", "k-sweep", "significance", "table3", "paper"):
        text = (run / "tables" / f"{kind}.md").read_text(encoding="utf-8")
        assert "— failed (ValueError: 50% of f\\_1 &amp; f\\~2)" in text, kind
        assert "— skipped (needs \\#numbers)" in text, kind
        assert "1 of 3" in text or "2 of 3" in text, kind


def test_nothing_is_tested_or_improved_over_other_seeds(run: Path) -> None:
    tested = numbers(run, "significance", "gain")
    assert [tested[method, ""]["mean"] for method in METHODS] == ["", "", ""]
    text = (run / "tables" / "significance.md").read_text(encoding="utf-8")
    assert "Not tested, nor anything against it, for want of cells" in text
    gains = [row for row in rows(run, "table3") if row["backbone"] == "xdeepfm" and "improvement" in row["label"]]
    assert gains
    assert all(row["mean"] == "" for row in gains if row["tau"] == "0.5")
    assert all(row["mean"] for row in gains if row["tau"] == "0.75")


def test_areas_are_over_the_seeds_of_a_whole_curve(run: Path) -> None:
    areas = {
        row["label"]: row for row in rows(run, "k-sweep") if (row["metric"], row["backbone"]) == ("aukc", "xdeepfm")
    }
    assert {label: row["seeds"] for label, row in areas.items()} == {"lasso": "0 2", "light-fmp": "0 1", "optfs": "1 2"}


def test_the_page_lists_what_has_no_result(run: Path) -> None:
    text = (run / "report.html").read_text(encoding="utf-8")
    assert "1 failed" in text and "1 skipped" in text
    assert "failed: ValueError: 50% of f_1 &amp; f~2" in text
    assert "skipped: needs #numbers" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX here: pdflatex is not installed")
def test_every_tex_file_compiles(run: Path, tmp_path: Path) -> None:
    tabulars = sorted((run / "tables" / "tabular").glob("*.tex"))
    documents = sorted((run / "tables").glob("*.tex"))
    assert len(documents) == len(KINDS)
    assert len(tabulars) > 2 * len(KINDS)
    inputs = "\n".join(rf"\input{{{file.as_posix()}}}\clearpage" for file in tabulars)
    whole = rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{inputs}\end{{document}}"
    (tmp_path / "tabulars.tex").write_text(whole, encoding="utf-8")
    for file in (*documents, tmp_path / "tabulars.tex"):
        argv = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-draftmode", file.as_posix()]
        done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
        assert done.returncode == 0, f"{file.name}: {done.stdout[-2000:]}"
        if file in documents:
            assert "Overfull" not in done.stdout, file.name
