"""Wide & Deep (Cheng et al., DLRS 2016): linear part + MLP.

    logit = sum_f w_f + MLP([e_1; ...; e_F])

The paper's wide part also has products of values chosen by hand; here it has the values alone, as data sets come
without such a choice. Both parts are trained by the profile's optimiser (the paper: FTRL and AdaGrad).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Self

import torch
from torch import Tensor

from backbones.layers import MLP, linears
from bench.api import Backbone, Profile, Range, field_columns


@dataclass(frozen=True)
class WideDeepParams:
    """Sizes of the deep part; the profile sets them."""

    mlp: Annotated[tuple[int, ...], Range(low=1)] = (400, 400, 200)
    """Hidden sizes of the MLP."""
    dropout: Annotated[float, Range(0, 1, open_high=True)] = 0.0
    """Share of the MLP's hidden units dropped in training."""


class WideDeep(Backbone[WideDeepParams]):
    """Linear weights and MLP, summed; the MLP's last bias serves both."""

    Params = WideDeepParams
    uses_linear = True
    absorbs = True

    def __init__(self, n_fields: int, dim: int, params: WideDeepParams) -> None:
        """Build the tower for ``n_fields`` fields of embedding size ``dim``."""
        super().__init__(n_fields, dim, params)
        self.mlp = MLP(n_fields * dim, params.mlp, params.dropout)

    @classmethod
    def defaults(cls, profile: Profile) -> WideDeepParams:
        return WideDeepParams(mlp=profile.mlp, dropout=profile.dropout)

    def forward(self, e: Tensor, linear: Tensor | None) -> Tensor:
        assert linear is not None
        logits: Tensor = linear.sum(1) + self.mlp(e.flatten(1))
        return logits

    def slice_fields(self, kept: Sequence[int]) -> Self:
        small = copy.deepcopy(self)
        small.n_fields = len(kept)
        small.mlp = self.mlp.slice_inputs(field_columns(kept, self.dim))
        return small

    @torch.no_grad()
    def absorb(self, e: Tensor, linear: Tensor | None) -> None:
        assert linear is not None
        self.mlp.shift_inputs(e.flatten())
        linears(self.mlp.layers)[-1].bias.add_(linear.sum())
