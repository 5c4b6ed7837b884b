"""What every backbone promises, and the parameter counts that published models have."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backbones.dnn import DNN, DNNParams
from backbones.layers import MLP, linears
from backbones.xdeepfm import XDeepFM, XDeepFMParams
from bench.data.schema import Field, Schema
from bench.engine.backbone import Backbone, draw_layers
from bench.engine.clock import Clock
from bench.engine.model import CTRModel, Gate
from bench.errors import ConfigError
from bench.params import fill
from bench.plugins import backbones
from bench.profiles import ANCHOR, PAPER, PROFILES
from bench.rows.rows import Batch
from bench.run.context import BackboneChoice, CellContext, silent

F, D, B = 7, 4, 23
SCHEMA = Schema(tuple(Field(f"f{i}", "numeric" if i == 3 else "categorical", 5 + i) for i in range(F)))
SMALL = replace(PAPER, mlp=(12, 8), cin=(6, 4), dropout=0.3)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def build(name: str, n_fields: int = F, dim: int = D) -> Backbone[Any]:
    cls = backbones().load(name)
    backbone: Backbone[Any] = cls(n_fields, dim, cls.defaults(SMALL)).double()
    draw_layers(backbone, backbone=name, seed=3)
    with torch.no_grad():
        for parameter in backbone.parameters():
            if parameter.ndim == 1:  # zero biases would hide a bias that is cut wrongly
                parameter.normal_(generator=torch.Generator().manual_seed(1))
    return backbone


def model(name: str) -> CTRModel:
    backbone = build(name)
    width = backbone.dim + backbone.uses_linear
    weight = torch.randn(SCHEMA.vocabulary_rows, width, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return CTRModel(SCHEMA, weight, backbone).eval()


def batch() -> Batch:
    draw = torch.Generator().manual_seed(4)
    columns = [
        torch.randint(int(low), int(high), (B,), generator=draw, dtype=torch.int32)
        for low, high in zip(SCHEMA.offsets[:-1], SCHEMA.offsets[1:], strict=True)
    ]
    return Batch(torch.stack(columns, 1), torch.randn(B, 1, generator=draw), torch.zeros(B))


class Closed(Gate):
    """Opens the fields given and closes the rest."""

    def __init__(self, open_fields: list[int]) -> None:
        super().__init__()
        self.factors = torch.zeros(F, dtype=torch.float64)
        self.factors[open_fields] = 1.0

    def forward(self, e: Tensor, ids: Tensor) -> Tensor:
        return self.factors


def keep(rows: Batch, kept: list[int]) -> Batch:
    """Columns of a batch by hand: ids moved to the smaller table, the numeric column only if field 3 stays."""
    local = rows.ids[:, kept] - torch.as_tensor(SCHEMA.offsets[kept])
    ids = (local + torch.as_tensor(SCHEMA.keep(kept).offsets[:-1])).int()
    return Batch(ids, rows.numeric if 3 in kept else None, rows.labels)


@pytest.mark.parametrize("kept", [[0], [3], [1, 2, 6], [0, 3, 5], list(range(F))], ids=str)
@pytest.mark.parametrize("name", backbones().names())
def test_pruned_equals_gated_to_zero(name: str, kept: list[int]) -> None:
    full, rows = model(name), batch()
    full.gate = Closed(kept)
    small = full.prune(kept)
    assert small.backbone.n_fields == len(kept)
    torch.testing.assert_close(small(keep(rows, kept)), full(rows), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", backbones().names())
def test_slicing_twice_equals_slicing_once(name: str) -> None:
    full, rows = model(name), batch()
    twice = full.prune([0, 2, 3, 5]).prune([1, 2])
    once = full.prune([2, 3])
    assert twice.kept == once.kept == (2, 3)
    assert twice.schema == once.schema
    small = keep(rows, [2, 3])
    assert torch.equal(twice(small), once(small))


@pytest.mark.parametrize("name", backbones().names())
def test_slice_is_a_copy_with_the_shape_of_a_fresh_backbone(name: str) -> None:
    full = build(name)
    before = {key: value.clone() for key, value in full.state_dict().items()}
    small, fresh = full.slice_fields([1, 4]), build(name, n_fields=2)
    assert {k: v.shape for k, v in small.state_dict().items()} == {k: v.shape for k, v in fresh.state_dict().items()}
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.fill_(9.0)
    for key, value in full.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize("name", backbones().names())
def test_rows_are_scored_one_by_one(name: str) -> None:
    full, rows = model(name), batch()
    singles = [
        full(Batch(rows.ids[i : i + 1], rows.numeric[i : i + 1], rows.labels[i : i + 1]))  # type: ignore[index]
        for i in range(B)
    ]
    together = full(rows)
    assert together.shape == (B,)
    torch.testing.assert_close(torch.cat(singles), together, rtol=0, atol=1e-12)


def context(name: str) -> CellContext[None]:
    cls = backbones().load(name)
    device = torch.device("cpu")
    return CellContext(
        dataset="any",
        schema=SCHEMA,
        backbone=BackboneChoice(name, name, cls, cls.defaults(SMALL)),
        profile=replace(SMALL, dim=D),
        params=None,
        tau=0.5,
        n_keep=3,
        budget="fields",
        seed=0,
        device=device,
        clock=Clock(device),
        emit=silent,
    )


@pytest.mark.parametrize("name", backbones().names())
def test_the_table_is_as_wide_as_the_backbone_asks(name: str) -> None:
    """Embeddings and linear weights are the same for all backbones at one seed; logistic regression has no former."""
    reference = context("xdeepfm").model().table.weight
    built = context(name).model()
    linear_only = name == "logistic"
    assert built.dim == (0 if linear_only else D)
    embeddings, linear = built.table.weight[:, : built.dim], built.table.weight[:, built.dim :]
    assert torch.equal(embeddings, reference[:, : built.dim])
    assert torch.equal(linear, reference[:, D:] if built.backbone.uses_linear else linear[:, :0])
    assert built(batch()).shape == (B,)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_defaults_follow_the_profile(profile: Any) -> None:
    assert DNN.defaults(profile) == DNNParams(mlp=profile.mlp, dropout=profile.dropout)
    assert XDeepFM.defaults(profile) == XDeepFMParams(
        mlp=profile.mlp, dropout=profile.dropout, cin=profile.cin, split=profile.cin_split
    )


@pytest.mark.parametrize(("n_fields", "dim"), [(39, 10), (20, 10), (24, 16), (7, 64)])
def test_parameter_counts_follow_the_closed_forms(n_fields: int, dim: int) -> None:
    sizes = (n_fields * dim, 400, 400, 200)
    mlp = sum(i * h + h for i, h in pairwise(sizes)) + 200 + 1
    assert count(DNN(n_fields, dim, DNN.defaults(PAPER))) == mlp
    layer = n_fields * n_fields * 100 + 100
    split = layer + (n_fields * 50 * 100 + 100) + 150 + 1
    direct = layer + (n_fields * 100 * 100 + 100) + 200 + 1
    params = XDeepFM.defaults(PAPER)
    assert count(XDeepFM(n_fields, dim, params)) == mlp + split
    assert count(XDeepFM(n_fields, dim, replace(params, split=False))) == mlp + direct


def test_parameter_counts_are_the_published_ones() -> None:
    """Criteo_x1 of the BARS leaderboard: CIN 16-16, MLP 400-400-400; 13 numeric fields own a vector each."""
    table_rows = 2_086_303 + 13
    assert count(DNN(39, 10, DNN.defaults(PAPER))) == 397_201
    net = XDeepFM(39, 10, replace(XDeepFM.defaults(ANCHOR), mlp=(400, 400, 400)))
    assert count(net.cin) == 34_385
    assert table_rows * (10 + 1) + count(net) == 23_461_462


@pytest.mark.parametrize("text", ["15-16", "16-7-16"])
def test_odd_sizes_cannot_be_split(text: str) -> None:
    with pytest.raises(ConfigError, match=f"xdeepfm: cin={text} with split=true"):
        fill(XDeepFMParams, {"cin": text}, "xdeepfm")
    fill(XDeepFMParams, {"cin": text, "split": "false"}, "xdeepfm")


def test_the_last_layer_may_be_odd_and_layers_must_exist() -> None:
    assert fill(XDeepFMParams, {"cin": "16-7"}, "xdeepfm").cin == (16, 7)
    for given in ({"cin": "0"}, {"mlp": "400-0"}, {"dropout": "1"}, {"activation": "tanh"}):
        with pytest.raises(ConfigError, match="xdeepfm"):
            fill(XDeepFMParams, given, "xdeepfm")


def test_mlp_by_hand() -> None:
    mlp = MLP(2, (2,), dropout=0.0)
    first, last = linears(mlp.layers)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, 2.0], [-1.0, 1.0]]))
        first.bias.copy_(torch.tensor([0.0, -1.0]))
        last.weight.copy_(torch.tensor([[3.0, 5.0]]))
        last.bias.fill_(0.5)
    # hidden: relu([1 + 2, -1 + 1 - 1]) = [3, 0] -> 9.5; relu([-2 + 8, 2 + 4 - 1]) = [6, 5] -> 43.5
    assert mlp(torch.tensor([[1.0, 1.0], [-2.0, 4.0]])).tolist() == [9.5, 43.5]


def test_dropout_acts_in_training_only() -> None:
    mlp, x = MLP(3, (64,), dropout=0.5), torch.ones(1, 3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        mlp.train()
        assert len({mlp(x).item() for _ in range(4)}) > 1
        mlp.eval()
        assert len({mlp(x).item() for _ in range(4)}) == 1


def test_weights_are_drawn_with_the_fan_of_their_layer() -> None:
    """Xavier normal: variance 2 / (inputs + outputs); a CIN layer has A · F inputs and H outputs."""
    net = XDeepFM(39, 10, XDeepFM.defaults(PAPER))
    draw_layers(net, backbone="any", seed=0)
    for layer, inputs in zip(linears(net.cin.maps), (39 * 39, 50 * 39), strict=True):
        expected = (2 / (inputs + 100)) ** 0.5
        assert layer.weight.std().item() == pytest.approx(expected, rel=0.02)  # 152,100 draws or more
        assert not layer.bias.any()
