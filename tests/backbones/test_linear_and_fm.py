"""Logistic regression, factorisation machine, Wide & Deep and DeepFM against their equations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from backbone_checks import (
    assert_equals_plain,
    assert_slices,
    count,
    mlp_count,
    plain_mlp,
    plain_pairs,
    randomise,
    rows_of,
)
from torch import Tensor

from backbones.deepfm import DeepFM, DeepFMParams
from backbones.fm import FM
from backbones.logistic import Logistic
from backbones.wide_deep import WideDeep, WideDeepParams
from bench.api import NoParams
from bench.engine.backbone import Backbone
from bench.errors import ConfigError
from bench.params import fill
from bench.profiles import PAPER, PROFILES

SIZES = (12, 8)
CASES: dict[str, tuple[Any, Any]] = {
    "logistic": (Logistic, NoParams()),
    "fm": (FM, NoParams()),
    "wide-deep": (WideDeep, WideDeepParams(SIZES)),
    "deepfm": (DeepFM, DeepFMParams(SIZES)),
    "deepfm without linear": (DeepFM, DeepFMParams(SIZES, linear=False)),
}


def build(case: str, n_fields: int = 6, dim: int = 4) -> Backbone[Any]:
    cls, params = CASES[case]
    backbone: Backbone[Any] = cls(n_fields, dim, params)
    randomise(backbone)
    return backbone


def plain(case: str, backbone: Any, e: Tensor, linear: Tensor | None) -> Tensor:
    logits = e.new_zeros(len(e))
    if linear is not None:
        logits = logits + linear.sum(1)
    if case in ("logistic", "fm"):
        logits = logits + backbone.bias
    if case.startswith(("fm", "deepfm")):
        logits = logits + plain_pairs(e).sum(1)
    if "deep" in case:
        logits = logits + plain_mlp(backbone.mlp, e.reshape(len(e), -1))
    return logits


@pytest.mark.parametrize("n_fields", [1, 2, 6])
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_equal_the_equations(case: str, n_fields: int) -> None:
    backbone = build(case, n_fields)
    assert_equals_plain(backbone, lambda e, linear: plain(case, backbone, e, linear))


@pytest.mark.parametrize("case", CASES)
def test_slices(case: str) -> None:
    assert_slices(build(case))


@pytest.mark.parametrize(("n_fields", "dim"), [(39, 10), (20, 10), (24, 16), (7, 64)])
def test_parameter_counts_follow_the_closed_forms(n_fields: int, dim: int) -> None:
    """With the table: V + 1 for logistic regression, V (D + 1) + 1 for the factorisation machine."""
    mlp = mlp_count(n_fields * dim)
    counted = {
        Logistic: (0, 1, True),
        FM: (dim, 1, True),
        WideDeep: (dim, mlp, True),
        DeepFM: (dim, mlp, True),
    }
    for cls, expected in counted.items():
        backbone: Any = cls(n_fields, dim, cls.defaults(PAPER))  # type: ignore[attr-defined]
        assert (backbone.dim, count(backbone), backbone.uses_linear) == expected
    ablated = DeepFM(n_fields, dim, replace(DeepFM.defaults(PAPER), linear=False))
    assert (count(ablated), ablated.uses_linear) == (mlp, False)


def test_parameter_counts_are_the_published_ones() -> None:
    """Totals of the BARS leaderboard for Wide & Deep.

    Criteo_x1: MLP 400-400-400 with batch normalisation, which has a factor and a shift for each of its 1200 hidden
    units and which this project leaves out; 13 numeric fields own a vector each. Avazu_x4_001: MLP 2000 four times.
    """
    criteo = WideDeep(39, 10, WideDeepParams(mlp=(400, 400, 400)))
    assert (2_086_303 + 13) * (10 + 1) + count(criteo) + 2 * 1200 == 23_429_477
    avazu = WideDeep(24, 16, WideDeepParams(mlp=(2000, 2000, 2000, 2000)))
    assert 3_750_975 * (16 + 1) + count(avazu) == 76_544_576
    for n_fields, dim, published in ((39, 10, 397_201), (24, 16, 394_801), (7, 64, 420_401)):
        assert count(WideDeep(n_fields, dim, WideDeepParams())) == published
        assert count(DeepFM(n_fields, dim, DeepFMParams())) == published


def test_fm_by_hand() -> None:
    backbone = FM(3, 2, NoParams())
    with torch.no_grad():
        backbone.bias.fill_(0.25)
    e = torch.tensor([[[1.0, 2.0], [3.0, -1.0], [0.5, 4.0]]])
    # <e1, e2> = 1, <e1, e3> = 8.5, <e2, e3> = -2.5; linear 0.5 - 1 + 2
    assert backbone(e, torch.tensor([[0.5, -1.0, 2.0]])).tolist() == [7.0 + 1.5 + 0.25]


def test_logistic_takes_no_embeddings() -> None:
    backbone = build("logistic")
    e, linear = rows_of(backbone)
    assert e.shape == (11, 6, 0)
    assert backbone(e, linear).shape == (11,)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_defaults_follow_the_profile(profile: Any) -> None:
    sizes = {"mlp": profile.mlp, "dropout": profile.dropout}
    assert WideDeep.defaults(profile) == WideDeepParams(**sizes)
    assert DeepFM.defaults(profile) == DeepFMParams(**sizes, linear=True)
    assert Logistic.defaults(profile) == FM.defaults(profile) == NoParams()


def test_parameters_are_checked() -> None:
    assert fill(DeepFMParams, {"linear": "false"}, "deepfm").linear is False
    for owner, params, given in (
        ("deepfm", DeepFMParams, {"mlp": "400-0"}),
        ("wide-deep", WideDeepParams, {"dropout": "1"}),
        ("fm", NoParams, {"mlp": "400"}),
    ):
        with pytest.raises(ConfigError, match=owner):
            fill(params, given, owner)
