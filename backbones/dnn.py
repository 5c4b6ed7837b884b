"""A plain multi-layer perceptron over the concatenated embeddings.

    logit = MLP([e_1; ...; e_F])

LeCun, Bengio and Hinton, Deep learning, Nature 2015; the deep part of all other backbones.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Self

from torch import Tensor

from backbones.layers import MLP
from bench.api import Backbone, Profile, Range, field_columns


@dataclass(frozen=True)
class DNNParams:
    """Sizes of the network; the profile sets them."""

    mlp: Annotated[tuple[int, ...], Range(low=1)] = (400, 400, 200)
    """Hidden sizes."""
    dropout: Annotated[float, Range(0, 1, open_high=True)] = 0.0
    """Share of hidden units dropped in training."""


class DNN(Backbone[DNNParams]):
    """MLP over the embeddings, flattened in field order; no linear part."""

    Params = DNNParams
    absorbs = True

    def __init__(self, n_fields: int, dim: int, params: DNNParams) -> None:
        """Build the tower for ``n_fields`` fields of embedding size ``dim``."""
        super().__init__(n_fields, dim, params)
        self.mlp = MLP(n_fields * dim, params.mlp, params.dropout)

    @classmethod
    def defaults(cls, profile: Profile) -> DNNParams:
        return DNNParams(mlp=profile.mlp, dropout=profile.dropout)

    def forward(self, e: Tensor, linear: Tensor | None) -> Tensor:
        logits: Tensor = self.mlp(e.flatten(1))
        return logits

    def slice_fields(self, kept: Sequence[int]) -> Self:
        small = copy.deepcopy(self)
        small.n_fields = len(kept)
        small.mlp = self.mlp.slice_inputs(field_columns(kept, self.dim))
        return small

    def absorb(self, e: Tensor, linear: Tensor | None) -> None:
        self.mlp.shift_inputs(e.flatten())
