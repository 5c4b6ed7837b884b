from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli import main
from bench.records import CellRecord, RunFolder
from bench.report.build import build_report
from bench.tables.titles import Titles

pytestmark = pytest.mark.figures
Cell = Callable[..., CellRecord]
KINDS = ("overall", "efficiency", "size", "significance", "stability", "table1")


def make_run(path: Path, cell: Cell) -> RunFolder:
    run = RunFolder(path)
    for seed in (0, 1):
        run.write(cell(seed=seed))
        run.write(cell("alpha", seed=seed, field_scores=[0.25 + seed, 0.75], kept_fields=[1 - seed]))
        run.write(cell("alpha", seed=seed, dataset="a/b[x=1]", field_scores=[1.0, 2.0], kept_fields=[1]))
    return run


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, cell: Cell) -> tuple[RunFolder, list[Path]]:
    """A run with its report, and the files of that."""
    run = make_run(tmp_path_factory.mktemp("built"), cell)
    return run, build_report(run, Titles())


def test_report_writes_tables_and_figures(built: tuple[RunFolder, list[Path]]) -> None:
    run, written = built
    names = {str(path.relative_to(run.path)) for path in written}
    figures = [f"{kind}-{name}" for kind in ("importance", "stability") for name in ("clicks", "a-b-x=1")]
    figures += ["cost-clicks", "pareto-clicks"]
    assert names == {
        *(f"tables/{kind}.{s}" for kind in KINDS for s in ("tex", "md", "csv")),
        "tables/tabular/significance-net-tau0.5-clicks.tex",
        "tables/tabular/overall-net-tau0.5.tex",
        "tables/tabular/table1-all.tex",
        *(f"tables/tabular/stability-net-tau0.5-{d}.tex" for d in ("clicks", "a-b-x=1")),
        *(
            f"tables/tabular/{kind}-net-tau0.5-{d}.tex"
            for kind in ("efficiency", "size")
            for d in ("clicks", "a-b-x=1")
        ),
        *(f"figures/{name}-net.{s}" for name in figures for s in ("pdf", "png", "svg")),
        *(f"tables/tradeoffs.{s}" for s in ("tex", "md", "csv")),
        "tables/tabular/tradeoffs-clicks-net.tex",
        *(f"tables/fields.{s}" for s in ("tex", "md", "csv")),
        *(f"tables/tabular/fields-{d}.tex" for d in ("clicks", "a-b-x=1")),
        "report.html",
    }
    assert {path for path in files(run.path) if not path.startswith("cells/")} == names


def test_same_records_give_the_same_bytes(tmp_path: Path, cell: Cell) -> None:
    first, second = make_run(tmp_path / "one", cell), RunFolder(tmp_path / "two")
    for record in reversed(first.records()):
        second.write(record)
    for run in (first, second, first):
        build_report(run, Titles())
    assert files(first.path) == files(second.path)


def test_figures_embed_fonts_and_hold_no_date(built: tuple[RunFolder, list[Path]]) -> None:
    run, _ = built
    for pdf in run.figures.glob("*.pdf"):
        data = pdf.read_bytes()
        assert b"/FontFile2" in data, "TrueType outlines, as fonttype 42 embeds them"
        assert b"CreationDate" not in data
    for png in run.figures.glob("*.png"):
        assert not re.search(rb"Software|date:", png.read_bytes())


def test_names_that_become_equal_in_file_names_are_numbered(tmp_path: Path, cell: Cell) -> None:
    run = RunFolder(tmp_path)
    for dataset in ("a/b", "a:b"):
        run.write(cell("alpha", dataset=dataset, field_scores=[1.0, 2.0]))
    names = [path.name for path in build_report(run, Titles())]
    assert {"importance-a-b-net.png", "importance-a-b-net~2.png"} <= set(names)
    assert len(names) == len(set(names))


def test_registered_titles_are_the_default(tmp_path: Path, cell: Cell) -> None:
    run = RunFolder(tmp_path)
    titles = Titles.registered()
    dataset, backbone = next(iter(titles.datasets)), next(iter(titles.backbones))
    run.write(cell(dataset=dataset, backbone=backbone))
    build_report(run)
    text = (run.tables / "overall.md").read_text()
    assert titles.datasets[dataset] in text
    assert titles.backbones[backbone] in text


def test_command_prints_the_table_and_where_the_files_are(
    tmp_path: Path, cell: Cell, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path, cell)
    assert main(["report", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "Keep-All" in out
    assert f"{run.tables}, {run.figures}, and both in one page: {run.path}/report.html" in out


def test_command_refuses_a_folder_that_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert str(tmp_path) in error
    assert "python -m bench run --out" in error
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_command_names_a_corrupt_record(tmp_path: Path, cell: Cell, capsys: pytest.CaptureFixture[str]) -> None:
    file = RunFolder(tmp_path).write(cell())
    file.write_text("{")
    assert main(["report", str(tmp_path)]) == 2
    assert file.name in capsys.readouterr().err
    assert not (tmp_path / "tables").exists()


@pytest.mark.slow
def test_three_thousand_cells_take_less_than_twenty_seconds(tmp_path: Path, cell: Cell) -> None:
    run = RunFolder(tmp_path)
    fields = [f"f{i}" for i in range(39)]
    for i in range(3000):
        j, seed = divmod(i, 5)
        j, tau = divmod(j, 4)
        j, method = divmod(j, 10)
        backbone, dataset = divmod(j, 3)
        scores = [(i * k * 7919 % 101) / 101 for k in range(39)]
        run.write(
            cell(
                "alpha",
                seed,
                label=f"alpha[x={method}]",
                tau=tau / 4,
                dataset=f"d{dataset}",
                backbone=f"b{backbone}",
                field_names=fields,
                field_scores=scores,
                kept_fields=list(range(20)),
            )
        )
    assert len(run.records()) == 3000
    start = time.perf_counter()
    assert len(build_report(run, Titles())) > 100
    assert time.perf_counter() - start < 20
