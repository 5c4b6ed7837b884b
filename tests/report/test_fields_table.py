"""The table of fields: ranks and shares from hand-made cells, facts beside them, in every format and in explain."""

from __future__ import annotations

import csv as csv_reader
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.cli import main
from bench.data.store.fields import DataFields
from bench.data.store.measure import FieldFacts, Measured
from bench.records import CellRecord, RunFolder, to_frame
from bench.report.build import build_report
from bench.report.formats import csv, latex, markdown
from bench.report.formats.terminal import run_text
from bench.tables.cells import Record, blocks_of, records_of
from bench.tables.fields import SHORT, FieldsOf, facts_table, fields_of, fields_table
from bench.tables.model import Table
from bench.tables.overall import overall_tables
from bench.tables.titles import Titles

Cell = Callable[..., CellRecord]
NAMES = ["site", "hour", "user", "copy"]
ROWS = {"train": 800, "valid": 100, "test": 100}
FACTS = DataFields(
    "clicks",
    "1",
    ROWS,
    Measured(
        500,
        800,
        (
            FieldFacts("site", "categorical", 1234, 0.0, 0.25, 0.6125, twins=("copy",)),
            FieldFacts("hour", "integer", 24, 0.125, 0.5, None, constant=True, near=(("user", 0.97),)),
            FieldFacts("user", "categorical", 7, 0.0, 0.3, 0.99, near=(("hour", 0.97),)),
            FieldFacts("copy", "categorical", 1234, 0.0, 0.25, 0.6125, twins=("site",)),
        ),
    ),
)
"""None of the numbers need hold of any data."""


@pytest.fixture
def cells(cell: Cell) -> list[CellRecord]:
    """Ranks: alpha 1 2 3 4, alpha at seed 1 2.5 1 2.5 4, beta 4 3 2 1; beta's other cell drops without scores."""
    whole = cell(field_names=NAMES, kept_fields=[0, 1, 2, 3])
    lot = cell("coin", family="control", field_names=NAMES, field_scores=[4.0, 3.0, 2.0, 1.0], kept_fields=[0, 1])
    return [
        whole,
        lot,
        cell("alpha", field_names=NAMES, field_scores=[4.0, 3.0, 2.0, 1.0], kept_fields=[0, 1]),
        cell("alpha", seed=1, field_names=NAMES, field_scores=[2.0, 3.0, 2.0, 1.0], kept_fields=[0, 1]),
        cell("beta", field_names=NAMES, field_scores=[1.0, 2.0, 3.0, 4.0], kept_fields=[0, 2, 3]),
        cell("beta", seed=1, field_names=NAMES, field_scores=None, kept_fields=[2, 3]),
        cell("beta", seed=2, status="failed", reason="no", field_names=NAMES),
    ]


def plain(cells: list[CellRecord]) -> list[Record]:
    return records_of(to_frame(cells))


def only(cells: list[CellRecord], facts: tuple[DataFields, ...] = ()) -> FieldsOf:
    (found,) = fields_of(plain(cells), Titles(), facts)
    return found


def lines(table: Table) -> list[list[str]]:
    return [[row.title, *(value.text for value in row.values)] for row in table.rows]


def notes(table: Table) -> list[str]:
    return [note.text for note in table.notes]


def test_ranks_are_over_cells_that_score_and_shares_over_those_that_drop_controls_apart(
    cells: list[CellRecord],
) -> None:
    table = fields_table(only(cells))
    assert [metric.name for _, metric in table.columns] == ["mean_rank", "ranks", "kept_share"]
    assert lines(table) == [
        ["hour", "2.0", "1–3", "50"],  # (2 + 1 + 3) / 3; kept by 2 of 4
        ["site", "2.5", "1–4", "75"],  # (1 + 2.5 + 4) / 3
        ["user", "2.5", "2–3", "50"],  # (3 + 2.5 + 2) / 3
        ["copy", "3.0", "1–4", "50"],
    ]
    assert "over 3 cells that score fields" in table.caption
    assert "share of 4 cells that drop fields" in table.caption
    assert "Not counted: Keep-All (drops and scores no field); Coin (control)." in notes(table)
    assert any("the run folder is of an older version" in note for note in notes(table))


def test_what_the_rows_say_stands_beside_it(cells: list[CellRecord]) -> None:
    table = fields_table(only(cells, (FACTS,)))
    found = {line[0]: line[4:] for line in lines(table)}
    assert found == {
        "site": ["categorical", "1,234", "0.0", "25.0", "0.613", "twin of copy"],
        "hour": ["integer", "24", "12.5", "50.0", "—", "constant; near user"],
        "user": ["categorical", "7", "0.0", "30.0", "0.990", "leak?; near hour"],
        "copy": ["categorical", "1,234", "0.0", "25.0", "0.613", "twin of site"],
    }
    assert "on 500 of 800 evenly spaced training rows" in table.caption
    assert notes(table)[:4] == [
        "leak? The field alone says the click nearly always, as one does that is known only after it: user (0.990).",
        "One-to-one, so that any one of them says all: site and copy.",
        "Near-duplicates (Cramér's V): hour and user (0.970).",
        "Constant on all training rows: hour.",
    ]


@pytest.mark.parametrize("changes", [{"revision": "2"}, {"split_rows": ROWS | {"train": 700}}, {"dataset": "films"}])
def test_facts_of_other_rows_are_not_taken_for_these(cells: list[CellRecord], changes: dict[str, object]) -> None:
    other: DataFields = replace(FACTS, **changes)  # type: ignore[arg-type]
    assert only(cells, (other,)).facts is None


def test_without_methods_that_choose_there_are_facts_or_no_table(cell: Cell) -> None:
    whole = [cell(field_names=NAMES, kept_fields=[0, 1, 2, 3])]
    assert fields_of(plain(whole), Titles()) == []
    table = fields_table(only(whole, (FACTS,)))
    assert [line[0] for line in lines(table)] == NAMES
    assert table.columns[0][1].name == "kind"


def test_a_short_table_says_how_much_is_left_out(cells: list[CellRecord]) -> None:
    table = fields_table(only(cells, (FACTS,)), 2, SHORT)
    assert lines(table) == [
        ["hour", "2.0", "1–3", "50", "—", "constant; near user"],
        ["site", "2.5", "1–4", "75", "0.613", "twin of copy"],
    ]
    assert notes(table)[0] == "2 more fields: tables/fields.md and tables/fields.csv."
    assert "Values:" not in table.caption


def test_the_csv_has_a_line_a_field_with_the_shares_of_every_method(cells: list[CellRecord]) -> None:
    hostile = replace(cells[2], label="=alpha", field_names=["=1+1", *NAMES[1:]])
    text = csv.fields_document([only(cells, (FACTS,))])
    (hour, site, *_) = csv_reader.DictReader(io.StringIO(text))
    assert (site["field"], site["mean_rank"], site["best_rank"], site["worst_rank"]) == ("site", "2.5", "1.0", "4.0")
    assert (site["ranked_cells"], site["kept_share"], site["choosing_cells"]) == ("3", "0.75", "4")
    assert (site["kept_share of alpha"], site["kept_share of beta"]) == ("1.0", "0.5")
    assert (site["values"], site["auc_alone"], site["twins"], site["facts_rows"]) == ("1234", "0.6125", "copy", "500")
    assert (hour["constant"], hour["auc_alone"], hour["missing"], site["constant"]) == ("true", "", "0.125", "false")
    text = csv.fields_document([only([hostile])])
    assert "'=1+1" in text
    assert text.startswith("dataset,")
    assert all(not cell.startswith("=") for line in csv_reader.reader(io.StringIO(text)) for cell in line)


def test_facts_alone_have_the_same_columns_in_csv_and_the_order_of_the_schema() -> None:
    rows = list(csv_reader.DictReader(io.StringIO(csv.facts_document(FACTS, "Clicks"))))
    assert [row["field"] for row in rows] == NAMES
    assert (rows[2]["leak"], rows[2]["near_duplicates"], rows[2]["dataset_title"]) == ("true", "hour", "Clicks")
    assert [line[0] for line in lines(facts_table(FACTS, "Clicks"))] == NAMES


def test_a_selector_that_keeps_twins_is_told_so_under_the_results(cells: list[CellRecord]) -> None:
    def said(facts: tuple[DataFields, ...]) -> list[str]:
        (table,) = overall_tables(blocks_of(plain(cells), Titles(), facts), Titles())
        return [note.text for note in table.notes if "one-to-one" in note.text]

    # beta keeps site and copy at seed 0; the baseline, which drops nothing, and the control are told nothing
    assert said((FACTS,)) == [
        "Keeps fields that are one-to-one, of which any one says all: Beta on clicks site and copy (seed 0)."
    ]
    assert said(()) == []


def test_the_report_begins_with_it(cells: list[CellRecord], tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for record in cells:
        run.write(record)
    (tmp_path / "fields").mkdir()
    kept = {"format": 1, "dataset": "clicks", "revision": "1", "split_rows": ROWS, "measured": MEASURED}
    (tmp_path / "fields" / "clicks.json").write_text(json.dumps(kept))
    build_report(run, Titles())
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.index('<h2 id="t-fields">') < page.index('<h2 id="summary">')
    assert page.count("<h2") == page.count("</h2>")
    assert page.split("<h2 id=")[1].startswith('"t-fields"')
    for suffix in ("md", "tex", "csv"):
        assert "copy" in (tmp_path / "tables" / f"fields.{suffix}").read_text(encoding="utf-8")


MEASURED = {
    "rows": 500,
    "train_rows": 800,
    "fields": [{name: getattr(one, name) for name in FieldFacts.__dataclass_fields__} for one in FACTS.measured.fields],
}


def test_the_terminal_begins_with_its_top(cells: list[CellRecord], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    text = run_text(to_frame(cells), [FACTS])
    assert text.startswith("Fields of clicks.")
    assert text.index("twin of copy") < text.index("Results with")
    assert max(map(len, text.splitlines())) <= 100


def test_many_fields_are_all_in_markdown_and_the_first_in_latex(cell: Cell) -> None:
    names = [f"f{i}" for i in range(200)]
    scores = [float(-i) for i in range(200)]
    one = only([cell("alpha", field_names=names, field_scores=scores, kept_fields=[0])])
    assert markdown.document([fields_table(one)], "Fields").count("| f") == 200
    assert latex.tabular(fields_table(one, 60)).count("\nf") == 60


def explained(run: RunFolder, capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    code = main(["explain", str(run.path), *argv])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_a_line_is_taken_apart_into_its_cells(
    cells: list[CellRecord], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(tmp_path)
    for record in cells:
        run.write(record)
    code, text = explained(run, capsys, "fields", "clicks", "site")
    assert code == 0
    found = text.splitlines()
    assert found[1] == "site: mean rank 2.5 of 4 (1 to 4, 3 cells); kept by 3 of 4 cells that drop a field (75 %)"
    assert "Alpha, net, τ 0.5: mean rank 1.8, kept by 2 of 2" in found  # (1 + 2.5) / 2
    assert "Beta, net, τ 0.5: mean rank 4.0, kept by 1 of 2" in found
    alpha = run.cell_file(cells[3].config_hash)
    assert f"  seed 1: rank 2.5 (score 2), kept in {alpha}" in found
    assert f"  seed 1: dropped in {run.cell_file(cells[5].config_hash)}" in found
    assert found[-2:] == ["not counted (drops and scores no field): Keep-All", "not counted (control): Coin"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("fields", "click", "site"), "dataset='click' is not in this table. Did you mean 'clicks'?"),
        (("fields", "clicks", "sight"), "field='sight' is not in this table. Did you mean 'site'?"),
        (("fields", "clicks", "site", "auc"), "metric auc: a line of the table fields is of all cells; leave it out."),
        (("fields", "clicks", "site", "--tau", "0.5"), "--tau 0.5: a line of the table fields"),
        (("table2", "clicks", "alpha"), "no column is named: give one after the method, such as auc."),
        (("field", "clicks", "alpha", "auc"), "table='field' is unknown. Did you mean 'fields'?"),
    ],
)
def test_what_is_not_there_is_refused(
    cells: list[CellRecord], tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], message: str
) -> None:
    run = RunFolder(tmp_path)
    for record in cells:
        run.write(record)
    code, text = explained(run, capsys, *argv)
    assert code == 2
    assert message in text
