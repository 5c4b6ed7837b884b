from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench import plugins
from bench.api import ConfigError, CTRModel, FitLog, Rows, Selection
from bench.engine.clock import Clock
from bench.run.cell import run_cell
from bench.run.context import CellContext
from bench.run.grid import choose_method
from bench.run.job import Job
from methods.autofield import TwoLogitGate

MakeJob = Callable[..., Job]


def select(job: Job) -> Selection:
    method = plugins.methods().load(job.method.name)(job.method.params, job.method.entry)
    rows = job.data.train
    train, held = rows.take(torch.arange(800)), rows.take(torch.arange(800, 960))
    found: Selection = method.select(job.context(Clock(job.device)), train, held)
    return found


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """Calls of ``fit`` by name, with the temperatures that the gate went through."""
    calls: dict[str, dict[str, Any]] = {}
    original = CellContext.fit

    def fit(ctx: Any, model: CTRModel, train: Rows, valid: Any = None, **plan: Any) -> FitLog:
        trace: list[float] = []
        move = plan.get("schedule")

        def schedule(iteration: int, planned: int) -> None:
            move(iteration, planned)
            assert isinstance(model.gate, TwoLogitGate)
            trace.append(model.gate.temperature.item())

        calls[plan["name"]] = {"model": model, "train": train, "valid": valid, "trace": trace, **plan}
        changes = {} if move is None else {"schedule": schedule}
        return original(ctx, model, train, valid, **(plan | changes))

    monkeypatch.setattr(CellContext, "fit", fit)
    return calls


def test_the_temperature_falls_while_gates_go_as_far_as_at_the_authors_scale(
    make_job: MakeJob, searches: dict[str, dict[str, Any]]
) -> None:
    # four batches of 256 from 800 rows; at the authors' scale 17,907 iterations, 1,791 of them with a gate step
    select(make_job("autofield[search_epochs=3,gate_lr=0.45]", epochs=50))  # 4 · 0.45 > 1,791 · 0.001: one epoch
    assert searches["search"]["trace"][:8] == pytest.approx([max(0.01, 1 - 0.99 * i / 4) for i in range(8)], abs=1e-6)
    assert searches["search"]["burn_in"] == 1
    select(make_job("autofield[search_epochs=3,gate_lr=0.3,temperature_end=0.5]", epochs=50))
    assert searches["search"]["trace"][:6] == pytest.approx(
        [1 - 0.5 * i / 6 for i in range(6)], abs=1e-6
    )  # 1.79 / 1.2 epochs


def test_the_temperature_comes_to_its_end_with_the_search_where_gates_are_slower(
    make_job: MakeJob, searches: dict[str, dict[str, Any]]
) -> None:
    select(make_job("autofield[search_epochs=3]", epochs=50))
    trace = searches["search"]["trace"]
    assert trace == pytest.approx([1 - 0.99 * i / 12 for i in range(len(trace))], abs=1e-6)
    assert searches["search"]["burn_in"] == 1
    select(make_job("autofield[relaxation=softmax]", epochs=3))
    assert set(searches["search"]["trace"]) == {1.0}


def test_the_search_sees_its_own_rows_and_ends_with_the_profile(
    make_job: MakeJob, searches: dict[str, dict[str, Any]]
) -> None:
    select(make_job("autofield", epochs=2))
    call = searches["search"]
    assert call["epochs"] == 2
    weights, gate = call["steps"]
    assert weights.batches is None
    assert gate.batches is call["valid"]
    assert not torch.isin(gate.batches.index, call["train"].index).any()
    assert (gate.every, gate.batch_scale) == (1, 2)  # four iterations an epoch
    assert [group.lr for group in gate.groups] == [pytest.approx(0.01)]  # ten times the profile's: the most
    select(make_job("autofield[search_epochs=1]", epochs=5))
    assert searches["search"]["epochs"] == 1


def test_the_ranking_is_the_keep_logit_over_the_drop_logit(
    make_job: MakeJob, searches: dict[str, dict[str, Any]]
) -> None:
    for relaxation in ("gumbel", "softmax"):
        selection = select(make_job(f"autofield[relaxation={relaxation}]", epochs=4))
        logits = searches["search"]["model"].gate.logits.detach()
        assert selection.scores is not None
        np.testing.assert_array_equal(selection.scores, (logits[:, 0] - logits[:, 1]).numpy())
        assert selection.notes["open_fields"] == int((logits[:, 0] > logits[:, 1]).sum())
        assert selection.start is None  # trained from scratch
        torch.testing.assert_close(logits.sum(1), torch.ones(8))  # mirror images: ranking by either is the same


@pytest.mark.parametrize("relaxation", ["gumbel", "softmax"])
def test_the_gate_of_the_field_that_is_the_label_opens_most(make_job: MakeJob, relaxation: str) -> None:
    job = make_job(f"autofield[gate_lr=0.05,relaxation={relaxation}]", epochs=8)
    rows = job.data.train
    field = 3
    assert job.data.schema.cardinalities[field] == 12
    named = replace(job.data, train=replace(rows, labels=(rows.ids[:, field] % 2).float()))
    scores = select(replace(job, data=named)).scores
    assert scores is not None
    assert scores[field] == scores.max()
    assert scores[field] > 0


@pytest.mark.parametrize("tau", [0.0, 0.25, 0.5, 0.75])
@pytest.mark.parametrize("relaxation", ["gumbel", "softmax"])
def test_cells_keep_exactly_k_fields_and_train_anew_on_all_rows(
    make_job: MakeJob, searches: dict[str, dict[str, Any]], tau: float, relaxation: str
) -> None:
    job = make_job(f"autofield[relaxation={relaxation}]", tau=tau)
    record = run_cell(job)
    assert record.status == "ok", record.traceback
    k = 8 - int(tau * 8)
    scores = np.array(record.field_scores)
    assert record.kept_fields == sorted(np.argsort(-scores, kind="stable")[:k].tolist())
    call = searches["train"]
    assert call["model"].kept == tuple(record.kept_fields)
    assert call["model"].gate is None
    assert sorted(call["train"].index.tolist()) == sorted(job.data.train.index.tolist())
    assert call["valid"] is job.data.valid
    assert record.pt_s == pytest.approx(record.phases["select"])
    assert record.phases["select/search"] <= record.pt_s
    assert record.n_rows_used == 960
    assert (record.warmup_s, record.budget) == (None, "field")


@pytest.mark.parametrize("method", ["autofield", "autofield[budget=native]"])
def test_a_finished_search_is_taken_up_again(make_job: MakeJob, tmp_path: Path, method: str) -> None:
    first, again = (run_cell(make_job(method, checkpoints=tmp_path)) for _ in range(2))
    assert (first.resumed, again.resumed) == (False, True)
    assert (first.field_scores, first.logloss) == (again.field_scores, again.logloss)


def test_by_its_own_rule_all_fields_with_the_larger_keep_logit_stay(make_job: MakeJob) -> None:
    record = run_cell(make_job("autofield[budget=native,gate_lr=0.05]", epochs=4))
    assert record.status == "ok", record.traceback
    scores = np.array(record.field_scores)
    assert record.kept_fields == np.flatnonzero(scores > 0).tolist()
    assert (record.tau, record.tie_count) == (None, None)


@pytest.mark.parametrize(
    ("fill", "kept"),
    [
        ([0.1, -0.1] * 4, [0, 2, 4, 6]),
        ([-1.0] * 5 + [-0.5] + [-2.0] * 2, [5]),
        ([0.5] * 8, list(range(8))),
        ([0.0] * 8, [0]),
    ],
)
def test_its_own_rule_keeps_one_field_at_least(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, fill: list[float], kept: list[int]
) -> None:
    monkeypatch.setattr(TwoLogitGate, "preference", lambda self: torch.tensor(fill) + 0 * self.logits[:, 0])
    record = run_cell(make_job("autofield[budget=native]", epochs=1))
    assert record.kept_fields == kept, record.traceback


def test_sel_split_valid_searches_on_the_validation_rows(
    make_job: MakeJob, searches: dict[str, dict[str, Any]]
) -> None:
    job = make_job("autofield[sel_split=valid]")
    assert run_cell(job).status == "ok"
    assert searches["search"]["valid"] is job.data.valid
    assert len(searches["search"]["train"]) == 960


def test_a_seed_repeats_and_another_one_differs(make_job: MakeJob) -> None:
    first, again, other = (run_cell(make_job("autofield", seed=seed)) for seed in (0, 0, 1))
    assert (first.field_scores, first.logloss) == (again.field_scores, again.logloss)
    assert first.field_scores != other.field_scores
    assert np.std(first.field_scores or []) > 0


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        ("relaxation=hard", "gumbel, softmax"),
        ("search_epochs=0", "[1, inf)"),
        ("update_every=0", "[1, inf)"),
        ("gate_lr=0", "(0, inf)"),
        ("temperature_end=0", "(0, 1]"),
        ("temperature_end=1.5", "(0, 1]"),
        ("budget=exact", "field, native"),
    ],
)
def test_parameters_out_of_range_are_refused(given: str, allowed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        choose_method(f"autofield[{given}]")
    assert f"autofield: {given}" in str(caught.value)
    assert allowed in str(caught.value)


def test_a_temperature_without_noise_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"temperature_end=0\.1 has no part in relaxation=softmax"):
        choose_method("autofield[relaxation=softmax,temperature_end=0.1]")
