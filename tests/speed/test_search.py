"""What the gated training of each method costs: measured in the method's own steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from bench.api import CTRModel, Gate, Method, Rows, Selection
from bench.registry import methods
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
    # a method with a small subset of its own has smaller batches
    assert rate.note == "" or int(rate.note.removeprefix("batches of ")) > TINY.batch


def test_the_methods_are_those_that_train_a_network_to_choose() -> None:
    kept = {name for name in methods().names() if name not in searching_methods()}
    assert {methods().entry(name).family for name in kept} == {"baseline", "control", "shallow"}
    assert search(TINY, "dnn[mlp=8]", "no-selection") == Rate(
        "search", "dnn[mlp=8], no-selection", note="trains no gate"
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
    assert rate.note == "batches of 60"
    monkeypatch.setattr(Two, "epochs", 1)
    monkeypatch.setattr(stages, "LEAST_STEPS", 100)
    assert search(TINY, "dnn[mlp=8]", "random-k").note == "too few steps to be measured"


def test_methods_are_set_against_the_backbone_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(work: Any, config: SpeedConfig, *given: Any) -> Rate | None:
        if work is stages.limits:
            return None
        fast = {"dnn": 30.0, "xdeepfm": 10.0}[given[0]]
        return Rate("search", "x", rows_per_s=fast / 2) if len(given) == 2 else Rate("train", "x", rows_per_s=fast)

    monkeypatch.setattr(run, "in_child", measured)
    report = run.measure(TINY, ["train", "search"], ["dnn", "xdeepfm"], ["a", "b"])
    assert [rate.note for rate in report.rates if rate.stage == "search"] == ["2.00× the time without the method"] * 4
    assert run.measure(replace(TINY), ["search"], ["dnn"], ["a"]).rates[0].note == ""
