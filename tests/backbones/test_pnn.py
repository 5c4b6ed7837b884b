"""PNN against its equations: inner, outer in every form, and both."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
import torch
from backbone_checks import assert_equals_plain, assert_slices, count, mlp_count, plain_mlp, plain_pairs, randomise
from torch import Tensor

from backbones.pnn import PNN, PairProducts, PNNParams
from bench.engine.backbone import draw_layers
from bench.errors import ConfigError
from bench.params import fill
from bench.profiles import PAPER, PROFILES

CASES = [
    PNNParams(mlp=(12, 8), product=product, kernel=kernel)  # type: ignore[arg-type]
    for product, kernel in (
        ("inner", None),
        ("outer", None),
        ("outer", "mat"),
        ("outer", "vec"),
        ("outer", "num"),
        ("outer", "sum"),
        ("both", None),
        ("both", "vec"),
        ("both", "num"),
        ("both", "sum"),
    )
]


def name(params: PNNParams) -> str:
    return f"{params.product}-{params.kernel}"


def build(params: PNNParams, n_fields: int = 6, dim: int = 4) -> PNN:
    backbone = PNN(n_fields, dim, params)
    randomise(backbone)
    return backbone


def plain_outer(kernel: str, weight: Tensor | None, e: Tensor) -> Tensor:
    """Outer products of all pairs, kernel by kernel: [B, P], or their sum over all ordered pairs, [B, D · D]."""
    n_rows, n_fields, dim = e.shape
    outer = torch.einsum("bia,bjc->bijac", e, e)  # [B, F, F, D, D]
    if weight is None:
        return outer.sum((1, 2)).reshape(n_rows, dim * dim)
    if kernel == "vec":
        weight = torch.diag_embed(weight)
    if kernel == "num":
        weight = weight[:, None, None] * torch.eye(dim, dtype=e.dtype)
    pairs = combinations(range(n_fields), 2)
    products = [(weight[p] * outer[:, j, i]).sum((1, 2)) for p, (i, j) in enumerate(pairs)]
    return torch.stack(products, 1) if products else e.new_zeros(n_rows, 0)


def plain(backbone: PNN, e: Tensor) -> Tensor:
    params, blocks = backbone.params, [e.reshape(len(e), -1)]
    if params.product in ("inner", "both"):
        blocks.append(plain_pairs(e))
    if params.product in ("outer", "both"):
        last = list(backbone.products)[-1]
        weight = last.weight if isinstance(last, PairProducts) else None
        blocks.append(plain_outer(params.kernel or "mat", weight, e))
    return plain_mlp(backbone.mlp, torch.cat(blocks, 1))


@pytest.mark.parametrize("n_fields", [1, 2, 6])
@pytest.mark.parametrize("params", CASES, ids=name)
def test_values_and_gradients_equal_the_equations(params: PNNParams, n_fields: int) -> None:
    backbone = build(params, n_fields)
    assert_equals_plain(backbone, lambda e, linear: plain(backbone, e))


@pytest.mark.parametrize("params", CASES, ids=name)
def test_slices(params: PNNParams) -> None:
    assert_slices(build(params))


@pytest.mark.parametrize("params", CASES, ids=name)
def test_a_slice_is_a_copy_with_the_shapes_of_a_fresh_backbone(params: PNNParams) -> None:
    full = build(params)
    before = {key: value.clone() for key, value in full.state_dict().items()}
    for kept in ([2], [1, 4], [0, 2, 3, 5]):
        small, fresh = full.slice_fields(kept), build(params, len(kept))
        assert small.n_fields == len(kept)
        assert {k: v.shape for k, v in small.state_dict().items()} == {
            k: v.shape for k, v in fresh.state_dict().items()
        }
        with torch.no_grad():
            for parameter in small.parameters():
                parameter.fill_(9.0)
    assert all(torch.equal(value, before[key]) for key, value in full.state_dict().items())


@pytest.mark.parametrize(("n_fields", "dim"), [(39, 10), (20, 10), (24, 16), (7, 64), (1, 10)])
def test_parameter_counts_follow_the_closed_forms(n_fields: int, dim: int) -> None:
    width, pairs = n_fields * dim, n_fields * (n_fields - 1) // 2
    expected = {
        ("inner", None): mlp_count(width + pairs),
        ("outer", None): mlp_count(width + pairs) + pairs * dim * dim,
        ("outer", "mat"): mlp_count(width + pairs) + pairs * dim * dim,
        ("outer", "vec"): mlp_count(width + pairs) + pairs * dim,
        ("outer", "num"): mlp_count(width + pairs) + pairs,
        ("outer", "sum"): mlp_count(width + dim * dim),
        ("both", "vec"): mlp_count(width + 2 * pairs) + pairs * dim,
        ("both", "sum"): mlp_count(width + pairs + dim * dim),
    }
    defaults = PNN.defaults(PAPER)
    for (product, kernel), total in expected.items():
        params = replace(defaults, product=product, kernel=kernel)  # type: ignore[arg-type]
        assert count(PNN(n_fields, dim, params)) == total, (product, kernel)


def test_parameter_counts_are_the_published_ones() -> None:
    """BARS, Criteo_x1: MLP 400-400-400 with batch normalisation (2 numbers a hidden unit, left out here)."""
    published = PNN(39, 10, PNNParams(mlp=(400, 400, 400)))
    assert (2_086_303 + 13) * 10 + count(published) + 2 * 1200 == 21_639_561
    assert count(PNN(39, 10, PNNParams())) == 693_601
    assert count(PNN(39, 10, PNNParams(product="outer"))) == 767_701
    assert count(PNN(39, 10, PNNParams(product="outer", kernel="vec"))) == 701_011


def test_kernels_are_drawn_and_multiples_start_as_inner_products() -> None:
    for kernel, drawn in (("mat", True), ("vec", True), ("num", False)):
        backbone = PNN(39, 10, PNNParams(mlp=(4,), product="outer", kernel=kernel))  # type: ignore[arg-type]
        draw_layers(backbone, backbone="any", seed=0)
        (products,) = backbone.products
        assert isinstance(products, PairProducts)
        assert products.weight is not None
        assert bool((products.weight != 1).all()) is drawn


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_defaults_follow_the_profile(profile: Any) -> None:
    assert PNN.defaults(profile) == PNNParams(profile.mlp, profile.dropout, "inner", None)


def test_parameters_are_checked() -> None:
    for kernel in ("mat", "vec", "num", "sum"):
        assert fill(PNNParams, {"product": "outer", "kernel": kernel}, "pnn").kernel == kernel
    assert fill(PNNParams, {"product": "outer", "kernel": "none"}, "pnn").kernel is None
    with pytest.raises(ConfigError, match=r"pnn: kernel=vec .* product=inner has none; use product=outer"):
        fill(PNNParams, {"kernel": "vec"}, "pnn")
    for given in ({"product": "cross"}, {"product": "outer", "kernel": "full"}, {"mlp": "0"}):
        with pytest.raises(ConfigError, match="pnn"):
            fill(PNNParams, given, "pnn")
