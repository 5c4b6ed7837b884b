"""The share of a training that is not mathematics."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bench.speed import overhead, stages
from bench.speed.overhead import Ledger
from bench.speed.settings import SpeedConfig


def test_time_is_put_down_to_what_it_went_to(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(overhead, "now", lambda device: clock[0])

    def lasts(seconds: float, *inner: Any) -> Any:
        def work(*arguments: Any) -> str:
            clock[0] += seconds
            for call in inner:
                call()
            return "result"

        return work

    ledger = Ledger(torch.device("cpu"))
    forward = ledger.score(lasts(3.0))
    update = ledger.update(lasts(5.0, forward))  # 8 s, of which its own forward pass takes 3
    clock[0] += 1.0  # making the model
    for iteration in range(2):
        clock[0] += 0.25  # the order of rows
        ledger.on_step(iteration, 2)
        clock[0] += 0.5  # the batch
        update(0, None, iteration)
    clock[0] += 2.0  # the mean loss
    assert forward() == "result"
    assert forward() == "result"
    clock[0] += 4.0  # the metrics
    ledger.on_epoch({})
    clock[0] += 1.5  # the best weights
    ledger.finish()
    assert (ledger.updates_s, ledger.scores_s) == (16.0, 6.0)
    assert (ledger.batches_s, ledger.validation_s) == (1.0, 6.0)
    assert ledger.total_s == 1 + 0.5 + 1 + 16 + 2 + 6 + 4 + 1.5
    assert ledger.share == pytest.approx(10 / 32)
    assert ledger.text() == (
        "31.2% of 32.0 s is overhead: batches 3.1%, validation 18.8%, order, model and weights 9.4%"
    )


def test_the_parts_of_a_training_add_up_to_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Ledger] = []

    def kept(device: torch.device) -> Ledger:
        made.append(Ledger(device))
        return made[0]

    monkeypatch.setattr(stages, "Ledger", kept)
    config = SpeedConfig(rows=600, vocabulary=900, fields=5, dim=3, batch=50, mlp=(8, 4), threads=1)
    rate = stages.overhead(config, "dnn")
    (ledger,) = made
    parts = (ledger.updates_s, ledger.scores_s, ledger.batches_s, ledger.validation_s)
    assert all(part > 0 for part in parts)
    assert sum(parts) < ledger.total_s
    assert rate.rows_per_s == pytest.approx(480 / ledger.total_s)
    assert rate.note == ledger.text()
