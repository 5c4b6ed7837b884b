from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from bench import plugins
from bench.api import ConfigError, CTRModel, FitLog, Rows, Selection
from bench.engine.clock import Clock
from bench.method import Method
from bench.params import searched
from bench.run.cell import run_cell
from bench.run.context import CellContext
from bench.run.grid import choose_method
from bench.run.job import Job
from methods.optfs import OptFS, OptFSParams
from methods.parts.value_gates import AnnealedGate

MakeJob = Callable[..., Job]


NET = "deepfm[mlp=8]"
SEARCH = "search_epochs=4,final_temperature=64"
SHORT = f"{SEARCH},gate_lr=0.3125"  # a way of 5 in 16 steps: some gates close
N, BATCH = 864, 256  # training rows outside the holdout, rows a step of the profile: 4 steps an epoch


def context(job: Job) -> CellContext[Any]:
    return job.context(Clock(job.device))


def method_of(job: Job) -> Method[Any]:
    made: Method[Any] = plugins.methods().load(job.method.name)(job.method.params, job.method.entry)
    return made


def part(job: Job) -> Rows:
    return job.data.train.take(torch.arange(N))


def select(job: Job) -> tuple[CellContext[Any], Selection]:
    ctx = context(job)
    return ctx, method_of(job).select(ctx, part(job), job.data.train.take(torch.arange(N, 960)))


class Watched:
    """Sees every fit: its arguments, and at each iteration the temperature and the weights before it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: dict[str, dict[str, Any]] = {}
        self.temperatures: list[float] = []
        self.weights: list[list[torch.Tensor]] = []
        self.gates = torch.empty(0)
        original = CellContext.fit

        def fit(ctx: Any, model: CTRModel, train: Rows, valid: Rows | None = None, **plan: Any) -> FitLog:
            gate, inner = model.gate, plan.get("schedule")

            def schedule(iteration: int, planned: int) -> None:
                assert inner is not None
                inner(iteration, planned)
                assert isinstance(gate, AnnealedGate)
                self.temperatures.append(gate.temperature.item())
                self.weights.append(weights(model))

            self.calls[plan["name"]] = {"model": model, "train": train, "valid": valid, **plan}
            log = original(ctx, model, train, valid, **{**plan, "schedule": schedule if inner else None})
            if isinstance(gate, AnnealedGate):
                self.gates = gate.logits.weight.detach().squeeze(1).clone()
            return log

        monkeypatch.setattr(CellContext, "fit", fit)


def weights(model: CTRModel) -> list[torch.Tensor]:
    return [model.table.weight.detach().clone(), *(p.detach().clone() for p in model.backbone.parameters())]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_the_temperature_rises_by_a_constant_factor_from_epoch_to_epoch(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(monkeypatch)
    select(make_job(f"optfs[{SHORT}]", backbone=NET))
    steps = math.ceil(N / BATCH)
    expected = [64 ** (epoch / 3) for epoch in range(4) for _ in range(steps)]  # 1, 4, 16, 64
    assert watched.temperatures == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("rewind", [0, 1, 3])
def test_rewound_weights_are_those_of_the_epoch_bit_for_bit(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, rewind: int
) -> None:
    watched = Watched(monkeypatch)
    job = make_job(f"optfs[{SHORT},rewind_epoch={rewind}]", backbone=NET)
    _, selection = select(job)
    assert selection.start is not None
    assert selection.start.gate is None
    steps = math.ceil(N / BATCH)
    found = weights(selection.start)
    assert same(found, watched.weights[rewind * steps])
    assert not any(same(found, at) for number, at in enumerate(watched.weights) if number != rewind * steps)
    if rewind == 0:
        assert same(found, weights(context(job).model()))


def test_retraining_may_start_elsewhere(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    _, rewound = select(make_job(f"optfs[{SHORT}]"))
    _, fresh = select(make_job(f"optfs[{SHORT},start=fresh]"))
    watched = Watched(monkeypatch)
    _, searched = select(make_job(f"optfs[{SHORT},start=searched]"))
    assert fresh.start is None
    assert searched.start is not None
    assert rewound.start is not None
    assert searched.start is watched.calls["search"]["model"]
    assert not any(same(weights(searched.start), at) for at in watched.weights)  # after the last iteration
    for selection in (fresh, searched):
        assert np.array_equal(selection.scores, rewound.scores)
        assert torch.equal(selection.value_mask, rewound.value_mask)


def test_the_search_runs_all_epochs_on_train_alone_with_weight_decay_on_the_table_only(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(monkeypatch)
    job = make_job(f"optfs[{SEARCH},gate_lr=0.02]", backbone=NET)
    select(job)
    call = watched.calls["search"]
    assert (call["valid"], call["epochs"], len(call["train"])) == (None, 4, N)
    assert len(watched.temperatures) == 4 * math.ceil(N / BATCH)
    (step,) = call["steps"]
    profile = job.profile
    assert [(group.lr, group.weight_decay) for group in step.groups] == [
        (profile.lr, profile.l2),
        (profile.lr, 0.0),
        (0.02, 0.0),
    ]
    assert [tuple(param.shape) for param in step.groups[2].params] == [(job.data.schema.vocabulary_rows, 1)]


@pytest.mark.parametrize(
    ("given", "penalty", "rate"),
    [
        ("", 0.183 / N, 10 * 1e-3),  # at most ten times the profile's
        ("value_price=2,gate_lr=0.5", 2 / N, 0.5),
        ("penalty=5e-9,gate_lr=3e-4", 5e-9, 3e-4),
    ],
)
def test_price_and_rate_follow_the_rows(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, given: str, penalty: float, rate: float
) -> None:
    watched = Watched(monkeypatch)
    ctx, _ = select(make_job(f"optfs[{SEARCH}{',' if given else ''}{given}]"))
    call = watched.calls["search"]
    (step,) = call["steps"]
    assert step.groups[2].lr == pytest.approx(rate)
    assert ctx.notes["penalty"] == pytest.approx(penalty)
    model, batch = call["model"].eval(), next(part(make_job("optfs")).slices(64))
    monkeypatch.setattr(AnnealedGate, "open_sum", lambda self: torch.tensor(0.5 / penalty))
    with_penalty = step.loss(model, batch).item()
    monkeypatch.setattr(AnnealedGate, "open_sum", lambda self: torch.tensor(0.0))
    assert with_penalty - step.loss(model, batch).item() == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize("tau", [0.0, 0.25, 0.5, 0.75])
def test_each_budget_keeps_what_it_says(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, tau: float) -> None:
    watched = Watched(monkeypatch)
    native, exact, field = (
        select(make_job(f"optfs[{SHORT}{more}]", tau=tau))[1] for more in ("", ",budget=exact", ",budget=field")
    )
    g = watched.gates  # the same search each time
    assert native.value_mask is not None
    assert exact.value_mask is not None
    assert torch.equal(native.value_mask, g > 0)
    assert 0 < int(native.value_mask.sum()) < len(g)
    n_kept = len(g) - math.floor(tau * len(g))
    assert int(exact.value_mask.sum()) == n_kept
    if n_kept < len(g):
        assert g[exact.value_mask].min() >= g[~exact.value_mask].max()
    assert field.value_mask is None
    assert field.start is not None
    assert native.start is not None
    assert same(weights(field.start), weights(native.start))
    assert np.array_equal(field.scores, native.scores)
    assert np.array_equal(exact.scores, native.scores)


def test_a_field_s_score_is_the_share_of_rows_whose_value_is_kept(make_job: MakeJob) -> None:
    job = make_job("optfs")
    rows = part(job)
    schema, ctx = job.data.schema, context(job)
    method = OptFS(OptFSParams(), job.method.entry)
    g = torch.linspace(-1, 1, schema.vocabulary_rows)[torch.randperm(schema.vocabulary_rows)]
    counts = torch.bincount(rows.ids.reshape(-1).long(), minlength=len(g)).double()
    scores = method._choose(ctx, g, counts).scores
    assert scores is not None
    for f in range(schema.n_fields):
        gates = g[rows.ids[:, f].long()].double()  # of every row
        share = float((gates > 0).double().mean())
        tie_break = 0.5 / (1 + math.exp(-float(gates.mean()))) / N
        assert scores[f] == pytest.approx(share + tie_break, abs=1e-12)
        assert tie_break < 1 / N  # less than what one row more would add
    level = method._choose(ctx, g.abs() + 1, counts).scores  # all kept: the mean gate decides
    means = [float((g.abs() + 1)[rows.ids[:, f].long()].mean()) for f in range(schema.n_fields)]
    assert np.argsort(level).tolist() == np.argsort(means).tolist()


def test_values_that_never_occur_are_dropped(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the authors' pace they stay, as the search is too short; at the default one they go."""
    job = make_job("optfs")
    counts = torch.bincount(part(job).ids.reshape(-1).long(), minlength=job.data.schema.vocabulary_rows)
    _, default = select(job)
    _, authors = select(make_job("optfs[penalty=5e-9,gate_lr=3e-4]"))
    assert default.value_mask is not None
    assert authors.value_mask is not None
    assert int((counts == 0).sum()) > 0
    assert not default.value_mask[counts == 0].any()
    assert authors.value_mask.all()


@pytest.mark.parametrize("backbone", ["dnn[mlp=8]", "xdeepfm[mlp=8,cin=4-4]", "logistic"])
@pytest.mark.parametrize("budget", ["native", "exact", "field"])
def test_cells_of_every_budget(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, backbone: str, budget: str) -> None:
    watched = Watched(monkeypatch)
    given = "" if budget == "native" else f",budget={budget}"
    job = make_job(f"optfs[{SHORT}{given}]", tau=0.25, backbone=backbone)
    record = run_cell(job)
    assert record.status == "ok", record.traceback
    assert (record.budget, record.tau) == (budget, None if budget == "native" else 0.25)
    assert record.n_rows_used == N
    model = watched.calls["train"]["model"]
    scores, details = np.array(record.field_scores), record.selection
    assert details is not None
    if budget == "field":
        assert record.kept_fields == sorted(np.argsort(-scores, kind="stable")[:6].tolist())
        assert model.kept == tuple(record.kept_fields)
        assert "kept_values" not in details
    else:
        v = job.data.schema.vocabulary_rows
        assert record.kept_fields == list(range(8))
        factors = model.gate.factors
        assert sorted(factors.unique().tolist()) == pytest.approx([0, 1 + math.exp(-0.5)])  # 0 and 1 / σ(0.5)
        assert details["kept_values"] == int((factors > 0).sum())
        if budget == "exact":
            assert details["kept_values"] == v - math.floor(0.25 * v)
    assert record.network_params is not None


def test_a_seed_decides_everything(make_job: MakeJob) -> None:
    first, again, other = (run_cell(make_job(f"optfs[{SHORT}]", seed=seed)) for seed in (0, 0, 1))
    assert (first.logloss, first.field_scores, first.selection) == (again.logloss, again.field_scores, again.selection)
    assert first.logloss != other.logloss


def test_an_interrupted_search_goes_on_where_it_was(make_job: MakeJob, tmp_path: Any) -> None:
    """The rewound weights and the temperature are part of what a checkpoint holds."""
    plain = run_cell(make_job(f"optfs[{SHORT}]"))
    job = make_job(f"optfs[{SHORT}]", checkpoints=tmp_path)
    original = torch.Tensor.fill_

    def fill_(tensor: torch.Tensor, value: float) -> torch.Tensor:
        if tensor.ndim == 0 and value == pytest.approx(64 ** (2 / 3)):  # epoch 2, after the rewind epoch
            raise KeyError("stop")
        return original(tensor, value)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "fill_", fill_)
        assert run_cell(job).status == "failed"
    resumed = run_cell(job)
    assert resumed.resumed
    assert (resumed.logloss, resumed.field_scores) == (plain.logloss, plain.field_scores)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("rewind_epoch=15", ["rewind_epoch=15", "search_epochs=15", "[0, 14]"]),
        ("search_epochs=3,rewind_epoch=7", ["rewind_epoch=7", "search_epochs=3", "[0, 2]"]),
        ("search_epochs=1", ["search_epochs=1", "[2, inf)"]),
        ("rewind_epoch=-1", ["rewind_epoch=-1", "[0, inf)"]),
        ("final_temperature=0.5", ["final_temperature=0.5", "[1, inf)"]),
        ("gate_init=0", ["gate_init=0", "(0, inf)"]),
        ("value_price=-1", ["value_price=-1", "[0, inf)"]),
        ("penalty=-1e-9", ["penalty=-1e-9", "[0, inf)"]),
        ("gate_lr=0", ["gate_lr=0", "(0, inf)"]),
        ("penalty=1e-3,value_price=2", ["value_price=2 has no part in penalty=0.001", "set penalty=none"]),
        ("start=warm", ["start=warm", "rewound, searched, fresh"]),
        ("budget=half", ["budget=half", "native, exact, field"]),
    ],
)
def test_bad_parameters_are_refused_before_anything_runs(given: str, said: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        choose_method(f"optfs[{given}]")
    for text in ("optfs", *said):
        assert text in str(caught.value)


def test_a_price_that_a_penalty_replaces_is_not_searched() -> None:
    everything = {"final_temperature", "value_price", "gate_lr"}
    assert searched(OptFSParams()).keys() == everything
    assert searched(OptFSParams(penalty=5e-9)).keys() == everything - {"value_price"}
