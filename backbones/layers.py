"""Building blocks that backbones share."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from bench.api import slice_columns


class MLP(nn.Module):
    """Linear - ReLU - dropout for every hidden size, then a linear layer to one number."""

    def __init__(self, n_inputs: int, hidden: Sequence[int], dropout: float) -> None:
        """Build a tower over rows of ``n_inputs`` numbers."""
        super().__init__()
        sizes = (n_inputs, *hidden, 1)
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """Score rows: x [B, n_inputs] -> [B]."""
        for layer in self.layers[:-1]:
            x = nn.functional.dropout(torch.relu_(layer(x)), self.dropout, self.training)  # [B, H]
        return self.layers[-1](x).squeeze(1)  # type: ignore[no-any-return]

    def slice_inputs(self, columns: Tensor) -> MLP:
        """A copy that takes only the inputs ``columns`` (int64 [n])."""
        small = copy.deepcopy(self)
        first = self.layers[0]
        assert isinstance(first, nn.Linear)
        small.layers[0] = slice_columns(first, columns)
        return small
