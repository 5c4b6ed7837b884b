"""Stability over seeds and agreement between methods, against the statistics on hand-made scores."""

from __future__ import annotations

import csv as csv_reader
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.records import CellRecord, to_frame
from bench.report.formats import csv
from bench.stats.agreement import kendall_matrix, spearman_matrix
from bench.stats.stability import nogueira
from bench.tables.model import Table, Value
from bench.tables.stability import agreement_tables, stability_tables
from bench.tables.titles import Titles

Cell = Callable[..., CellRecord]
PLAIN = Titles()
NAMES = ["f1", "f2", "f3", "f4"]
SCORES = {"alpha": [[4, 3, 2, 1], [4, 3, 1, 2], [1, 2, 3, 4]], "beta": [[4, 3, 2, 1], [3, 4, 2, 1], [4, 1, 2, 3]]}


def top(scores: Sequence[float], k: int = 2) -> list[int]:
    return sorted(np.argsort(-np.array(scores))[:k].tolist())


def chosen(cell: Cell, method: str, seed: int, scores: Sequence[float], **changes: Any) -> CellRecord:
    found = {"field_names": NAMES, "field_scores": [float(s) for s in scores], "kept_fields": top(scores)}
    return cell(method, seed=seed, **(found | changes))


@pytest.fixture
def cells(cell: Cell) -> list[CellRecord]:
    whole = [cell(seed=s, field_names=NAMES, kept_fields=[0, 1, 2, 3]) for s in range(3)]
    return [*whole, *(chosen(cell, m, s, scores) for m, seeds in SCORES.items() for s, scores in enumerate(seeds))]


def only(tables: list[Table]) -> Table:
    (table,) = tables
    return table


def value(table: Table, title: str, metric: str) -> Value:
    row = next(row for row in table.rows if row.title == title)
    return row.values[[column.name for column in table.groups[0].metrics].index(metric)]


def texts(table: Table) -> list[str]:
    return [note.text for note in table.notes]


def test_kept_fields_by_nogueira_and_scores_by_their_correlations(cells: list[CellRecord]) -> None:
    table = only(stability_tables(to_frame(cells), PLAIN))
    assert [row.title for row in table.rows] == ["Alpha", "Beta"], "Keep-All chooses nothing"
    for title, seeds in (("Alpha", SCORES["alpha"]), ("Beta", SCORES["beta"])):
        kept = np.zeros((3, 4))
        for line, scores in zip(kept, seeds, strict=True):
            line[top(scores)] = 1
        stable = nogueira(kept)
        assert value(table, title, "nogueira").mean == pytest.approx(stable.value)
        assert value(table, title, "nogueira_low").mean == pytest.approx(stable.low)
        assert value(table, title, "nogueira_high").mean == pytest.approx(stable.high)
        pairs = [(seeds[i], seeds[j]) for i in range(3) for j in range(i)]
        tau = np.mean([stats.kendalltau(a, b).statistic for a, b in pairs])
        rho = np.mean([stats.spearmanr(a, b).statistic for a, b in pairs])
        assert value(table, title, "seed_kendall").mean == pytest.approx(tau)
        assert value(table, title, "seed_spearman").mean == pytest.approx(rho)
    assert value(table, "Alpha", "n_kept").text == "2"


def test_a_method_that_keeps_all_fields_has_scores_alone(cell: Cell) -> None:
    per_row = [chosen(cell, "alpha", s, scores, kept_fields=[0, 1, 2, 3]) for s, scores in enumerate(SCORES["alpha"])]
    table = only(stability_tables(to_frame(per_row), PLAIN))
    assert value(table, "Alpha", "nogueira") == Value()
    assert value(table, "Alpha", "seed_kendall").mean is not None


def test_what_cannot_be_measured_is_said(cell: Cell, cells: list[CellRecord]) -> None:
    flat = [chosen(cell, "coin", s, [1, 1, 1, 1], kept_fields=[0, 1]) for s in range(3)]
    single = [chosen(cell, "alpha", 0, SCORES["alpha"][0], label="alpha[x=1]")]
    failed = [cell("alpha", s, label="alpha[x=1]", status="failed", reason="no", field_names=NAMES) for s in (1, 2)]
    table = only(stability_tables(to_frame([*cells, *flat, *single, *failed]), PLAIN))
    assert value(table, "Coin", "nogueira").text == "+1.00"
    assert value(table, "Coin", "seed_kendall") == value(table, "Alpha [x=1]", "nogueira") == Value()
    refused = next(text for text in texts(table) if text.startswith("Not measured"))
    assert "Coin, scores: at some seed all fields have the same score" in refused
    assert "Alpha [x=1], kept fields: runs: 1 of at least 2" in refused
    assert "failed (no): Alpha [x=1] on clicks, seeds 1, 2." in texts(table)


def test_a_method_without_any_result_is_named(cell: Cell, cells: list[CellRecord]) -> None:
    failed = [cell("coin", s, status="failed", reason="no", field_names=NAMES) for s in range(3)]
    table = only(stability_tables(to_frame([*cells, *failed]), PLAIN))
    assert [row.title for row in table.rows] == ["Coin", "Alpha", "Beta"]
    assert set(table.rows[0].values) == {Value()}
    assert "failed (no): Coin on clicks, seeds 0–2." in texts(table)
    assert "without a result: Coin." in texts(agreement_tables(to_frame([*cells, *failed]), PLAIN)[0])


def test_a_seed_fewer_is_flagged(cells: list[CellRecord]) -> None:
    fewer = [one for one in cells if (one.label, one.seed) != ("beta", 2)]
    table = only(stability_tables(to_frame(fewer), PLAIN))
    assert value(table, "Beta", "nogueira").flags == ("†",)
    assert value(table, "Alpha", "nogueira").flags == ()
    assert any(text.startswith("fewer seeds") and "Beta on clicks 2 of 3" in text for text in texts(table))


def test_there_is_no_table_of_one_seed_or_of_no_choice(cell: Cell) -> None:
    assert stability_tables(to_frame([chosen(cell, "alpha", 0, [1, 2, 3, 4])]), PLAIN) == []
    assert stability_tables(to_frame([cell(seed=s) for s in (0, 1)]), PLAIN) == []


def test_two_seeds_have_no_interval(cells: list[CellRecord]) -> None:
    table = only(stability_tables(to_frame([one for one in cells if one.seed < 2]), PLAIN))
    assert value(table, "Beta", "nogueira").mean is not None
    assert value(table, "Beta", "nogueira_low") == value(table, "Beta", "nogueira_high") == Value()


def test_agreement_is_the_mean_correlation_of_two_methods_at_the_same_seed(cells: list[CellRecord]) -> None:
    by_tau, by_rho = agreement_tables(to_frame(cells), PLAIN)
    for table, measure in ((by_tau, stats.kendalltau), (by_rho, stats.spearmanr)):
        assert [row.title for row in table.rows] == ["1 Alpha", "2 Beta"]
        assert [group.title for group in table.groups] == ["1"]
        wanted = [measure(a, b).statistic for a, b in zip(SCORES["alpha"], SCORES["beta"], strict=True)]
        found = table.rows[1].values[0]
        assert found.mean == pytest.approx(np.mean(wanted))
        assert found.sd == pytest.approx(np.std(wanted, ddof=1))
        assert table.rows[0].values == (Value(text=""),)
        assert table.notes == ()
        assert found.flags == ()


def test_agreement_needs_a_common_seed_and_scores_that_differ(cell: Cell) -> None:
    apart = [chosen(cell, "alpha", 0, [1, 2, 3, 4]), chosen(cell, "beta", 1, [1, 2, 3, 4])]
    table = agreement_tables(to_frame(apart), PLAIN)[0]
    assert table.rows[1].values == (Value(),)
    assert texts(table) == ["over fewer seeds: Alpha lacks seed 1; Beta lacks seed 0."]
    flat = [chosen(cell, "alpha", 0, [1, 2, 3, 4]), chosen(cell, "beta", 0, [1, 1, 1, 1])]
    table = agreement_tables(to_frame(flat), PLAIN)[0]
    assert table.rows[1].values == (Value(),)
    assert texts(table) == ["all fields have the same score at some seed: Beta."]
    assert agreement_tables(to_frame(apart[:1]), PLAIN) == []


def test_agreement_over_fewer_seeds_is_flagged(cells: list[CellRecord]) -> None:
    fewer = [one for one in cells if (one.label, one.seed) != ("beta", 2)]
    table = agreement_tables(to_frame(fewer), PLAIN)[0]
    assert (table.rows[1].values[0].seeds, table.rows[1].values[0].flags) == ((0, 1), ("†",))


def test_tidy_csv_names_the_other_method(cells: list[CellRecord]) -> None:
    rows = list(csv_reader.DictReader(io.StringIO(csv.document(agreement_tables(to_frame(cells), PLAIN)))))
    shown = [row for row in rows if row["mean"]]
    assert {(row["label"], row["against"], row["dataset_title"]) for row in shown} == {("beta", "alpha", "clicks")}
    assert [row["metric"] for row in shown] == ["kendall", "spearman"]


def test_matrices_of_correlations_agree_with_scipy_ties_included() -> None:
    x = np.random.default_rng(0).integers(0, 5, (4, 12)).astype(float)
    for found, measure in ((kendall_matrix(x), stats.kendalltau), (spearman_matrix(x), stats.spearmanr)):
        wanted = [[measure(a, b).statistic for b in x] for a in x]
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
