"""Updates that come to rows later leave every number as it would have been."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fit_rig import Constraint, Tower
from torch import Tensor

from bench.api import CTRModel, Field, FitLog, FitPlan, Group, Rows, Schema, Step
from bench.engine.evaluate import predict
from bench.engine.fast import windowed
from bench.engine.fast.adam import FusedAdam
from bench.engine.fast.gradient import BufferedRows
from bench.engine.fast.lazy import LazyAdam
from bench.engine.fast.windowed import ROWS_A_LOOKUP, WINDOW, HotRows, WindowedAdam, pays
from bench.engine.fit import Fitter
from bench.engine.steps import log_loss
from bench.engine.table import EmbeddingTable
from bench.engine.update import Updates
from bench.speed.gates import GATES

CARDINALITIES = (700, 20, 880)
DIM, BATCH = 3, 16
V = sum(CARDINALITIES)


@pytest.fixture(autouse=True)
def small_tables_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windowed, "LEAST_NUMBERS", 0)
    monkeypatch.setattr(windowed, "MOST", 1)
    monkeypatch.setattr(windowed, "BLOCK", 1024)


def make_rows(n: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Rows:
    draw = np.random.default_rng(seed)
    schema = Schema(tuple(Field(f"f{i}", "categorical", size) for i, size in enumerate(CARDINALITIES)))
    codes = np.stack([np.floor(size * draw.random(n) ** 3) for size in CARDINALITIES], axis=1)
    ids = torch.from_numpy((codes + schema.offsets[:-1]).astype(np.int32))
    labels = torch.from_numpy(draw.random(n) < 0.4).to(dtype)
    return Rows(schema, ids, None, labels, torch.arange(n))


def make_model(dtype: torch.dtype = torch.float64, dropout: float = 0.0) -> CTRModel:
    schema = make_rows(1).schema
    with torch.random.fork_rng():
        torch.manual_seed(3)
        backbone = Tower(len(CARDINALITIES), DIM, dropout)
        return CTRModel(schema, torch.randn(V, DIM + 1), backbone).to(dtype)


def make_step(model: CTRModel, **changes: Any) -> Step:
    groups = [
        Group([model.table.weight], 0.01, weight_decay=0.1),
        Group(model.network_parameters(), 0.02),
        Group([] if model.gate is None else list(model.gate.parameters()), 0.05),
    ]
    return Step(groups, **changes)


def make_fitter(model: CTRModel, rows: Rows, valid: Rows | None = None, **rest: Any) -> Fitter:
    further = {name: rest.pop(name) for name in ("schedule", "checkpoint", "on_step", "on_epoch") if name in rest}
    steps = rest.pop("steps", None) or [make_step(model)]
    plan = FitPlan(**{"epochs": 1, "batch_size": BATCH, **rest})
    return Fitter(model, rows, valid, steps, plan, torch.Generator().manual_seed(1), **further)


def adam(fitter: Fitter) -> FusedAdam:
    (found,) = fitter.updates.optimizers
    assert isinstance(found, FusedAdam)
    return found


def plainly(monkeypatch: pytest.MonkeyPatch, work: Callable[[], Any]) -> Any:
    """What ``work`` gives where no table is large enough."""
    with monkeypatch.context() as other:
        other.setattr(windowed, "LEAST_NUMBERS", 10**12)
        return work()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["fp32", "fp64"])
@pytest.mark.parametrize("clip", [None, 0.05], ids=["unclipped", "clipped"])
@pytest.mark.parametrize("gate", [None, *GATES])
def test_a_training_is_the_same_bit_for_bit(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, clip: float | None, gate: str | None
) -> None:
    """Three epochs of 13 steps, the last batch short; rates that decay; dropout; validations within an epoch."""
    rows, valid = make_rows(13 * BATCH - 5, dtype), make_rows(200, dtype, seed=1)

    def train() -> tuple[CTRModel, FitLog, dict[str, Any], list[str]]:
        model, most = make_model(dtype, dropout=0.3), []
        with torch.random.fork_rng():
            torch.manual_seed(5)
            model.gate = None if gate is None else GATES[gate](rows.schema, DIM).to(dtype)
            fitter = make_fitter(
                model, rows, valid, epochs=3, patience=9, evaluate_every=0.7, lr_decay=0.5, clip_norm=clip,
                on_step=lambda iteration, planned: most.append(kind(fitter.model.table)),
            )  # fmt: skip
            log = fitter.run()
        return model, log, adam(fitter).state_dict()["state"], most

    ours, log, state, held = train()
    theirs, plain_log, plain_state, plain_held = plainly(monkeypatch, train)
    assert set(held) == {"hot"}
    assert set(plain_held) == {"none", "dense"}
    assert {entry["lr"] for entry in log.history} > {0.01}  # it has decayed
    assert clip is not None or log.history == plain_log.history
    for (name, one), other in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        if clip is None:
            assert torch.equal(one, other), name
        else:  # the norm adds the rows in another order
            torch.testing.assert_close(one, other, rtol=1e-12 if dtype == torch.float64 else 1e-4, atol=1e-6)
    if clip is None:
        for one, other in zip(state.values(), plain_state.values(), strict=True):
            assert all(torch.equal(one[name], other[name]) for name in ("step", "exp_avg", "exp_avg_sq"))


def kind(table: EmbeddingTable) -> str:
    """Where the gradient of a table goes."""
    hot = isinstance(table.gradient, HotRows)
    assert not hot or table.parameter.grad is None
    return "hot" if hot else "none" if table.weight.grad is None else "dense"


def test_a_table_in_a_group_of_another_optimizer_is_left_alone() -> None:
    model = make_model()
    groups = [Group([model.table.weight], 0.1, optimizer="sgd"), Group(model.network_parameters(), 0.1)]
    fitter = make_fitter(model, make_rows(64), steps=[Step(groups)])
    assert isinstance(model.table.gradient, BufferedRows)
    fitter.run()


def test_scoring_within_a_window_leaves_the_training_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, others = make_rows(13 * BATCH), make_rows(900, seed=4)

    def train() -> tuple[CTRModel, list[Tensor]]:
        model, seen = make_model(), []

        def schedule(iteration: int, planned: int) -> None:
            if iteration in (3, 4):
                seen.append(predict(model, others))

        make_fitter(model, rows, schedule=schedule, by_lookup=True).run()
        return model, seen

    (ours, scores), (theirs, plain) = train(), plainly(monkeypatch, train)
    assert all(map(torch.equal, scores, plain))
    assert torch.equal(ours.table.weight, theirs.table.weight)


def test_rates_that_change_within_a_window_and_steps_in_turn_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights and gate in turn, the gate on rows of its own at every third step; another rate after every step."""
    rows, held = make_rows(20 * BATCH), make_rows(100, seed=2)

    def train() -> CTRModel:
        model = make_model()
        model.gate = GATES["value [V]"](rows.schema, DIM).double()

        def after(optimizer: torch.optim.Optimizer) -> None:
            for group in optimizer.param_groups:
                group["lr"] *= 0.8

        weights, gate = make_step(model), list(model.gate.parameters())
        first = Step(weights.groups[:2], after=after)
        second = Step([Group(gate, 0.05, maximize=True)], batches=held, every=3, batch_scale=2)
        fitter = make_fitter(model, rows, steps=[first, second], by_lookup=True)
        assert isinstance(model.table.gradient, BufferedRows) or isinstance(fitter.updates.of_step(1)[0], WindowedAdam)
        fitter.run()
        return model

    ours, theirs = train(), plainly(monkeypatch, train)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)


def test_an_epoch_ends_with_a_whole_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time then holds all of its work, whether or not it is validated."""
    model, lags = make_model(), []

    def on_step(iteration: int, planned: int) -> None:
        lags.append(model.table.gradient.ahead)

    make_fitter(model, make_rows(3 * BATCH), epochs=2, evaluate_every=2, on_step=on_step).run()
    assert lags == [False, True, True] * 2


def own_loss(model: CTRModel, batch: Any) -> Tensor:
    return log_loss(model, batch)


def test_only_trainings_whose_tables_nobody_else_reads_are_windowed() -> None:
    rows, model, player = make_rows(64), make_model(), Constraint()

    def optimizer(**rest: Any) -> type:
        fitter = make_fitter(model, rows, **rest)
        found = type(fitter.updates.optimizers[0])
        fitter.updates.finish()
        return found

    assert optimizer() is WindowedAdam
    assert optimizer(on_step=print, on_epoch=print, clip_norm=1.0) is WindowedAdam
    assert optimizer(lazy=True) is LazyAdam
    other = Step([Group([player.lam], 0.1, maximize=True)], loss=player.lam_loss)
    for rest in (
        {"schedule": print},
        {"steps": [make_step(model, loss=own_loss)]},
        {"steps": [make_step(model, after=print)]},
        {"steps": [make_step(model), other]},
    ):
        assert optimizer(**rest) is FusedAdam, rest
        assert optimizer(by_lookup=True, **rest) is WindowedAdam, rest
    assert optimizer(by_lookup=False) is FusedAdam
    most = V // ROWS_A_LOOKUP // len(CARDINALITIES)
    assert optimizer(batch_size=most) is WindowedAdam
    assert optimizer(batch_size=most + 1) is FusedAdam
    own = make_step(model, batches=rows, batch_scale=2)
    assert optimizer(batch_size=most // 2, steps=[own]) is WindowedAdam
    assert optimizer(batch_size=most // 2 + 1, steps=[own]) is FusedAdam
    assert optimizer(steps=[make_step(model), make_step(model)]) is FusedAdam  # both move the table
    plan = FitPlan(1, BATCH)
    assert type(Updates(model, [make_step(model)], plan, capturable=True).optimizers[0]) is FusedAdam


def test_tables_pay_from_a_size_on_and_with_few_lookups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    least = windowed.LEAST_NUMBERS // 16
    assert pays(torch.empty(least, 16), least // ROWS_A_LOOKUP - 1)
    assert not pays(torch.empty(least, 16), least // ROWS_A_LOOKUP)
    assert not pays(torch.empty(least - 1, 16), 1)
    assert not pays(torch.empty(least, 16, device="meta"), 1)


@pytest.mark.parametrize("stop_at", [5, 14, 30])
def test_a_training_stopped_within_a_window_goes_on_as_if_never_stopped(tmp_path: Path, stop_at: int) -> None:
    rows, valid = make_rows(13 * BATCH), make_rows(100, seed=1)

    def stop(iteration: int, planned: int) -> None:
        if iteration == stop_at:
            raise KeyboardInterrupt

    whole, stopped, resumed = (make_model() for _ in range(3))
    plan = {"epochs": 3, "patience": 9}
    log = make_fitter(whole, rows, valid, **plan).run()
    with pytest.raises(KeyboardInterrupt):
        make_fitter(stopped, rows, valid, checkpoint=tmp_path / "fit.pt", on_step=stop, **plan).run()
    again = make_fitter(resumed, rows, valid, checkpoint=tmp_path / "fit.pt", **plan).run()
    assert again.resumed is (stop_at > 13)
    assert again.history == log.history
    assert torch.equal(resumed.table.weight, whole.table.weight)


def test_a_training_stopped_within_a_window_leaves_a_whole_table(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(iteration: int, planned: int) -> None:
        if iteration == WINDOW + 3:
            raise KeyboardInterrupt

    def train() -> CTRModel:
        model = make_model()
        with pytest.raises(KeyboardInterrupt):
            make_fitter(model, make_rows(13 * BATCH), on_step=stop).run()
        assert isinstance(model.table.gradient, BufferedRows)
        return model

    assert torch.equal(train().table.weight, plainly(monkeypatch, train).table.weight)


def test_a_model_that_is_trained_can_be_copied_and_trained_again() -> None:
    model = make_model()
    make_fitter(model, make_rows(64)).run()
    twin = copy.deepcopy(model)
    for one in (model, twin):
        make_fitter(one, make_rows(64)).run()
    assert torch.equal(model.table.weight, twin.table.weight)
