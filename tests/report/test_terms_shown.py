"""What reports say of budgets that do not count fields, and of fields that scores did not decide on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.records import CellRecord, RunFolder, to_frame
from bench.report.explain import Wanted, explain
from bench.tables.k_sweep import sweep_tables
from bench.tables.model import Table
from bench.tables.overall import overall_tables, size_tables
from bench.tables.titles import Titles

Cell = Callable[..., CellRecord]
PLAIN = Titles()
NAMES = ["a", "b", "c", "d", "e", "f", "g"]
SAID: dict[str, Any] = {"locked": ["a"], "groups": {"geo": ["b", "c"]}, "costs": {"d": 4.0}}


def overall(*cells: CellRecord) -> Table:
    (table,) = overall_tables(to_frame(cells), PLAIN)
    return table


def texts(table: Table) -> list[str]:
    return [note.text for note in table.notes]


def test_rows_of_two_budgets_stand_apart_and_a_note_says_what_the_ratio_is_of(cell: Cell) -> None:
    by_count, by_cost = cell("alpha"), cell("alpha", budget="cost")
    table = overall(cell(), by_count, by_cost)
    assert [row.title for row in table.rows] == ["Keep-All", "Alpha (cost budget)", "Alpha (field budget)"]
    said = "The prune ratio is the share given up of the cost of the fields: Alpha (cost budget)."
    assert said in texts(table)
    assert not any("prune ratio" in text for text in texts(overall(cell(), by_count)))


def test_cells_made_on_other_terms_are_not_averaged(cell: Cell) -> None:
    terms = ({"locked": ["f1"]}, {"groups": {"all": ["f1", "f2"]}}, None)
    cells = [cell("alpha", params={"n": n}, field_terms=said) for n, said in enumerate(terms)]
    table = overall(cell(field_terms=terms[0]), *cells)
    titles = ["Keep-All", "Alpha (f1 + f2)", "Alpha (f1 locked)", "Alpha (no fields locked)"]
    assert sorted(row.title for row in table.rows) == sorted(titles)


def test_terms_of_one_data_set_do_not_divide_the_rows_of_others(cell: Cell) -> None:
    cells = [cell(), cell("alpha", field_terms=SAID), cell(dataset="films"), cell("alpha", dataset="films")]
    (table,) = overall_tables(to_frame(cells), PLAIN)
    assert [row.title for row in table.rows] == ["Keep-All", "Alpha"]


def test_notes_name_locked_fields_and_groups(cell: Cell) -> None:
    many = {"locked": NAMES, "groups": SAID["groups"]}
    found = texts(overall(cell(), cell("alpha", field_names=NAMES, field_terms=many)))
    assert "Fields that the card keeps, whatever their scores: a, b, c, d, e and 2 more on clicks." in found
    geo = "Fields that are kept or dropped as one, by the highest of their scores: geo (b, c) on clicks."
    assert geo in found


def test_the_share_of_the_cost_is_a_column_where_a_card_names_costs(cell: Cell) -> None:
    cells = [cell(field_names=NAMES, kept_fields=list(range(7)), field_terms=SAID)]
    cells += [
        cell("alpha", field_names=NAMES, kept_fields=kept, field_terms=SAID, seed=s)
        for s, kept in enumerate([[3], [0, 1]])
    ]
    (table,) = size_tables(to_frame(cells), PLAIN)
    place = [metric.name for _, metric in table.columns].index("kept_cost")
    # all cost 6 + 4 = 10: 100 %; 4 of 10 and 2 of 10
    assert [row.values[place].text for row in table.rows] == ["100.0", "30.0"]
    (without,) = size_tables(to_frame([cell(field_terms={"locked": ["f1"]})]), PLAIN)
    assert "kept_cost" not in [metric.name for _, metric in without.columns]


@pytest.mark.parametrize(
    ("kept", "heads"),
    [
        (([0, 1], [0], [0]), ["τ = 0.1, K = 2", "τ = 0.5, K = 1", "τ = 0.6, K = 1"]),
        (([0, 1, 2], [0, 1], [0]), ["τ = 0.1, K = 2 to 3", "τ = 0.5, K = 1 to 2", "τ = 0.6, K = 1"]),
    ],
)
def test_a_sweep_says_how_many_fields_were_kept(cell: Cell, kept: tuple[list[int], ...], heads: list[str]) -> None:
    cells = [cell()]
    for tau, plain, own in zip((0.1, 0.5, 0.6), ([0, 1], [0], [0]), kept, strict=True):
        cells.append(cell("alpha", tau=tau, kept_fields=plain))
        cells.append(cell("beta", tau=tau, kept_fields=own, budget="cost"))
    (table,) = sweep_tables(to_frame(cells), PLAIN)
    assert [group.title for group in table.groups[:-1]] == heads
    assert f"up to K = {max(map(len, kept))}." in table.caption


def test_explain_names_the_budget_the_terms_and_ties_among_units(cell: Cell, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    scores = [0.0, 1.0, 2.0, 2.0, 2.0, 0.0, 0.0]  # locked: a; b and c as one have 2, as d and e have
    mine = {"field_names": NAMES, "field_scores": scores, "field_terms": SAID, "kept_fields": [0, 1, 2, 4]}
    for one in (cell(field_names=NAMES), cell("alpha", budget="cost", tie_count=4, **mine)):
        folder.write(one)
    (tmp_path / "run.toml").write_text("")
    text = explain(folder, Wanted("overall", "clicks", "alpha", "auc"))
    assert "  budget: cost\n" in text
    assert '"groups": {"geo": ["b", "c"]}' in text
    assert "fields tied: b, c, d, e (all of score 2; 3 of 4 kept, by their order)" in text
