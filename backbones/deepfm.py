"""DeepFM (Guo et al., IJCAI 2017): factorisation machine + MLP over the same embeddings.

    logit = sum_f w_f + sum_{i<j} <e_i, e_j> + MLP([e_1; ...; e_F])

The paper's equation 1 puts a sigmoid over the sum; here the loss does.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Self

from torch import Tensor

from backbones.interactions import second_order
from backbones.layers import MLP
from bench.api import Backbone, Profile, Range, field_columns


@dataclass(frozen=True)
class DeepFMParams:
    """Sizes of the deep part, which the profile sets, and the linear part."""

    mlp: Annotated[tuple[int, ...], Range(low=1)] = (400, 400, 200)
    """Hidden sizes of the MLP."""
    dropout: Annotated[float, Range(0, 1, open_high=True)] = 0.0
    """Share of the MLP's hidden units dropped in training."""
    linear: bool = True
    """Whether the factorisation machine has linear weights (the paper's equation 2); some later code has none."""


class DeepFM(Backbone[DeepFMParams]):
    """Linear weights, inner products of all pairs and MLP, summed; the MLP's last bias serves all."""

    Params = DeepFMParams

    def __init__(self, n_fields: int, dim: int, params: DeepFMParams) -> None:
        """Build the tower for ``n_fields`` fields of embedding size ``dim``."""
        super().__init__(n_fields, dim, params)
        self.uses_linear = params.linear
        self.mlp = MLP(n_fields * dim, params.mlp, params.dropout)

    @classmethod
    def defaults(cls, profile: Profile) -> DeepFMParams:
        return DeepFMParams(mlp=profile.mlp, dropout=profile.dropout)

    def forward(self, e: Tensor, linear: Tensor | None) -> Tensor:
        logits: Tensor = second_order(e) + self.mlp(e.flatten(1))
        return logits if linear is None else logits + linear.sum(1)

    def slice_fields(self, kept: Sequence[int]) -> Self:
        small = copy.deepcopy(self)
        small.n_fields = len(kept)
        small.mlp = self.mlp.slice_inputs(field_columns(kept, self.dim))
        return small
