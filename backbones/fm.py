"""Factorisation machine of second order (Rendle, ICDM 2010).

    logit = b + sum_f w_f + sum_{i<j} <e_i, e_j>

The bias b is a parameter of its own: there is no other layer that could have one.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from backbones.interactions import second_order
from bench.api import Backbone, NoParams, Profile


class FM(Backbone[NoParams]):
    """Linear weights, the inner products of all pairs of fields, and a bias."""

    Params = NoParams
    uses_linear = True

    def __init__(self, n_fields: int, dim: int, params: NoParams) -> None:
        """Take ``n_fields`` fields of embedding size ``dim``."""
        super().__init__(n_fields, dim, params)
        self.bias = nn.Parameter(torch.zeros(1))

    @classmethod
    def defaults(cls, profile: Profile) -> NoParams:
        return NoParams()

    def forward(self, e: Tensor, linear: Tensor | None) -> Tensor:
        assert linear is not None
        return linear.sum(1) + second_order(e) + self.bias

    def slice_fields(self, kept: Sequence[int]) -> Self:
        small = copy.deepcopy(self)
        small.n_fields = len(kept)
        return small
