"""Light-FMP that sees a row once: a variant of this project, not of the paper.

Where this differs from ``light-fmp``, all of whose other departures are this one's too:

* 40,000 rows once in place of 2,000 rows twenty times, at about the same cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from bench.api import Context, Range, Rows, Search, Selection
from methods.light_fmp import LightFMP, LightFMPParams
from methods.parts.gated_pretraining import draw_subset, pretrain_on


@dataclass(frozen=True)
class OnceLightFMPParams(LightFMPParams):
    """Parameters of Light-FMP with other defaults, and one more."""

    pretrain_rows: Annotated[int, Range(10)] = 40_000
    """Rows of the pretraining subset D_S; all training rows where there are fewer. As many row visits as 20 epochs of
    2,000."""
    pretrain_epochs: Annotated[int, Range(1)] = 1
    """Passes over the subset."""
    pretrain_steps: Annotated[int, Range(1)] = 300
    """Steps of a pass at least: a subset of fewer than 300 times ``pretrain_batch`` rows is cut into smaller batches.
    Chosen here."""
    pretrain_min_count: Annotated[int, Range(1)] = 2
    """Values seen fewer times in the subset share the field's rare embedding while pretraining: in one pass, one of
    their own would be learned and never read."""
    pretrain_lr: Annotated[float, Range(0, open_low=True), Search(1e-4, 1e-2)] = 1e-3
    """Adam's rate for the model. Chosen here: a value is seen a few times only."""
    gate_lr: Annotated[float, Range(0, open_low=True), Search(0.003, 0.3)] = 0.03
    """Adam's rate for a, λ and φ. Chosen here."""
    init_std: Annotated[float, Range(0)] = 0.01
    """Standard deviation of the gates' start. Chosen here: with the paper's, fields of like worth keep its order."""
    noise: Literal["batch", "sample"] = "sample"
    """A field's draw of u serves a step's whole batch, or every row has its own."""


class OnceLightFMP(LightFMP):
    """Hard concrete field gates that never see a label which the weights have seen."""

    Params = OnceLightFMPParams
    params: OnceLightFMPParams

    def select(self, ctx: Context[LightFMPParams], train: Rows, selection_rows: Rows) -> Selection:
        """Pretrain in one pass over many rows of ``train``, all of which the final training sees again."""
        subset = draw_subset(ctx, self.params, train, most=1.0)
        batch = min(self.params.pretrain_batch, math.ceil(len(subset) / self.params.pretrain_steps))
        done = pretrain_on(ctx, replace(self.params, pretrain_batch=batch), subset)
        return replace(self._selection(done), used_rows=None)
