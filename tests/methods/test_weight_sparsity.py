"""Masks over single scalars: the count is exact whatever moves, and SparseRec without its claims is DSL."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench import plugins
from bench.api import Context, CTRModel, GradientSums, Rows, Trained
from bench.budget import n_keep
from bench.engine import update
from bench.engine.clock import Clock
from bench.engine.weight_mask import WeightMask
from bench.run.cell import run_cell
from bench.run.context import CellContext
from bench.run.job import Job
from methods.dsl import DSLParams
from methods.parts import nmf_mask
from methods.parts.nmf_mask import Factors
from methods.parts.weight_sparsity import Exchange, Growth, Moves, largest, largest_mask
from methods.sparserec import Gathered

MakeJob = Callable[..., Job]
NET = "dnn[mlp=8]"
OFF = "mask_init=uniform,growth=last,backward=dense"
OFTEN = "update_every=1"
METHODS = [f"dsl[{OFTEN}]", f"sparserec[{OFTEN}]", f"sparserec[{OFTEN},backward=dense]", "magnitude"]


class Watched:
    """Sees every exchange and, after every step, the masked table."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.exchanges: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.masks: list[torch.Tensor] = []
        self.strays: list[float] = []
        exchange, after = WeightMask.exchange, Exchange.after

        def exchanged(mask: WeightMask, drop: torch.Tensor, grow: torch.Tensor, *rest: Any) -> None:
            before = mask.active.view(-1)
            assert before[drop].all()
            assert not before[grow].any()
            exchange(mask, drop, grow, *rest)
            self.exchanges.append((drop, grow))
            self.masks.append(mask.active.clone())

        def stepped(moving: Exchange, optimizer: torch.optim.Optimizer) -> None:
            after(moving, optimizer)
            (table,), (mask,) = moving._table, moving._mask
            table.settle()
            moments = [one for one in optimizer.state[table.parameter].values() if one.shape == table.weight.shape]
            for tensor in (table.weight.detach(), *moments):
                self.strays.append(float((tensor[:, : mask.dim] * ~mask.active).abs().max()))

        monkeypatch.setattr(WeightMask, "exchange", exchanged)
        monkeypatch.setattr(Exchange, "after", stepped)


def trained(job: Job) -> CTRModel:
    ctx = job.context(Clock(job.device))
    method = plugins.methods().load(job.method.name)(job.method.params, job.method.entry)
    selection = method.select(ctx, job.data.train, job.data.valid)
    found: Trained = method.train(ctx, job.data.train, job.data.valid, selection)
    return found.model


def scalars(model: CTRModel, tau: float) -> int:
    return n_keep(tau, model.schema.vocabulary_rows * model.dim)


def mask_of(model: CTRModel) -> torch.Tensor:
    assert model.table.mask is not None
    return model.table.mask.active


@pytest.mark.parametrize("k", range(8))
def test_the_largest_are_exactly_as_many_as_asked_and_ties_go_to_the_lower_place(k: int) -> None:
    values = torch.tensor([0.0, 3, 1, 3, 1, 1, -2])
    wanted = sorted(sorted(range(7), key=lambda place: (-float(values[place]), place))[:k])
    assert largest(values, k).tolist() == wanted


def test_a_table_of_ties_is_cut_to_the_count() -> None:
    mask = largest_mask(torch.ones(3, 2), 4)
    assert mask.tolist() == [[True, True], [True, True], [False, False]]


def test_the_share_falls_along_a_cosine_and_the_mask_stays_at_the_end() -> None:
    moves = DSLParams(first_share=0.4, last_share=0.2, updates_per_epoch=4).moves(steps=40, epochs=20)
    assert (moves.every, moves.end) == (10, 80)
    assert [moves.share(t) for t in (0, 40, 80)] == pytest.approx([0.4, 0.3, 0.2])
    assert [t for t in range(1, 200) if moves.due(t)] == [10, 20, 30, 40, 50, 60, 70]
    short = DSLParams().moves(steps=40, epochs=2)
    assert short.end == 0.75 * 2 * 40
    assert DSLParams(update_every=7).moves(steps=40, epochs=2).every == 7


def test_an_exchange_by_hand(make_job: MakeJob) -> None:
    model = make_job("no-selection", backbone=NET).context(Clock(torch.device("cpu"))).model()
    width = model.dim
    active = torch.zeros(model.schema.vocabulary_rows, width, dtype=torch.bool)
    active[0, :2], active[1, :2] = True, True
    mask = model.table.mask_weights(active)
    with torch.no_grad():
        model.table.weight[0, :2], model.table.weight[1, :2] = torch.tensor([0.1, -0.4]), torch.tensor([-0.2, 0.3])
    growth = Growth(GradientSums(mask, model.table.weight.detach()))
    exchange = Exchange(model, Moves(every=1, end=100, first=0.5, last=0.5), growth, grace=True)
    growth.sums.sums[0, :4] = torch.tensor([9.0, 0, 0.5, -0.6])  # what is active does not count
    growth.sums.sums[5, 0] = -2.0
    optimizer = torch.optim.SGD([model.table.weight])
    exchange.begin(0, 100)
    exchange.after(optimizer)  # half of 4: |0.1| and |-0.2| go; -2 and -0.6 come
    place = active.nonzero().tolist()
    assert mask.active.nonzero().tolist() == [[0, 1], [0, 3], [1, 1], [5, 0]] != place
    assert not growth.sums.sums.any()
    growth.sums.sums[7, :3] = torch.tensor([1.0, 3, 2])
    exchange.begin(1, 100)
    exchange.after(optimizer)  # newcomers are at zero and spared: 0.3 and -0.4 go
    assert mask.active.nonzero().tolist() == [[0, 3], [5, 0], [7, 1], [7, 2]]
    growth.sums.sums[9, 0] = 1.0
    exchange.begin(2, 100)
    exchange.after(optimizer)  # one has a gradient, so one goes: the first of those that tie at zero
    assert mask.active.nonzero().tolist() == [[5, 0], [7, 1], [7, 2], [9, 0]]


@pytest.mark.parametrize("where", ["gradient", "weight"])
def test_a_training_that_diverges_moves_no_mask(where: str, make_job: MakeJob) -> None:
    model = make_job("no-selection", backbone=NET).context(Clock(torch.device("cpu"))).model()
    active = torch.zeros(model.schema.vocabulary_rows, model.dim, dtype=torch.bool)
    active[:4] = True
    growth = Growth(GradientSums(model.table.mask_weights(active), model.table.weight.detach()))
    exchange = Exchange(model, Moves(every=1, end=100, first=0.5, last=0.5), growth, grace=True)
    growth.sums.sums[5, :3] = 1.0
    exchange.begin(0, 100)
    with torch.no_grad():
        (growth.sums.sums if where == "gradient" else model.table.weight)[5 if where == "gradient" else 0, 1] = math.inf
    exchange.after(torch.optim.SGD([model.table.weight]))
    assert torch.equal(mask_of(model), active)
    growth.sums.sums[5, :3] = 1.0
    with torch.no_grad():
        model.table.weight[0, 1] = 0.0
    exchange.begin(1, 100)
    exchange.after(torch.optim.SGD([model.table.weight]))
    assert mask_of(model)[5, :3].all()


@pytest.mark.parametrize("tau", [0.0, 0.3, 0.95])
@pytest.mark.parametrize("method", METHODS)
def test_the_budget_is_exact_at_every_update(
    method: str, tau: float, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(monkeypatch)
    model = trained(make_job(method, tau=tau, backbone=NET, epochs=3))
    k = scalars(model, tau)
    assert {int(mask.sum()) for mask in (*watched.masks, mask_of(model))} == {k}
    assert not (model.table.weight.detach()[:, : model.dim] * ~mask_of(model)).any()
    assert not any(watched.strays)
    moving = method != "magnitude"
    assert (len(watched.strays) > 0, bool(watched.exchanges)) == (moving, moving)
    assert any(len(drop) for drop, _ in watched.exchanges) == (moving and tau > 0)


@pytest.mark.parametrize("method", METHODS[:3])
def test_what_goes_does_not_come_at_once_and_what_has_come_does_not_go_next(
    method: str, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(monkeypatch)
    trained(make_job(method, backbone=NET, epochs=3))
    sets = [(set(drop.tolist()), set(grow.tolist())) for drop, grow in watched.exchanges]
    assert len(sets) > 2
    assert all(len(drop) == len(grow) and not drop & grow for drop, grow in sets)
    assert not any(grow & drop for (_, grow), (drop, _) in itertools.pairwise(sets))


@pytest.mark.parametrize("rest", ["", ",grace=false,first_share=0.9"])
def test_sparserec_without_its_claims_is_dsl_mask_for_mask(
    rest: str, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched, found = Watched(monkeypatch), []
    for method in (f"dsl[{OFTEN}{rest}]", f"sparserec[{OFTEN},{OFF}{rest}]"):
        model = trained(make_job(method, backbone=NET, epochs=3))
        found.append((list(watched.masks), model.state_dict()))
        watched.masks.clear()
    (masks, weights), (other_masks, other_weights) = found
    assert len(masks) == len(other_masks) > 2
    assert all(map(torch.equal, masks, other_masks))
    assert weights.keys() == other_weights.keys()
    assert all(torch.equal(weights[name], other_weights[name]) for name in weights)


@pytest.mark.parametrize("claim", ["mask_init=nmf", "growth=accum", "backward=sampled"])
def test_each_claim_alone_gives_another_mask(claim: str, make_job: MakeJob) -> None:
    name = claim.partition("=")[0]
    others = ",".join(text for text in OFF.split(",") if not text.startswith(name))
    dsl = trained(make_job("dsl[update_every=2]", backbone=NET))  # two steps an exchange: a sum is not the last one
    own = trained(make_job(f"sparserec[update_every=2,{claim},{others}]", backbone=NET))
    assert not torch.equal(mask_of(dsl), mask_of(own))


class _Stopped(Exception):
    """The power goes."""


@pytest.mark.parametrize("method", ["dsl[update_every=2", "sparserec[update_every=2"])
def test_a_training_that_is_resumed_while_its_mask_moves_ends_the_same(
    method: str, make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of methods, validations and with them checkpoints wait until the mask stays; here they do not."""

    def job(**more: Any) -> Job:
        return make_job(f"{method},mask_epochs=9]", backbone=NET, epochs=8, **more)

    fit = CellContext.fit
    monkeypatch.setattr(CellContext, "fit", lambda *given, **plan: fit(*given, **plan | {"burn_in": 0, "patience": 9}))
    watched = Watched(monkeypatch)
    whole = run_cell(job())
    masks = list(watched.masks)
    watched.masks.clear()
    begin = Exchange.begin

    def stopping(moving: Exchange, iteration: int, planned: int) -> None:
        if iteration == 9:  # 4 steps an epoch: the checkpoint is of iteration 8
            raise _Stopped
        begin(moving, iteration, planned)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Exchange, "begin", stopping)
        assert run_cell(job(checkpoints=tmp_path)).status == "failed"
    watched.masks.clear()
    again = run_cell(job(checkpoints=tmp_path))
    assert again.resumed
    assert len(watched.masks) == 7  # after steps 10, 12, ..., 22 of 24 in three quarters of 8 epochs
    assert all(map(torch.equal, watched.masks, masks[-7:]))
    assert {int(mask.sum()) for mask in watched.masks} == {int(masks[0].sum())}
    assert (again.auc, again.logloss) == (whole.auc, whole.logloss)
    assert not any(watched.strays)


@pytest.mark.parametrize("method", ["dsl[update_every=3]", "sparserec[update_every=3]"])
def test_updates_that_are_put_off_change_no_mask(
    method: str, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    dense = trained(make_job(method, backbone=NET))
    monkeypatch.setattr(update, "pays", lambda weight, lookups: True)
    windowed = trained(make_job(method, backbone=NET))
    assert torch.equal(mask_of(dense), mask_of(windowed))
    torch.testing.assert_close(dense.table.weight, windowed.table.weight, rtol=1e-5, atol=1e-6)


def nmf(job: Job, active: int, seed: int = 0, dim: int = 4) -> torch.Tensor:
    how = Factors(rows=500, anchors=64, evenness=0.5, sweeps=10)
    return nmf_mask.nmf_mask(job.data.train, dim, active, how, torch.Generator().manual_seed(seed))


def test_the_factorised_mask_is_the_same_for_one_seed_and_has_exactly_k_scalars(make_job: MakeJob) -> None:
    job = make_job("sparserec")
    total = job.data.schema.vocabulary_rows * 4
    for active in (1, total // 3, total - 1, total):
        mask = nmf(job, active)
        assert int(mask.sum()) == active
        assert torch.equal(mask, nmf(job, active))
    assert not torch.equal(nmf(job, total // 3), nmf(job, total // 3, seed=1))


def test_wide_rows_are_fewer(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, how = make_job("sparserec").data.train, Factors(rows=500, anchors=64, evenness=0.5, sweeps=10)
    assert how.sampled(rows) == 500
    columns = len(rows.schema.column_fields)
    monkeypatch.setattr(nmf_mask, "LOOKUPS", 100 * columns + columns - 1)
    assert how.sampled(rows) == 100
    monkeypatch.setattr(nmf_mask, "LOOKUPS", columns - 1)
    assert how.sampled(rows) == 1


def test_every_value_of_the_sample_has_a_scalar_where_the_budget_allows_and_others_have_their_share(
    rows_of: Callable[..., Rows],
) -> None:
    rng = np.random.default_rng(0)
    codes = np.stack([rng.integers(50, size=400), rng.integers(50, size=400)], axis=1)  # 50 of 100 values occur
    rows = rows_of(codes, np.array([100, 100]), rng.integers(2, size=400))
    mask = nmf_mask.nmf_mask(rows, 4, 320, Factors(400, 32, 0.5, 10), torch.Generator().manual_seed(0))
    by_row = mask.sum(1)
    seen = torch.zeros(200, dtype=torch.bool)
    seen[torch.from_numpy(np.unique(codes + np.array([0, 100])))] = True
    assert by_row[seen].min() >= 1
    assert int(by_row[~seen].sum()) == math.floor(320 * int((~seen).sum()) / 200)


def test_values_that_occur_together_share_coordinates(rows_of: Callable[..., Rows]) -> None:
    draw = np.random.default_rng(0)
    world = draw.integers(2, size=600)  # values 0 to 4 of all fields occur in one world, 5 to 9 in the other
    codes = draw.integers(5, size=(600, 3)) + 5 * world[:, None]
    rows = rows_of(codes, np.array([10, 10, 10]), draw.integers(2, size=600))
    mask = nmf_mask.nmf_mask(rows, 2, 30, Factors(600, 30, 0.5, 50), torch.Generator().manual_seed(0))
    coordinate = mask.float().argmax(1).view(3, 2, 5)
    assert (mask.sum(1) == 1).all()
    assert len(set(coordinate[:, 0].flatten().tolist())) == 1
    assert len(set(coordinate[:, 1].flatten().tolist())) == 1
    assert coordinate[0, 0, 0] != coordinate[0, 1, 0]


def test_the_affinity_is_the_positive_part_of_pointwise_mutual_information() -> None:
    counts = np.array([[4.0, 1], [1, 2]])
    found = nmf_mask._ppmi(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), counts.ravel(), (2, 2)).toarray()
    smoothed = counts.sum(0) ** 0.75
    wanted = np.maximum(0, np.log(counts * smoothed.sum() / (counts.sum(1, keepdims=True) * smoothed)))
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert (wanted > 0).sum() == 2


def test_magnitude_keeps_the_largest_of_the_trained_scalars(make_job: MakeJob) -> None:
    job = make_job("magnitude", tau=0.8, backbone=NET)
    ctx: Context[Any] = job.context(Clock(job.device))
    method = plugins.methods().load("magnitude")(job.method.params, job.method.entry)
    selection = method.select(ctx, job.data.train, job.data.valid)
    sizes = selection.start.table.weight.detach()[:, : selection.start.dim].abs()
    kept = sizes[selection.weight_mask]
    assert len(kept) == scalars(selection.start, 0.8)
    assert kept.min() >= sizes[~selection.weight_mask].max()


def test_rows_are_drawn_without_replacement_and_one_without_active_scalars_may_come_back() -> None:
    weight = torch.zeros(20, 2)
    sums = GradientSums(WeightMask(torch.zeros(20, 2, dtype=torch.bool)), weight, watched=5)
    counts = torch.full((20,), 3.0, dtype=torch.float64)
    counts[19] = 0  # does not occur
    gathered, drawn = Gathered(sums, True, counts, seed=0), set[int]()
    assert sums.rows is not None
    assert sums.squares is not None
    for _ in range(40):
        drawn |= set(sums.rows.tolist())
        assert len(set(sums.rows.tolist())) == 5
        sums.squares[0] = 4.0  # the one row with a gradient: norm 2, mean 0.1, so 20 times the mean
        gathered.moved()
    assert drawn == set(range(19))
    torch.testing.assert_close(gathered.importance[0], torch.tensor(20.0))  # halfway there 40 times
    assert not gathered.importance[1:].any()
