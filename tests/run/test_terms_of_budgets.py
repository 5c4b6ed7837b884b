"""Locked fields, groups and costs in cells and runs: what the harness makes of scores, identities and records."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from cell_records import Watcher

from bench import plugins
from bench.api import Rows, Selection
from bench.budget import Budgeted, Terms
from bench.data.prepare.prepare import prepare
from bench.data.store.store import store_folder
from bench.datasets import resolve_dataset
from bench.errors import ConfigError
from bench.method import Method
from bench.records import CellRecord, RunFolder
from bench.run.cell import run_cell
from bench.run.config import RunConfig, to_toml
from bench.run.job import Job
from bench.run.selections import FIELD_TERMS, ranking_key
from bench.run.session import resolve
from bench.run.sweep import run

MakeJob = Callable[..., Job]
TERMS = Terms((7,), {"pair": (0, 5)}, {1: 4.0})
"""Of eight fields; all costs together are 11."""


class Says(Method[Any]):
    """Returns what a test puts here."""

    selection: ClassVar[Selection]

    def select(self, ctx: Any, train: Rows, selection_rows: Rows) -> Selection:
        return replace(self.selection)


@pytest.fixture
def says(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> Callable[..., CellRecord]:
    """The record of a cell whose method returns a selection; by default on the terms above."""
    monkeypatch.setattr(plugins.methods(), "load", lambda name: Says)

    def record(
        by: Budgeted = "count", terms: Terms = TERMS, tau: float = 0.5, budget: str = "field", **said: Any
    ) -> CellRecord:
        monkeypatch.setattr(Says, "selection", Selection(**said), raising=False)
        return run_cell(on(make_job("random-k", tau=tau, epochs=1), terms, by, budget))

    return record


def on(job: Job, terms: Terms, by: Budgeted = "count", budget: str = "field") -> Job:
    method = replace(job.method, params=None, budget=budget, budget_by=by)
    return replace(job, data=replace(job.data, field_terms=terms), method=method)


FALLING = np.arange(8, 0, -1.0)


@pytest.mark.parametrize(
    ("by", "tau", "kept"),
    [
        ("count", 0.5, [0, 1, 5, 7]),  # 4 fields: 7 is locked, the pair has the highest score, then 1
        ("count", 0.75, [1, 7]),  # 2 fields: no place for the pair
        ("groups", 0.5, [0, 1, 2, 5, 7]),  # 7 units: 4 stay
        ("cost", 0.5, [0, 2, 3, 5, 7]),  # 5.5 of 11: 7, the pair, not 1 at 4, then 2 and 3
    ],
)
def test_scores_are_cut_to_the_budget_on_the_card_s_terms(
    says: Callable[..., CellRecord], by: Budgeted, tau: float, kept: list[int]
) -> None:
    found = says(by, tau=tau, scores=FALLING)
    assert (found.status, found.kept_fields) == ("ok", kept), found.traceback
    assert found.budget == ("field" if by == "count" else by)
    names = found.field_names
    assert found.field_terms == TERMS.described(names)
    assert found.embedding_rows is not None and found.tau == tau


def test_bytes_count_rows_of_tables(says: Callable[..., CellRecord], make_job: MakeJob) -> None:
    rows = make_job("random-k").data.schema.cardinalities
    largest = int(rows.argmax())
    assert rows[largest] > rows.sum() / 2, "else the test says nothing"
    found = says("bytes", Terms(), scores=np.eye(8)[largest])
    assert found.kept_fields == [place for place in range(8) if place != largest]
    assert found.embedding_rows == rows.sum() - rows[largest] <= rows.sum() / 2


def test_a_method_s_own_choice_within_a_budget_is_a_ranking(says: Callable[..., CellRecord]) -> None:
    found = says(kept=[1, 2, 3, 4])
    # 4 fields: 7 is locked; then those chosen, by their order as there are no scores
    assert (found.status, found.kept_fields) == ("ok", [1, 2, 3, 7]), found.traceback
    assert found.notes["own_choice"] == [found.field_names[place] for place in (1, 2, 3, 4)]
    scored = says(kept=[1, 2, 3, 4], scores=np.arange(8.0))
    assert scored.kept_fields == [2, 3, 4, 7]
    plain = says(kept=[1, 2, 3, 4], terms=Terms())
    assert (plain.kept_fields, plain.notes.get("own_choice")) == ([1, 2, 3, 4], None)


def test_a_method_s_own_number_of_fields_takes_in_locked_ones_and_whole_groups(
    says: Callable[..., CellRecord],
) -> None:
    found = says(budget="native", kept=[2, 5])
    assert (found.status, found.kept_fields) == ("ok", [0, 2, 5, 7]), found.traceback
    assert found.notes["own_choice"] == [found.field_names[place] for place in (2, 5)]
    assert "own_choice" not in says(budget="native", kept=[0, 5, 7]).notes


def test_what_cannot_be_kept_is_skipped_before_anything_is_searched(says: Callable[..., CellRecord]) -> None:
    every = Terms(tuple(range(6)))
    found = says(terms=every, scores=None)
    names = ", ".join(found.field_names[:3] or [])
    assert found.status == "skipped"
    assert found.reason is not None and found.reason.startswith("prune ratio 0.5 leaves 4 of 8 fields, and the fields")
    assert "and 3 more) take 6: lower the prune ratio, or take keep = true off some" in found.reason, names
    assert says(terms=every, tau=0.25, scores=FALLING).kept_fields == list(range(6))


def test_equal_scores_of_all_that_may_go_are_no_ranking(says: Callable[..., CellRecord]) -> None:
    found = says(scores=np.array([1, 1, 1, 1, 1, 1, 1, 9.0]))
    assert (found.status, found.reason) == (
        "skipped",
        "no ranking, all 7 fields that may go have the same score: more rows or other parameters may tell them apart",
    )


def test_an_identity_holds_what_decided_and_nothing_else(make_job: MakeJob) -> None:
    ranked, baseline = make_job("random-k"), make_job("no-selection")
    assert FIELD_TERMS not in ranked.identity
    names = ranked.data.names
    said = {"locked": [names[7]], "groups": {"pair": [names[0], names[5]]}}
    assert on(ranked, TERMS).identity[FIELD_TERMS] == said
    costs = {"costs": {names[1]: 4.0}}
    assert on(ranked, TERMS, "cost").identity[FIELD_TERMS] == said | costs | {"by": "cost"}
    assert on(ranked, Terms(), "bytes").identity[FIELD_TERMS] == {"by": "bytes"}
    assert on(ranked, Terms((), {}, TERMS.costs)).hash == on(ranked, Terms()).hash, "costs do not decide by count"
    assert on(baseline, TERMS, "cost", "native").hash == on(baseline, Terms(), "count", "native").hash


def test_a_ranking_serves_every_budget_unless_the_prune_ratio_changes_it(make_job: MakeJob) -> None:
    def key(label: str, *how: Any) -> str | None:
        job = make_job(label)
        method = replace(job.method, budget_by=how[1])
        job = replace(job, data=replace(job.data, field_terms=how[0]), method=method)
        return ranking_key(method, job.identity)

    assert key("random-k", TERMS, "cost") == key("random-k", Terms(), "count") is not None
    assert key("random-k[carry_over=true]", TERMS, "cost") is None


CARD = """name = "mine"
generator = "bench.datasets.planted:generate"
[params]
rows = 600
fields = 6
main = 2
interaction = 0
redundant = 0
seed = 0
[fields]
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(f"{CARD}f00 = {{ cost = 2 }}\n")
    card = resolve_dataset("mine.toml")
    prepare(card, None, store_folder(tmp_path / "data", card))
    return RunConfig(
        datasets=("mine.toml",),
        methods=("no-selection", "cardinality"),
        backbones=("logistic",),
        set=("l2=1e-2",),
        epochs=1,
        out=tmp_path / "run",
        data_dir=tmp_path / "data",
    )


def test_a_run_by_cost_shares_what_it_can_and_takes_new_terms_of_the_card(config: RunConfig) -> None:
    by_count = run(resolve(config), Watcher())
    assert [record.status for record in by_count] == ["ok", "ok"]
    Path("mine.toml").write_text(f"{CARD}f00 = {{ cost = 3 }}\nf05 = {{ cost = 2 }}\n")
    watcher = Watcher()
    again = run(resolve(config), watcher)
    assert (watcher.planned, watcher.started) == ((2, 2), []), "costs do not decide by count"
    assert [record.field_terms for record in again] == [{"costs": {"f00": 3.0, "f05": 2.0}}] * 2
    assert RunFolder(config.out).read(again[1].config_hash) == again[1]
    watcher = Watcher()
    by_cost = run(resolve(replace(config, budget_by="cost")), watcher)
    assert (watcher.planned, len(watcher.started)) == ((2, 1), 1), "the baseline is there"
    kept = by_cost[1].kept_fields
    assert kept is not None
    cost = {0: 3.0, 5: 2.0}
    assert sum(cost.get(place, 1.0) for place in kept) <= 4.5
    assert by_cost[1].config_hash != by_count[1].config_hash
    assert len(list((config.out / "selections").iterdir())) == 1


def test_run_toml_names_what_is_budgeted_only_where_it_is_not_the_count(config: RunConfig) -> None:
    assert "budget_by" not in tomllib.loads(to_toml(config, "made by a test"))
    assert tomllib.loads(to_toml(replace(config, budget_by="bytes"), "made by a test"))["budget_by"] == "bytes"


def test_a_budget_of_what_no_card_names_is_refused(config: RunConfig) -> None:
    with pytest.raises(ConfigError, match="--budget-by groups: the card of 'mine' gives no field a group; add"):
        resolve(replace(config, budget_by="groups"))
    resolve(replace(config, budget_by="cost"))
