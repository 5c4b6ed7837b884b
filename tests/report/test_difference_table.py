"""The table of differences over seeds and test rows, from predictions that a run has kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.cli import main
from bench.errors import DataError
from bench.predictions import Predictions
from bench.records import CellRecord, RunFolder, to_frame
from bench.report.build import build_report
from bench.stats.difference import auc_difference
from bench.stats.paired import holm
from bench.tables.difference import difference_tables
from bench.tables.model import Table, Value
from bench.tables.titles import Titles

Cell = Callable[..., CellRecord]
PLAIN = Titles()
STRENGTHS = {"keep-all": 1.0, "coin": 0.3, "alpha": 1.1}
ROWS = 100
LABELS = (np.random.default_rng(0).random(ROWS) < 0.4).astype(float)


def scores(method: str, seed: int) -> np.ndarray:
    """Float32 logits of a method at a seed, that of the baseline among them."""
    shared = np.random.default_rng(1).normal(size=ROWS)
    own = np.random.default_rng([2, seed, len(method)]).normal(size=ROWS)
    return (STRENGTHS[method] * LABELS + shared + 0.5 * own).astype(np.float32)


@pytest.fixture
def kept(tmp_path: Path) -> Predictions:
    return Predictions(RunFolder(tmp_path / "run").predictions)


@pytest.fixture
def cells(cell: Cell, kept: Predictions) -> list[CellRecord]:
    """Two seeds of each method with their predictions."""
    return [with_predictions(cell(method, seed=s, ece=0.1, pcoc=1.1), kept) for method in STRENGTHS for s in (0, 1)]


def with_predictions(record: CellRecord, kept: Predictions, labels: np.ndarray = LABELS) -> CellRecord:
    entry = kept.stage(record.config_hash, record.dataset, scores(record.method, record.seed), labels)
    kept.settle(record.config_hash, entry)
    return replace(record, predictions=entry)


def only(cells: Sequence[CellRecord], kept: Predictions) -> Table:
    (table,) = difference_tables(to_frame(cells), kept, PLAIN)
    return table


def value(table: Table, title: str, metric: str) -> Value:
    row = next(row for row in table.rows if row.title == title)
    return row.values[[column.name for column in table.groups[0].metrics].index(metric)]


def notes(table: Table) -> list[str]:
    return [note.text for note in table.notes if note.symbol == ""]


def test_the_interval_is_that_of_the_kept_predictions(cells: list[CellRecord], kept: Predictions) -> None:
    table, found = only(cells, kept), {}
    base = [scores("keep-all", seed) for seed in (0, 1)]
    for method in ("coin", "alpha"):
        found[method] = auc_difference([scores(method, seed) for seed in (0, 1)], base, LABELS)
        expected = {
            "difference": found[method].mean,
            "difference_low": found[method].low,
            "difference_high": found[method].high,
            "difference_se_seeds": np.sqrt(found[method].seed_var),
            "difference_se_rows": np.sqrt(found[method].row_var),
        }
        shown = {name: value(table, method.title(), name).mean for name in expected}
        assert shown == pytest.approx(expected)
        hashes = {record.config_hash for record in cells if record.method == method}
        assert set(value(table, method.title(), "difference").cells) == hashes
    corrected = holm([found["coin"].p, found["alpha"].p])
    assert [value(table, title, "difference_p").mean for title in ("Coin", "Alpha")] == pytest.approx(corrected)
    assert [one.text for one in table.rows[0].values[1:]] == [""] * 6, "the baseline is not compared with itself"
    assert table.groups[0].against == "keep-all"
    assert "over seeds and draws of the test rows" in table.caption


def test_one_seed_has_an_interval_of_rows_and_says_so(cells: list[CellRecord], kept: Predictions) -> None:
    table = only([cell for cell in cells if cell.seed == 0], kept)
    expected = auc_difference([scores("alpha", 0)], [scores("keep-all", 0)], LABELS)
    assert value(table, "Alpha", "difference_high").mean == pytest.approx(expected.high)
    assert "difference_se_seeds" not in [metric.name for metric in table.groups[0].metrics]
    assert "over draws of the test rows alone, since there is one seed" in table.caption


def test_rows_without_all_predictions_are_named_and_not_compared(cells: list[CellRecord], kept: Predictions) -> None:
    without = [replace(cell, predictions=None) if cell.method == "coin" and cell.seed else cell for cell in cells]
    table = only(without, kept)
    assert value(table, "Coin", "difference") == Value()
    assert value(table, "Alpha", "difference").mean is not None
    assert "Not compared, for want of predictions: Coin." in notes(table)
    kept.file(cells[-1].config_hash).unlink()  # a file that was not passed on with its record
    assert "Not compared, for want of predictions: Alpha." in notes(only(cells, kept))


def test_predictions_of_other_rows_are_not_compared(cells: list[CellRecord], kept: Predictions) -> None:
    moved = [with_predictions(cell, kept, 1 - LABELS) if cell.method == "coin" else cell for cell in cells]
    assert "Not compared: Coin: other test rows." in notes(only(moved, kept))


def test_there_is_no_table_without_predictions_of_the_baseline_and_another(
    cells: list[CellRecord], kept: Predictions
) -> None:
    assert difference_tables(to_frame([replace(cell, predictions=None) for cell in cells]), kept, PLAIN) == []
    assert difference_tables(to_frame(cells[:2]), kept, PLAIN) == []
    assert difference_tables(to_frame(cells[2:]), kept, PLAIN) == []


def test_a_report_has_the_tables_and_refuses_changed_predictions(cells: list[CellRecord], kept: Predictions) -> None:
    folder = RunFolder(kept.folder.parent)
    for record in cells:
        folder.write(record)
    build_report(folder, PLAIN)
    assert ",difference_low,keep-all," in (folder.tables / "difference.csv").read_text()
    assert ",ece,,0.1," in (folder.tables / "calibration.csv").read_text()
    assert "Difference over seeds and test rows" in (folder.path / "report.html").read_text()
    np.save(kept.file(cells[0].config_hash), LABELS.astype(np.float32))
    with pytest.raises(DataError, match="was changed or damaged"):
        build_report(folder, PLAIN)


def test_its_numbers_lead_to_cells(
    cells: list[CellRecord], kept: Predictions, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(kept.folder.parent)
    for record in cells:
        run.write(record)
    expected = auc_difference(
        [scores("alpha", seed) for seed in (0, 1)], [scores("keep-all", seed) for seed in (0, 1)], LABELS
    )
    for metric in ("difference", "difference_p"):
        assert main(["explain", str(run.path), "difference", "clicks", "alpha", metric]) == 0
        told = capsys.readouterr().out
        assert "which its AUC in this table leads to" in told
        for record in cells:
            assert (str(run.cell_file(record.config_hash)) in told) is (record.method == "alpha")
        if metric == "difference":
            assert f"Alpha on clicks: Difference = {expected.mean:+.4f}" in told
    assert main(["explain", str(run.path), "difference", "clicks", "keep-all", "auc"]) == 0
    assert str(run.cell_file(cells[0].config_hash)) in capsys.readouterr().out
