from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from bench import plugins
from bench.api import ConfigError, CTRModel, Field, FitLog, Rows, Schema, Selection, auc, predict
from bench.engine.clock import Clock
from bench.method import Method
from bench.run.cell import run_cell
from bench.run.context import CellContext
from bench.run.grid import choose_method
from bench.run.job import Job
from methods import optem
from methods.optem import OptEmParams
from methods.parts.evolution import Found, evolve
from methods.parts.supernet import Supernet

MakeJob = Callable[..., Job]


NET = "deepfm[mlp=8]"
SHORT = "generations=3,threshold_lr=480"
N, BATCH, DIM = 864, 256, 8  # training rows outside the holdout, rows a step and embedding size of the profile


def context(job: Job) -> CellContext[Any]:
    return job.context(Clock(job.device))


def method_of(job: Job) -> Method[Any]:
    made: Method[Any] = plugins.methods().load(job.method.name)(job.method.params, job.method.entry)
    return made


def parts(job: Job) -> tuple[Rows, Rows]:
    return job.data.train.take(torch.arange(N)), job.data.train.take(torch.arange(N, 960))


def select(job: Job) -> tuple[CellContext[Any], Selection]:
    ctx = context(job)
    return ctx, method_of(job).select(ctx, *parts(job))


class Watched:
    """Sees every fit, and the thresholds and weights that the supernet ends with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: dict[str, dict[str, Any]] = {}
        self.thresholds = self.table = torch.empty(0)
        original = CellContext.fit

        def fit(ctx: Any, model: CTRModel, train: Rows, valid: Rows | None = None, **plan: Any) -> FitLog:
            gate = model.gate
            self.calls[plan["name"]] = {"model": model, "train": train, "valid": valid, "gate": gate, **plan}
            log = original(ctx, model, train, valid, **plan)
            if isinstance(gate, Supernet):
                self.thresholds, self.table = gate.thresholds.detach().clone(), model.table.weight.detach().clone()
            return log

        monkeypatch.setattr(CellContext, "fit", fit)


SCHEMA = Schema((Field("a", "categorical", 4), Field("b", "numeric", 2), Field("c", "categorical", 3)))


def supernet(thresholds: list[float]) -> Supernet:
    gate = Supernet(SCHEMA).double()
    with torch.no_grad():
        gate.thresholds.copy_(torch.tensor(thresholds, dtype=torch.float64))
    return gate


E = torch.tensor([[[0.3, -0.2], [0.0, 0.1], [1.0, 2.0]], [[0.1, 0.1], [0.0, 0.0], [-0.25, 0.0]]], dtype=torch.float64)
IDS = torch.zeros(2, 3, dtype=torch.int32)


def test_values_pass_where_their_norm_is_above_the_threshold() -> None:
    gate = supernet([0.2, 5.0, 0.25]).eval()
    z = gate(E, IDS)
    assert z.shape == E.shape
    # norms 0.5, -, 3 and 0.2, -, 0.25: equal is not above, and the numeric field always passes
    assert z[..., 0].tolist() == [[1, 1, 1], [0, 1, 0]]
    assert torch.equal(z[..., 0], z[..., 1])


def test_in_training_the_first_coordinates_pass_as_many_as_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = supernet([0.0, 0.0, 0.0])
    monkeypatch.setattr(torch, "randint", lambda high, size, device: torch.tensor([[[0], [1], [0]], [[1], [0], [1]]]))
    z = gate(E + 1, IDS)
    assert z.tolist() == [[[1, 0], [1, 1], [1, 0]], [[1, 1], [1, 0], [1, 1]]]


def test_sizes_are_drawn_uniformly_for_every_row_and_field() -> None:
    torch.manual_seed(0)
    gate = Supernet(SCHEMA)
    sizes = gate(torch.ones(4000, 3, 4), torch.zeros(4000, 3, dtype=torch.int32)).sum(-1)
    for f in range(3):
        counts = torch.bincount(sizes[:, f].long(), minlength=5)
        assert counts[0] == 0
        assert ((counts[1:] - 1000).abs() < 140).all()  # five standard deviations of 27
    assert not torch.equal(sizes[:, 0], sizes[:, 1])


def test_the_step_s_slope_reaches_thresholds_and_embeddings() -> None:
    """L = Σ e z: dL/dt = -Σ e h(x), dL/de = z + (Σ e) h(x) sign(e), with h the slope at x = ‖e‖₁ - t."""
    gate = supernet([0.2, 0.0, 0.0]).eval()
    e = E.clone().requires_grad_(True)
    (e * gate(e, IDS)).sum().backward()
    h = {0.3: 2 - 4 * 0.3, 3.0: 0.0, 0.0: 2.0, 0.25: 2 - 4 * 0.25}
    total = [[0.1, 0.1, 3.0], [0.2, 0.0, -0.25]]  # sums of e
    expected_t = [-(total[0][0] * h[0.3] + total[1][0] * h[0.0]), 0.0, -(total[0][2] * h[3.0] + total[1][2] * h[0.25])]
    assert gate.thresholds.grad is not None
    assert gate.thresholds.grad.tolist() == pytest.approx(expected_t, abs=1e-12)
    assert e.grad is not None
    slope = h[0.3] * total[0][0]
    assert e.grad[0, 0].tolist() == pytest.approx([1 + slope, 1 - slope])
    assert e.grad[0, 1].tolist() == [1, 1]  # the numeric field passes as it is
    slope = h[0.0] * total[1][0]
    assert e.grad[1, 0].tolist() == pytest.approx([slope, slope])  # dropped, and yet told how to come back


def test_the_margin_of_a_value() -> None:
    gate = supernet([0.5, 9.0, -1.0])
    table = torch.tensor([[1.0, -1], [0.2, 0.3], [0, 0], [0.5, 0], [0, 1], [1, 1], [0, 0], [0.1, 0], [1, -2]]).double()
    q = gate.importance(table, SCHEMA).tolist()
    assert q == pytest.approx([1.5, 0.0, -0.5, 0.0, math.inf, math.inf, 1.0, 1.1, 4.0], abs=1e-7)


def test_thresholds_are_trained_by_plain_gradient_descent_at_their_own_rate(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(monkeypatch)
    job = make_job("optem[generations=3,threshold_lr=0.07,penalty=0.003,supernet_epochs=3]", backbone=NET)
    select(job)
    call = watched.calls["supernet"]
    assert (call["epochs"], len(call["train"]), len(call["valid"])) == (3, N, 96)
    (step,) = call["steps"]
    profile = job.profile
    assert [(group.lr, group.weight_decay, group.optimizer) for group in step.groups] == [
        (profile.lr, profile.l2, None),
        (profile.lr, 0.0, None),
        (0.07, 0.0, "sgd"),
    ]
    gate, model, batch = call["gate"].eval(), call["model"].eval(), next(parts(job)[0].slices(64))
    assert [id(p) for p in step.groups[2].params] == [id(gate.thresholds)]
    with torch.no_grad():
        gate.thresholds.copy_(torch.linspace(-1, 1, 8))
    model.gate = gate
    bce = torch.nn.functional.binary_cross_entropy_with_logits(model(batch), batch.labels).item()
    assert step.loss(model, batch).item() - bce == pytest.approx(
        0.003 * sum(math.exp(-t) for t in np.linspace(-1, 1, 8)), rel=1e-3
    )


@pytest.mark.parametrize("epochs", [1, 7])
def test_a_threshold_can_go_as_far_in_an_epoch_as_at_the_authors_scale(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, epochs: int
) -> None:
    watched = Watched(monkeypatch)
    select(make_job(f"optem[generations=1,supernet_epochs={epochs}]"))
    call = watched.calls["supernet"]
    # SGD goes rate · slope a step; theirs: 36,672,493 rows in batches of 2048 at 1e-4
    assert call["steps"][0].groups[2].lr * math.ceil(N / BATCH) == pytest.approx(1e-4 * math.ceil(36_672_493 / 2048))
    assert call["burn_in"] == 1


def test_penalty_alone_moves_a_threshold_as_computed(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """With norms out of the slope's reach no gradient of the data arrives."""
    original = CellContext.model

    def large(ctx: Any, kept: Any = None) -> CTRModel:
        model = original(ctx, kept)
        with torch.no_grad():
            model.table.weight.add_(5.0)
        return model

    monkeypatch.setattr(CellContext, "model", large)
    watched = Watched(monkeypatch)
    select(make_job("optem[generations=1,supernet_epochs=1,threshold_lr=0.5,penalty=0.1]"))
    t = 0.0
    for _ in range(math.ceil(N / BATCH)):
        t += 0.5 * 0.1 * math.exp(-t)
    assert watched.thresholds.tolist() == pytest.approx([t] * 8, rel=1e-5)


@pytest.mark.parametrize("budget", ["native", "exact"])
@pytest.mark.parametrize("tau", [0.0, 0.3, 0.6])
def test_the_recorded_best_candidate_is_the_one_that_was_scored(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, budget: str, tau: float
) -> None:
    watched = Watched(monkeypatch)
    job = make_job(f"optem[{SHORT},budget={budget}]", tau=tau, backbone=NET)
    ctx, selection = select(job)
    mask, sizes = selection.value_mask, selection.dims
    assert mask is not None
    assert sizes is not None
    q = watched.table[:, :DIM].abs().sum(1) - watched.thresholds.repeat_interleave(
        torch.as_tensor(job.data.schema.cardinalities)
    )
    of_value = sizes.repeat_interleave(torch.as_tensor(job.data.schema.cardinalities))
    if budget == "native":
        assert torch.equal(mask, q > 0)
    else:
        k = len(q) * DIM - math.floor(tau * len(q) * DIM)
        assert k - DIM < int(of_value[mask].sum()) <= k
        assert mask.all() if tau == 0 else q[mask].min() >= q[~mask].max()
    assert ctx.notes["candidate_scalars"] == int(of_value[mask].sum())
    assert ctx.notes["sizes"] == sizes.tolist()
    model = watched.calls["supernet"]["model"]
    assert model.gate is None
    held = parts(job)[1]
    assert ctx.notes["candidate_rows"] == len(held)
    score = auc(predict(model.fold(mask.float(), sizes), held), held.labels)
    assert ctx.notes["candidate_auc"] == pytest.approx(score, abs=1e-12)
    assert ctx.notes["candidates"] <= 3 * 20


def test_a_field_s_score_is_what_its_size_adds_to_the_auc_of_candidates(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Found] = []
    monkeypatch.setattr(optem, "evolve", lambda *given: found.append(evolve(*given)) or found[-1])
    _, selection = select(make_job(f"optem[{SHORT}]"))
    _, by_field = select(make_job(f"optem[{SHORT},budget=field]"))
    assert selection.scores is not None
    sizes = np.array([genes for genes, _ in found[0].tried], dtype=float)
    gains = np.array([score for _, score in found[0].tried])
    residuals = gains - gains.mean() - (sizes - sizes.mean(0)) @ selection.scores
    uniform = len(sizes) * (DIM**2 - 1) / 12
    np.testing.assert_allclose((sizes - sizes.mean(0)).T @ residuals, uniform * selection.scores, atol=1e-12)
    assert np.array_equal(by_field.scores, selection.scores)
    assert (by_field.value_mask, by_field.dims, by_field.start) == (None, None, None)


def test_candidates_are_scored_on_a_bounded_stratified_slice(make_job: MakeJob) -> None:
    job = make_job(f"optem[{SHORT},search_rows=40]")
    ctx, _ = select(job)
    assert ctx.notes["candidate_rows"] == 40
    held = parts(job)[1]
    rows = method_of(job)._slice(context(job), held)  # type: ignore[attr-defined]
    assert torch.isin(rows.index, held.index).all()
    assert rows.labels.sum() == round(40 * held.positive_rate)


def test_rows_of_one_class_are_refused_before_any_training(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    job = make_job("optem")
    train, held = parts(job)
    ones = held.take((held.labels > 0.5).nonzero().squeeze(1))
    with pytest.raises(ConfigError, match=f"the {len(ones)} rows that candidates are scored on hold one class"):
        method_of(job).select(context(job), train, ones)
    assert watched.calls == {}


@pytest.mark.parametrize("init", ["fresh", "adapted"])
def test_retraining_starts_where_it_is_told_to(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, init: str) -> None:
    watched = Watched(monkeypatch)
    job = make_job(f"optem[{SHORT},init={init}]")
    ctx, selection = select(job)
    monkeypatch.setattr(CellContext, "fit", lambda ctx, model, *rest, **plan: FitLog())
    trained = method_of(job).train(ctx, *parts(job), selection)
    start = watched.table if init == "adapted" else context(job).model().table.weight.detach()
    assert selection.value_mask is not None
    assert selection.dims is not None
    of_value = selection.dims.repeat_interleave(torch.as_tensor(job.data.schema.cardinalities))
    kept = selection.value_mask[:, None] & (torch.arange(DIM) < of_value[:, None])
    assert torch.equal(trained.model.table.weight.detach(), start * kept)


@pytest.mark.parametrize("backbone", ["dnn[mlp=8]", "xdeepfm[mlp=8,cin=4-4]"])
@pytest.mark.parametrize("budget", ["native", "exact", "field"])
def test_cells_of_every_budget(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, backbone: str, budget: str) -> None:
    watched = Watched(monkeypatch)
    given = "" if budget == "native" else f",budget={budget}"
    job = make_job(f"optem[{SHORT}{given}]", tau=0.25, backbone=backbone)
    record = run_cell(job)
    assert record.status == "ok", record.traceback
    assert (record.budget, record.tau) == (budget, None if budget == "native" else 0.25)
    assert record.n_rows_used == 960
    assert {"select/supernet", "select/evolution"} <= set(record.phases)
    details, scores = record.selection, np.array(record.field_scores)
    assert details is not None
    if budget == "field":
        assert record.kept_fields == sorted(np.argsort(-scores, kind="stable")[:6].tolist())
        assert watched.calls["train"]["model"].kept == tuple(record.kept_fields)
        return
    assert record.kept_fields == list(range(8))
    assert details["kept_scalars"] == record.notes["candidate_scalars"]
    if budget == "exact":
        total = job.data.schema.vocabulary_rows * DIM
        k = total - math.floor(0.25 * total)
        assert k - DIM < details["kept_scalars"] <= k


def test_a_seed_decides_everything(make_job: MakeJob) -> None:
    first, again, other = (run_cell(make_job(f"optem[{SHORT}]", seed=seed)) for seed in (0, 0, 1))
    assert (first.logloss, first.field_scores, first.notes) == (again.logloss, again.field_scores, again.notes)
    assert first.logloss != other.logloss
    assert first.notes["sizes"] != other.notes["sizes"]


def test_an_interrupted_cell_does_not_search_again(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    plain = run_cell(make_job(f"optem[{SHORT}]"))
    job = make_job(f"optem[{SHORT}]", checkpoints=tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optem, "train_masked", lambda *rest: 1 / 0)
        assert run_cell(job).status == "failed"
    monkeypatch.setattr(optem, "evolve", lambda *rest: 1 / 0)
    resumed = run_cell(replace(job))
    assert resumed.resumed
    assert (resumed.logloss, resumed.field_scores) == (plain.logloss, plain.field_scores)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("penalty=0", ["penalty=0", "(0, inf)"]),
        ("threshold_lr=0", ["threshold_lr=0", "(0, inf)"]),
        ("threshold_lr=-1", ["threshold_lr=-1", "(0, inf)"]),
        ("supernet_epochs=0", ["supernet_epochs=0", "[1, inf)"]),
        ("generations=0", ["generations=0", "[1, inf)"]),
        ("mutation_rate=1.5", ["mutation_rate=1.5", "[0, 1]"]),
        ("elites=0", ["elites=0", "[1, inf)"]),
        ("search_rows=1", ["search_rows=1", "[2, inf)"]),
        ("mutations=0,crossovers=0", ["mutations=0", "crossovers=0", "[1, inf)"]),
        ("init=warm", ["init=warm", "fresh, adapted"]),
        ("budget=half", ["budget=half", "native, exact, field"]),
    ],
)
def test_bad_parameters_are_refused_before_anything_runs(given: str, said: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        choose_method(f"optem[{given}]")
    for text in ("optem", *said):
        assert text in str(caught.value)


def test_the_defaults_are_the_public_code_s_where_they_carry_over() -> None:
    params = OptEmParams()
    assert (params.penalty, params.mutations, params.crossovers, params.mutation_rate) == (1e-4, 10, 10, 0.1)
