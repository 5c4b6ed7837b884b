"""Names as nobody would choose them: files, tables and the page show them, and none is taken for code."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.records import CellRecord, RunFolder, to_frame
from bench.report.build import build_report
from bench.report.formats import csv as csv_table
from bench.report.formats import latex, markdown
from bench.report.formats.letters import visible
from bench.report.formats.terminal import terminal_table
from bench.tables.naming import file_name
from bench.tables.overall import overall_tables
from bench.tables.titles import Titles

pytestmark = pytest.mark.figures
Cell = Callable[..., CellRecord]
PLAIN = Titles()
LONG = "x" * 300
TURNED = "user\u202eresu\u200f"
FIELDS = ["50%_off&more", "сайт №1", "a b#c", r"\input{x}", LONG, TURNED, "<i>lean</i>", "=1+1", "pięć ł þ", "点击率"]


def records(cell: Cell) -> list[CellRecord]:
    """The names as fields, and each as title of a data set of its own."""
    found = []
    for place, name in enumerate(FIELDS):
        given = {"dataset": f"d{place}", "dataset_title": name, "field_names": FIELDS}
        for seed in (0, 1):
            every = list(range(len(FIELDS)))
            found.append(cell(seed=seed, kept_fields=every, **given))
            scores = [float((i * 7 + seed) % 10) for i in every]
            label = f"alpha[note={name[:20]}]"
            found.append(cell("alpha", seed, label=label, field_scores=scores, kept_fields=every[:5], **given))
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, cell: Cell) -> Path:
    folder = RunFolder(tmp_path_factory.mktemp("hostile"))
    for record in records(cell):
        if record.dataset in ("d0", "d4", "d5", "d6"):
            folder.write(record)
    build_report(folder, Titles(from_cards=True))
    return folder.path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../x", "x"),
        ("a/b", "a-b"),
        ("..", "unnamed"),
        ("", "unnamed"),
        ("/etc/passwd", "etc-passwd"),
        ("a\0b\n", "a-b"),
    ],
)
def test_file_names_have_no_way_out(name: str, expected: str) -> None:
    assert file_name(name, []) == expected


def test_file_names_stay_apart_and_are_short() -> None:
    names = ["../x", "x", "X", "a/b", "a:b", LONG, LONG + "y", "点击", "点击率", "сайт", TURNED, "user"]
    taken: list[str] = []
    for name in names:
        taken.append(file_name(name, taken))
    assert len({name.casefold() for name in taken}) == len(names), "no file system takes two for one"
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._=~-]*", name) for name in taken)
    assert max(map(len, taken)) <= 170
    assert file_name("点击", []) == taken[7], "letters that are lost do not make the name hang on the others"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u202eb", "a[U+202E]b"),
        ("\x1b[31mred", "[U+001B][31mred"),
        ("сайт 点 é", "сайт 点 é"),
        ("a\u200db", "a\u200db"),
    ],
)
def test_what_is_not_seen_is_shown_as_its_code_point(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_spreadsheets_compute_nothing_and_numbers_stay(cell: Cell) -> None:
    titles = ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\tx", "\r=1", "＝1", "fine", "a=b"]
    cells = [cell("alpha", dataset=f"d{i}", dataset_title=title) for i, title in enumerate(titles)]
    tables = overall_tables(to_frame(cells), Titles(from_cards=True))
    rows = list(csv.DictReader(io.StringIO(csv_table.document(tables), newline="")))
    shown = {row["dataset"]: row["dataset_title"] for row in rows}
    assert [shown[f"d{i}"] for i in range(7)] == [f"'{title}".replace("\r", " ") for title in titles[:7]]
    assert (shown["d7"], shown["d8"]) == ("fine", "a=b")
    assert {float(row["mean"]) for row in rows if row["metric"] == "auc"} == {0.75}


@pytest.mark.parametrize(("cell_of", "kept"), [("-0.01", True), ("+1e-05", True), ("-1+2", False), ("-", False)])
def test_a_number_is_no_formula(cell_of: str, kept: bool) -> None:
    assert csv_table.harmless(cell_of) == (cell_of if kept else f"'{cell_of}")
    assert csv_table.harmless(-0.01) == -0.01


def test_the_page_shows_every_name_and_runs_none(run: Path) -> None:
    page = (run / "report.html").read_text(encoding="utf-8")
    for shown in ("50%_off&amp;more", LONG, "user[U+202E]resu[U+200F]", "&lt;i&gt;lean&lt;/i&gt;"):
        assert f'<th class="group" colspan="3">{shown}</th>' in page
    for raw in ("\u202e", "\u200f", "<i>lean"):
        assert raw not in re.sub(r"<!--.*?-->", "", page, flags=re.S), repr(raw)


def test_markdown_and_the_terminal_are_not_turned_around(cell: Cell) -> None:
    frame = to_frame([record for record in records(cell) if record.dataset == "d5"])
    titles = Titles(from_cards=True)
    for text in (markdown.document(overall_tables(frame, titles), "R"), terminal_table(frame, titles, width=80)):
        assert "\u202e" not in text
        assert "U+202E" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX here: pdflatex is not installed")
def test_latex_prints_every_name_within_the_page(cell: Cell, tmp_path: Path) -> None:
    frame = to_frame(records(cell))
    tables = overall_tables(frame, Titles(from_cards=True))
    letters = " ".join(chr(code) for code in range(0xA1, 0x250))
    text = latex.document(tables).replace(r"\end{document}", f"{latex.escape(letters)}\n\\end{{document}}")
    (tmp_path / "all.tex").write_text(text, encoding="utf-8")
    argv = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-draftmode", "all.tex"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
