"""DCN-V2 against its equations, with full and low-rank cross weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from backbone_checks import assert_equals_plain, assert_slices, count, mlp_count, randomise
from torch import Tensor

from backbones.dcnv2 import CrossLayer, DCNv2, DCNv2Params
from backbones.layers import linears
from bench.errors import ConfigError
from bench.params import fill
from bench.profiles import PAPER, PROFILES

CASES = [
    DCNv2Params(mlp=(12, 8)),
    DCNv2Params(mlp=(12, 8), layers=1),
    DCNv2Params(mlp=(12, 8), rank=5),
    DCNv2Params(mlp=(12, 8), layers=2, rank=1),
]


def name(params: DCNv2Params) -> str:
    return f"{params.layers} layers, rank {params.rank}"


def build(params: DCNv2Params, n_fields: int = 6, dim: int = 4) -> DCNv2:
    backbone = DCNv2(n_fields, dim, params)
    randomise(backbone)
    return backbone


def plain(backbone: DCNv2, e: Tensor) -> Tensor:
    """Row by row of W, and one output layer over [x_L; h]."""
    x0 = x = e.reshape(len(e), -1)
    for layer in backbone.cross:
        assert isinstance(layer, CrossLayer)
        matrix = layer.up.weight if layer.down is None else layer.up.weight @ layer.down.weight
        turned = torch.stack([(row * x).sum(1) + b for row, b in zip(matrix, layer.up.bias, strict=True)], 1)
        x = x0 * turned + x
    *hidden, last = linears(backbone.mlp.layers)
    h = x0
    for tower in hidden:
        h = (h @ tower.weight.T + tower.bias).clamp_min(0)
    head = torch.cat([backbone.output.weight[0], last.weight[0]])
    return torch.cat([x, h], 1) @ head + last.bias


@pytest.mark.parametrize("n_fields", [1, 2, 6])
@pytest.mark.parametrize("params", CASES, ids=name)
def test_values_and_gradients_equal_the_equations(params: DCNv2Params, n_fields: int) -> None:
    backbone = build(params, n_fields)
    assert_equals_plain(backbone, lambda e, linear: plain(backbone, e))


@pytest.mark.parametrize("params", CASES, ids=name)
def test_slices(params: DCNv2Params) -> None:
    assert_slices(build(params))


@pytest.mark.parametrize("params", CASES, ids=name)
def test_a_slice_is_a_copy_with_the_shapes_of_a_fresh_backbone(params: DCNv2Params) -> None:
    full = build(params)
    before = {key: value.clone() for key, value in full.state_dict().items()}
    small, fresh = full.slice_fields([1, 4]), build(params, 2)
    assert {k: v.shape for k, v in small.state_dict().items()} == {k: v.shape for k, v in fresh.state_dict().items()}
    widths = [(layer.up.in_features, layer.up.out_features) for layer in small.cross]  # type: ignore[union-attr]
    assert widths == [(params.rank or 8, 8)] * params.layers
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.fill_(9.0)
    assert all(torch.equal(value, before[key]) for key, value in full.state_dict().items())


@pytest.mark.parametrize(("n_fields", "dim"), [(39, 10), (22, 10), (24, 16), (7, 64)])
def test_parameter_counts_follow_the_closed_forms(n_fields: int, dim: int) -> None:
    width = n_fields * dim
    tower = mlp_count(width) - (200 + 1)  # without its last layer
    head = width + 200 + 1
    defaults = DCNv2.defaults(PAPER)
    assert count(DCNv2(n_fields, dim, defaults)) == 3 * (width * width + width) + tower + head
    low = DCNv2Params(rank=32, layers=2)
    assert count(DCNv2(n_fields, dim, low)) == 2 * (2 * width * 32 + width) + tower + head


def test_parameter_counts_are_the_published_ones() -> None:
    """BARS, Criteo_x1: three cross layers, MLP 500-500-500; 13 numeric fields own a vector each."""
    published = DCNv2(39, 10, DCNv2Params(mlp=(500, 500, 500)))
    assert (2_086_303 + 13) * 10 + count(published) == 22_018_021
    for n_fields, dim, total in ((39, 10, 855_061), (22, 10, 475_281), (39, 16, 1_661_425), (7, 64, 1_024_305)):
        assert count(DCNv2(n_fields, dim, DCNv2Params())) == total


def test_one_cross_layer_by_hand() -> None:
    layer = CrossLayer(2, None)
    with torch.no_grad():
        layer.up.weight.copy_(torch.tensor([[1.0, 2.0], [0.0, -1.0]]))
        layer.up.bias.copy_(torch.tensor([0.5, 1.0]))
    x = torch.tensor([[3.0, 1.0]])
    # W x + b = [3 + 2 + 0.5, -1 + 1] = [5.5, 0]; x * that + x = [16.5 + 3, 0 + 1]
    assert layer(x, x).tolist() == [[19.5, 1.0]]


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_defaults_follow_the_profile(profile: Any) -> None:
    assert DCNv2.defaults(profile) == DCNv2Params(profile.mlp, profile.dropout, 3, None)


def test_parameters_are_checked() -> None:
    assert fill(DCNv2Params, {"rank": "16"}, "dcnv2").rank == 16
    assert fill(DCNv2Params, {"rank": "none"}, "dcnv2").rank is None
    for given in ({"rank": "0"}, {"layers": "0"}, {"layers": "two"}, {"dropout": "1"}):
        with pytest.raises(ConfigError, match="dcnv2"):
            fill(DCNv2Params, given, "dcnv2")
