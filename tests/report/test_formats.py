"""LaTeX, Markdown, CSV and terminal text of one small table, derived by hand."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.records import CellRecord, to_frame
from bench.report.formats import csv as csv_table
from bench.report.formats import latex, markdown
from bench.report.formats.terminal import terminal_table
from bench.tables.model import Table
from bench.tables.overall import efficiency_tables, overall_tables
from bench.tables.titles import Titles

Cell = Callable[..., CellRecord]
PLAIN = Titles()


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
