"""Training weights and gates in turn: weights on training rows, gates on rows held out from them, first order.

    every iteration         θ <- Adam on ℓ(θ, A; batch of the training rows)
    every f-th iteration    A <- Adam on ℓ(θ, A; batch of the held-out rows, twice the size)

A step of one never moves the other, and gates have no weight decay. Batch norm inside a gate normalises held-out
batches by their own moments, but keeps running statistics of training rows alone. f and the rate of the gates:
``methods/parts/gate_budget.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from bench.api import Batch, Context, CTRModel, Gate, Group, Rows, Step
from methods.parts.controllers import without_statistics

__all__ = ["bilevel_steps", "joint_step"]

HELD_OUT_SCALE = 2
"""A gate step's rows as a multiple of the batch size."""


def bilevel_steps(
    ctx: Context[Any],
    model: CTRModel,
    held: Rows,
    gate_lr: float,
    every: int,
    of_model: Sequence[nn.Parameter] = (),
) -> list[Step]:
    """The weights' step, and the gate's on ``held`` at every ``every``-th iteration.

    ``of_model`` are parameters inside the gate that belong to the weights: their step trains them, at its rate.
    """
    gate = _gate(model)
    weights = _with_weights(ctx, model, of_model)

    def loss(model: CTRModel, batch: Batch) -> Tensor:
        with without_statistics(gate):
            return weights.loss(model, batch)

    groups = [Group(_own(gate, of_model), gate_lr)]
    return [weights, Step(groups, loss, name="gate", batches=held, every=every, batch_scale=HELD_OUT_SCALE)]


def joint_step(ctx: Context[Any], model: CTRModel, gate_lr: float, of_model: Sequence[nn.Parameter] = ()) -> list[Step]:
    """One step of weights and gate together, on the training rows; ``of_model`` as in ``bilevel_steps``."""
    weights = _with_weights(ctx, model, of_model)
    return [replace(weights, groups=[*weights.groups, Group(_own(_gate(model), of_model), gate_lr)])]


def _with_weights(ctx: Context[Any], model: CTRModel, more: Sequence[nn.Parameter]) -> Step:
    """The weights' step, which trains ``more`` too."""
    base = ctx.step(model)
    return replace(base, groups=[*base.groups, *([Group(list(more), ctx.profile.lr)] if more else [])])


def _own(gate: Gate, of_model: Sequence[nn.Parameter]) -> list[nn.Parameter]:
    """Parameters of the gate that are none of the weights'."""
    others = {id(param) for param in of_model}
    return [param for param in gate.parameters() if id(param) not in others]


def _gate(model: CTRModel) -> Gate:
    if model.gate is None:
        raise ValueError("the model has no gate to train")
    return model.gate
