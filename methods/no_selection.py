"""No Selection: the backbone on all fields, the baseline that every other row is compared with.

There is no paper. With ``restart=true`` it is a control of procedure. Methods that warm their model up (AdaFS, MvFS)
train it twice:

    warm up    for some epochs; the best validated weights stay
    train      from those weights, with a fresh optimiser, as long as any training

A fresh Adam alone may be worth more than a gate: it forgets the second moments, so that even a small coupled L2 pulls
rows of rare values towards 0 by full steps until they are seen again. What such a method gains over this row is its
gate's. Both phases are continued training, so that they count as CT.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from bench.api import Context, Method, Range, Rows, Selection, Trained


@dataclass(frozen=True)
class NoSelectionParams:
    """Parameters of the baseline."""

    restart: bool = False
    """Train once more from the best weights of a warm-up, with a fresh optimiser."""
    warmup_epochs: Annotated[int, Range(1)] = 2
    """Epochs before that restart, at most (as AdaFS and MvFS); without one it has no meaning."""


class NoSelection(Method[NoSelectionParams]):
    """Keeps every field and trains once, or twice on end."""

    Params = NoSelectionParams

    def select(self, ctx: Context[NoSelectionParams], train: Rows, selection_rows: Rows) -> Selection:
        return Selection(rows_seen=0)

    def train(self, ctx: Context[NoSelectionParams], train: Rows, valid: Rows, selection: Selection) -> Trained:
        if not self.params.restart:
            return super().train(ctx, train, valid, selection)
        model = ctx.surgery(ctx.model)
        warm = ctx.fit(model, train, valid, name="warmup", epochs=self.params.warmup_epochs)
        log = ctx.fit(model, train, valid, name="train")
        log.warmup_s = warm.total_s
        return Trained(model, log)
