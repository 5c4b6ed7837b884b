"""The table of the data sets: what the records state, and dashes for what they do not."""

from __future__ import annotations

import csv as csv_reader
import io
from collections.abc import Callable
from typing import Any

from bench.records import CellRecord, to_frame
from bench.report.formats import csv
from bench.run.job import Job
from bench.tables.datasets import FIELDS, ROWS, dataset_tables
from bench.tables.model import Table
from bench.tables.titles import Titles

Cell = Callable[..., CellRecord]
TITLES = Titles({"films": "Films", "clicks": "Clicks"}, {})
STATED: dict[str, Any] = {
    "positives": {"train": 200, "valid": 25, "test": 26},
    "vocabulary_rows": 1234,
    "notes": {"pretrain_rows": 80},
}


def table(*cells: CellRecord) -> Table:
    (found,) = dataset_tables(to_frame(cells), TITLES)
    return found


def texts(found: Table, title: str) -> dict[str, str]:
    row = next(row for row in found.rows if row.title == title)
    return dict(zip((metric.name for metric in (*ROWS, *FIELDS)), (value.text for value in row.values), strict=True))


def notes(found: Table) -> list[str]:
    return [note.text for note in found.notes]


def test_numbers_are_those_of_the_records(cell: Cell) -> None:
    found = table(cell(**STATED), cell("alpha", **STATED))
    # 800 + 100 + 100 rows; 200 + 25 + 26 positives, 251 of 1000
    assert texts(found, "Clicks") == {
        "total_rows": "1,000",
        "train_rows": "800",
        "valid_rows": "100",
        "test_rows": "100",
        "pretrain_rows": "80",
        "n_fields": "2",
        "vocabulary_rows": "1,234",
        "positives": "251",
        "positive_share": "25.10",
    }
    assert found.notes == ()
    hashes = {one.config_hash for one in (cell(**STATED), cell("alpha", **STATED))}
    assert all(set(value.cells) <= hashes for value in found.rows[0].values)


def test_rows_are_data_sets_in_their_order_and_apart_where_they_differ(cell: Cell) -> None:
    part = {"train": 80, "valid": 10, "test": 10}
    found = table(cell(), cell(split_rows=part), cell(dataset="films"), cell(profile={"name": "paper"}))
    assert sorted(row.title for row in found.rows[1:]) == ["Clicks · 80/10/10 rows", "Clicks · 800/100/100 rows"]
    assert found.rows[0].title == "Films"


def test_older_records_give_dashes_and_the_vocabulary_of_a_model_of_all_fields(cell: Cell) -> None:
    old = cell(embedding_rows=77), cell("alpha", kept_fields=[1], embedding_rows=40)
    found = table(*old)
    assert texts(found, "Clicks")["vocabulary_rows"] == "77"
    assert texts(found, "Clicks")["positives"] == texts(found, "Clicks")["positive_share"] == "—"
    assert notes(found) == [
        "Pretraining of Clicks: no cell of the run pretrains on a subset.",
        "Positives of Clicks: not in the records, which an older version wrote.",
    ]
    only_cut = table(cell("alpha", kept_fields=[1], embedding_rows=40))
    assert texts(only_cut, "Clicks")["vocabulary_rows"] == "—"
    assert any(text.startswith("Vocabulary of Clicks") for text in notes(only_cut))


def test_the_subset_is_that_of_the_method_without_overrides(cell: Cell) -> None:
    sizes = [cell("alpha", label=f"alpha[n={n}]", notes={"pretrain_rows": n}) for n in (10, 20)]
    assert texts(table(*sizes, cell("alpha", notes={"pretrain_rows": 80})), "Clicks")["pretrain_rows"] == "80"
    several = table(*sizes)
    assert texts(several, "Clicks")["pretrain_rows"] == "—"
    assert "Pretraining of Clicks: several, 10, 20." in notes(several)


def test_a_run_in_which_all_failed_has_the_rows_of_its_splits(cell: Cell) -> None:
    found = table(cell(status="failed", reason="no", field_names=[], kept_fields=None))
    assert texts(found, "Clicks")["train_rows"] == "800"
    assert texts(found, "Clicks")["n_fields"] == "—"
    assert "Fields of Clicks: no cell has ended well." in notes(found)


def test_tidy_csv_names_the_data_set_of_every_row(cell: Cell) -> None:
    rows = list(csv_reader.DictReader(io.StringIO(csv.document([table(cell(**STATED), cell(dataset="films"))]))))
    assert {(row["dataset"], row["dataset_title"], row["dataset_revision"]) for row in rows} == {
        ("clicks", "Clicks", "1"),
        ("films", "Films", "1"),
    }
    wanted = [row["mean"] for row in rows if (row["dataset"], row["metric"]) == ("clicks", "positives")]
    assert [float(mean) for mean in wanted] == [251.0]


def test_a_cell_records_vocabulary_and_positives(make_job: Callable[..., Job]) -> None:
    job = make_job("no-selection")
    record, data = job.record(), job.data
    assert record.vocabulary_rows == data.schema.offsets[-1]
    parts = {"train": data.train, "valid": data.valid, "test": data.test}
    assert record.positives == {name: int(rows.labels.sum()) for name, rows in parts.items()}
