"""The stages, each the work of one child process: the harness's own code on generated rows."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bench import plugins
from bench.budget import n_keep
from bench.engine.clock import Clock, now
from bench.engine.evaluate import auc, evaluate, logloss
from bench.engine.fast import graph
from bench.engine.fast.memory import peak_rss
from bench.engine.fast.windowed import WINDOW, pays
from bench.engine.fit import FitPlan
from bench.engine.model import CTRModel
from bench.engine.steps import Group
from bench.profiles import ANCHOR, Profile
from bench.rows.rows import Rows
from bench.run.context import CellContext, silent
from bench.run.grid import Member, choose_method
from bench.run.job import resolve_backbone
from bench.speed.bound import bound_rows_per_s, step_flops_per_row
from bench.speed.data import RawTable, make_rows, write_raw
from bench.speed.gates import GATES
from bench.speed.limits import Limits, measure_limits
from bench.speed.overhead import Ledger, LedgerFitter
from bench.speed.rate import Rate, summary
from bench.speed.settings import SpeedConfig

WARM_UP_STEPS = 4
LEAST_STEPS = 3
"""Steps of a timed window at least."""
TAU = 0.5
VALID_SHARE = 0.2
"""Share of the rows on which a training is validated whose overhead is measured: that of the Criteo split."""


def limits(config: SpeedConfig) -> Limits:
    """The machine's limits."""
    set_up(config)
    return measure_limits(config)


def train(config: SpeedConfig, backbone: str, gate: str | None, found: Limits) -> Rate:
    """Training of a backbone, with a gate of the label given or without."""
    device = set_up(config)
    rows = make_rows(config, config.rows // config.batch * config.batch).to(device)  # every batch is full
    ctx = context(config, rows, backbone)
    model = ctx.model()
    groups = list(ctx.step(model).groups)
    if gate is not None:
        model.gate = GATES[gate](rows.schema, model.dim).to(device)
        groups.append(Group(list(model.gate.parameters()), ctx.profile.lr))
    ctx.on_step = windows = Windows(config, device, updates_window(model, config))
    steps = [ctx.step(model, groups=groups)]
    with suppress(WindowsDone):
        ctx.fit(model, rows, steps=steps, epochs=10**6, evaluate_every=1e6)
    most = peak(device)  # before operations are counted, which loads PyTorch's compiler
    what = ctx.label if gate is None else f"{ctx.label}, {gate} gate"
    stage = "train" if gate is None else "gated train"
    batch = next(rows.slices(config.batch))
    flops = step_flops_per_row(model, batch)
    bound = bound_rows_per_s(model, batch, flops, found, config.optimizer)
    measured: dict[str, Any] = {**summary(windows.rates), "peak_bytes": most, "flops_per_row": flops}
    return Rate(stage, what, **measured, bound_rows_per_s=bound)


def evaluation(config: SpeedConfig, backbone: str) -> Rate:
    """Scores, exact AUC and log loss of all rows."""
    device = set_up(config)
    rows = make_rows(config).to(device)
    ctx = context(config, rows, backbone)
    model = ctx.model()
    return Rate("evaluate", ctx.label, **_repeated(config, len(rows), lambda: evaluate(model, rows)))


def overhead(config: SpeedConfig, backbone: str) -> Rate:
    """One epoch of a cell's training with a validation, and how much of it is not mathematics."""
    device = set_up(config)
    rows = make_rows(config).to(device)
    cut = int(VALID_SHARE * len(rows))
    valid, rest = rows.take(torch.arange(cut)), rows.take(torch.arange(cut, len(rows)))
    ctx = context(config, rows, backbone)
    ctx.fit(ctx.model(), rest.take(torch.arange(config.batch)), epochs=WARM_UP_STEPS)
    ledger = Ledger(device)
    model = ctx.model()
    plan = FitPlan(1, config.batch, clip_norm=ctx.profile.clip_norm)
    draw = torch.Generator().manual_seed(config.seed)
    runner = graph.runner(device, plan, warn=lambda text: None)
    fitter = LedgerFitter(ledger, model, rest, valid, [ctx.step(model)], plan, draw, runner=runner)
    model.forward = ledger.score(model.forward)  # type: ignore[method-assign]
    fitter.run()
    ledger.finish()
    rate = len(rest) / ledger.total_s
    return Rate("overhead", ctx.label, rate, rate, rate, peak(device), note=ledger.text())


def metrics(config: SpeedConfig) -> Rate:
    """Exact AUC and log loss of ready predictions; the note has the memory above theirs."""
    device = set_up(config)
    draw = torch.Generator().manual_seed(config.seed)
    logits = torch.randn(config.predictions, generator=draw)
    labels = (torch.rand(config.predictions, generator=draw) < torch.sigmoid(logits - 1)).float()
    logits, labels = logits.to(device), labels.to(device)
    before = peak(device)
    found = _repeated(config, config.predictions, lambda: (auc(logits, labels), logloss(logits, labels)))
    above = (found["peak_bytes"] - before) / 2**20
    took = config.predictions / found["rows_per_s"]
    note = f"{config.predictions:,} predictions in {took:.2f} s, {above:,.0f} MiB above them"
    return Rate("metrics", "AUC + log loss", **found, note=note)


def selector(config: SpeedConfig, method: str) -> Rate:
    """The selection of a method that trains no network."""
    device = set_up(config)
    rows = make_rows(config).to(device)
    choice = choose_method(method)
    if choice.error is not None:
        return Rate("select", choice.label, note=choice.error.strip().splitlines()[-1])
    cut = max(1, len(rows) // 10)
    held, rest = rows.take(torch.arange(cut)), rows.take(torch.arange(cut, len(rows)))
    ctx = context(config, rows, plugins.backbones().names()[0], choice.params, members=choice.members)
    made = choice.make()
    if reason := made.skip(ctx):
        return Rate("select", choice.label, note=reason)
    return Rate("select", choice.label, **_repeated(config, len(rows), lambda: made.select(ctx, rest, held)))


def raw_table(config: SpeedConfig, folder: Path) -> RawTable:
    """Write the raw table that preparation reads."""
    return write_raw(config, folder)


def preparation(config: SpeedConfig, raw: RawTable) -> Rate:
    """Encoding of a generated raw table, from text to store."""
    from bench.data.card.card import load_card  # noqa: PLC0415 - loads pyarrow
    from bench.data.prepare.prepare import Settings, prepare  # noqa: PLC0415

    card, settings = load_card(raw.card), Settings(threads=config.threads or 0)
    number = iter(range(10**6))

    def work() -> None:
        store = raw.text.parent / f"store-{next(number)}"
        prepare(card, raw.text, store, settings=settings)
        shutil.rmtree(store)

    found = _repeated(config, config.rows, work)
    size = raw.text.stat().st_size / 2**20
    return Rate("prepare", "raw table", **found, note=f"{size:,.0f} MiB of text")


class WindowsDone(Exception):
    """All windows are measured."""


class Windows:
    """Called before every iteration of a training: cuts it into timed windows, and ends it after the last one."""

    rows_a_step: float
    """Mean over an epoch."""

    def __init__(self, config: SpeedConfig, device: torch.device, whole: int = 1) -> None:
        """Measure ``config.repeats`` windows after a warm-up, each of a multiple of ``whole`` steps."""
        self.config, self.device, self.whole = config, device, whole
        self.rows_a_step = config.batch
        self.rates: list[float] = []
        self._first, self._start = -1, 0.0

    def __call__(self, iteration: int, planned: int) -> None:
        steps = iteration - self._first
        if self._first < 0:
            if iteration >= WARM_UP_STEPS and iteration % self.whole == 0:
                self._begin(iteration)
        elif steps % self.whole:
            return
        elif steps >= LEAST_STEPS and time.perf_counter() - self._start >= self.config.window_s:
            self.rates.append(steps * self.rows_a_step / (now(self.device) - self._start))
            if len(self.rates) == self.config.repeats:
                raise WindowsDone
            self._begin(iteration)

    def _begin(self, iteration: int) -> None:
        self._first, self._start = iteration, now(self.device)


def updates_window(model: CTRModel, config: SpeedConfig) -> int:
    """Steps after which about all the work of those steps is done, where updates of rows may be put off."""
    put_off = config.optimizer == "adam" and pays(model.table.weight, config.batch * config.fields)
    return WINDOW if put_off else 1


def peak(device: torch.device) -> int:
    """Most memory so far: of the GPU, or of this process."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_rss()


def set_up(config: SpeedConfig) -> torch.device:
    """Threads and precision of this process."""
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    torch.set_float32_matmul_precision("highest" if config.precision == "bf16" else config.precision)
    return torch.device(config.device)


def _repeated(config: SpeedConfig, n_rows: int, work: Callable[[], object]) -> dict[str, Any]:
    """Rates and peak memory of ``work`` on ``n_rows`` rows; one run goes before as warm-up."""
    device = torch.device(config.device)
    work()
    rates = []
    for _ in range(config.repeats):
        start = now(device)
        work()
        rates.append(n_rows / (now(device) - start))
    return summary(rates) | {"peak_bytes": peak(device)}


def profile_of(config: SpeedConfig) -> Profile:
    """The harness's default profile with the workload's sizes, and without dropout."""
    return replace(
        ANCHOR,
        name="speed",
        dim=config.dim,
        mlp=config.mlp,
        l2=config.l2,
        batch_size=config.batch,
        dropout=0.0,
        precision=config.precision,
        optimizer=config.optimizer,
        compile=config.compile,
    )


class SpeedContext(CellContext[Any]):
    """The context of a cell on generated rows."""

    label: str


def context(
    config: SpeedConfig,
    rows: Rows,
    backbone: str,
    params: Any = None,
    kind: type[SpeedContext] = SpeedContext,
    members: Sequence[Member] = (),
) -> SpeedContext:
    """The context of a cell on generated ``rows``, as an object of ``kind``; ``members``: what its method ranks by."""
    profile = profile_of(config)
    choice = resolve_backbone(backbone, profile)
    device = torch.device(config.device)
    ctx = kind(
        dataset="generated",
        schema=rows.schema,
        backbone=choice,
        profile=profile,
        params=params,
        tau=TAU,
        n_keep=n_keep(TAU, rows.schema.n_fields),
        budget="field",
        seed=config.seed,
        device=device,
        clock=Clock(device),
        emit=silent,
        members={one.text: one.method for one in members},
    )
    ctx.label = choice.label
    return ctx
