"""What a gate does to training rows in evaluation mode, beside what it does to them in training mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.engine.model import CTRModel, Gate
from bench.rows.rows import Rows

__all__ = ["GateModes", "gates_watched", "look"]

ROWS = 1000
"""Training rows that a gate is looked at on."""
DRAWS = 256
"""Forward passes in training mode of a gate that draws; half of them serve to check the other half."""
REPLACED_DRAWS = 16
"""Draws of what a gate puts in a field's place; each is a mean over all rows."""
SURE = 0.9
"""Correlation of the two halves from which on the means of a gate that draws are more than noise."""


@dataclass(frozen=True)
class GateModes:
    """Factors of one gate after a training: means over rows [F], and how far the modes go together."""

    fit: str
    """Name of the training."""
    evaluated: Tensor
    """Mean factor of each field in evaluation mode."""
    trained: Tensor
    """The same in training mode."""
    noise: Tensor
    """Standard deviation of a draw in training mode, mean over rows [F]; 0 where nothing is drawn."""
    together: float
    """How far what a row gets in evaluation mode depends on the rows that are scored with it: the largest difference
    that other rows make, as a share of the largest number."""
    instead: float | None
    """Root mean square difference between the modes in what a gate that replaces puts in a field's place, mean over
    rows, as a share of its root mean square in training mode; None of one that only multiplies."""
    slope: float | None
    """By how much a factor differs between rows and fields in evaluation mode where it differs by 1 in training mode;
    None where in training mode none differs, or by noise alone."""

    @property
    def gap(self) -> float:
        """Root mean square over fields of evaluation less training, in mean factors of training mode."""
        return self._share(self.evaluated - self.trained)

    @property
    def spread(self) -> float:
        """That of the noise of a draw."""
        return self._share(self.noise)

    def _share(self, by_field: Tensor) -> float:
        return float(by_field.square().mean().sqrt() / self.trained.abs().mean().clamp_min(1e-12))


@contextmanager
def gates_watched(ctx: Any, found: list[GateModes]) -> Iterator[None]:
    """Look at the gate of every model that ``ctx`` has trained."""
    fit = ctx.fit

    def looked_at(model: CTRModel, train: Rows, *args: Any, **plan: Any) -> Any:
        log = fit(model, train, *args, **plan)
        if model.gate is not None:
            found.append(look(model, model.gate, train, plan.get("name", "fit")))
        return log

    ctx.fit = looked_at
    try:
        yield
    finally:
        del ctx.fit


@torch.no_grad()
def look(model: CTRModel, gate: Gate, rows: Rows, fit: str) -> GateModes:
    """Run the gate of ``model`` in both modes and leave it as it was; ``fit`` names the training it comes from."""
    batch = next(model.view(rows).slices(ROWS))
    e, linear = model.embed(batch)
    was_training, state = gate.training, {name: value.clone() for name, value in gate.state_dict().items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        evaluated = _by_row(gate.eval(), e, batch.ids)
        together = _together(gate, e, linear, batch.ids)
        instead = _replaced(gate, e, linear, batch.ids)
        gate.train()
        before = torch.get_rng_state()
        drawn = [_by_row(gate, e, batch.ids)]
        rest = 1 if torch.equal(before, torch.get_rng_state()) else DRAWS - 1
        drawn += [_by_row(gate, e, batch.ids) for _ in range(rest)]
        gap = None if instead is None else _far(instead, gate, e, linear, batch.ids)
    gate.load_state_dict(state)
    gate.train(was_training)
    every = torch.stack(drawn)  # [draws, B, F]
    noise, trained = every.std(0, correction=0).mean(0), every.mean((0, 1))
    slope = _slope(evaluated, every[::2].mean(0), every[1::2].mean(0))
    return GateModes(fit, evaluated.mean(0), trained, noise, together, gap, slope)


def _by_row(gate: Gate, e: Tensor, ids: Tensor) -> Tensor:
    """Factors of rows and fields, float64 [B, F]; of a field's coordinates the mean."""
    z: Tensor = gate(e, ids).double()
    if gate.shape in ("FD", "BFD"):
        z = z.mean(-1)
    return z.expand(len(ids), -1)


def _together(gate: Gate, e: Tensor, linear: Tensor | None, ids: Tensor) -> float:
    """Largest difference that it makes to every other row to be gated without the rest, in reverse order."""

    def gated(e: Tensor, linear: Tensor | None, ids: Tensor) -> Tensor:
        vectors, weights = gate.multiply(e, linear, ids)
        return vectors if weights is None else torch.cat([vectors, weights[..., None]], dim=2)

    some = torch.arange(len(ids), device=ids.device)[::2].flip(0)
    whole = gated(e, linear, ids)
    alone = gated(e[some], None if linear is None else linear[some], ids[some])
    return float((whole[some] - alone).abs().max() / whole.abs().max().clamp_min(1e-12))


def _replaced(gate: Gate, e: Tensor, linear: Tensor | None, ids: Tensor) -> Tensor | None:
    """What a gate puts in the place of rows and fields, float64 [B, F, D] or [B, F, D + 1]; None: nothing."""
    vectors, weights = gate.instead(e, linear, ids) or (None, None)
    if vectors is None:
        return None
    if linear is not None and weights is not None:
        vectors = torch.cat([vectors.expand_as(e), weights.expand_as(linear)[..., None]], dim=2)
    return vectors.expand(*e.shape[:2], -1).double()


def _far(evaluated: Tensor, gate: Gate, e: Tensor, linear: Tensor | None, ids: Tensor) -> float:
    """``GateModes.instead``, from what was ``evaluated`` and draws in training mode."""
    found = [_replaced(gate, e, linear, ids) for _ in range(REPLACED_DRAWS)]
    drawn = [one for one in found if one is not None]
    means, size = (
        torch.stack([one.mean(0) for one in drawn]).mean(0),
        torch.stack([one.square().mean() for one in drawn]),
    )
    off = (evaluated.mean(0) - means).square().mean()
    return float((off / size.mean().clamp_min(1e-24)).sqrt())


def _slope(evaluated: Tensor, one: Tensor, other: Tensor) -> float | None:
    """Regression of evaluation on training; the halves, drawn apart, take the noise out of the variance."""
    v, a, b = ((z - z.mean()).flatten() for z in (evaluated, one, other))
    size = a.norm() * b.norm()
    if size <= 1e-9 * len(a) * float(one.abs().mean()) ** 2 or float(a @ b / size) < SURE:
        return None
    return float(v @ (a + b) / 2 / (a @ b))
