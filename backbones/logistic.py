"""Logistic regression on the one-hot values of a row: the linear baseline below which no backbone should fall.

    logit = b + sum_f w_f

McMahan et al., Ad click prediction: a view from the trenches, KDD 2013. It reads linear weights only, so its table
has one column.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from bench.api import Backbone, NoParams, Profile


class Logistic(Backbone[NoParams]):
    """A weight a value and a bias; no embeddings."""

    Params = NoParams
    uses_linear = True
    absorbs = True

    def __init__(self, n_fields: int, dim: int, params: NoParams) -> None:
        """Take ``n_fields`` fields; ``dim`` does not matter."""
        super().__init__(n_fields, 0, params)
        self.bias = nn.Parameter(torch.zeros(1))

    @classmethod
    def defaults(cls, profile: Profile) -> NoParams:
        return NoParams()

    def forward(self, e: Tensor, linear: Tensor | None) -> Tensor:
        assert linear is not None
        return linear.sum(1) + self.bias

    def slice_fields(self, kept: Sequence[int]) -> Self:
        small = copy.deepcopy(self)
        small.n_fields = len(kept)
        return small

    @torch.no_grad()
    def absorb(self, e: Tensor, linear: Tensor | None) -> None:
        assert linear is not None
        self.bias.add_(linear.sum())
