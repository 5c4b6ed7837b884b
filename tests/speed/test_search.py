"""What the gated training of each method costs: measured in the method's own steps."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from bench.api import CTRModel, Gate, Method, Rows, Selection
from bench.plugins import methods
from bench.speed import run, stages
from bench.speed.rate import Rate
from bench.speed.run import searching_methods
from bench.speed.search import search
from bench.speed.settings import SpeedConfig

TINY = SpeedConfig(
    rows=900, vocabulary=2000, fields=6, dim=4, batch=50, mlp=(8, 4), repeats=2, window_s=1e-6, threads=1
)


@pytest.mark.parametrize("method", searching_methods())
def test_every_method_that_searches_is_measured(method: str) -> None:
    rate = search(TINY, "dnn[mlp=8]", method)
    assert rate.rows_per_s, rate.note
    assert rate.what == f"dnn[mlp=8], {method}"
    # a method with a small subset of its own has batches of another size
    assert re.fullmatch(r"\d+\.\d\d× the time without the method(, in batches of \d+ instead of 50)?", rate.note)


def test_the_methods_are_those_that_train_a_network_to_choose() -> None:
    kept = {name for name in methods().names() if name not in searching_methods()}
    assert {methods().entry(name).family for name in kept} == {"baseline", "control", "shallow", "sensitivity"}
    assert search(TINY, "dnn[mlp=8]", "no-selection") == Rate(
        "search", "dnn[mlp=8], no-selection", note="trains in no steps of its own"
    )


class Open(Gate):
    shape = "F"

    def forward(self, e: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return torch.ones(e.shape[1])


class Two(Method[None]):
    """Trains without a gate, then with one, in batches of its own."""

    seen: list[tuple[bool, int]]
    epochs = 40

    def select(self, ctx: Any, train: Rows, selection_rows: Rows) -> Selection:
        Two.seen = []

        def schedule(iteration: int, planned: int) -> None:
            Two.seen.append((model.gate is not None, planned))

        model: CTRModel = ctx.model()
        ctx.fit(model, train, selection_rows, schedule=schedule, epochs=5)
        model.gate = Open()
        ctx.fit(model, train, selection_rows, schedule=schedule, epochs=self.epochs, batch_size=60)
        raise AssertionError("the windows are full before")


def test_trainings_before_the_gate_are_cut_short_and_rows_are_those_of_the_method(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(methods(), "load", lambda name: Two)
    clock = [0.0]

    def tick(device: torch.device) -> float:
        clock[0] += 1.0
        return clock[0]

    monkeypatch.setattr(stages, "now", tick)
    rate = search(TINY, "dnn[mlp=8]", "random-k")
    # 18 batches of 50, one of them held out: 850 rows, in 15 batches of at most 60; one reading of the clock ends a
    # window and the next begins one, so each lasts one tick and has the least number of steps
    assert Two.seen[0] == (False, 1)
    assert {planned for gated, planned in Two.seen if gated} == {40 * 15}
    assert rate.rows_per_s == pytest.approx(stages.LEAST_STEPS * 850 / 15)
    alone = stages.LEAST_STEPS * 50
    ratio = alone / (stages.LEAST_STEPS * 850 / 15)
    assert rate.note == f"{ratio:.2f}× the time without the method, in batches of 60 instead of 50"
    monkeypatch.setattr(Two, "epochs", 1)
    monkeypatch.setattr(stages, "LEAST_STEPS", 100)
    assert search(TINY, "dnn[mlp=8]", "random-k").note == "too few steps to be measured"


class Held(Method[None]):
    """Reads rows of its own: two batches' worth at every fourth step."""

    def select(self, ctx: Any, train: Rows, selection_rows: Rows) -> Selection:
        model: CTRModel = ctx.model()
        model.gate = Open()
        own = ctx.step(model, batches=selection_rows, every=4, batch_scale=2)
        ctx.fit(model, train, steps=[ctx.step(model), own, ctx.step(model)], epochs=40)
        raise AssertionError("the windows are full before")


def test_rows_of_a_step_s_own_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods(), "load", lambda name: Held)
    ticks = iter(range(10**6))
    monkeypatch.setattr(stages, "now", lambda device: float(next(ticks)))
    rate = search(TINY, "dnn[mlp=8]", "random-k")
    assert rate.rows_per_s == pytest.approx(stages.LEAST_STEPS * (50 + 2 * 50 / 4))


def test_methods_search_on_the_fastest_backbone_and_the_slowest(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(work: Any, config: SpeedConfig, *given: Any) -> Rate | None:
        if work is stages.limits:
            return None
        if work is search:
            return Rate("search", ", ".join(given))
        return Rate("train", given[0], rows_per_s={"dnn": 30.0, "pnn": 20.0, "xdeepfm": 10.0}[given[0]])

    monkeypatch.setattr(run, "in_child", measured)
    report = run.measure(TINY, ["train", "search"], ["pnn", "dnn", "xdeepfm"], ["a", "b"])
    searched = [rate.what for rate in report.rates if rate.stage == "search"]
    assert searched == ["dnn, a", "dnn, b", "xdeepfm, a", "xdeepfm, b"]
    assert [rate.what for rate in run.measure(TINY, ["search"], ["pnn"], ["a"]).rates] == ["pnn, a"]
