"""LaTeX, Markdown, CSV and terminal text of one small table, derived by hand."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.records import CellRecord, to_frame
from bench.report.formats import csv as csv_table
from bench.report.formats import latex, markdown
from bench.report.formats.latex_widths import LANDSCAPE, PORTRAIT, width_pt
from bench.report.formats.terminal import terminal_table
from bench.tables.model import Table
from bench.tables.overall import efficiency_tables, overall_tables
from bench.tables.titles import Titles

Cell = Callable[..., CellRecord]
PLAIN = Titles()
REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"


@pytest.fixture
def cells(cell: Cell) -> list[CellRecord]:
    """Keep-All with two seeds, Alpha better and with one seed fewer, Beta failed."""
    return [
        cell(seed=0, auc=0.70, tt_s=4.0),
        cell(seed=1, auc=0.72, tt_s=4.0),
        cell("coin", seed=0, auc=0.69, logloss=0.55, tt_s=2.0),
        cell("coin", seed=1, auc=0.69, logloss=0.55, tt_s=2.0),
        cell("alpha", label="alpha[a_b=1]", seed=0, auc=0.80, tt_s=1.0),
        cell("beta", seed=0, status="failed", reason="50% of x_y & z"),
    ]


@pytest.fixture
def table(cells: list[CellRecord]) -> Table:
    (table,) = overall_tables(to_frame(cells), PLAIN)
    return table


def test_latex_rows(table: Table) -> None:
    rows = [line for line in latex.tabular(table).splitlines() if line.endswith(r"\\")]
    # sd of 0.70 and 0.72 is 0.02 / sqrt(2) = 0.0141
    assert rows[0] == r"& \multicolumn{3}{c}{clicks} \\"
    assert rows[1] == r"Method & AUC $\uparrow$ & Logloss $\downarrow$ & TT $\downarrow$ \\"
    assert rows[2] == (
        r"Keep-All & \textbf{0.7100}{\scriptsize\,$\pm$\,0.0141} & \textbf{0.5000}{\scriptsize\,$\pm$\,0.0000} "
        r"& \underline{1.0000} \\"
    )
    assert rows[4] == (
        r"Alpha {[}a\_b=1{]} & 0.8000\rlap{$^{\dagger}$} & 0.5000\rlap{$^{\dagger}$} & 0.2500\rlap{$^{\dagger}$} \\"
    )
    assert rows[5] == r"Beta & --- & --- & --- \\"


def test_latex_document_holds_the_tabular_and_the_notes(table: Table) -> None:
    text = latex.document([table])
    assert latex.tabular(table) in text
    assert r"\usepackage{booktabs}" in text
    assert r"--- failed (50\% of x\_y \& z): Beta on clicks, seed 0." in text
    assert r"$\tau$ = 0.5" in text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (r"a_b\{c}$&#%~^", r"a\_b\textbackslash{}\{c\}\$\&\#\%\textasciitilde{}\textasciicircum{}"),
        ("x[n=1]|<y>", r"x{[}n=1{]}\textbar{}\textless{}y\textgreater{}"),
        ("é — τ ↓", r"é --- $\tau$ $\downarrow$"),
        ("点\t", "{[}U+70B9{]} "),
    ],
)
def test_latex_escapes_names(name: str, text: str) -> None:
    assert latex.escape(name) == text


def test_markdown(table: Table) -> None:
    lines = markdown.document([table], "Results").splitlines()
    assert lines[0] == "# Results"
    assert "| Method | clicks<br>AUC ↑ | clicks<br>Logloss ↓ | clicks<br>TT ↓ |" in lines
    assert "| Keep-All | **0.7100** <sub>±0.0141</sub> | **0.5000** <sub>±0.0000</sub> | <u>1.0000</u> |" in lines
    assert r"| Alpha \[a\_b=1\] | 0.8000† | 0.5000† | 0.2500† |" in lines
    assert "| Beta | — | — | — |" in lines
    assert r"- — failed (50% of x\_y &amp; z): Beta on clicks, seed 0." in lines


def test_csv_is_tidy_and_exact(table: Table) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_table.document([table]))))
    assert len(rows) == 4 * 3
    first = rows[0]
    assert first["method"] == "keep-all"
    assert (first["dataset"], first["backbone"], first["tau"], first["uses_tau"]) == ("clicks", "net", "0.5", "false")
    assert (first["train_rows"], first["test_rows"], first["profile"]) == ("800", "100", "small")
    assert float(first["mean"]) == (0.70 + 0.72) / 2
    assert (first["seeds"], first["n_seeds"], first["mark"]) == ("0 1", "2", "best")
    assert rows[6]["flags"] == "†"
    assert [row["mean"] for row in rows if row["method"] == "beta"] == ["", "", ""]


def test_terminal_side_by_side_or_below(cell: Cell) -> None:
    frame = to_frame([cell(auc=0.7), cell("alpha", auc=0.8), cell(dataset="films"), cell("alpha", dataset="films")])
    wide, narrow = (terminal_table(frame, PLAIN, width=width) for width in (150, 50))
    assert wide.count("Keep-All  0.7000") == narrow.count("Keep-All  0.7000") == 1
    assert wide.count("Logloss ↓") == 2
    assert max(map(len, wide.splitlines())) <= 150
    assert max(map(len, narrow.splitlines())) <= 50
    assert len([line for line in wide.splitlines() if line.startswith("Method")]) == 1
    assert len([line for line in narrow.splitlines() if line.startswith("Method")]) == 2
    assert "0.8000¹" in wide
    assert "0.7000²" in wide


def test_terminal_colour_marks_by_escape_sequences(cell: Cell) -> None:
    text = terminal_table(to_frame([cell(auc=0.7), cell("alpha", auc=0.8)]), PLAIN, width=100, colour=True)
    assert "\x1b[1m0.8000\x1b[0m" in text
    assert "\x1b[4m0.7000\x1b[0m" in text
    assert "¹" not in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX here: pdflatex is not installed")
def test_latex_compiles_alone_and_as_input(cells: list[CellRecord], tmp_path: Path, cell: Cell) -> None:
    odd = cell("alpha", dataset="[x]_#%&点", label="alpha[q=\\{~^}]", auc=0.5, resumed=True, optimizer="sgd")
    frame = to_frame([*cells, odd])
    tables = [*overall_tables(frame, PLAIN), *efficiency_tables(frame, PLAIN)]
    (tmp_path / "all.tex").write_text(latex.document(tables))
    (tmp_path / "part.tex").write_text(latex.tabular(tables[0]))
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\\input{part}\\end{document}\n"
    )
    for name in ("all", "paper"):
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:]
        if name == "all":
            assert "Overfull" not in done.stdout


def wide(cell: Cell) -> list[Table]:
    """Tables that no page can hold: 24 data sets side by side, and one whose titles alone are too wide."""
    seeds, sets = (0, 1), range(24)
    every = [cell(name, seed, dataset=f"d{i}") for name in ("keep-all", "alpha") for i in sets for seed in seeds]
    long = [cell(dataset="y" * 300), cell("alpha", label=f"alpha[{'z' * 300}]", dataset="y" * 300)]
    return [*overall_tables(to_frame(every), PLAIN), *overall_tables(to_frame(long), PLAIN)]


def test_latex_cuts_what_a_page_cannot_hold_between_columns(cell: Cell) -> None:
    whole, long = wide(cell)
    pieces = latex.parts(whole, LANDSCAPE)
    assert len(pieces) > 1
    assert [pair for part in pieces for pair in part.columns] == whole.columns, "every column once, in order"
    for part in pieces:
        assert [row.title for row in part.rows] == [row.title for row in whole.rows]
        assert {len(group.metrics) for group in part.groups} == {3}, "a data set stays whole"
    assert pieces[1].title == f"{whole.title} (part 2 of {len(pieces)})"
    assert latex.parts(long, LANDSCAPE) == [long], "its titles are broken"
    assert all(width_pt(part) <= LANDSCAPE.text_pt for part in (*pieces, long))


def test_latex_keeps_narrow_tables_upright(table: Table) -> None:
    text = latex.document([table])
    assert "paperwidth=210mm,paperheight=297mm" in text
    assert width_pt(table) <= PORTRAIT.text_pt


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("-0.04", "$-$0.04"),
        ("from -1 to 2", "from $-$1 to 2"),
        ("with --isolate only", "with -{}-isolate only"),
        ("a-1 b[x=-1] 2020-01-02", "a-1 b{[}x=-1{]} 2020-01-02"),
        ("x" * 35, r"xxxxxxxxx\allowbreak{}xxxxxxxxxx\allowbreak{}xxxxxxxxxx\allowbreak{}xxxxxx"),
    ],
)
def test_latex_has_minus_signs_and_what_was_typed(text: str, printed: str) -> None:
    assert latex.escape(text) == printed


@pytest.mark.parametrize("run", sorted(REFERENCE.glob("*/run.toml")), ids=lambda file: file.parent.name)
def test_every_table_of_the_reference_runs_fits_its_paper(run: Path) -> None:
    documents = sorted((run.parent / "tables").glob("*.tex"))
    assert documents
    for file in documents:
        text = file.read_text(encoding="utf-8")
        paper = re.search(r"paperwidth=(\d+)mm", text)
        assert paper is not None
        assert int(paper[1]) in (210, 297), f"{file.name} is not on A4"
        widths = [int(cm) for cm in re.findall(r"about (\d+) cm wide", text)]
        assert widths
        assert 10 * max(widths) <= int(paper[1]) - 2 * 12 + 5, f"{file.name}: {widths} cm"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX here: pdflatex is not installed")
def test_latex_of_wide_tables_has_no_overfull_line(cell: Cell, tmp_path: Path) -> None:
    (tmp_path / "wide.tex").write_text(latex.document(wide(cell)), encoding="utf-8")
    argv = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-draftmode", "wide.tex"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert "too large" not in done.stdout


@pytest.mark.parametrize("width", [40, 60, 80, 100, 160])
def test_the_terminal_is_never_overrun(cell: Cell, width: int) -> None:
    names = {"precision_at_k": 0.5, "main_recall": 0.25, "interaction_recall": 1.0, "attainable_auc_share": 0.875}
    recovered = {"recovery": {**names, "score_cardinality_corr": -0.001}}
    cells = [cell("alpha", seed, label="alpha[variant=" + "v" * 50 + "]", **recovered) for seed in (0, 1)]
    cells += [cell("beta", seed, label="beta[budget=field]", budget="native", **recovered) for seed in (0, 1)]
    text = terminal_table(to_frame(cells), PLAIN, width=width)
    assert max(map(len, text.splitlines())) <= width
    for heading in ("Precision", "Attainable", "values"):
        assert heading in text
    assert "-0.00" not in text, "a number that is printed as zero has no sign"
    assert text.count("0.88 ±0.00") == 2, "where all are equal nobody is marked"


def test_piped_text_is_as_wide_everywhere(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr("sys.__stdout__", None)
    frame = to_frame([cell(dataset=f"d{i}") for i in range(9)])
    assert terminal_table(frame, PLAIN) == terminal_table(frame, PLAIN, width=100)
