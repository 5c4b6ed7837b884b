"""DCN-V2 in its parallel form (Wang et al., WWW 2021): cross network beside an MLP.

    x_0 = [e_1; ...; e_F],    x_{l+1} = x_0 * (W_l x_l + b_l) + x_l,    logit = u^T x_L + MLP(x_0)

The paper puts one linear layer over [x_L; h] with h the MLP's last hidden layer: the sum above is that layer, cut
into its two blocks. With ``rank``, W_l = U_l V_l (the paper's section 3.3, one expert).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Self

import torch
from torch import Tensor, nn

from backbones.layers import MLP
from bench.api import Backbone, Profile, Range, field_columns, linear, slice_columns


@dataclass(frozen=True)
class DCNv2Params:
    """Sizes of the two networks; the profile sets those of the MLP."""

    mlp: Annotated[tuple[int, ...], Range(low=1)] = (400, 400, 200)
    """Hidden sizes of the MLP."""
    dropout: Annotated[float, Range(0, 1, open_high=True)] = 0.0
    """Share of the MLP's hidden units dropped in training."""
    layers: Annotated[int, Range(low=1)] = 3
    """Cross layers L (2 to 4 were best in the paper)."""
    rank: Annotated[int, Range(low=1)] | None = None
    """Rank of the cross weights; none: full. Cheaper than full below half of F · D."""


class CrossLayer(nn.Module):
    """x_0 * (W x + b) + x, with W full or of low rank."""

    def __init__(self, width: int, rank: int | None) -> None:
        """Build W for rows of ``width`` numbers."""
        super().__init__()
        self.down = None if rank is None else nn.Linear(width, rank, bias=False)
        self.up = nn.Linear(width if rank is None else rank, width)

    def forward(self, x0: Tensor, x: Tensor) -> Tensor:
        """Cross x [B, width] with x0 [B, width] -> [B, width]."""
        return torch.addcmul(x, x0, linear(self.up, x if self.down is None else linear(self.down, x)))

    def slice_width(self, columns: Tensor) -> CrossLayer:
        """A copy over the coordinates ``columns`` (int64 [n]) of both sides."""
        small = copy.deepcopy(self)
        if self.down is None:
            small.up = slice_columns(self.up, columns)
        else:
            small.down = slice_columns(self.down, columns)
        small.up.weight = nn.Parameter(small.up.weight.detach()[columns])
        small.up.bias = nn.Parameter(self.up.bias.detach()[columns])
        small.up.out_features = len(columns)
        return small


class DCNv2(Backbone[DCNv2Params]):
    """Cross network and MLP, summed; no linear part."""

    Params = DCNv2Params

    def __init__(self, n_fields: int, dim: int, params: DCNv2Params) -> None:
        """Build both networks for ``n_fields`` fields of embedding size ``dim``."""
        super().__init__(n_fields, dim, params)
        width = n_fields * dim
        self.cross = nn.ModuleList(CrossLayer(width, params.rank) for _ in range(params.layers))
        self.output = nn.Linear(width, 1, bias=False)
        self.mlp = MLP(width, params.mlp, params.dropout)

    @classmethod
    def defaults(cls, profile: Profile) -> DCNv2Params:
        return DCNv2Params(mlp=profile.mlp, dropout=profile.dropout)

    def forward(self, e: Tensor, linear: Tensor | None) -> Tensor:
        x0 = x = e.flatten(1)  # [B, F · D]
        for layer in self.cross:
            x = layer(x0, x)
        logits: Tensor = self.output(x).squeeze(1) + self.mlp(x0)
        return logits

    def slice_fields(self, kept: Sequence[int]) -> Self:
        columns = field_columns(kept, self.dim)
        small = copy.deepcopy(self)
        small.n_fields = len(kept)
        small.cross = nn.ModuleList(layer.slice_width(columns) for layer in self.cross if isinstance(layer, CrossLayer))
        small.output = slice_columns(self.output, columns)
        small.mlp = self.mlp.slice_inputs(columns)
        return small
