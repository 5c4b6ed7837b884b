"""Random K: a control that keeps K fields by lot.

There is no paper. A method whose row is no better than this one has found nothing. With ``carry_over=true`` the model
first goes through Light-FMP's gated pretraining and keeps those weights, so that the gain of the weights and the gain
of the chosen fields can be told apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bench.api import Axis, Context, Method, Rows, Selection
from methods.parts.gated_pretraining import PretrainParams, pretrain


@dataclass(frozen=True)
class RandomKParams:
    """Parameters of the control."""

    carry_over: bool = False
    """Continue from weights pretrained as Light-FMP does with its defaults."""


class RandomK(Method[RandomKParams]):
    """Field scores drawn uniformly at random."""

    Params = RandomKParams

    def depends_on(self) -> frozenset[Axis]:
        further: frozenset[Axis] = frozenset({"tau", "backbone"}) if self.params.carry_over else frozenset()
        return super().depends_on() | further

    def select(self, ctx: Context[RandomKParams], train: Rows, selection_rows: Rows) -> Selection:
        scores = torch.rand(ctx.schema.n_fields, generator=ctx.rng("random-k"), dtype=torch.float64).numpy()
        if not self.params.carry_over:
            return Selection(scores=scores, rows_seen=0)
        done = pretrain(ctx, PretrainParams(), train)
        return Selection(
            scores=scores,
            start=done.model,
            used_rows=done.rows.index,
            rows_seen=len(done.rows),
            pretrain_rows=len(done.rows),
            notes=done.notes,
        )
