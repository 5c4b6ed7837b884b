"""A ranking of equal scores is no ranking; ties across the cut and a scarce class in the test rows are flagged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from bench import plugins
from bench.api import Method, Rows, Selection
from bench.engine import disturbance
from bench.engine.disturbance import Reading
from bench.records import CellRecord
from bench.run.cell import run_cell
from bench.run.job import Job
from bench.run.selections import SelectionStore
from bench.run.trial import run_trial
from bench.run.tuning import Asked

MakeJob = Callable[..., Job]
Ranked = Callable[..., Job]


class Given(Method[Any]):
    """Returns the scores that a test gives."""

    scores: ClassVar[list[float]] = []
    hint: ClassVar[str | None] = None
    calls: ClassVar[list[int]] = []

    def select(self, ctx: Any, train: Rows, selection_rows: Rows) -> Selection:
        self.calls.append(ctx.seed)
        return Selection(scores=np.array(self.scores), hint=self.hint)


@pytest.fixture
def ranked(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> Ranked:
    """A cell of eight fields with these scores: ``ranked([1.0] * 8, tau=0.5)``."""

    def make(scores: list[float], budget: str = "field", hint: str | None = None, **cell: Any) -> Job:
        monkeypatch.setattr(plugins.methods(), "load", lambda name: Given)
        for name, value in {"scores": scores, "hint": hint, "calls": []}.items():
            monkeypatch.setattr(Given, name, value)
        job = make_job("cardinality", epochs=1, **cell)
        return replace(job, method=replace(job.method, params=None, budget=budget))

    return make


@pytest.mark.parametrize("score", [0.0, 1.0, -3.5])
def test_a_ranking_of_equal_scores_gives_no_number(ranked: Ranked, score: float) -> None:
    record = run_cell(ranked([score] * 8))
    assert (record.status, record.traceback) == ("skipped", None)
    assert record.reason == (
        "no ranking, all 8 fields have the same score: more rows or other parameters may tell them apart"
    )
    assert (record.auc, record.kept_fields, record.tie_count) == (None, None, None)


def test_the_method_says_why_and_what_would_help(ranked: Ranked) -> None:
    record = run_cell(ranked([0.0] * 8, hint="there was nothing to see; look again"))
    assert record.reason == "no ranking, all 8 fields have the same score: there was nothing to see; look again"


def test_a_ranking_that_is_kept_for_other_cells_keeps_why(ranked: Ranked, tmp_path: Path) -> None:
    store = SelectionStore(tmp_path)
    records = [run_cell(ranked([0.0] * 8, hint="nothing to see", tau=tau, shared=store)) for tau in (0.5, 0.25)]
    assert len(list(tmp_path.iterdir())) == 1
    assert Given.calls == []  # of the second: it read what the first had written
    assert [record.status for record in records] == ["skipped"] * 2
    assert {record.reason for record in records} == {"no ranking, all 8 fields have the same score: nothing to see"}


BUSY = (Reading({"1": 0.0}, 0.0, 0.0, 0.0), Reading({"1": 1.0}, 1.0, 2.0, 0.0))
"""A phase of which another process took half."""


def test_a_record_says_which_of_its_times_are_disturbed_and_a_shared_ranking_takes_that_along(
    ranked: Ranked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SelectionStore(tmp_path)
    half = "other processes had the cores for 50% of its computing time"
    monkeypatch.setattr(disturbance, "reading", lambda: BUSY[0])
    assert run_cell(ranked(list(range(8)))).disturbed == {}
    quiet = (BUSY[0], BUSY[0])
    readings = iter([*quiet, *BUSY, *quiet, *BUSY])  # warm-up, select, train, evaluate
    monkeypatch.setattr("bench.run.cell._warm_up", lambda job: None)
    monkeypatch.setattr(disturbance, "reading", lambda: next(readings))
    first = run_cell(ranked(list(range(8)), shared=store))
    assert first.disturbed == {"pt": half, "it": half}
    monkeypatch.setattr(disturbance, "reading", lambda: BUSY[0])
    second = run_cell(ranked(list(range(8)), tau=0.25, shared=store))
    assert Given.calls == []
    assert second.disturbed == {"pt": half}
    assert "disturbed" not in first.notes and "disturbed" not in second.notes


def test_a_selection_has_the_threads_of_the_run_and_no_more(ranked: Ranked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of NumPy's BLAS and scikit-learn's OpenMP, which take every core by themselves."""
    seen: dict[str, int] = {}

    def select(self: Given, ctx: Any, train: Rows, selection_rows: Rows) -> Selection:
        seen.update({f"{one['user_api']} {one['filepath']}": one["num_threads"] for one in threadpool_info()})
        return Selection(scores=np.arange(8.0))

    job = ranked(list(range(8)))
    monkeypatch.setattr(Given, "select", select)
    with threadpool_limits(limits=3):
        torch.set_num_threads(2)
        try:
            assert run_cell(job).status == "ok"
        finally:
            torch.set_num_threads(1)
        after = [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]
    assert {name.split()[0] for name in seen} >= {"blas", "openmp"}
    assert set(seen.values()) == {2}
    assert set(after) == {3}, "what the caller had is given back"


def test_equal_scores_do_no_harm_where_nothing_is_cut(ranked: Ranked) -> None:
    everything = list(range(8))
    uncut = run_cell(ranked([1.0] * 8, tau=0.0))
    assert (uncut.status, uncut.kept_fields, uncut.tie_count) == ("ok", everything, 0), uncut.reason
    native = run_cell(ranked([1.0] * 8, budget="native"))
    assert (native.status, native.kept_fields, native.tie_count) == ("ok", everything, None), native.reason
    assert not any("TIES" in record.notes.get("flags", []) for record in (uncut, native))


def test_a_trial_of_equal_scores_is_skipped_as_its_cells_are(ranked: Ranked) -> None:
    trial = run_trial(ranked([1.0] * 8), Asked({"lr": 1e-3}))
    assert (trial.status, trial.valid_auc) == ("skipped", None)
    assert "no ranking" in str(trial.reason)


@pytest.mark.parametrize(
    ("scores", "kept", "ties"),
    [
        ([0, 0, 0, 0, 0, 0, 0, 9], [0, 1, 2, 7], 7),
        ([5, 4, 3, 2, 2, 1, 0, 0], [0, 1, 2, 3], 2),
        ([5, 4, 3, 2, 1, 1, 1, 1], [0, 1, 2, 3], 0),
        ([5, 5, 5, 5, 1, 1, 1, 1], [0, 1, 2, 3], 0),
    ],
)
def test_ties_across_the_cut_are_flagged(ranked: Ranked, scores: list[float], kept: list[int], ties: int) -> None:
    record = run_cell(ranked(scores))
    assert (record.status, record.kept_fields, record.tie_count) == ("ok", kept, ties), record.reason
    assert ("TIES" in record.notes.get("flags", [])) is bool(ties)


def with_positives(job: Job, positives: int) -> Job:
    """The job with that many of its 120 test rows positive."""
    labels = (torch.arange(len(job.data.test)) < positives).float()
    test = replace(job.data.test, labels=labels)
    return replace(job, data=replace(job.data, test=test, positives=job.data.positives | {"test": positives}))


@pytest.mark.parametrize(
    ("positives", "flagged"), [(1, True), (9, True), (10, False), (110, False), (111, True), (119, True)]
)
def test_a_test_split_of_few_rows_of_one_class_is_flagged(make_job: MakeJob, positives: int, flagged: bool) -> None:
    record: CellRecord = run_cell(with_positives(make_job("no-selection", epochs=1), positives))
    assert record.status == "ok", record.reason
    assert ("SCARCE-CLASS" in record.notes.get("flags", [])) is flagged


@pytest.mark.parametrize(
    ("text", "shared"), [("cardinality", True), ("stg[penalty=0.1]", True), ("stg[penalty=0.1,budget=native]", False)]
)
def test_a_choice_of_a_method_s_own_serves_its_cell_alone(
    text: str, shared: bool, make_job: MakeJob, tmp_path: Path
) -> None:
    store = SelectionStore(tmp_path)
    record = run_cell(make_job(text, epochs=1, shared=store))
    assert (record.status, record.pt_shared) == ("ok", shared), record.reason
    assert len(list(tmp_path.iterdir())) == int(shared)
