from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from bench.api import CTRModel, Rows
from bench.engine.clock import Clock
from bench.engine.steps import log_loss
from bench.run.context import CellContext
from bench.run.job import Job
from methods.adafs import ControllerGate, ControllerShape
from methods.parts.bilevel import bilevel_steps, joint_step

MakeJob = Callable[..., Job]
SHAPE = ControllerShape(None, "linear", 0.0, True, "controller")


@pytest.fixture
def gated(make_job: MakeJob) -> tuple[CellContext[Any], CTRModel, Rows, Rows]:
    """A context, a model with a controller, training rows and held-out rows."""
    job = make_job("no-selection")
    ctx = job.context(Clock(job.device))
    model = ctx.model()
    model.gate = ControllerGate(ctx.schema.n_fields, model.dim, SHAPE, ctx.rng("controller"))
    rows = job.data.train
    return ctx, model, rows.take(torch.arange(800)), rows.take(torch.arange(800, 960))


def copies(model: CTRModel) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def changed(model: CTRModel, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


def parameters(model: CTRModel, of_gate: bool) -> set[str]:
    return {name for name, _ in model.named_parameters() if name.startswith("gate.") == of_gate}


class Watched:
    """Counts what each step is given, and what it changes."""

    def __init__(self, model: CTRModel, steps: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
        from bench.engine.update import Updates

        self.sizes: list[list[int]] = [[] for _ in steps]
        self.changes: list[set[str]] = [set() for _ in steps]
        original = Updates.run

        def run(updates: Updates, number: int, batch: Any, iteration: int) -> None:
            before = copies(model)
            original(updates, number, batch, iteration)
            self.sizes[number].append(len(batch))
            self.changes[number] |= changed(model, before)

        monkeypatch.setattr(Updates, "run", run)


def test_the_two_steps_move_their_own_parameters_on_their_own_rows(
    gated: tuple[Any, CTRModel, Rows, Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx, model, train, held = gated
    steps = bilevel_steps(ctx, model, held, 1e-2, every=3)
    watched = Watched(model, steps, monkeypatch)
    ctx.fit(model, train, steps=steps, epochs=2, batch_size=80)
    assert watched.sizes == [[80] * 20, [160] * 6]  # after iterations 3, 6, ..., 18; twice the rows
    buffers = {name for name, _ in model.named_buffers()}
    assert buffers
    assert watched.changes[0] - buffers == parameters(model, of_gate=False)
    assert watched.changes[1] == parameters(model, of_gate=True)  # and no running statistics


def test_running_statistics_are_those_of_the_training_rows(gated: tuple[Any, CTRModel, Rows, Rows]) -> None:
    ctx, model, train, held = gated
    assert isinstance(model.gate, ControllerGate)
    e = model.embed(next(train.slices(80)))[0].detach()
    steps = bilevel_steps(ctx, model, held, 1e-2, every=1)
    torch.manual_seed(0)
    loss = steps[1].loss(model.train(), next(held.slices(160)))
    assert torch.equal(model.gate.channels.running_mean, torch.zeros(model.dim))
    torch.manual_seed(0)  # dropout
    assert loss.item() == log_loss(model, next(held.slices(160))).item()
    model.gate.channels.batches.zero_()
    steps[0].loss(model, next(train.slices(80)))
    torch.testing.assert_close(model.gate.channels.running_mean, e.mean((0, 1)))


def test_the_gate_has_a_rate_of_its_own_and_no_weight_decay(gated: tuple[Any, CTRModel, Rows, Rows]) -> None:
    ctx, model, _, held = gated
    weights, gate = bilevel_steps(ctx, model, held, 0.02, every=4)
    assert [(group.lr, group.weight_decay) for group in gate.groups] == [(0.02, 0.0)]
    assert {id(p) for p in gate.params} == {id(p) for p in model.gate.parameters()}  # type: ignore[union-attr]
    assert {id(p) for p in weights.params}.isdisjoint({id(p) for p in gate.params})
    (joint,) = joint_step(ctx, model, 0.02)
    assert {id(p) for p in joint.params} == {id(p) for p in model.parameters()}
    assert [(group.lr, group.weight_decay) for group in joint.groups][-1] == (0.02, 0.0)
    assert joint.batches is None


def test_parameters_of_the_model_inside_a_gate_learn_with_the_weights(
    gated: tuple[Any, CTRModel, Rows, Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx, model, train, held = gated
    assert isinstance(model.gate, ControllerGate)
    of_model = list(model.gate.channels.parameters())
    names = {"gate.channels.weight", "gate.channels.bias"}
    steps = bilevel_steps(ctx, model, held, 1e-2, every=3, of_model=of_model)
    watched = Watched(model, steps, monkeypatch)
    ctx.fit(model, train, steps=steps, epochs=2, batch_size=80)
    buffers = {name for name, _ in model.named_buffers()}
    assert watched.changes[0] - buffers == parameters(model, of_gate=False) | names
    assert watched.changes[1] == parameters(model, of_gate=True) - names
    (joint,) = joint_step(ctx, model, 0.02, of_model)
    assert [param for group in joint.groups[-2:] for param in group.params][:2] == of_model
    assert [group.lr for group in joint.groups[-2:]] == [ctx.profile.lr, 0.02]
    assert len({id(p) for p in joint.params}) == len(joint.params) == len(list(model.parameters()))


def test_a_model_without_a_gate_is_refused(gated: tuple[Any, CTRModel, Rows, Rows]) -> None:
    ctx, model, _, held = gated
    model.gate = None
    with pytest.raises(ValueError, match="no gate"):
        bilevel_steps(ctx, model, held, 0.02, every=4)
