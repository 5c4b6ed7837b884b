"""``bench merge``: one folder of several, whole or not at all, and only of what goes together."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from folders_of_runs import cell, change, tree

from bench.lease import Leases
from bench.report import build

Bench = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("runs")


def test_a_merge_has_every_cell_once_and_the_grid_of_both(bench: Bench) -> None:
    before = tree("a"), tree("b")
    done = bench("merge", "a", "b", "--to", "c")
    assert done.code == 0, done.err
    assert "3 cells: 2 from a, 1 from b; 1 record more of the same cells" in done.out
    assert (tree("a"), tree("b")) == before
    assert Path("c", "report.html").is_file() and Path("c", "tables", "difference.csv").is_file()
    for name, label in (("a", "no-selection"), ("a", "random-k"), ("b", "cardinality")):
        record = cell(name, label)
        assert cell("c", label).read_bytes() == record.read_bytes()
        assert Path("c", "predictions", f"{record.stem}.npy").is_file()
    settings = tomllib.loads(Path("c", "run.toml").read_text())
    assert settings["methods"] == ["no-selection", "random-k", "cardinality"]
    again = bench("run", "--config", "c/run.toml")
    assert again.code == 0, again.err
    assert "3 cells, 3 done before, 0 to run" in again.err
    assert bench("verify", "c").code == 0


def test_the_same_merge_again_writes_nothing_and_another_one_is_refused(bench: Bench) -> None:
    assert bench("merge", "a", "b", "--to", "c").code == 0
    Path("c", "report.html").write_text("mine")
    before = tree("c")
    again = bench("merge", "a", "b", "--to", "c")
    assert (again.code, again.out) == (0, "c is this merge already; nothing was written\n")
    assert tree("c") == before
    change(cell("b", "cardinality"), auc=0.6)
    assert "to=. is there already" in bench("merge", "a", "b", "--to", ".").err
    other = bench("merge", "a", "b", "--to", "c")
    assert other.code == 2
    assert "to=c is there already, and is not this merge" in other.err
    assert tree("c") == before
    assert sorted(path.name for path in Path().iterdir()) == ["a", "b", "c"]


def test_of_equal_cells_the_undisturbed_one_is_taken(bench: Bench) -> None:
    change(cell("a", "random-k"), disturbed={"ct": "other processes had the cores for 50% of its computing time"})
    change(cell("b", "random-k"), ct_s=7.0, host={"cpu": "another"}, recorded="2020-01-01")
    assert bench("merge", "a", "b", "--to", "c").code == 0
    assert json.loads(cell("c", "random-k").read_text())["ct_s"] == 7.0


def test_a_cell_that_failed_elsewhere_disagrees_with_nothing(bench: Bench) -> None:
    change(cell("a", "random-k"), status="oom", reason="memory ran out", auc=None, predictions=None)
    done = bench("merge", "a", "b", "--to", "c")
    assert done.code == 0, done.err
    assert json.loads(cell("c", "random-k").read_text())["status"] == "ok"


def test_cells_that_disagree_are_named_and_one_folder_may_be_preferred(bench: Bench) -> None:
    record = change(cell("b", "random-k"), auc=0.123)
    done = bench("merge", "a", "b", "--to", "c")
    assert done.code == 2
    mine = json.loads(cell("a", "random-k").read_text())
    assert f"{record['dataset']} dnn[mlp=8] random-k τ=0.5 seed 0: auc {str(mine['auc'])[:12]} and 0.123" in done.err
    assert "(a and b)" in done.err and "--prefer a or b" in done.err
    assert sorted(path.name for path in Path().iterdir()) == ["a", "b"]
    assert bench("merge", "a", "b", "--to", "c", "--prefer", "b").code == 0
    assert json.loads(cell("c", "random-k").read_text())["auc"] == 0.123
    strange = bench("merge", "a", "b", "--to", "d", "--prefer", "c")
    assert strange.code == 2 and "prefer=c is none of the folders; name one of a, b" in strange.err


@pytest.mark.parametrize(
    ("label", "changes", "says"),
    [
        ("cardinality", {"protocol": 2}, "protocol 1 in a, 2 in b: cells were measured by different rules"),
        ("cardinality", {"dataset_revision": "9"}, "revision 1 in a, 9 in b. Prepare it from the same files"),
        ("random-k", {"git": "0123456789abcdef"}, "in a; 0123456789ab in b. Compute them with one version, or say"),
        (
            "random-k",
            {"plugins": {"method": {"file": "x.py", "sha256": "f" * 64}}},
            f"in a; x.py {'f' * 7}",
        ),
    ],
    ids=["protocol", "data", "commit", "plug-in"],
)
def test_what_does_not_go_together_is_named(bench: Bench, label: str, changes: dict[str, Any], says: str) -> None:
    change(cell("b", label), **changes)
    done = bench("merge", "a", "b", "--to", "c")
    assert done.code == 2
    assert says in done.err
    assert not Path("c").exists()


def test_cells_of_several_commits_are_taken_where_that_is_asked_for(bench: Bench) -> None:
    change(cell("b", "random-k"), git="0123456789abcdef")
    assert bench("merge", "a", "b", "--to", "c", "--mixed-code").code == 0


def test_folders_of_other_settings_are_refused_by_name(bench: Bench) -> None:
    file = Path("b", "run.toml")
    file.write_text(file.read_text() + "rows = 1000\n")
    done = bench("merge", "a", "b", "--to", "c")
    assert done.code == 2
    assert "rows: none in a, 1000 in b, by run.toml" in done.err
    assert not Path("c").exists()


def test_a_folder_with_a_run_at_work_is_refused(bench: Bench) -> None:
    with Leases() as leases, leases.take(Path("b", "cells", "x.lease")):  # type: ignore[union-attr]
        done = bench("merge", "a", "b", "--to", "c")
        assert done.code == 2
        assert "b: a run is at work there" in done.err and "cells/x.lease" in done.err
    assert bench("merge", "a", "b", "--to", "c").code == 0


def test_a_merge_that_is_ended_leaves_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def ends(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "build_report", ends)
    assert bench("merge", "a", "b", "--to", "c").code == 130
    assert sorted(path.name for path in Path().iterdir()) == ["a", "b"]


def test_damaged_predictions_are_not_merged(bench: Bench) -> None:
    file = Path("a", "predictions", f"{cell('a', 'no-selection').stem}.npy")
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    done = bench("merge", "a", "b", "--to", "c")
    assert done.code == 2
    assert "was changed or damaged: its checksum is not the one in the cell's record" in done.err
    assert not Path("c").exists()


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("a",), "one folder is named"),
        (("a", "./a"), "a and a are one folder"),
        (("a", "nothing"), "nothing is no run folder: it does not exist"),
    ],
)
def test_other_folders_than_runs_are_refused(bench: Bench, argv: tuple[str, ...], says: str) -> None:
    done = bench("merge", *argv, "--to", "c")
    assert done.code == 2
    assert says in done.err


def test_what_the_folders_share_is_taken_from_the_first_and_said_where_it_differs(bench: Bench) -> None:
    for name, scores in (("a", [1.0, 2.0]), ("b", [1.0, 3.0])):
        Path(name, "selections").mkdir(exist_ok=True)
        Path(name, "selections", "0123.json").write_text(json.dumps({"scores": scores, "pt_s": 1.0}))
        Path(name, "selections", "4567.json").write_text(json.dumps({"scores": [1.0], "pt_s": scores[1]}))
    done = bench("merge", "a", "b", "--to", "c")
    assert done.code == 0
    assert done.err == "selections/0123: not the same in a, which is taken, and in b\n"
    assert json.loads(Path("c", "selections", "0123.json").read_text())["scores"] == [1.0, 2.0]
