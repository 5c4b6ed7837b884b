"""``bench report A B``: the tables of several folders, times within equal machines only, and nothing in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from folders_of_runs import cell, change, tree

Bench = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("runs")


def test_the_rows_of_both_folders_are_in_one_table_and_nothing_is_written(bench: Bench) -> None:
    before = tree("a"), tree("b")
    done = bench("report", "a", "b")
    assert done.code == 0, done.err
    for name, label in (("a", "no-selection"), ("a", "random-k"), ("b", "cardinality")):
        assert f"{json.loads(cell(name, label).read_text())['auc']:.4f}" in done.out
    assert "nothing was written: --to FOLDER writes" in done.out
    assert (tree("a"), tree("b")) == before
    assert sorted(path.name for path in Path().iterdir()) == ["a", "b"]


def test_the_report_of_several_folders_is_that_of_their_merge(bench: Bench) -> None:
    assert bench("report", "a", "b", "--to", "c").code == 0
    assert bench("report", "a", "b", "--to", "c").code == 0  # in the place of the first
    assert bench("merge", "a", "b", "--to", "d").code == 0
    merged = {name: data for name, data in tree("d").items() if name.startswith("tables/") or name == "report.html"}
    assert tree("c") == merged
    assert "tables/difference.csv" in merged


def test_times_of_another_machine_make_no_ratio_and_the_note_says_so(bench: Bench) -> None:
    change(cell("b", "cardinality"), host={"system": "Linux", "cpu": "another"})
    assert bench("report", "a", "b", "--to", "c").code == 0
    text = Path("c", "tables", "overall.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith("| Cardinality"))
    assert row.split("|")[4].strip() == "—"
    assert "timed under other circumstances (processor another and " in text
    assert "Random K" not in text.split("timed under other circumstances")[1].splitlines()[0]


def test_other_revisions_of_data_stand_apart_and_other_protocols_do_not_stand_at_all(bench: Bench) -> None:
    change(cell("b", "cardinality"), dataset_revision="9")
    apart = bench("report", "a", "b")
    assert apart.code == 0 and "revision 9" in apart.out and "revision 1" in apart.out
    change(cell("b", "cardinality"), protocol=2)
    refused = bench("report", "a", "b")
    assert refused.code == 2 and "protocol 1 in a, 2 in b" in refused.err


def test_a_report_goes_nowhere_where_other_things_are(bench: Bench) -> None:
    before = tree("a")
    done = bench("report", "a", "b", "--to", "a")
    assert done.code == 2 and "to=a holds other things than a report" in done.err
    assert tree("a") == before
    alone = bench("report", "a", "--to", "c")
    assert alone.code == 2 and "--to is for several folders, and a is the only one" in alone.err
    assert bench("report").code == 2
