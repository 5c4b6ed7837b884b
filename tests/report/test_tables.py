from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from bench.records import CellRecord, to_frame
from bench.tables.kinds import KINDS
from bench.tables.metrics import TT_RATIO, TT_S
from bench.tables.model import Table, Value, ranked
from bench.tables.overall import efficiency_tables, overall_tables, recovery_tables, size_tables
from bench.tables.titles import Titles

Cell = Callable[..., CellRecord]
PLAIN = Titles()
EFFICIENCY, SIZE = KINDS["efficiency"].columns, KINDS["size"].columns


def overall(*cells: CellRecord) -> Table:
    (table,) = overall_tables(to_frame(cells), PLAIN)
    return table


def value(table: Table, title: str, metric: str, group: int = 0) -> Value:
    row = next(row for row in table.rows if row.title == title)
    columns = [(table.groups.index(g), m.name) for g, m in table.columns]
    return row.values[columns.index((group, metric))]


def notes(table: Table, symbol: str) -> list[str]:
    return [note.text for note in table.notes if note.symbol == symbol]


def test_mean_and_sample_deviation_over_seeds(cell: Cell) -> None:
    table = overall(*(cell(seed=s, auc=a) for s, a in enumerate([0.70, 0.72, 0.77])))
    auc = value(table, "Keep-All", "auc")
    # mean (0.70 + 0.72 + 0.77) / 3 = 0.73; deviations -0.03, -0.01, 0.04; sd = sqrt(0.0026 / 2)
    assert auc.text == "0.7300"
    assert auc.sd == pytest.approx(math.sqrt(0.0026 / 2))
    assert auc.sd_text == "0.0361"
    assert auc.seeds == (0, 1, 2)


def test_one_seed_has_no_deviation(cell: Cell) -> None:
    auc = value(overall(cell()), "Keep-All", "auc")
    assert (auc.sd, auc.sd_text) == (None, "")


def test_time_is_the_mean_of_ratios_of_the_same_seed(cell: Cell) -> None:
    table = overall(
        cell(seed=0, tt_s=10.0),
        cell(seed=1, tt_s=100.0),
        cell("alpha", seed=0, tt_s=5.0),
        cell("alpha", seed=1, tt_s=150.0),
    )
    # (5 / 10 + 150 / 100) / 2 = 1.0, where the ratio of means would be 155 / 110
    ratio = value(table, "Alpha", "tt_ratio")
    assert ratio.mean == pytest.approx(1.0)
    assert ratio.sd == pytest.approx(math.sqrt(0.5))
    base = value(table, "Keep-All", "tt_ratio")
    assert (base.text, base.sd_text) == ("1.0000", ""), "1 by definition, not by measurement"
    assert "Keep-All (55.00 s on clicks)" in table.caption


def test_best_and_second_are_marked_in_the_direction_of_the_metric(cell: Cell) -> None:
    table = overall(
        cell(auc=0.70, logloss=0.60),
        cell("coin", auc=0.71, logloss=0.50),
        cell("alpha", auc=0.72, logloss=0.55),
    )
    assert [value(table, t, "auc").mark for t in ("Keep-All", "Coin", "Alpha")] == ["", "second", "best"]
    assert [value(table, t, "logloss").mark for t in ("Keep-All", "Coin", "Alpha")] == ["", "best", "second"]


def test_numbers_that_look_alike_share_a_mark(cell: Cell) -> None:
    table = overall(cell(auc=0.72004), cell("coin", auc=0.71), cell("alpha", auc=0.71999), cell("beta", auc=0.70))
    marks = [value(table, t, "auc").mark for t in ("Keep-All", "Coin", "Alpha", "Beta")]
    assert marks == ["best", "second", "best", ""], "0.72004 and 0.71999 both print as 0.7200"


def test_baseline_is_ranked_too_and_a_single_row_is_not() -> None:
    numbers = [Value(x, text=TT_RATIO.text(x), rankable=True) for x in (1.0, 1.2)]
    assert [v.mark for v in ranked(numbers, TT_RATIO)] == ["best", "second"]
    assert ranked(numbers[:1], TT_RATIO)[0].mark == ""


def test_thousands_are_compared_as_numbers() -> None:
    numbers = [Value(x, text=TT_S.text(x), rankable=True) for x in (12000.0, 900.0)]
    assert [v.mark for v in ranked(numbers, TT_S)] == ["second", "best"]


def test_fewer_seeds_are_shown_with_a_dagger_and_not_ranked(cell: Cell) -> None:
    table = overall(
        cell(seed=0, auc=0.70),
        cell(seed=1, auc=0.70),
        cell("alpha", seed=0, auc=0.80),
        cell("beta", seed=0, auc=0.60),
        cell("beta", seed=1, auc=0.60),
    )
    alpha = value(table, "Alpha", "auc")
    assert (alpha.text, alpha.flags, alpha.mark) == ("0.8000", ("†",), "")
    assert value(table, "Keep-All", "auc").mark == "best"
    assert notes(table, "†") == ["fewer seeds than others in the column, not ranked: Alpha on clicks 1 of 2."]


def test_failed_and_skipped_cells_are_dashes_with_their_reasons(cell: Cell) -> None:
    table = overall(
        cell(seed=0),
        cell(seed=1),
        cell("alpha", seed=0, status="failed", reason="ValueError: bad\nvalue"),
        cell("alpha", seed=1, status="failed", reason="ValueError: bad value"),
        cell("beta", seed=0, status="skipped", reason="needs numbers."),
        cell("beta", seed=1, auc=0.7),
    )
    assert value(table, "Alpha", "auc") == Value()
    assert value(table, "Beta", "auc").flags == ("†",)
    assert notes(table, "—") == [
        "failed (ValueError: bad value): Alpha on clicks, seeds 0, 1.",
        "skipped (needs numbers): Beta on clicks, seed 0.",
    ]


def test_what_was_never_run_is_said(cell: Cell) -> None:
    table = overall(cell(), cell("alpha"), cell(dataset="films"))
    assert value(table, "Alpha", "auc", group=1).text == "—"
    assert notes(table, "—") == ["not run: Alpha on films."]


def test_a_seed_without_the_baseline_has_no_ratio(cell: Cell) -> None:
    table = overall(cell(seed=0, tt_s=2.0), cell("alpha", seed=0, tt_s=1.0), cell("alpha", seed=1, tt_s=9.0))
    assert value(table, "Alpha", "tt_ratio").seeds == (0,)
    assert value(table, "Alpha", "tt_ratio").text == "0.5000"
    assert notes(table, "") == ["TT on clicks needs the time of Keep-All at seed 1."]


def test_without_any_baseline_there_is_no_ratio(cell: Cell) -> None:
    table = overall(cell("alpha"), cell("beta"))
    assert value(table, "Alpha", "tt_ratio") == Value()
    assert "a method that keeps every field" in notes(table, "")[0]


def test_times_of_resumed_cells_are_left_out(cell: Cell) -> None:
    table = overall(
        cell(seed=0, tt_s=4.0),
        cell(seed=1, tt_s=4.0),
        cell("alpha", seed=0, tt_s=100.0, resumed=True),
        cell("alpha", seed=1, tt_s=2.0),
    )
    ratio = value(table, "Alpha", "tt_ratio")
    assert (ratio.text, ratio.flags) == ("0.5000", ("†", "‡"))
    assert value(table, "Alpha", "auc").flags == (), "its results count"
    assert notes(table, "‡") == ["times of resumed cells are left out: Alpha on clicks, seed 0."]


def test_a_resumed_baseline_gives_no_ratio(cell: Cell) -> None:
    table = overall(cell(resumed=True), cell("alpha"))
    assert value(table, "Alpha", "tt_ratio") == Value()


def test_other_optimizers_are_not_ranked_by_training_time(cell: Cell) -> None:
    cells = [
        cell(tt_s=4.0, it_s=0.3),
        cell("alpha", tt_s=1.0, it_s=0.1, optimizer="sgd"),
        cell("beta", tt_s=2.0, it_s=0.2),
    ]
    table = overall(*cells)
    assert value(table, "Alpha", "tt_ratio").flags == ("¶",)
    assert [value(table, t, "tt_ratio").mark for t in ("Alpha", "Beta", "Keep-All")] == ["", "best", "second"]
    assert "Alpha on clicks (sgd)" in notes(table, "¶")[0]
    (costs,) = efficiency_tables(to_frame(cells), PLAIN)
    assert value(costs, "Alpha", "it_s").mark == "best", "inference knows no optimizer"


def test_learning_rates_at_an_end_of_their_grid_are_named(cell: Cell) -> None:
    def tuned(method: str, lr: float, grid: tuple[float, ...] = (1e-4, 3e-4, 1e-3), **changes: Any) -> CellRecord:
        tuning = {"parameter": "lr", "grid": list(grid), "seed": 0, "lr": lr, "trials": []}
        return cell(method, tuning=tuning, **changes)

    table = overall(
        tuned("keep-all", 1e-3), tuned("keep-all", 1e-3, seed=1), tuned("coin", 3e-4), tuned("alpha", 1e-3),
        tuned("beta", 1e-4),
    )  # fmt: skip
    assert [text for text in notes(table, "") if text.startswith("The best learning rate")] == [
        "The best learning rate was the largest tried, 0.001, so that a larger one may be better: "
        "Keep-All on clicks; Alpha on clicks.",
        "The best learning rate was the smallest tried, 0.0001, so that a smaller one may be better: Beta on clicks.",
    ]
    for other in (overall(cell()), overall(tuned("keep-all", 1e-3, grid=(1e-3,)))):
        assert not any("best learning rate" in text for text in notes(other, ""))


def test_low_auc_is_flagged(cell: Cell) -> None:
    cells = [cell(auc=0.7), cell("coin", auc=0.5499), cell("alpha", auc=0.55)]
    table = overall(*cells)
    assert value(table, "Coin", "auc").flags == ("§",)
    assert value(table, "Alpha", "auc").flags == ()
    assert notes(table, "§") == ["LOW-AUC, test AUC under 0.55: Coin on clicks, seed 0."]
    (costs,) = efficiency_tables(to_frame(cells), PLAIN)
    assert [row.flags for row in costs.rows] == [(), ("§",), ()]


def test_two_cells_of_one_name_and_seed_are_not_averaged(cell: Cell) -> None:
    twice = [cell("alpha", params={"a": a}, auc=0.6 + a) for a in (0.1, 0.2)]
    table = overall(cell(), *twice)
    assert value(table, "Alpha", "auc") == Value()
    assert "several configurations under one name, not averaged" in notes(table, "—")[0]
    assert all(c.config_hash[:8] in notes(table, "—")[0] for c in twice)


def test_one_table_by_backbone_and_tau_with_methods_without_tau_in_each(cell: Cell) -> None:
    cells = [cell(), cell("alpha", tau=0.25), cell("alpha", tau=0.5), cell(backbone="other")]
    tables = overall_tables(to_frame(cells), Titles({}, {"other": "Other", "net": "Net"}))
    assert [(t.name, [row.title for row in t.rows]) for t in tables] == [
        ("other", ["Keep-All"]),
        ("net-tau0.25", ["Keep-All", "Alpha"]),
        ("net-tau0.5", ["Keep-All", "Alpha"]),
    ]
    assert [row.uses_tau for row in tables[1].rows] == [False, True]


def test_a_data_set_stays_out_of_tables_of_a_tau_it_was_not_run_at(cell: Cell) -> None:
    cells = [cell("alpha", tau=0.25), cell(dataset="films"), cell("alpha", dataset="films", tau=0.5)]
    tables = overall_tables(to_frame(cells), PLAIN)
    assert [[group.dataset for group in table.groups] for table in tables] == [["clicks"], ["films"]]


def test_rows_follow_the_registry_then_the_label(cell: Cell) -> None:
    labels = ["beta", "alpha[x=2]", "alpha", "keep-all", "alpha[x=1]"]
    table = overall(*(cell(label.partition("[")[0], label=label) for label in labels))
    assert [row.title for row in table.rows] == ["Keep-All", "Alpha", "Alpha [x=1]", "Alpha [x=2]", "Beta"]


def test_numbers_in_labels_are_ordered_as_numbers(cell: Cell) -> None:
    table = overall(*(cell("alpha", label=f"alpha[rows={n}]") for n in (2000, 330, 33000)))
    assert [row.label for row in table.rows] == ["alpha[rows=330]", "alpha[rows=2000]", "alpha[rows=33000]"]


def test_data_sets_follow_the_registry_and_others_come_last(cell: Cell) -> None:
    cells = [cell(dataset=name) for name in ("aaa", "clicks[n=5]", "films")]
    (table,) = overall_tables(to_frame(cells), Titles({"films": "Films", "clicks": "Clicks"}, {}))
    assert [group.title for group in table.groups] == ["Films", "Clicks [n=5]", "aaa"]


@pytest.mark.parametrize(
    ("changes", "suffix"),
    [
        ({"split_rows": {"train": 80, "valid": 10, "test": 10}}, "80/10/10 rows"),
        ({"profile": {"name": "paper", "max_epochs": 10}}, "profile paper"),
        ({"profile": {"name": "small", "max_epochs": 1}}, "max_epochs=1"),
        ({"dataset_revision": "2"}, "revision 2"),
        ({"backbone_params": {"width": 7}}, "width=7"),
    ],
)
def test_other_settings_get_columns_of_their_own(cell: Cell, changes: dict[str, Any], suffix: str) -> None:
    table = overall(cell(auc=0.7), cell("alpha", seed=1, auc=0.9, **changes))
    assert len(table.groups) == 2
    assert f"clicks · {suffix}" in {group.title for group in table.groups}


def test_budgets_are_rows_of_their_own(cell: Cell) -> None:
    table = overall(cell(), cell("alpha", budget="native"), cell("alpha", budget="field"))
    assert [row.title for row in table.rows] == ["Keep-All", "Alpha (field budget)", "Alpha (native budget)"]


def test_caption_says_what_was_run(cell: Cell) -> None:
    table = overall(*(cell(seed=s) for s in (0, 1, 2, 5)), cell("alpha"))
    assert table.title == "Results with net at prune ratio τ = 0.5"
    assert table.caption.startswith("Profile small; seeds 0–2, 5; 800/100/100 rows (training/validation/test).")
    assert "Keep-All (4.000 s on clicks)" in table.caption


def test_caption_explains_the_deviation_where_there_is_one(cell: Cell) -> None:
    assert "±" not in overall(cell()).caption
    assert "±" in overall(cell(), cell(seed=1)).caption


def test_efficiency_has_a_table_by_data_set(cell: Cell) -> None:
    cells = [cell(pt_s=0.0), cell("alpha", kept_fields=[1], pt_shared=True), cell(dataset="films", pt_s=0.0)]
    clicks, films = efficiency_tables(to_frame(cells), PLAIN)
    assert (clicks.name, films.name) == ("net-tau0.5-clicks", "net-tau0.5-films")
    assert [m for _, m in clicks.columns] == [m for m in EFFICIENCY if not m.optional], "nobody measured those"
    assert [v.text for v in clicks.rows[1].values] == [
        "1.000", "3.000", "4.000", "250.0", "3",
    ]  # fmt: skip
    sizes, _ = size_tables(to_frame(cells), PLAIN)
    assert [m for _, m in sizes.columns] == [m for m in SIZE if not m.optional]
    assert [v.text for v in sizes.rows[1].values] == ["1", "1,000", "0.003815"]
    assert [row.title for row in films.rows] == ["Keep-All"]
    assert "PT computed once for several cells and charged to each in full: Alpha." in notes(clicks, "")


def test_sizes_operations_and_memory_are_shown_where_they_were_recorded(cell: Cell) -> None:
    sizes = {"network_params": 2000, "flops_per_row": 1_500_000, "peak_mem_bytes": 3 * 2**20}
    terms = {"costs": {"f2": 3.0}}
    masked = cell("alpha", selection={"kept_bytes": 1000.0}, kept_fields=[0], field_terms=terms, **sizes)
    frame = to_frame([cell(**sizes), masked])
    (costs,), (left,) = efficiency_tables(frame, PLAIN), size_tables(frame, PLAIN)
    assert [m for _, m in (*costs.columns, *left.columns)] == [*EFFICIENCY, *SIZE]
    texts = {m.name: value(t, "Alpha", m.name).text for t in (costs, left) for _, m in t.columns if m.optional}
    # 1000 bytes of 2^20; the others keep their 4000 bytes of embeddings
    assert texts == {
        "network_params": "2,000",
        "kept_bytes": f"{1000 / 2**20:.7f}",
        "kept_cost": "25.0",  # 1 of 1 + 3
        "flops_per_row": "1.500",
        "peak_mem_bytes": "3.000",
    }
    assert value(left, "Keep-All", "kept_bytes").mean == 4000
    (unmasked,) = size_tables(to_frame([cell(**sizes)]), PLAIN)
    assert "kept_bytes" not in [m for _, m in unmasked.columns]


def test_what_is_registered_about_a_method_stands_under_the_tables_that_show_it(cell: Cell) -> None:
    cells = [cell(), cell("alpha"), cell("alpha", label="alpha[depth=3]"), cell("beta")]
    titles = Titles(method_notes={"alpha": "finds nothing", "gamma": "not shown"})
    (table,) = overall_tables(to_frame(cells), titles)
    assert [text for text in notes(table, "") if "finds" in text] == ["Alpha, Alpha [depth=3]: finds nothing."]
    assert not any("not shown" in text for text in notes(table, ""))
    assert not any("finds nothing" in text for text in notes(overall(*cells), ""))


def test_registered_titles_carry_the_notes_of_methods() -> None:
    from bench import plugins

    known = plugins.methods()
    noted = {name: known.entry(name).note for name in known.names() if known.entry(name).note}
    assert Titles.registered().method_notes == noted
    assert noted


def test_equal_counts_have_no_deviation_but_equal_quality_has(cell: Cell) -> None:
    cells = [cell(seed=0), cell(seed=1)]
    (sizes,) = size_tables(to_frame(cells), PLAIN)
    assert value(sizes, "Keep-All", "embedding_params").sd_text == ""
    assert value(overall(*cells), "Keep-All", "auc").sd_text == "0.0000"


def test_a_run_where_everything_failed_still_has_a_table(cell: Cell) -> None:
    table = overall(cell(status="oom", reason="MemoryError"), cell("alpha", status="timeout"))
    assert {v.text for row in table.rows for v in row.values} == {"—"}
    assert "no results" in table.caption
    assert notes(table, "—") == [
        "oom (MemoryError): Keep-All on clicks, seed 0.",
        "timeout: Alpha on clicks, seed 0.",
    ]


def test_columns_of_the_overall_table(cell: Cell) -> None:
    assert [m.heading for m in KINDS["overall"].columns if not m.optional] == ["AUC ↑", "Logloss ↓", "TT ↓"]


def test_junk_has_a_column_where_there_is_some_alone(cell: Cell) -> None:
    cells = [cell("alpha"), cell("alpha", dataset="clicks[junk=random]", recovery={"junk_share": 0.25})]
    for found in (cells, cells[::-1]):
        table = overall(*found)
        titles = {group.dataset: [metric.name for metric in group.metrics] for group in table.groups}
        assert titles == {
            "clicks": ["auc", "logloss", "tt_ratio"],
            "clicks[junk=random]": [*titles["clicks"], "junk_share"],
        }
        by_column = dict(
            zip(((group.dataset, metric.name) for group, metric in table.columns), table.rows[0].values, strict=True)
        )
        assert by_column["clicks[junk=random]", "junk_share"].mean == 0.25


def test_recovery_is_tabled_for_generated_data_alone(cell):
    found = {"precision_at_k": 0.8, "main_recall": 1.0, "interaction_recall": 0.0, "attainable_auc_share": 0.5}
    cells = [cell("alpha", dataset="made", recovery=found | {"score_cardinality_corr": None}), cell("alpha")]
    (table,) = recovery_tables(to_frame(cells), PLAIN)
    assert [group.dataset for group in table.groups] == ["made"]
    assert [value.mean for value in table.rows[0].values] == [*found.values(), None]
    names = [m.name for m in KINDS["recovery"].columns[:-1]]
    assert [name for name in names if name != "junk_share"] == list(found), "that of junk is shown where there is some"
    assert "true fields among the K highest scores" in table.caption


def test_the_recovery_of_fields_drawn_by_lot_is_said_once_by_data_set(cell: Cell) -> None:
    found = {"precision_at_k": 0.8, "precision_by_lot": 0.4674}
    cells = [cell(name, seed, dataset="made", recovery=found) for name in ("alpha", "coin") for seed in (0, 1)]
    (table,) = recovery_tables(to_frame(cells), PLAIN)
    said = [note.text for note in table.notes if "by lot" in note.text]
    assert said == ["Mean over all draws of the fields by lot: Precision at K 0.47 on made."]
    (older,) = recovery_tables(to_frame([cell("alpha", dataset="made", recovery={"precision_at_k": 0.8})]), PLAIN)
    assert not any("by lot" in note.text for note in older.notes), "a record that does not hold it"
