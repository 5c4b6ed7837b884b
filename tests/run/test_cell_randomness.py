"""What a cell's result follows from: its seed, by named uses, and its identity."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cell_records import without_circumstances

from bench.api import Batch, CTRModel
from bench.engine.clock import Clock
from bench.run.cell import run_cell
from bench.run.job import Job

MakeJob = Callable[..., Job]


@pytest.mark.parametrize("method", ["no-selection", "random-k", "light-fmp", "light-fmp[noise=sample]"])
@pytest.mark.parametrize("backbone", ["dnn[mlp=8]", "xdeepfm[mlp=8,cin=4-4]"])
def test_a_cell_repeats_bit_for_bit_and_another_seed_does_not(make_job: MakeJob, method: str, backbone: str) -> None:
    first, again, other = (run_cell(make_job(method, seed=seed, backbone=backbone)) for seed in (0, 0, 1))
    assert first.status == "ok", first.traceback
    assert without_circumstances(first) == without_circumstances(again)
    assert first.auc != other.auc
    assert first.logloss != other.logloss
    assert first.config_hash != other.config_hash


def test_the_seed_decides_batch_order_initial_rows_and_layers_by_its_named_axes(make_job: MakeJob) -> None:
    def draws(**changes: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        job = make_job(changes.pop("method", "random-k"), **changes)
        ctx = job.context(Clock(torch.device("cpu")))
        model = ctx.model()
        layer = next(w for name, w in model.backbone.named_parameters() if name.endswith("weight"))
        return torch.randperm(99, generator=ctx.rng("batches")), model.table.weight[:, :8].detach(), layer.detach()

    first = draws()
    for same in (draws(tau=0.0), draws(method="light-fmp")):
        assert all(torch.equal(a, b) for a, b in zip(first, same, strict=True))
    order, table, layer = draws(seed=1)
    assert not torch.equal(first[0], order)
    assert not torch.equal(first[1], table)
    assert not torch.equal(first[2], layer)
    order, table, _ = draws(backbone="xdeepfm[mlp=8]")
    assert torch.equal(first[0], order)
    assert torch.equal(first[1], table)  # the embeddings of a data set and seed are shared by all backbones


def test_a_smaller_model_starts_from_the_rows_of_the_full_one(make_job: MakeJob) -> None:
    ctx = make_job("random-k").context(Clock(torch.device("cpu")))
    offsets = ctx.schema.offsets
    kept = [1, 4, 6]
    expected = torch.cat([ctx.model().table.weight[offsets[f] : offsets[f + 1]] for f in kept])
    assert torch.equal(ctx.model(kept).table.weight, expected)
    assert ctx.model(kept).kept == (1, 4, 6)


def test_building_and_training_leave_the_global_random_state_alone(make_job: MakeJob) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    run_cell(make_job("light-fmp", epochs=1, warmed=set()))
    assert torch.equal(before, torch.get_rng_state())


def test_unknown_axes_of_randomness_are_refused(make_job: MakeJob) -> None:
    ctx = make_job("random-k").context(Clock(torch.device("cpu")))
    with pytest.raises(ValueError, match="bakbone"):
        ctx.rng("x", "bakbone")
    draws = [torch.rand(3, generator=ctx.rng("x", *axes)) for axes in ((), ("tau",), ("backbone",))]
    assert len({tuple(draw.tolist()) for draw in draws}) == 3


def test_the_identity_holds_all_that_decides_the_result(make_job: MakeJob) -> None:
    base = make_job("light-fmp")
    others = [
        make_job("light-fmp", tau=0.25),
        make_job("light-fmp", seed=1),
        make_job("light-fmp", epochs=3),
        make_job("light-fmp", backbone="dnn[mlp=9]"),
        make_job("light-fmp[noise=sample]"),
        make_job("light-fmp[sel_split=valid]"),
        make_job("random-k"),
        replace(base, data=replace(base.data, revision="9")),
        replace(base, data=replace(base.data, split_rows={"train": 1})),
    ]
    assert len({job.hash for job in [base, *others]}) == 1 + len(others)
    same = [
        make_job("light-fmp[noise=batch]"),  # the default, spelled out
        replace(base, own_process=True),
        replace(base, checkpoints=Path("somewhere")),
        replace(base, device=torch.device("cuda")),
    ]
    assert {job.hash for job in same} == {base.hash}


def test_noise_in_training_follows_data_set_seed_and_name_of_the_fit(make_job: MakeJob) -> None:
    def noise(name: str = "train", **changes: Any) -> list[float]:
        job = make_job("random-k", **changes)
        ctx = job.context(Clock(torch.device("cpu")))
        drawn: list[float] = []

        def loss(model: CTRModel, batch: Batch) -> torch.Tensor:
            drawn.append(torch.rand(()).item())
            return model(batch).mean()

        model = ctx.model()
        ctx.fit(model, job.data.train, steps=[ctx.step(model, loss=loss)], epochs=1, name=name)
        return drawn

    assert noise() == noise() == noise(tau=0.0)
    assert len({tuple(draws) for draws in (noise(), noise(seed=1), noise("pretrain"))}) == 3


def test_warm_up_happens_once_a_backbone_and_changes_nothing(make_job: MakeJob) -> None:
    warmed: set[str] = set()
    cold = run_cell(make_job("no-selection", warmed=warmed))
    assert warmed == {"dnn[mlp=8]"}
    warm = run_cell(make_job("no-selection", warmed=warmed))
    assert without_circumstances(cold) == without_circumstances(warm)
    assert cold.phases["warm-up"] > warm.phases["warm-up"]
    assert math.isclose(cold.phases["train"], cold.ct_s)
