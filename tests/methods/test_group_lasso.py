"""Group Lasso: which layers it finds, what a proximal step does, and what fields are ranked by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bench.engine.backbone import draw_layers
from bench.engine.clock import Clock
from bench.profiles import SMALL
from bench.run.cell import run_cell
from bench.run.job import Job, resolve_backbone
from methods.group_lasso import mean_distances, proximal_step
from methods.parts.first_layers import field_norms, first_layers

F, D = 8, 8  # as many fields as coordinates: a grid of pairs has the size of the embeddings


@pytest.mark.parametrize(
    ("backbone", "found"),
    [
        ("dnn", ["mlp.layers.0"]),
        ("xdeepfm", ["mlp.layers.0"]),
        ("wide-deep", ["mlp.layers.0"]),
        ("pnn[product=both]", ["mlp.layers.0"]),
        ("dcnv2", ["cross.0.up", "mlp.layers.0"]),
        ("dcnv2[rank=3]", ["cross.0.down", "mlp.layers.0"]),
        ("fm", []),
        ("logistic", []),
    ],
)
def test_first_layers_are_those_that_read_embeddings_as_they_are(backbone: str, found: list[str]) -> None:
    choice = resolve_backbone(backbone, SMALL)
    for n_fields in (F, 2, 1):  # a cell is skipped by what the backbone over a few fields has
        net = choice.cls(n_fields, D, choice.params)
        draw_layers(net, test="first layers")
        names = {id(module): name for name, module in net.named_modules()}
        assert [names[id(layer)] for layer in first_layers(net)] == found


def test_a_proximal_step_shortens_every_group_by_the_rate_times_lambda_and_none_below_zero() -> None:
    layer = nn.Linear(6, 3)  # three fields of two coordinates; the last two inputs are of another kind
    wide = nn.Linear(8, 2)
    before = [one.weight.detach().clone() for one in (layer, wide)]
    optimizer: Any = SimpleNamespace(param_groups=[{"lr": 0.01}])
    lengths = [
        float(torch.cat([w[:, 2 * f : 2 * f + 2].flatten() for w in before]).norm()) for f in range(3)
    ]  # over both layers
    threshold = sorted(lengths)[0] * 1.01  # the shortest goes
    proximal_step([layer, wide], (3, 2), threshold / 0.01)(optimizer)
    expected = [max(0.0, length - threshold) for length in lengths]
    assert field_norms([layer, wide], 3, 2).tolist() == pytest.approx(expected, abs=1e-6)
    assert min(expected) == 0.0
    for f, length in enumerate(lengths):  # directions stay
        part = slice(2 * f, 2 * f + 2)
        torch.testing.assert_close(layer.weight[:, part], before[0][:, part] * (expected[f] / length))
    assert torch.equal(wide.weight[:, 6:], before[1][:, 6:])
    proximal_step([layer, wide], (3, 2), 1e6)(optimizer)
    assert field_norms([layer, wide], 3, 2).tolist() == [0.0, 0.0, 0.0]


def test_lambda_takes_the_mean_group_away_within_the_planned_steps(make_job: Callable[..., Job]) -> None:
    job = make_job("group-lasso[shrink=0.5]", epochs=2, backbone="dnn[mlp=8]")
    model = job.context(Clock(job.device)).model()
    length = field_norms(first_layers(model.backbone), model.schema.n_fields, model.dim).mean().item()
    record = run_cell(job)
    held = int(0.1 * len(job.data.train))
    steps = 2 * -(-(len(job.data.train) - held) // job.profile.batch_size)
    assert record.notes["lambda"] * job.profile.lr * steps == pytest.approx(0.5 * length, rel=1e-5)


def test_groups_that_have_all_gone_give_no_ranking_and_the_reason(make_job: Callable[..., Job]) -> None:
    record = run_cell(make_job("group-lasso[shrink=1000]", epochs=1))
    assert record.status == "skipped"
    assert "a smaller shrink would leave some" in str(record.reason)


def test_distances_are_means_over_rows_and_a_constant_has_none(make_job: Callable[..., Job]) -> None:
    job = make_job("group-lasso", backbone="dnn[mlp=8]")
    model, rows = job.context(Clock(job.device)).model(), job.data.train.take(torch.arange(50))
    ids = rows.ids.clone()
    ids[:, 2] = ids[0, 2]
    rows = replace(rows, ids=ids)
    embeddings = torch.cat([model.embed(batch)[0].detach().double() for batch in model.view(rows).slices(1)]).numpy()
    expected = np.linalg.norm(embeddings - embeddings.mean(axis=0), axis=2).mean(axis=0)
    assert expected[2] == pytest.approx(0, abs=1e-8)
    np.testing.assert_allclose(mean_distances(model, rows, 16).numpy(), expected, rtol=1e-5, atol=1e-8)
