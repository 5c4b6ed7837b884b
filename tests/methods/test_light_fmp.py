from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch

from bench import plugins
from bench.api import Batch, ConfigError, CTRModel, FitLog, Selection, Step
from bench.engine.clock import Clock
from bench.method import Method
from bench.rows.rows import Rows
from bench.run.cell import run_cell
from bench.run.context import CellContext
from bench.run.grid import choose_method
from bench.run.job import Job
from methods.light_fmp import LightFMPParams
from methods.light_fmp_pooled import PooledLightFMPParams
from methods.parts import gated_pretraining
from methods.parts.gated_pretraining import Pretrained, PretrainParams, draw_subset, initial_log_alpha, pretrain

MakeJob = Callable[..., Job]


def context(job: Job) -> CellContext[Any]:
    return job.context(Clock(job.device))


def method_of(job: Job) -> Method[Any]:
    made: Method[Any] = plugins.methods().load(job.method.name)(job.method.params, job.method.entry)
    return made


def select(job: Job) -> Selection:
    return method_of(job).select(context(job), job.data.train, job.data.train.take(torch.arange(1)))


class Recorded:
    """Looks over the shoulder of every fit: model, rows and plan; ``skip`` leaves the training out."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, skip: bool = False) -> None:
        self.calls: dict[str, dict[str, Any]] = {}
        original = CellContext.fit

        def fit(ctx: Any, model: CTRModel, train: Rows, valid: Rows | None = None, *rest: Any, **plan: Any) -> FitLog:
            before = model.table.weight.detach().clone()
            self.calls[plan["name"]] = {"model": model, "train": train, "valid": valid, "before": before, **plan}
            if skip:
                return FitLog()
            return original(ctx, model, train, valid, *rest, **plan)

        monkeypatch.setattr(CellContext, "fit", fit)


@pytest.mark.parametrize(
    ("given", "n"),
    [
        ({}, 96),  # 2000 rows asked for, a tenth of 960 allowed
        ({"pretrain_rows": 40}, 40),
        ({"pretrain_rows": 2000}, 96),
        ({"pretrain_share": 0.25}, 240),
        ({"pretrain_share": 0.25, "pretrain_rows": 10}, 240),
    ],
)
def test_the_subset_is_stratified_and_at_most_a_tenth(make_job: MakeJob, given: dict[str, Any], n: int) -> None:
    job = make_job("light-fmp")
    train = job.data.train
    subset = draw_subset(context(job), PretrainParams(**given), train)
    assert len(subset) == n
    assert subset.labels.sum() == round(n * train.positive_rate)
    assert torch.isin(subset.index, train.index).all()
    assert len(subset.index.unique()) == n
    again = draw_subset(context(job), PretrainParams(**given), train)
    other = draw_subset(context(make_job("light-fmp", seed=1)), PretrainParams(**given), train)
    assert torch.equal(subset.index, again.index)
    assert not torch.equal(subset.index, other.index)


def test_too_few_rows_for_a_subset_are_refused(make_job: MakeJob) -> None:
    job = make_job("light-fmp")
    with pytest.raises(ConfigError, match="1 rows from 19 training rows"):
        draw_subset(context(job), PretrainParams(), job.data.train.take(torch.arange(19)))


def test_gates_start_normal_at_log_alpha_or_at_alpha(make_job: MakeJob) -> None:
    schema = make_job("light-fmp").data.schema
    many = replace(schema, fields=schema.fields * 500)  # 4000 gates
    ctx = context(make_job("light-fmp"))
    ctx.schema = many
    a = initial_log_alpha(ctx, PretrainParams())
    assert a.shape == (4000,)
    assert a.mean().item() == pytest.approx(0.5, abs=4 * 0.25 / math.sqrt(4000))
    assert a.std().item() == pytest.approx(0.25, abs=0.02)
    alpha = initial_log_alpha(ctx, PretrainParams(gate_init="alpha")).exp()
    torch.testing.assert_close(alpha, a.clamp_min(0.05))
    wide = initial_log_alpha(ctx, PretrainParams(gate_init="alpha", init_std=1.0))
    assert torch.isfinite(wide).all()
    assert wide.min().item() == pytest.approx(math.log(0.05))


@pytest.mark.parametrize("tau", [0.0, 0.25, 0.5, 0.75])
@pytest.mark.parametrize("method", ["light-fmp", "light-fmp[noise=sample,pretrain_min_count=3,fold=absorb]"])
def test_exactly_k_fields_stay_and_training_never_sees_the_subset(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, tau: float, method: str
) -> None:
    recorded = Recorded(monkeypatch)
    job = make_job(method, tau=tau, epochs=1)
    record = run_cell(job)
    k = 8 - math.floor(tau * 8)
    assert record.status == "ok", record.traceback
    scores = np.array(record.field_scores)
    assert record.kept_fields == sorted(np.argsort(-scores, kind="stable")[:k].tolist())
    subset, train = recorded.calls["pretrain"]["train"], recorded.calls["train"]["train"]
    assert len(subset) == record.n_rows_used == math.floor(0.1 * 864)  # of the rows outside the holdout
    assert not torch.isin(subset.index, train.index).any()
    assert sorted([*subset.index.tolist(), *train.index.tolist()]) == sorted(job.data.train.index.tolist())
    assert not torch.isin(subset.index, job.data.valid.index).any()
    assert recorded.calls["train"]["model"].kept == tuple(record.kept_fields)
    assert recorded.calls["train"]["model"].gate is None
    assert ((scores > 0) & (scores < 1)).all()


def test_pretraining_runs_without_validation_weight_decay_clipping_or_decay(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = Recorded(monkeypatch)
    select(make_job("light-fmp"))
    call = recorded.calls["pretrain"]
    assert call["valid"] is None
    assert (call["epochs"], call["batch_size"], call["clip_norm"], call["lr_decay"]) == (20, 128, None, None)
    (step,) = call["steps"]
    groups = [(group.lr, group.weight_decay, group.maximize) for group in step.groups]
    assert groups == [(3e-4, 0.0, False), (0.1, 0.0, False), (0.1, 0.0, True)]
    assert [tuple(p.shape) for p in step.groups[1].params] == [(8,)]
    assert [p.numel() for p in step.groups[2].params] == [1, 1]


@pytest.mark.parametrize("backbone", ["dnn[mlp=8]", "xdeepfm[mlp=8,cin=4-4]"])
@pytest.mark.parametrize("fold", ["binary", "absorb"])
def test_the_pretrained_weights_are_carried_over_cut_to_the_kept_fields(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, backbone: str, fold: str
) -> None:
    """With the training left out, the evaluated model is the pretrained one, sliced by hand."""
    original = gated_pretraining.pretrain
    kept_back: list[Pretrained] = []
    weights: list[tuple[torch.Tensor, dict[str, torch.Tensor]]] = []

    def keep(*args: Any) -> Pretrained:
        done = original(*args)
        kept_back.append(done)
        weights.append((done.model.table.weight.detach().clone(), {**done.model.backbone.state_dict()}))
        return done

    monkeypatch.setattr("methods.light_fmp.pretrain", keep)
    job = make_job(f"light-fmp[fold={fold}]", backbone=backbone)
    method, ctx = method_of(job), context(job)
    selection = method.select(ctx, job.data.train, job.data.train.take(torch.arange(1)))
    selection.kept = kept = (1, 2, 6)
    fresh = ctx.model()
    recorded = Recorded(monkeypatch, skip=True)
    trained = method.train(ctx, job.data.train, job.data.valid, selection)
    assert recorded.calls["train"]["model"] is trained.model
    (table, network), offsets = weights[0], job.data.schema.offsets
    factor = kept_back[0].gate_values if fold == "absorb" else torch.ones(8)
    if fold == "absorb":
        assert 0 < factor.min() < 1
    expected = torch.cat([table[offsets[f] : offsets[f + 1]] * factor[f] for f in kept])
    assert torch.equal(trained.model.table.weight, expected)
    dim = fresh.dim
    columns = [f * dim + d for f in kept for d in range(dim)]
    first = network["mlp.layers.0.weight"]
    assert torch.equal(trained.model.backbone.state_dict()["mlp.layers.0.weight"], first[:, columns])
    assert torch.equal(trained.model.backbone.state_dict()["mlp.layers.1.weight"], network["mlp.layers.1.weight"])
    assert not torch.equal(first, fresh.backbone.state_dict()["mlp.layers.0.weight"])  # pretraining moved it
    assert not torch.equal(table, fresh.table.weight)
    assert selection.start is None  # the full model is free to go


def test_a_fresh_start_keeps_the_same_fields_and_forgets_the_weights(make_job: MakeJob) -> None:
    adapted, fresh = select(make_job("light-fmp")), select(make_job("light-fmp[init=fresh]"))
    assert adapted.scores is not None
    assert fresh.scores is not None
    assert fresh.scores.tolist() == adapted.scores.tolist()
    assert adapted.start is not None
    assert (fresh.start, fresh.scale) == (None, None)
    assert fresh.used_rows is not None
    assert torch.equal(fresh.used_rows, adapted.used_rows)
    jobs = [make_job("light-fmp"), make_job("light-fmp[init=fresh]")]
    records = [run_cell(job) for job in jobs]
    assert records[0].kept_fields == records[1].kept_fields
    assert records[0].logloss != records[1].logloss


def test_rare_values_share_one_embedding_while_pretraining_only(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = Recorded(monkeypatch)
    job = make_job("light-fmp[pretrain_min_count=5]")
    train, offsets = job.data.train, job.data.schema.offsets
    before = context(job).model().table.weight.detach()
    selection = select(job)
    call = recorded.calls["pretrain"]
    subset = train.take(torch.isin(train.index, call["train"].index).nonzero().squeeze(1))
    counts = torch.bincount(subset.ids.reshape(-1).long(), minlength=job.data.schema.vocabulary_rows)
    frequent = set((counts >= 5).nonzero().squeeze(1).tolist())
    rare_rows = set(offsets[:-1].tolist())
    has_rare = {int(offsets[f]) for f in range(8) for row in set(subset.ids[:, f].tolist()) if row not in frequent}
    assert 0 < len(frequent) < (counts > 0).sum()  # some values are merged, some are not
    assert selection.start is not None
    moved = (selection.start.table.weight.detach() != before).any(1).nonzero().squeeze(1).tolist()
    assert set(moved) == frequent | has_rare
    assert has_rare <= rare_rows
    assert run_cell(job).status == "ok"
    final, merged = recorded.calls["train"]["train"], recorded.calls["pretrain"]["train"]
    assert torch.equal(final.ids, train.without(merged.index).ids)  # the values themselves are untouched


def penalties(job: Job, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Callable[[float], float]]:
    """The constraint's target and, for λ = φ = 1, the penalty of a given mean gate."""
    recorded = Recorded(monkeypatch, skip=True)
    with pytest.raises(ZeroDivisionError):  # stop after the fit was asked for
        monkeypatch.setattr(gated_pretraining._Average, "mean", lambda self: 1 / 0)
        select(job)
    call = recorded.calls["pretrain"]
    step: Step = call["steps"][0]
    model, rows = call["model"], call["train"]
    lam, phi = step.groups[2].params

    def loss_at(value: float) -> float:
        batch: Batch = next(rows.slices(8))
        model.gate.sampled_mean = torch.tensor(value)
        with monkeypatch.context() as patch, torch.no_grad():
            patch.setattr(model.gate, "forward", lambda e, ids: torch.ones(8))
            for weight, number in ((lam, 1.0), (phi, 1.0)):
                weight.fill_(number)
            with_penalty = step.loss(model.eval(), batch).item()
            for weight in (lam, phi):
                weight.fill_(0.0)
            return with_penalty - step.loss(model, batch).item()

    return model.gate, loss_at


@pytest.mark.parametrize(("target", "kappa"), [("kept", 0.75), ("pruned", 0.25)])
def test_the_mean_gate_is_held_at_the_kept_share_or_as_printed(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, target: str, kappa: float
) -> None:
    _, loss_at = penalties(make_job(f"light-fmp[target={target}]", tau=0.25), monkeypatch)
    assert loss_at(kappa) == pytest.approx(0, abs=1e-6)
    for mean in (0.0, 0.4, 1.0):
        gap = mean - kappa
        assert loss_at(mean) == pytest.approx(gap + gap**2, abs=1e-6)


def test_the_expected_constraint_looks_at_probabilities_instead_of_draws(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, loss_at = penalties(make_job("light-fmp[constraint=expected]", tau=0.5), monkeypatch)
    gap = torch.sigmoid(gate.log_alpha.detach() - 0.83 * math.log(0.1 / 1.1)).mean().item() - 0.5
    for mean in (0.0, 1.0):  # the drawn mean does not matter
        assert loss_at(mean) == pytest.approx(gap + gap**2, abs=1e-6)


def test_the_multipliers_pull_the_gates_to_their_target(make_job: MakeJob) -> None:
    """200 steps at τ = 0.75: the mean gate ends nearer 0.25 than its start at about 0.6."""
    job = make_job("light-fmp[pretrain_batch=10,rank_share=0.1]", tau=0.75)
    notes = select(job).notes
    assert notes["kappa"] == 0.25
    assert notes["pretrain_steps"] == 20 * math.ceil(96 / 10)
    assert abs(notes["mean_z"] - 0.25) < abs(0.6 - 0.25) / 2
    assert notes["lambda"] != 0
    assert notes["phi"] > 0
    assert -1 <= notes["init_correlation"] <= 1


def test_the_ranking_averages_the_last_steps_after_the_clamp(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace: list[torch.Tensor] = []
    call = gated_pretraining._Average.__call__

    def traced(self: Any, optimizer: torch.optim.Optimizer) -> None:
        call(self, optimizer)
        trace.append(self.gate.log_alpha.detach().clone())

    monkeypatch.setattr(gated_pretraining._Average, "__call__", traced)
    job = make_job("light-fmp[gate_lr=0.5,clamp=2,pretrain_batch=50,pretrain_epochs=7,rank_share=0.3]")
    done = pretrain(context(job), job.method.params, job.data.train)
    assert len(trace) == 14  # 7 epochs of two batches
    bound = math.log(2)
    assert max(a.abs().max().item() for a in trace) == pytest.approx(bound)
    mean = torch.stack(trace[-4:]).mean(0)  # round(0.3 · 14)
    torch.testing.assert_close(done.log_alpha, mean)
    gates = (torch.sigmoid(mean) * 1.2 - 0.1).clamp(0, 1)
    torch.testing.assert_close(done.gate_values, gates)
    assert done.notes["init_correlation"] == pytest.approx(
        np.corrcoef(initial_log_alpha(context(job), job.method.params), mean)[0, 1], abs=1e-5
    )


def test_values_outside_the_subset_keep_their_initial_rows(make_job: MakeJob) -> None:
    job = make_job("light-fmp")
    before = context(job).model().table.weight.detach()
    selection = select(job)
    assert selection.start is not None
    subset = job.data.train.take(torch.isin(job.data.train.index, selection.used_rows).nonzero().squeeze(1))
    touched = torch.zeros(len(before), dtype=torch.bool)
    touched[subset.ids.reshape(-1).long()] = True
    moved = (selection.start.table.weight.detach() != before).any(1)
    assert torch.equal(moved, touched)


@pytest.mark.parametrize(
    "given",
    [
        "pretrain_rows=9",
        "pretrain_share=0.6",
        "pretrain_share=0",
        "pretrain_min_count=0",
        "pretrain_epochs=0",
        "pretrain_batch=0",
        "pretrain_lr=0",
        "gate_lr=-1",
        "gate_init=beta",
        "init_mean=nan",
        "init_std=-0.1",
        "beta=0",
        "zeta=1",
        "gamma=0",
        "noise=none",
        "constraint=hard",
        "target=half",
        "rank_share=0",
        "rank_share=1.1",
        "clamp=1",
        "init=warm",
        "fold=half",
    ],
)
def test_parameters_out_of_range_are_refused(given: str) -> None:
    with pytest.raises(ConfigError) as caught:
        choose_method(f"light-fmp[{given}]")
    assert f"light-fmp: {given}" in str(caught.value)


def test_the_pooled_form_is_light_fmp_with_two_other_defaults(make_job: MakeJob) -> None:
    plain, pooled = asdict(LightFMPParams()), asdict(PooledLightFMPParams())
    assert {name for name in plain if plain[name] != pooled[name]} == {"pretrain_min_count", "noise"}
    assert PooledLightFMPParams.__annotations__.keys() <= plain.keys()
    small = "pretrain_rows=400,pretrain_batch=16,pretrain_epochs=4"
    jobs = [make_job(f"light-fmp[pretrain_min_count=5,noise=sample,{small}]"), make_job(f"light-fmp-pooled[{small}]")]
    one, other = (select(job) for job in jobs)
    np.testing.assert_array_equal(one.scores, other.scores)
    assert not np.array_equal(one.scores, select(make_job(f"light-fmp[{small}]")).scores)
