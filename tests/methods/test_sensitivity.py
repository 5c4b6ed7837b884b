"""What a loss says of a field in one backward pass: SFS and SHARK against finite differences and by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.api import Batch, ConfigError, CTRModel, Field, Gate, Rows, Schema
from bench.engine.backbone import Backbone, draw_layers
from bench.engine.clock import Clock
from bench.plugins import backbones, methods
from bench.profiles import SMALL
from bench.run.cell import run_cell
from bench.run.context import CellContext
from bench.run.grid import choose_method
from bench.run.job import Job
from methods import sfs, shark
from methods.parts import replacement
from methods.parts.replacement import Constants, mean_lookups, nothing, probed

MakeJob = Callable[..., Job]
SIZES, D, N, STEP = (5, 2, 7, 9), 3, 41, 1e-5
SCHEMA = Schema(tuple(Field(f"f{i}", "numeric" if i == 1 else "categorical", n) for i, n in enumerate(SIZES)))


def rows() -> Rows:
    draw = torch.Generator().manual_seed(4)
    columns = [
        torch.randint(n, (N,), generator=draw) + int(first) for n, first in zip(SIZES, SCHEMA.offsets[:-1], strict=True)
    ]
    numeric = torch.randn(N, 1, generator=draw, dtype=torch.float64)
    labels = (torch.rand(N, generator=draw) < 0.3).double()
    return Rows(SCHEMA, torch.stack(columns, 1).int(), numeric, labels, torch.arange(N))


def model(name: str = "wide-deep") -> CTRModel:
    """In float64, in training mode, with dropout and with biases that are not zero."""
    cls = backbones().load(name)
    backbone: Backbone[Any] = cls(len(SIZES), D, cls.defaults(SMALL)).double()
    draw_layers(backbone, backbone=name, seed=3)
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in backbone.parameters():
            if parameter.ndim == 1:
                parameter.normal_(generator=draw)
    width = backbone.dim + backbone.uses_linear
    return CTRModel(SCHEMA, torch.randn(sum(SIZES), width, generator=draw, dtype=torch.float64), backbone)


class Moved(Gate):
    """Embeddings and linear weights, moved by a share [F] towards constants."""

    def __init__(self, share: Tensor, target: Constants) -> None:
        super().__init__()
        self.share, self.target = share, target

    def multiply(self, e: Tensor, linear: Tensor | None, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        share, target = self.share, self.target
        moved = e + share[:, None] * (target.e - e)
        return moved, None if linear is None or target.linear is None else linear + share * (target.linear - linear)


@torch.no_grad()
def losses(net: CTRModel, data: Rows, share: Tensor, target: Constants) -> Tensor:
    """Log loss of each row, [N], where fields are replaced by ``share`` [F] of ``target``."""
    net.eval()
    net.gate = Moved(share, target)
    batch = next(data.slices(N))
    found = F.binary_cross_entropy_with_logits(net(batch), batch.labels, reduction="none")
    net.gate = None
    return found


def by_differences(net: CTRModel, data: Rows, target: Constants) -> Tensor:
    """Slopes of every row's loss, [N, F], by central differences."""
    unit = torch.eye(len(SIZES), dtype=torch.float64) * STEP
    pairs = [losses(net, data, one, target) - losses(net, data, -one, target) for one in unit]
    return torch.stack(pairs, 1) / (2 * STEP)


@pytest.mark.parametrize("name", ["dnn", "wide-deep", "xdeepfm", "pnn", "logistic"])
def test_slopes_are_those_of_finite_differences_and_the_model_is_left_as_it_was(name: str) -> None:
    net, data = model(name), rows()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    target = mean_lookups(net, data)
    with probed(net, target) as slopes:
        found = slopes(next(data.slices(N)))
    assert net.training
    assert net.gate is None
    assert all(param.requires_grad and param.grad is None for param in net.parameters())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    torch.testing.assert_close(found, by_differences(net, data, target), rtol=1e-5, atol=1e-8)


def test_mean_lookups_are_means_over_rows_and_numbers_multiply(monkeypatch: pytest.MonkeyPatch) -> None:
    net, data = model(), rows()
    monkeypatch.setattr(replacement, "SCORE_BATCH", 10)  # several parts, the last of one row
    found = mean_lookups(net, data)
    assert data.numeric is not None
    factors = torch.ones(N, len(SIZES), 1, dtype=torch.float64)
    factors[:, 1, 0] = data.numeric[:, 0]
    looked_up = net.table.weight.detach()[data.ids.long()] * factors  # [N, F, D + 1]
    torch.testing.assert_close(found.e, looked_up[..., :D].mean(0))
    assert found.linear is not None
    torch.testing.assert_close(found.linear, looked_up[..., D].mean(0))


@pytest.mark.parametrize("per_sample", [False, True])
def test_sfs_is_the_mean_size_of_the_masks_gradient(monkeypatch: pytest.MonkeyPatch, per_sample: bool) -> None:
    net, data = model(), rows()
    monkeypatch.setattr(sfs, "SCORE_BATCH", 30)  # batches of 30 and 11 rows, which count alike
    mask = -by_differences(net, data, nothing(net))  # of c = 1 - s
    wanted = mask.abs().mean(0) if per_sample else (mask[:30].mean(0).abs() + mask[30:].mean(0).abs()) / 2
    found = sfs.sensitivity(net, data, per_sample)
    torch.testing.assert_close(found, wanted / wanted.sum(), rtol=1e-5, atol=1e-8)


def test_the_masks_gradient_is_that_of_the_table_along_itself() -> None:
    net, data = model(), rows()
    batch = next(data.slices(N))
    weight = net.table.weight.detach().clone().requires_grad_()
    assert data.numeric is not None
    factors = torch.ones(N, len(SIZES), 1, dtype=torch.float64)
    factors[:, 1, 0] = data.numeric[:, 0]
    looked_up = weight[data.ids.long()] * factors
    net.eval()
    loss = F.binary_cross_entropy_with_logits(net.backbone(looked_up[..., :D], looked_up[..., D]), batch.labels)
    (slope,) = torch.autograd.grad(loss, weight)
    along = (slope * weight.detach()).sum(1)  # <∂L/∂E_v, E_v>
    by_field = torch.stack([part.sum() for part in torch.split(along, list(SIZES))])
    with probed(net, nothing(net)) as slopes:
        torch.testing.assert_close(-slopes(batch).mean(0), by_field)


def test_sfs_of_a_loss_that_says_nothing_is_zero_everywhere() -> None:
    net = model("logistic")
    with torch.no_grad():
        net.table.weight.zero_()
    assert sfs.sensitivity(net, rows(), per_sample=True).tolist() == [0.0] * 4


@pytest.mark.parametrize("signed", [False, True])
def test_shark_is_the_mean_change_towards_the_mean(monkeypatch: pytest.MonkeyPatch, signed: bool) -> None:
    net, data = model("dnn"), rows()
    monkeypatch.setattr(shark, "SCORE_BATCH", 30)
    change = by_differences(net, data, mean_lookups(net, data))
    wanted = change.mean(0) if signed else change.abs().mean(0)
    torch.testing.assert_close(shark.changes(net, data, signed), wanted, rtol=1e-5, atol=1e-8)


def test_another_numbering_of_the_values_changes_no_score() -> None:
    net, data = model(), rows()
    order = torch.cat([torch.randperm(n, generator=torch.Generator().manual_seed(n)) for n in SIZES])
    order += torch.from_numpy(np.repeat(SCHEMA.offsets[:-1], SIZES))
    other = model()
    with torch.no_grad():
        other.table.weight[order] = net.table.weight
    renamed = Rows(SCHEMA, order[data.ids.long()].int(), data.numeric, data.labels, data.index)
    torch.testing.assert_close(sfs.sensitivity(other, renamed, False), sfs.sensitivity(net, data, False))
    torch.testing.assert_close(shark.changes(other, renamed, False), shark.changes(net, data, False))


@pytest.mark.parametrize("name", ["dnn", "wide-deep", "logistic"])
def test_a_cut_model_that_absorbs_is_the_whole_one_with_the_others_at_their_mean(name: str) -> None:
    net, data = model(name).eval(), rows()
    means, kept = mean_lookups(net, data), [1, 3]
    share = torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64)  # 1: replaced altogether
    wanted = losses(net, data, share, means)
    before = net.backbone.state_dict()["mlp.layers.0.bias" if name != "logistic" else "bias"].clone()
    small = net.prune(kept, rest=(means.e, means.linear))
    batch: Batch = next(data.keep(kept).slices(N))
    with torch.no_grad():
        found = F.binary_cross_entropy_with_logits(small(batch), batch.labels, reduction="none")
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)
    assert small.kept == (1, 3)
    after = net.backbone.state_dict()["mlp.layers.0.bias" if name != "logistic" else "bias"]
    assert torch.equal(after, before)  # the whole one is as it was


def test_a_backbone_that_multiplies_fields_cannot_hold_them_at_their_mean(make_job: MakeJob) -> None:
    net = model("deepfm")
    with pytest.raises(ValueError, match="cannot hold constants"):
        net.prune([0], rest=(net.table.weight.new_zeros(4, D), net.table.weight.new_zeros(4)))
    record = run_cell(make_job("shark[finetune=true]", backbone="fm", epochs=1))
    assert record.status == "skipped"
    assert "finetune=true leaves dropped fields at their mean" in str(record.reason)
    assert "Leave finetune out" in str(record.reason)


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Calls of ``fit``, with the length of the first layer's bias before it."""
    calls: list[dict[str, Any]] = []
    original = CellContext.fit

    def fit(ctx: Any, net: CTRModel, train: Rows, valid: Any = None, **plan: Any) -> Any:
        bias = float(net.backbone.state_dict()["mlp.layers.0.bias"].norm())
        calls.append({"kept": net.kept, "train": train, "valid": valid, "bias": bias, **plan})
        return original(ctx, net, train, valid, **plan)

    monkeypatch.setattr(CellContext, "fit", fit)
    return calls


@pytest.mark.parametrize(
    ("given", "rows_wanted", "epochs"),
    [("", 800, 1), ("warmup_epochs=0.25", 200, 1), ("warmup_epochs=1.5", 600, 2)],
)
def test_sfs_warms_up_for_a_part_of_the_rows(
    make_job: MakeJob, fits: list[dict[str, Any]], given: str, rows_wanted: int, epochs: int
) -> None:
    job = make_job(f"sfs[{given}]" if given else "sfs", epochs=5)
    method = methods().load("sfs")(job.method.params, job.method.entry)
    train = job.data.train.take(torch.arange(800))
    selection = method.select(job.context(Clock(job.device)), train, job.data.valid)
    (call,) = fits
    assert (len(call["train"]), call["epochs"], call["valid"]) == (rows_wanted, epochs, None)
    assert selection.rows_seen == 800
    assert selection.notes["scored_rows"] == 800
    assert selection.start is None
    assert selection.scores.sum() == pytest.approx(1)


def test_sfs_warms_up_for_900_steps_where_an_epoch_is_longer(
    make_job: MakeJob, fits: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sfs, "WARMUP_STEPS", 2)  # of 4 steps of 256 rows
    job = make_job("sfs[batches=1]")
    method = methods().load("sfs")(job.method.params, job.method.entry)
    monkeypatch.setattr(sfs, "SCORE_BATCH", 100)
    selection = method.select(job.context(Clock(job.device)), job.data.train, job.data.valid)
    assert len(fits[0]["train"]) == len(job.data.train) // 2
    assert selection.notes == {"warmup_epochs": 0.5, "scored_rows": 100}
    assert len(job.data.train) // 2 <= selection.rows_seen < len(job.data.train) // 2 + 100


def test_shark_trains_anew_or_goes_on_from_the_trained_model(make_job: MakeJob, fits: list[dict[str, Any]]) -> None:
    records = [run_cell(make_job(f"shark[finetune={flag}]", epochs=3, timed_once=True)) for flag in ("false", "true")]
    assert [record.status for record in records] == ["ok", "ok"], records[1].traceback
    assert records[0].kept_fields == records[1].kept_fields
    assert records[0].field_scores == records[1].field_scores
    search, fresh, _, tuned = fits
    assert len(search["kept"]) == 8
    assert fresh["kept"] == tuned["kept"] == tuple(records[0].kept_fields or ())
    assert fresh["bias"] == 0  # a new one; the other one has been trained, and holds the means
    assert tuned["bias"] > 0
    assert len(tuned["train"]) == 960  # the holdout is back


@pytest.mark.parametrize(
    "method",
    ["sfs[warmup_epochs=4]", "sfs[per_sample=true,warmup_epochs=4]", "shark", "shark[signed=true]"],
)
def test_the_field_that_is_the_label_comes_first(make_job: MakeJob, method: str) -> None:
    job, field = make_job(method, epochs=8), 3
    rows = job.data.train
    labelled = replace(rows, labels=(rows.ids[:, field] % 2).float())
    made = methods().load(job.method.name)(job.method.params, job.method.entry)
    train, held = labelled.take(torch.arange(800)), labelled.take(torch.arange(800, 960))
    assert int(made.select(job.context(Clock(job.device)), train, held).scores.argmax()) == field


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("sfs[warmup_epochs=0]", "(0, 20]"),
        ("sfs[batches=0]", "[1, inf)"),
        ("shark[score_rows=0]", "[1, inf)"),
        ("shark[signed=maybe]", "true"),
    ],
)
def test_parameters_out_of_range_are_refused(given: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        choose_method(given)
    assert said in str(caught.value)
