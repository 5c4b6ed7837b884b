"""BELOW-ANCHOR: where the baseline on the whole public data set stays under what public results reach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench import plugins
from bench.data.card.card import Anchor, load_card
from bench.datasets import resolve_dataset
from bench.errors import ConfigError
from bench.records import CellRecord, to_frame
from bench.report.formats import latex
from bench.tables.model import Table
from bench.tables.overall import efficiency_tables, overall_tables
from bench.tables.titles import Titles

Cell = Callable[..., CellRecord]
ANCHOR = Anchor(1000, {"net": 0.75}, "someone, 2020")
TITLES = Titles({"clicks": "Clicks"}, anchors={"clicks": ANCHOR})


def overall(*cells: CellRecord, titles: Titles = TITLES) -> Table:
    (table,) = overall_tables(to_frame(cells), titles)
    return table


def flagged(table: Table) -> list[bool]:
    return ["‖" in row.values[0].flags for row in table.rows]


def below(table: Table) -> list[str]:
    return [note.text for note in table.notes if "BELOW-ANCHOR" in note.text]


def test_every_auc_of_the_column_is_flagged_and_the_note_has_the_source(cell: Cell) -> None:
    table = overall(cell(seed=0, auc=0.74), cell(seed=1, auc=0.75), cell("alpha", auc=0.76), cell("beta", status="oom"))
    assert flagged(table) == [True, True, False], "a dash is not flagged"
    (note,) = below(table)
    assert note.endswith(": Clicks 0.7450 of 0.7500 (someone, 2020).")
    assert r"\parallel" in latex.tabular(table)


@pytest.mark.parametrize("auc", [0.75, 0.8])
def test_a_baseline_that_reaches_it_is_not(cell: Cell, auc: float) -> None:
    table = overall(cell(auc=auc), cell("alpha", auc=0.6))
    assert (flagged(table), below(table)) == ([False, False], [])


def test_only_the_whole_data_set_with_the_cards_own_parameters_is_compared(cell: Cell) -> None:
    part = cell(auc=0.6, split_rows={"train": 800, "valid": 100, "test": 99})
    for one in (part, cell(auc=0.6, dataset="clicks[min_count=2]"), cell(auc=0.6, backbone="other")):
        assert below(overall(one)) == []
    assert below(overall(cell("alpha", auc=0.6))) == [], "no baseline, no statement"
    assert below(overall(cell(auc=0.6), titles=replace(TITLES, anchors={}))) == []


def test_a_table_without_auc_says_it_too(cell: Cell) -> None:
    (costs,) = efficiency_tables(to_frame([cell(auc=0.6)]), TITLES)
    assert len(below(costs)) == 1
    assert not any("‖" in value.flags for row in costs.rows for value in row.values)


def test_shipped_anchors_name_backbones_and_sources() -> None:
    known = Titles.registered().anchors
    assert set(known) == {"criteo", "avazu"}
    for name, anchor in known.items():
        assert anchor == resolve_dataset(name).anchor
        assert set(anchor.auc) <= set(plugins.backbones().names())
        paper = {one for one in plugins.backbones().names() if plugins.backbones().entry(one).paper}
        assert paper < set(anchor.auc)
        assert "BARS" in anchor.source
        # a one-hot logistic regression is the easiest of them
        assert min(anchor.auc, key=anchor.auc.__getitem__) == "logistic"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('rows = 5\nsource = "x"\nauc = { net = 0.4 }', r"auc of net = 0\.4 is out of range; allowed: \(0\.5, 1\)"),
        ("rows = 5\nauc = { net = 0.8 }", "the key 'source' is missing"),
        ('rows = 5\nsource = "x"\nauk = 1', "the key 'auk' is unknown"),
    ],
)
def test_a_bad_anchor_is_refused(tmp_path: Path, text: str, message: str) -> None:
    card = tmp_path / "mine.toml"
    card.write_text(f'name = "mine"\n[anchor]\n{text}\n[raw.columns]\nclicked = "label"\ncity = "categorical"\n')
    with pytest.raises(ConfigError, match=message):
        load_card(card)
