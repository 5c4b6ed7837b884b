"""How far gates and controllers may go: what authors do in steps, carried over from the data they did it on.

Authors state rates, intervals and schedules in steps, and take the same ones on data of tens of millions of rows. On a
few thousand rows so few steps move no gate. So one rule holds for all methods: an epoch here stands for an epoch there.
With E* steps in an epoch of the authors' training, E in one here,

    schedules   a way that takes n steps there takes n / E* epochs here, so n E / E* steps
    interval    a gate step every f-th iteration, f = f* E / E* rounded down, within 1 and f*: as many gate steps an
                epoch as theirs, where an epoch has so many iterations
    rate        η = η* (E* / f*) / (E / f), so that rate times gate steps, the way that Adam can go in an epoch, is
                theirs; at least η*, and for Adam at most ``MOST`` times the profile's rate
    reading     no validation counts before the end of the first epoch: their code validates after whole epochs
    searches    where gates only decide what a new training keeps, and the bound on the rate lets them go as far as
                theirs only in s epochs, the schedule takes s times as long, so that they harden when they have
                something to say; gates that stay in the model are tested as they are

At the authors' own scale all of them give the authors' numbers. Parameters of a method that name a rate or an interval
go before the rule. ``bench/PROTOCOL.md`` has the numbers of every method at 10,000 to 1,000,000 rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from bench.api import Context, FitLog

__all__ = [
    "CRITEO_ROWS",
    "MOST",
    "READ_FROM",
    "AuthorsTraining",
    "GatePlan",
    "gate_plan",
    "largest_plan",
    "linear_way",
    "way_in_steps",
]

CRITEO_ROWS = 36_672_493
"""Training rows of Criteo at 8 : 1 : 1, on which all these authors report."""
MOST = 10.0
"""A gate's Adam rate as a multiple of the profile's, at most. Chosen here by validation on data sets that no reference
table shows (``bench/PROTOCOL.md``): above it single rows decide."""
READ_FROM = 1.0
"""Epochs of a gated training before its first validation."""


@dataclass(frozen=True)
class AuthorsTraining:
    """The training that a method's settings were made for."""

    batch: int
    """Rows a step of the weights."""
    lr: float
    """Rate of the gates."""
    every: int = 1
    """Iterations between gate steps."""
    rows: int = CRITEO_ROWS

    @property
    def steps(self) -> int:
        """Iterations of an epoch, E*."""
        return math.ceil(self.rows / self.batch)


@dataclass(frozen=True)
class GatePlan:
    """What the rule gives on some data."""

    every: int
    """Iterations between gate steps, f."""
    lr: float
    """Rate of the gates, η."""
    steps: int
    """Iterations of an epoch, E."""
    slower: float = 1.0
    """Epochs in which the gates can go as far as the authors' in one: above 1 where the bound on the rate holds."""

    def told(self, log: FitLog, travel: float) -> dict[str, float]:
        """What the record says of the gates that are tested (``Remarks.gates``).

        Args:
            log: the gated training.
            travel: how far gates have gone, in units of what they must get past to say something: the spread of
                their random start, their noise, or the distance from the decision. Root mean square over gates; of
                gates that place fields row by row the share of places that have changed, of what chance would change.
        """
        steps = round(log.best_epoch * self.steps) // self.every
        return {"steps": steps, "every": self.every, "lr": self.lr, "travel": travel}


def gate_plan(
    ctx: Context[Any],
    authors: AuthorsTraining,
    rows: int,
    *,
    every: int | None = None,
    lr: float | None = None,
    bounded: bool = True,
) -> GatePlan:
    """Interval and rate for a training on ``rows`` rows with the profile's batches.

    Args:
        ctx: the cell's context.
        authors: what they did.
        rows: training rows of the weights.
        every: f as the user set it; None: by the rule.
        lr: η as the user set it; None: by the rule.
        bounded: whether ``MOST`` holds; SGD's steps follow the gradient, and need no bound.
    """
    steps = math.ceil(rows / ctx.profile.batch_size)
    if every is None:
        every = max(1, min(authors.every, authors.every * steps // authors.steps))
    if lr is None:
        share = (authors.steps / authors.every) / (steps / every)
        lr = authors.lr * max(1.0, share)
        if bounded:
            lr = max(authors.lr, min(lr, MOST * ctx.profile.lr))
    theirs, ours = authors.lr * (authors.steps / authors.every), lr * (steps / every)
    return GatePlan(every, lr, steps, max(1.0, theirs / ours))


def way_in_steps(authors: AuthorsTraining, their_steps: float, steps: int) -> int:
    """The iterations here, ``steps`` to an epoch, that stand for ``their_steps``; at least one."""
    return max(1, round(their_steps * steps / authors.steps))


def linear_way(buffer: Tensor, start: float, end: float, iterations: int) -> Callable[[int, int], None]:
    """A schedule that moves the scalar ``buffer`` in place from ``start`` to ``end``, and leaves it there.

    It is at ``start`` in the first iteration and at ``end`` after ``iterations`` of them.
    """

    def move(iteration: int, planned: int) -> None:
        buffer.fill_(start + (end - start) * min(1.0, iteration / iterations))

    return move


def largest_plan(ctx: Context[Any], rows: int, lr: float | None = None) -> GatePlan:
    """A gate step in every iteration, at the most that the rule allows: for gates of no authors on data of this kind.

    ``lr`` is the rate as the user set it.
    """
    rate = MOST * ctx.profile.lr if lr is None else lr
    return GatePlan(1, rate, math.ceil(rows / ctx.profile.batch_size))
