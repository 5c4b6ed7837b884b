"""Training weights and gates in turn: weights on training rows, gates on rows held out from them, first order.

    every iteration         θ <- Adam on ℓ(θ, A; batch of the training rows)
    every f-th iteration    A <- Adam on ℓ(θ, A; batch of the held-out rows, twice the size)

A step of one never moves the other, and gates have no weight decay. Batch norm inside a gate normalises held-out
batches by their own moments, but keeps running statistics of training rows alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from bench.api import Batch, Context, CTRModel, Gate, Group, Rows, Step
from methods.parts.controllers import without_statistics

__all__ = ["bilevel_steps", "gate_interval", "joint_step", "linear_schedule"]

HELD_OUT_SCALE = 2
"""A gate step's rows as a multiple of the batch size."""
STEPS_PER_EPOCH = 10
"""Gate steps an epoch has at least, if it has as many iterations: chosen here, for small data."""


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


def gate_interval(ctx: Context[Any], rows: int, update_every: int) -> int:
    """Iterations between gate steps: ``update_every``, fewer where an epoch over ``rows`` has few iterations."""
    return max(1, min(update_every, math.ceil(rows / ctx.profile.batch_size) // STEPS_PER_EPOCH))


def linear_schedule(
    buffer: Tensor, start: float, end: float, share: float = 1.0, most: int | None = None
) -> Callable[[int, int], None]:
    """A schedule that moves ``buffer`` in place from ``start`` to ``end``, and leaves it there.

    Args:
        buffer: scalar.
        start: value at the first iteration.
        end: value at the last iteration of the way.
        share: share of the planned iterations that the way takes.
        most: its iterations at most; None: no bound.
    """

    def move(iteration: int, planned: int) -> None:
        way = max(1, round(share * planned) - 1)
        done = min(1.0, iteration / (way if most is None else min(way, most)))
        buffer.fill_(start + (end - start) * done)

    return move


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
