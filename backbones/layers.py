"""Building blocks that backbones share."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from bench.api import linear, slice_columns


def linears(layers: nn.ModuleList) -> list[nn.Linear]:
    """The linear layers of a list, in order."""
    return [layer for layer in layers if isinstance(layer, nn.Linear)]


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
        *hidden, last = linears(self.layers)
        for layer in hidden:
            x = nn.functional.dropout(linear(layer, x, relu=True, spent=True), self.dropout, self.training)  # [B, H]
        logits: Tensor = last(x).squeeze(1)
        return logits

    @torch.no_grad()
    def shift_inputs(self, x: Tensor) -> None:
        """Score rows as if ``x`` [n_inputs] were added to each, in place."""
        first = linears(self.layers)[0]
        first.bias.add_(first.weight @ x)

    def slice_inputs(self, columns: Tensor) -> MLP:
        """A copy that takes only the inputs ``columns`` (int64 [n])."""
        small = copy.deepcopy(self)
        small.layers[0] = slice_columns(linears(self.layers)[0], columns)
        return small
