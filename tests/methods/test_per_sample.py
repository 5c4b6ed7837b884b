"""AdaFS and MvFS as methods: phases, rows, scores, cells; their equations are tested with the gates."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench import plugins
from bench.api import ConfigError, CTRModel, FitLog, Rows, Trained
from bench.engine.clock import Clock
from bench.engine.evaluate import predict
from bench.run.cell import run_cell
from bench.run.context import CellContext
from bench.run.grid import cells, choose_method
from bench.run.job import Job
from methods.adafs import ControllerGate
from methods.mvfs import ViewsGate
from methods.parts.per_sample import PerSampleGate, PerSampleMethod, mean_gate, moved_places

MakeJob = Callable[..., Job]

SOFT, HARD = "adafs[mode=soft]", "mvfs[mode=hard]"
BILEVEL, SOFT_BILEVEL = "adafs[schedule=bilevel]", "adafs[mode=soft,schedule=bilevel]"
ALL = ("adafs", SOFT, BILEVEL, "mvfs", HARD)


def gated(job: Job) -> tuple[CellContext[Any], CTRModel, CTRModel]:
    """A context, an ungated model and one that differs from it by its gate."""
    ctx = job.context(Clock(job.device))
    method: PerSampleMethod[Any] = plugins.methods().load(job.method.name)(job.method.params, job.method.entry)
    plain, model = ctx.model(), ctx.model()
    model.gate = method.gate(ctx, model.dim)
    return ctx, plain, model


def copies(model: CTRModel) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """Calls of ``fit`` by name, with the state before each."""
    calls: dict[str, dict[str, Any]] = {}
    original = CellContext.fit

    def fit(ctx: Any, model: CTRModel, train: Rows, valid: Any = None, **plan: Any) -> FitLog:
        call = {"model": model, "gate": model.gate, "train": train, "valid": valid, "trace": [], **plan}
        call["before"] = model.table.weight.detach().clone()
        calls[plan["name"]] = call
        move = plan.get("schedule")

        def schedule(iteration: int, planned: int) -> None:
            move(iteration, planned)
            assert isinstance(model.gate, ViewsGate)
            call["trace"].append(model.gate.temperature.item())

        log = original(ctx, model, train, valid, **(plan | ({} if move is None else {"schedule": schedule})))
        call["after"] = model.table.weight.detach().clone()
        return log

    monkeypatch.setattr(CellContext, "fit", fit)
    return calls


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Trained]:
    """What ``train`` returned."""
    found: list[Trained] = []
    original = PerSampleMethod.train

    def train(self: Any, *args: Any) -> Trained:
        found.append(original(self, *args))
        return found[-1]

    monkeypatch.setattr(PerSampleMethod, "train", train)
    return found


@pytest.mark.parametrize("backbone", ["dnn[mlp=8]", "xdeepfm[mlp=8,cin=4-4]"])
@pytest.mark.parametrize("method", [SOFT, "adafs[mode=soft,head=linear]", "adafs"])
def test_a_uniform_controller_is_the_ungated_model(make_job: MakeJob, method: str, backbone: str) -> None:
    job = make_job(method, tau=0.0, backbone=backbone)
    _, plain, model = gated(job)
    assert isinstance(model.gate, ControllerGate)
    with torch.no_grad():
        model.gate.scorer.weight.zero_()
    torch.testing.assert_close(predict(model, job.data.valid), predict(plain, job.data.valid))


@pytest.mark.parametrize("backbone", ["dnn[mlp=8]", "xdeepfm[mlp=8,cin=4-4]"])
def test_uniform_views_scale_the_embeddings_by_one_factor(make_job: MakeJob, backbone: str) -> None:
    job = make_job("mvfs", backbone=backbone)
    _, plain, model = gated(job)
    assert isinstance(model.gate, ViewsGate)
    factor = (1 + math.tanh(3.0 * (5 / (2 * 8) - 0.1))) / 2  # T (M / 2F - l)
    with torch.no_grad():
        model.gate.scorer.weight.zero_()
        model.gate.mix_weight.zero_()
        model.gate.temperature.fill_(3.0)
        plain.table.weight.mul_(factor)  # linear weights too
    torch.testing.assert_close(predict(model, job.data.valid), predict(plain, job.data.valid))


@pytest.mark.parametrize("tau", [0.0, 0.25, 0.5, 0.75])
@pytest.mark.parametrize("method", ["adafs", HARD])
def test_hard_modes_keep_exactly_k_fields_of_every_row(
    make_job: MakeJob, trained: list[Trained], method: str, tau: float
) -> None:
    job = make_job(method, tau=tau)
    record = run_cell(job)
    assert record.status == "ok", record.traceback
    k, model, test = 8 - int(tau * 8), trained[0].model, job.data.test
    assert model.gate is not None
    z = model.eval().gate(model.embed(next(test.slices(len(test))))[0], test.ids)
    assert (z > 0).sum(1).tolist() == [k] * len(test)
    assert record.kept_fields == list(range(8))  # nothing is removed
    assert np.sum(record.field_scores) == pytest.approx(k)  # shares of rows
    assert record.tau == tau


@pytest.mark.parametrize("method", ALL)
def test_the_evaluated_model_runs_with_its_gate_and_the_times_are_told_apart(
    make_job: MakeJob, fits: dict[str, dict[str, Any]], trained: list[Trained], method: str
) -> None:
    plain = run_cell(make_job("no-selection"))
    record = run_cell(make_job(method))
    assert record.status == "ok", record.traceback
    gate = trained[0].model.gate
    assert gate is not None
    gate_params = sum(p.numel() for p in gate.parameters())
    assert record.network_params == plain.network_params + gate_params
    assert record.flops_per_row > plain.flops_per_row
    assert record.embedding_params == plain.embedding_params
    assert 0 < record.warmup_s < record.ct_s
    assert 0.9 * record.phases["train/warmup"] < record.warmup_s <= record.phases["train/warmup"]
    assert record.pt_s < 0.1 * record.ct_s
    assert record.tt_s == record.pt_s + record.ct_s
    assert fits["warmup"]["gate"] is None
    assert torch.equal(fits["train"]["before"], fits["warmup"]["after"])
    assert fits["warmup"]["epochs"] == 2
    assert not torch.equal(fits["warmup"]["before"], fits["warmup"]["after"])


@pytest.mark.parametrize("method", [*ALL, BILEVEL, SOFT_BILEVEL])
def test_scores_are_means_over_the_selection_rows(
    make_job: MakeJob, fits: dict[str, dict[str, Any]], trained: list[Trained], method: str
) -> None:
    job = make_job(method)
    record = run_cell(job)
    model = trained[0].model.eval()
    held = job.data.train.without(fits["train"]["train"].index)
    if method in (BILEVEL, SOFT_BILEVEL):  # the only ones whose weights must not see the selection rows
        assert len(held) == 96
        assert fits["train"]["steps"][1].batches.index.tolist() == held.index.tolist()
        assert model.gate is not None
        z = model.gate(model.embed(next(held.slices(96)))[0], held.ids)
        expected = z.mean(0) if method == SOFT_BILEVEL else (z > 0).double().mean(0)
        np.testing.assert_allclose(record.field_scores, expected.detach().numpy(), rtol=1e-5)
        if method == SOFT_BILEVEL:
            assert np.mean(record.field_scores) == pytest.approx(1, abs=1e-5)
    else:
        assert len(held) == 0
        assert len(fits["train"]["steps"]) == 1
    assert record.n_rows_used == 960
    assert np.isfinite(record.field_scores).all()


def test_sel_split_valid_gives_the_controller_the_validation_rows(
    make_job: MakeJob, fits: dict[str, dict[str, Any]]
) -> None:
    events: list[dict[str, Any]] = []
    job = replace(make_job("adafs[schedule=bilevel,sel_split=valid]"), emit=events.append)
    record = run_cell(job)
    assert record.status == "ok"
    rows = len(job.data.valid)
    assert (record.notes["learned_valid_rows"], "LEARNED-VALIDATION" in record.notes["flags"]) == (rows, True)
    (warning,) = [event["text"] for event in events if event["event"] == "warning"]
    assert f"{rows:,} validation rows" in warning and "sel_split=train" in warning
    for spec in (BILEVEL, "adafs[sel_split=valid]", "mvfs[sel_split=valid]"):
        assert "learned_valid_rows" not in run_cell(make_job(spec)).notes
    assert run_cell(job).status == "ok"
    assert fits["train"]["steps"][1].batches is job.data.valid
    assert sorted(fits["train"]["train"].index.tolist()) == sorted(job.data.train.index.tolist())


@pytest.mark.parametrize("method", ["adafs[{}]", "adafs[mode=soft,{}]", "mvfs[{}]", "mvfs[mode=hard,{}]"])
def test_the_field_budget_removes_fields_and_trains_anew(
    make_job: MakeJob, fits: dict[str, dict[str, Any]], method: str
) -> None:
    job = make_job(method.format("budget=field"), tau=0.25)
    record = run_cell(job)
    assert record.status == "ok", record.traceback
    scores = np.array(record.field_scores)
    assert record.kept_fields == sorted(np.argsort(-scores, kind="stable")[:6].tolist())
    final = fits["train"]
    assert final["gate"] is None
    assert final["model"].kept == tuple(record.kept_fields)
    assert sorted(final["train"].index.tolist()) == sorted(job.data.train.index.tolist())
    assert not torch.isin(job.data.valid.index, fits["search"]["train"].index).any()
    assert fits["search"]["valid"] is not job.data.valid
    assert record.warmup_s is None
    assert record.pt_s >= record.phases["select/warmup"] + record.phases["select/search"]
    assert record.tau == 0.25


def test_the_prune_ratio_matters_where_rows_or_the_model_keep_k() -> None:
    specs = ["adafs", SOFT, "adafs[budget=field,mode=soft]", "mvfs", HARD, "mvfs[budget=field]", "autofield"]
    chosen = [choose_method(text) for text in specs]
    assert [choice.uses_tau for choice in chosen] == [True, False, True, False, True, True, True]
    assert [choice.budget for choice in chosen] == ["native", "native", "field", "native", "native", "field", "field"]
    found = [(cell.method, cell.tau) for cell in cells(["d"], ["b"], chosen[:2], [0.25, 0.5], 1)]
    assert found == [("adafs", 0.25), (SOFT, None), ("adafs", 0.5)]


def test_the_views_harden_in_the_authors_share_of_an_epoch(make_job: MakeJob, fits: dict[str, dict[str, Any]]) -> None:
    """Their epoch has 36,672,493 / 4,096 = 8,954 iterations, ours has four."""
    record = run_cell(make_job("mvfs", epochs=10))
    trace = fits["train"]["trace"]
    assert trace == pytest.approx([1.0, 3.0] + [5.0] * (len(trace) - 2))  # 4,000 / 8,954 of four: two
    assert record.notes["temperature"] == 5.0  # of the best epoch
    run_cell(make_job("mvfs[temperature_steps=9000,temperature_start=2,temperature_end=4]", epochs=10))
    assert fits["train"]["trace"][:6] == pytest.approx([2, 2.5, 3, 3.5, 4, 4])


@pytest.mark.parametrize("method", ["adafs", "adafs[schedule=bilevel,update_every=2]", BILEVEL, "mvfs"])
def test_the_record_says_how_far_the_gate_was_trained(
    make_job: MakeJob, fits: dict[str, dict[str, Any]], method: str
) -> None:
    record = run_cell(make_job(method, epochs=3))
    every = 2 if "update_every" in method else 1
    assert record.gates is not None
    assert (record.gates["every"], record.gates["lr"]) == (every, 0.01)
    assert record.gates["steps"] == 4 * record.notes["gated_best_epoch"] // every  # four iterations an epoch
    assert record.gates["travel"] == pytest.approx(2 * record.notes["gate_moved"])  # by chance, half would move
    assert record.gates["travel"] > 0
    assert fits["train"]["burn_in"] == 1
    assert fits["train"]["steps"][-1].every == every


@pytest.mark.parametrize("method", ["adafs", SOFT, "mvfs", HARD])
def test_places_that_a_gate_has_moved_since_its_start(make_job: MakeJob, method: str) -> None:
    job = make_job(method)
    _, _, model = gated(job)
    assert isinstance(model.gate, PerSampleGate)
    rows, before = job.data.train, copies(model)
    assert moved_places(model, copy.deepcopy(model.gate), rows, 4) == 0
    start = copy.deepcopy(model.gate)
    with torch.no_grad():
        model.gate.scorer.weight.neg_()
    assert moved_places(model, start, rows, 8) == 0  # all places, whatever the order
    moved = moved_places(model, start, rows, 4)
    if isinstance(model.gate, ControllerGate):
        assert moved == 1  # the four largest have become the four smallest
    assert 0.2 < moved <= 1
    with torch.no_grad():
        model.gate.scorer.weight.neg_()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    record = run_cell(job)
    assert 0 < record.notes["gate_moved"] <= 1


def test_without_a_warm_up_the_gate_is_there_from_the_start(make_job: MakeJob, fits: dict[str, dict[str, Any]]) -> None:
    record = run_cell(make_job("adafs[warmup_epochs=0]"))
    assert record.status == "ok", record.traceback
    assert set(fits) == {"train"}
    assert record.warmup_s is None


def test_gate_rates_are_those_of_the_rule_or_one_s_own(make_job: MakeJob, fits: dict[str, dict[str, Any]]) -> None:
    """The authors' way in an epoch, 1,790 steps of 1e-3 or 8,954 of 3e-4, in four: held at ten times the profile's."""
    bound = 10 * make_job("adafs").profile.lr
    for method, rate in (
        ("adafs", bound),
        ("adafs[gate_lr=0.02]", 0.02),
        ("mvfs[gate_lr=0.02]", 0.02),
        ("mvfs", bound),
    ):
        run_cell(make_job(method))
        assert fits["train"]["steps"][-1].groups[-1].lr == pytest.approx(rate)


@pytest.mark.parametrize("method", [*ALL, "adafs[head=linear,normalise=all,reweight=false]"])
def test_a_seed_repeats_and_another_one_differs(make_job: MakeJob, method: str) -> None:
    first, again, other = (run_cell(make_job(method, seed=seed)) for seed in (0, 0, 1))
    assert first.status == "ok", first.traceback
    assert (first.field_scores, first.logloss) == (again.field_scores, again.logloss)
    assert first.field_scores != other.field_scores


@pytest.mark.parametrize("method", ["adafs", "mvfs", "adafs[budget=field]"])
def test_a_finished_training_is_taken_up_again(make_job: MakeJob, tmp_path: Path, method: str) -> None:
    first, again = (run_cell(make_job(method, checkpoints=tmp_path)) for _ in range(2))
    assert (first.resumed, again.resumed) == (False, True)
    assert (first.field_scores, first.logloss) == (again.field_scores, again.logloss)


def test_the_mean_gate_leaves_the_model_as_it_was(make_job: MakeJob) -> None:
    job = make_job("adafs", tau=0.5)
    _, _, model = gated(job)
    model.train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    shares = mean_gate(model, job.data.train, opened=True)
    assert shares.sum() == pytest.approx(4)
    assert model.training
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("method", ["adafs", "mvfs"])
def test_linear_weights_pass_through_the_gate(make_job: MakeJob, method: str) -> None:
    record = run_cell(make_job(method, backbone="deepfm[mlp=8]"))
    assert record.status == "ok", record.traceback


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        ("adafs: mode=firm", "hard, soft"),
        ("adafs: schedule=none", "bilevel, joint"),
        ("adafs: update_every=0", "[1, inf)"),
        ("adafs: head=tanh", "relu, linear"),
        ("adafs: dropout=1", "[0, 1)"),
        ("adafs: normalise=none", "controller, all"),
        ("adafs: warmup_epochs=-1", "[0, inf)"),
        ("adafs: gate_lr=0", "(0, inf)"),
        ("adafs: budget=exact", "native, field"),
        ("mvfs: mode=soft", "native, hard"),
        ("mvfs: views=0", "[1, inf)"),
        ("mvfs: threshold=-0.1", "[0, inf)"),
        ("mvfs: temperature_start=0", "(0, inf)"),
        ("mvfs: temperature_end=0", "(0, inf)"),
        ("mvfs: temperature_steps=0", "[1, inf)"),
        ("mvfs: gate_lr=-1", "(0, inf)"),
    ],
)
def test_parameters_out_of_range_are_refused(given: str, allowed: str) -> None:
    name, _, parameter = given.partition(": ")
    with pytest.raises(ConfigError) as caught:
        choose_method(f"{name}[{parameter}]")
    assert given in str(caught.value)
    assert allowed in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("adafs[mode=soft,reweight=false]", "adafs: reweight=false has no part in mode=soft"),
        ("adafs[schedule=joint,update_every=5]", "adafs: update_every=5 has no part in schedule=joint"),
        ("adafs[head=linear,dropout=0.1]", "adafs: dropout=0.1 has no part in head=linear"),
        ("mvfs[temperature_end=0.5]", "mvfs: temperature_end=0.5 must be at least temperature_start=1"),
    ],
)
def test_impossible_combinations_are_refused(spec: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        choose_method(spec)
    assert message in str(caught.value)
