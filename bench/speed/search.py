"""What the training that a method searches with costs a row: its own steps, measured as the method runs.

Rows are all that steps read: the iteration's batch, and batches of their own. How often a method steps on rows of its
own may depend on the length of the training, which is short here. The backbone alone is measured in the same process,
before and after the method, because machines drift.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from statistics import median
from typing import Any

import torch

from bench.engine.fit import FitLog
from bench.engine.model import CTRModel
from bench.engine.steps import Step
from bench.rows.rows import Rows
from bench.run.grid import choose_method
from bench.speed.data import make_rows
from bench.speed.rate import Rate, summary
from bench.speed.settings import SpeedConfig
from bench.speed.stages import SpeedContext, Windows, WindowsDone, context, peak, set_up, updates_window


class SearchContext(SpeedContext):
    """Measures the first training with a gate, a masked table or steps of its own; any before is kept short."""

    windows: Windows
    batch: int | None = None
    """Rows a step, once a training is measured."""

    def fit(
        self,
        model: CTRModel,
        train: Rows,
        valid: Rows | None = None,
        steps: Sequence[Step] | None = None,
        schedule: Callable[[int, int], None] | None = None,
        **plan: Any,
    ) -> FitLog:
        """Train, without validation, until all windows are measured.

        Raises:
            WindowsDone: they are.
        """
        if model.gate is None and model.table.mask is None and steps is None:
            some = train.take(torch.arange(min(self.profile.batch_size, len(train))))
            return super().fit(model, some, None, steps, schedule, **(plan | {"epochs": 1}))
        size = plan.get("batch_size", self.profile.batch_size)
        self.batch = min(size, len(train))
        own = sum(step.batch_scale / step.every for step in steps or [] if step.batches is not None)
        self.windows.rows_a_step = len(train) / -(-len(train) // size) + own * size

        self.on_step = self.windows
        plain = steps is None and schedule is None
        self.windows.whole = updates_window(model, self.windows.config) if plan.get("by_lookup", plain) else 1
        super().fit(model, train, None, steps, schedule, **plan)
        raise WindowsDone


def search(config: SpeedConfig, backbone: str, method: str) -> Rate:
    """The search of ``method`` on a backbone, and in the note how a row's time compares with the backbone's."""
    device = set_up(config)
    held = max(1, config.rows // config.batch // 10) * config.batch
    rows = make_rows(config, held + max(config.batch, config.rows - held) // config.batch * config.batch).to(device)
    choice = choose_method(method)
    if choice.error is not None:
        return Rate("search", f"{backbone}, {choice.label}", note=choice.error.strip().splitlines()[-1])
    ctx = context(config, rows, backbone, choice.params, SearchContext)
    assert isinstance(ctx, SearchContext)
    ctx.budget, ctx.windows = choice.budget, Windows(config, device)
    what = f"{ctx.label}, {choice.label}"
    made = choice.make()
    if reason := made.skip(ctx):
        return Rate("search", what, note=reason)
    aside, rest = rows.take(torch.arange(held)), rows.take(torch.arange(held, len(rows)))
    alone = _alone(config, rest, backbone)
    with suppress(WindowsDone):
        made.train(ctx, rest, aside, made.select(ctx, rest, aside))
    if not ctx.windows.rates:
        why = "trains in no steps of its own" if ctx.batch is None else "too few steps to be measured"
        return Rate("search", what, note=why)
    alone += _alone(config, rest, backbone)
    note = f"{median(alone) / median(ctx.windows.rates):.2f}× the time without the method"
    note += "" if ctx.batch == config.batch else f", in batches of {ctx.batch:,} instead of {config.batch:,}"
    measured: dict[str, Any] = {**summary(ctx.windows.rates), "peak_bytes": peak(device)}
    return Rate("search", what, **measured, note=note)


def _alone(config: SpeedConfig, rows: Rows, backbone: str) -> list[float]:
    """Rates of the backbone without a gate, window by window."""
    ctx = context(config, rows, backbone)
    model = ctx.model()
    ctx.on_step = windows = Windows(config, torch.device(config.device), updates_window(model, config))
    with suppress(WindowsDone):
        ctx.fit(model, rows, epochs=10**6, evaluate_every=1e6)
    return windows.rates
