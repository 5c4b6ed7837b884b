"""Notes that the records themselves give away: disturbed times, other machines, trainings cut short, weak selectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.records import CellRecord, to_frame
from bench.tables.model import Table, Value
from bench.tables.overall import efficiency_tables, overall_tables
from bench.tables.titles import Titles

Cell = Callable[..., CellRecord]
PLAIN = Titles()
HOST = {"cpu": "One", "cores": 2, "kernel": "6.1", "boot": "a"}
BUSY = "other processes had the cores for {}% of its computing time"


def overall(*cells: CellRecord) -> Table:
    (table,) = overall_tables(to_frame(cells), PLAIN)
    return table


def costs(*cells: CellRecord) -> Table:
    (table,) = efficiency_tables(to_frame(cells), PLAIN)
    return table


def value(table: Table, title: str, metric: str) -> Value:
    row = next(row for row in table.rows if row.title == title)
    return row.values[[m.name for _, m in table.columns].index(metric)]


def told(table: Table, word: str) -> list[str]:
    """Notes that begin with a word."""
    return [note.text for note in table.notes if note.text.startswith(word)]


def test_a_disturbed_time_is_a_dash_and_others_of_the_cell_stay(cell: Cell) -> None:
    cells = [cell(), cell("alpha", disturbed={"ct": BUSY.format(43)}), cell("beta", disturbed={"it": BUSY.format(9)})]
    table = costs(*cells)
    texts = {m: value(table, "Alpha", m).text for m in ("pt_s", "ct_s", "tt_s", "it_s")}
    assert texts == {"pt_s": "1.000", "ct_s": "—", "tt_s": "—", "it_s": "250.0"}
    assert (value(table, "Beta", "it_s").text, value(table, "Beta", "tt_s").text) == ("—", "4.000")
    wanted = f"times left out, because other work disturbed them (e.g. {BUSY.format(43)}): Alpha, Beta on clicks."
    assert told(table, "times left out, because") == [wanted]
    assert value(overall(*cells), "Alpha", "tt_ratio").text == "—"
    assert value(overall(*cells), "Beta", "tt_ratio").text == "1.0000"
    alone = f"times left out, because other work disturbed them ({BUSY.format(43)}): Alpha on clicks."
    assert told(overall(*cells), "times left out, because") == [alone]


def test_times_of_cells_side_by_side_are_named_and_make_no_ratio_with_quiet_ones(cell: Cell) -> None:
    crowded = HOST | {"cells_at_once": 2}
    cells = [cell(host=HOST), cell("alpha", host=crowded), cell("beta", host=HOST)]
    assert [value(overall(*cells), title, "tt_ratio").text for title in ("Alpha", "Beta")] == ["—", "1.0000"]
    (apart,) = told(overall(*cells), "timed under other circumstances")
    assert "(cells at a time 1 and 2)" in apart or "(cells at a time 2 and 1)" in apart
    (side,) = told(overall(*cells), "timed with up to 2 cells at a time")
    assert side.endswith("--timing measures one after another: Alpha on clicks.")
    together = [cell(host=crowded), cell("alpha", host=crowded)]
    assert value(overall(*together), "Alpha", "tt_ratio").text == "1.0000"
    assert told(overall(*together), "timed under") == []
    place = {"host": HOST, "device": None, "threads": None}
    times = {"repeats": 2, "pt_s": [1.0, 1.0], "ct_s": [3.0, 3.0], "it_s": [0.25, 0.25], "disturbed": [{}, {}]}
    quiet = [cell(host=crowded, timing=times | place | {"differs": None}) for _ in range(1)]
    assert told(overall(*quiet), "timed with") == []


def test_one_disturbed_seed_of_two_leaves_the_other_and_is_named(cell: Cell) -> None:
    cells = [
        cell(seed=0),
        cell(seed=1),
        cell("alpha", seed=0),
        cell("alpha", seed=1, disturbed={"pt": BUSY.format(50)}),
    ]
    table = overall(*cells)
    ratio = value(table, "Alpha", "tt_ratio")
    assert (ratio.text, ratio.flags, ratio.mark) == ("1.0000", ("†",), "")
    assert told(table, "times left out, because")[0].endswith(": Alpha (seed 1) on clicks.")
    assert value(table, "Alpha", "auc").flags == ()


@pytest.mark.parametrize(
    ("changes", "differ"),
    [
        ({"threads": 1}, "threads 1 and 2"),
        ({"host": HOST | {"cpu": "Two"}}, "processor Two and One"),
        ({"host": HOST | {"boot": "b"}}, "another machine, or before and after a restart"),
        ({"host": HOST | {"cpu": "Two", "boot": "b"}, "threads": 1}, "processor Two and One, threads 1 and 2"),
    ],
)
def test_times_of_other_machines_or_threads_make_no_ratio_and_are_not_ranked(
    cell: Cell, changes: dict[str, Any], differ: str
) -> None:
    here = {"host": HOST, "threads": 2, "device": "cpu"}
    cells = [cell(**here), cell("alpha", tt_s=1.0, **here | changes), cell("beta", tt_s=2.0, **here)]
    table = overall(*cells)
    assert [value(table, title, "tt_ratio").text for title in ("Keep-All", "Alpha", "Beta")] == [
        "1.0000",
        "—",
        "0.5000",
    ]
    assert told(table, "timed under other") == [
        f"timed under other circumstances ({differ}), so that times make no ratio and are not ranked: Alpha on clicks."
    ]
    table = costs(*cells)
    assert (value(table, "Alpha", "tt_s").text, value(table, "Alpha", "tt_s").mark) == ("1.000", "")
    assert value(table, "Beta", "tt_s").mark == "best"
    assert value(overall(*cells), "Alpha", "auc").rankable


def test_records_without_machine_compare_equal_among_themselves_and_not_with_newer_ones(cell: Cell) -> None:
    old = {"cpu": "One", "cores": 2}
    table = overall(cell(host=old), cell("alpha", host=old), cell("beta", host=HOST))
    assert [value(table, title, "tt_ratio").text for title in ("Alpha", "Beta")] == ["1.0000", "—"]


def test_a_training_that_ends_at_the_last_epoch_allowed_is_named(cell: Cell) -> None:
    profile = {"name": "small", "max_epochs": 10}
    best = {"keep-all": (4.0, 10.0), "alpha": (10.0, 10.0), "beta": (9.5, None)}
    cells = [
        cell(method, seed, profile=profile, best_epoch=epoch)
        for method, epochs in best.items()
        for seed, epoch in enumerate(epochs)
    ]
    assert told(overall(*cells), "the best epoch") == [
        "the best epoch was the last allowed, 10, so that longer training may be better: "
        "Keep-All (seed 1), Alpha on clicks."
    ]


@pytest.mark.parametrize(("best", "auc", "named"), [(3.0, 0.77, True), (2.9, 0.77, False), (9.0, 0.70, False)])
def test_a_rival_that_trained_three_times_as_long_for_its_gain_is_named(
    cell: Cell, best: float, auc: float, named: bool
) -> None:
    table = overall(cell(best_epoch=1.0), cell("alpha", best_epoch=best, auc=auc), cell("beta"))
    wanted = "Alpha on clicks (best epoch 3, 1 without selection)."
    assert [text.rpartition(": ")[2] for text in told(table, "higher AUC")] == [wanted] * named


def test_a_selector_under_a_control_is_named_with_the_control(cell: Cell) -> None:
    cells = [cell(auc=0.60), cell("coin", auc=0.70, family="control"), cell("alpha", auc=0.69), cell("beta", auc=0.71)]
    wanted = ["AUC under that of a control, which looks at no click: Alpha on clicks (under Coin)."]
    assert told(overall(*cells), "AUC under") == wanted
    older = [*cells[:1], cell("coin", auc=0.70), *cells[2:]]
    assert told(overall(*older), "AUC under") == []
    (table,) = overall_tables(to_frame(older), Titles(families={"coin": "control"}))
    assert told(table, "AUC under") == wanted


def test_a_control_is_compared_over_the_seeds_that_both_have(cell: Cell) -> None:
    coins = [cell("coin", seed, auc=auc, family="control") for seed, auc in ((0, 0.70), (1, 0.50))]
    assert told(overall(*coins, cell("alpha", 0, auc=0.65)), "AUC under"), "0.65 < 0.70 at the seed of both"
    assert not told(overall(*coins, cell("alpha", 0, auc=0.65), cell("alpha", 1, auc=0.60)), "AUC under")


@pytest.mark.parametrize(("positives", "said"), [(9, None), (10, "10 positives"), (99, "99 positives"), (100, None)])
def test_few_positives_are_told_where_no_flag_does(cell: Cell, positives: int, said: str | None) -> None:
    sizes = {
        "split_rows": {"train": 8000, "valid": 1000, "test": 1000},
        "positives": {"train": 800, "valid": 100, "test": positives},
    }
    table = overall(cell(**sizes), cell("alpha", **sizes))
    assert [text.rpartition(": ")[2] for text in told(table, "fewer than 100")] == (
        [f"clicks ({said})."] if said else []
    )
    assert bool(told(table, "SCARCE-CLASS")) is (positives < 10)


def test_epochs_that_take_seeds_very_different_times_are_told(cell: Cell) -> None:
    cells = [cell(seed=seed, ct_epoch_s=s) for seed, s in enumerate([1.0, 1.9])]
    cells += [cell("alpha", seed=seed, ct_epoch_s=s) for seed, s in enumerate([25.7, 1.17])]
    cells += [cell("beta", seed=seed, ct_epoch_s=s) for seed, s in enumerate([0.001, 0.02])]
    wanted = "Alpha on clicks (25.7 s with seed 0, 1.17 s with seed 1)."
    assert [text.rpartition(": ")[2] for text in told(costs(*cells), "an epoch took")] == [wanted]


def test_many_unsteady_rows_are_counted_and_the_worst_is_shown(cell: Cell) -> None:
    cells = [cell(seed=seed, ct_epoch_s=s) for seed, s in enumerate([1.0, 2.5])]
    cells += [cell("alpha", seed=seed, ct_epoch_s=s) for seed, s in enumerate([1.0, 3.0])]
    (note,) = told(costs(*cells), "an epoch took")
    assert note.endswith(": 2 rows, most of all Alpha, on clicks (3 s with seed 1, 1 s with seed 0).")


def test_selectors_under_the_same_control_are_named_together(cell: Cell) -> None:
    cells = [cell(), cell("coin", auc=0.70, family="control"), cell("alpha", auc=0.69), cell("beta", auc=0.68)]
    (note,) = told(overall(*cells), "AUC under")
    assert note.endswith(": Alpha, Beta on clicks (under Coin).")


def test_times_under_a_millisecond_are_zero_and_never_best(cell: Cell) -> None:
    times = {"keep-all": 4e-6, "coin": 9e-4, "alpha": 0.25, "beta": 0.5}
    table = costs(*(cell(method, pt_s=pt) for method, pt in times.items()))
    found = {row.title: value(table, row.title, "pt_s") for row in table.rows}
    assert [v.text for v in found.values()] == ["0", "0", "0.2500", "0.5000"]
    assert [v.mark for v in found.values()] == ["", "", "best", "second"]
    both = costs(*(cell(method, seed, pt_s=4e-6 * (1 + seed)) for method in ("keep-all", "coin") for seed in (0, 1)))
    assert value(both, "Coin", "pt_s").sd_text == ""


def test_a_column_of_equal_numbers_marks_nobody(cell: Cell) -> None:
    table = overall(cell(auc=0.7), cell("alpha", auc=0.70004), cell("beta", auc=0.7))
    assert {value(table, title, "auc").mark for title in ("Keep-All", "Alpha", "Beta")} == {""}


def test_a_cell_that_was_resumed_elsewhere_is_named_beside_its_auc(cell: Cell) -> None:
    table = overall(cell(), cell("alpha", resumed=True, notes={"begun_elsewhere": ["threads 2 and 1"]}))
    assert [text.rpartition(": ")[2] for text in told(table, "resumed on another")] == ["Alpha on clicks."]


def test_gates_that_have_hardly_moved_are_named_with_their_steps(cell: Cell) -> None:
    moved = {"steps": 12, "every": 1, "lr": 0.01}
    cells = [
        cell(),
        cell("alpha", seed=0, gates={**moved, "travel": 0.1}),
        cell("alpha", seed=1, gates={**moved, "steps": 15, "travel": 0.3}),
        cell("beta", gates={**moved, "travel": 0.25}),
    ]
    wanted = (
        "gates or controllers hardly trained, so that the row says little of the method: Alpha on clicks (14 steps)."
    )
    assert told(overall(*cells), "gates or controllers") == [wanted]
    assert not told(overall(cell(), cells[3]), "gates or controllers")


def test_gates_that_saw_a_subset_of_the_rows_are_named_with_its_size(cell: Cell) -> None:
    few = {"steps": 120, "every": 1, "lr": 0.1, "travel": 2.0, "rows": 1648}
    wanted = "gates were trained on a subset of the training rows: Alpha on clicks (1,648 rows, 120 steps)."
    assert told(overall(cell(), cell("alpha", gates=few)), "gates were trained") == [wanted]
