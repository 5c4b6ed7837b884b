from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bench import plugins
from bench.api import ConfigError, CTRModel, FitLog, Selection
from bench.engine.clock import Clock
from bench.rows.rows import Rows
from bench.run.context import CellContext
from bench.run.grid import choose_method
from bench.run.job import Job
from methods.light_fmp import LightFMPParams
from methods.light_fmp_once import OnceLightFMPParams
from methods.parts.gated_pretraining import correlation
from methods.parts.hard_concrete import HardConcreteGate

MakeJob = Callable[..., Job]
METHOD = "light-fmp-once"


def select(job: Job) -> Selection:
    method = plugins.methods().load(job.method.name)(job.method.params, job.method.entry)
    held = job.data.train.take(torch.arange(1))
    selection = method.select(job.context(Clock(job.device)), job.data.train, held)
    assert isinstance(selection, Selection)
    return selection


def batches_seen(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Ids [B, F] of every training batch that passes the gates, as the compact table numbers them."""
    seen: list[Tensor] = []
    forward = HardConcreteGate.forward

    def spy(gate: HardConcreteGate, e: Tensor, ids: Tensor) -> Tensor:
        if gate.training:
            seen.append(ids.clone())
        return forward(gate, e, ids)

    monkeypatch.setattr(HardConcreteGate, "forward", spy)
    return seen


def fits(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[Rows, dict[str, Any]]]:
    """Rows and plan of every training by its name; none of them takes place."""
    calls: dict[str, tuple[Rows, dict[str, Any]]] = {}

    def fit(ctx: Any, model: CTRModel, train: Rows, valid: Rows | None = None, *rest: Any, **plan: Any) -> FitLog:
        calls[plan["name"]] = train, plan
        return FitLog()

    monkeypatch.setattr(CellContext, "fit", fit)
    return calls


@pytest.mark.parametrize(
    ("given", "rows", "batch"),
    [
        ("", 960, 3),  # all there are; 960 / 300 and no more, so that there are 300 steps at least
        ("[pretrain_steps=10]", 960, 96),
        ("[pretrain_steps=2]", 960, 128),  # never more than pretrain_batch
        ("[pretrain_rows=100,pretrain_steps=10]", 100, 10),
        ("[pretrain_rows=100]", 100, 1),  # fewer rows than steps
        ("[pretrain_share=0.25,pretrain_steps=10]", 240, 24),
    ],
)
def test_every_row_of_the_subset_is_seen_once(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, given: str, rows: int, batch: int
) -> None:
    seen = batches_seen(monkeypatch)
    job = make_job(METHOD + given)
    selection = select(job)
    assert selection.rows_seen == selection.pretrain_rows == rows
    assert [len(ids) for ids in seen[:-1]] == [batch] * (math.ceil(rows / batch) - 1)
    assert sum(len(ids) for ids in seen) == rows
    assert selection.gates is not None
    assert selection.gates["steps"] == len(seen)


def test_the_rows_of_the_pass_are_those_of_the_training_split(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen are, row for row, the training rows with values that occur once turned into the rare one."""
    calls = fits(monkeypatch)
    job = make_job(METHOD)
    select(job)
    given, plan = calls["pretrain"]
    assert plan["epochs"] == 1
    assert sorted(given.index.tolist()) == sorted(job.data.train.index.tolist())
    ids = job.data.train.ids.numpy()
    offsets = job.data.schema.offsets
    for f in range(ids.shape[1]):
        values, counts = np.unique(ids[:, f], return_counts=True)
        own = {value for value, n in zip(values.tolist(), counts.tolist(), strict=True) if n > 1}
        shared = int(offsets[f]) in values or len(own) < len(values)
        assert given.schema.cardinalities[f] == len(own - {int(offsets[f])}) + shared


def test_the_final_training_sees_all_rows_again(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job(METHOD)
    selection = select(job)
    assert selection.used_rows is None
    assert selection.start is not None
    moved = (selection.start.table.weight.detach() != job.context(Clock(job.device)).model().table.weight).any(1)
    counts = torch.bincount(job.data.train.ids.reshape(-1).long(), minlength=len(moved))
    rare = torch.zeros(len(moved), dtype=torch.bool)
    rare[torch.from_numpy(job.data.schema.offsets[:-1].copy())] = True
    assert (counts > 20).any() and (counts == 1).any()
    assert not moved[(counts < 2) & ~rare].any()
    assert moved[counts > 20].all()  # a gate that is drawn shut, z = 0, lets no gradient through to a row's values


def test_gates_start_alike_and_say_something_in_the_end(make_job: MakeJob) -> None:
    """A thousand rows of the tiny planted data: gates go many times the spread of their start apart."""
    selection = select(make_job(METHOD))
    assert selection.gates is not None
    assert selection.gates["travel"] > 10
    assert selection.scores is not None
    assert ((selection.scores > 0) & (selection.scores < 1)).all()


def test_it_is_light_fmp_with_other_defaults_and_one_more_parameter() -> None:
    plain, once = asdict(LightFMPParams()), asdict(OnceLightFMPParams())
    assert once.keys() - plain.keys() == {"pretrain_steps"}
    changed = {name for name in plain if plain[name] != once[name]}
    assert changed == {
        *("pretrain_rows", "pretrain_epochs", "pretrain_min_count", "pretrain_lr", "gate_lr", "init_std", "noise"),
    }
    assert once["pretrain_rows"] * once["pretrain_epochs"] == plain["pretrain_rows"] * plain["pretrain_epochs"]


@pytest.mark.parametrize("given", ["pretrain_steps=0", "pretrain_rows=9", "pretrain_epochs=0", "gate_lr=0"])
def test_parameters_out_of_range_are_refused(given: str) -> None:
    with pytest.raises(ConfigError) as caught:
        choose_method(f"{METHOD}[{given}]")
    assert f"{METHOD}: {given}" in str(caught.value)


def test_gates_that_all_end_at_the_clamp_correlate_with_nothing() -> None:
    """Ten times log 100 in float32, whose standard deviation may be rounded to more than 0."""
    same = torch.full((10,), math.log(100))
    assert math.isnan(correlation(torch.arange(10.0), same))
    assert correlation(torch.arange(10.0), 3 - 2 * torch.arange(10.0)) == pytest.approx(-1)
