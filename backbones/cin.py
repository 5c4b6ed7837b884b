"""The compressed interaction network of xDeepFM, exact, at the cost of its matrix products alone.

Layer k makes maps out of products of the previous maps with the fields, coordinate by coordinate:

    X^k_h = act( sum_{a,b} W^k_{h,a,b} (X^{k-1}_a * X^0_b) + c^k_h ),    logit = sum_k sum_h u^k_h sum_d X^k_{h,d} + c

A direct implementation holds all products, B · D · H' · F numbers a layer, and is bound by memory. Five
rearrangements avoid that; none changes the function, its gradients or the parameters.

1. Columns (row, coordinate) lie in blocks whose products stay in a core's cache. As many blocks as there are threads
   are worked off at once, each by a matrix product of its own, and the backward pass makes the products anew.
2. Products of two fields are symmetric: the first layer forms each unordered pair once and weighs it with
   W_ab + W_ba.
3. The gradient of few symmetric maps comes from their products with the fields, not from those of pairs, which
   are more numbers and would be gone through several times.
4. Without an activation, what goes only into the logit is a single weighted map, u^T W: hidden layers compute
   the maps that the next layer reads and that one.
5. Hence the last layer is a bilinear form of the previous maps and the fields, which needs no products at all.

Numbers 1 to 3 are in ``backbones.products``. Shape letters: A maps of the layer before, H maps of this one, N blocks
of n columns, which are N · n >= B · D together.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from backbones.layers import linears
from backbones.products import bilinear_form, pair_maps
from bench.api import field_columns, slice_columns

CACHE_CHUNK_BYTES = 1 << 20
"""Products of a block on a CPU: the fastest of 0.5 to 2 MiB for all shapes measured."""
MIN_CHUNK_COLUMNS = 64
"""Columns below which a matrix product loses more than the cache gains."""
DEVICE_CHUNK_BYTES = 256 << 20
"""Products of a block on an accelerator: enough to hide the launch of a kernel (reasoned, not measured)."""
EVEN_SHARE = 4
"""Blocks may be smaller by one part in this many, where all of them are then full."""


class CIN(nn.Module):
    """Interaction layers over fields, pooled over coordinates and summed up by one output layer."""

    def __init__(
        self, n_fields: int, sizes: Sequence[int], split: bool, activation: Literal["identity", "relu"]
    ) -> None:
        """Build layers of ``sizes`` maps; with ``split``, the first half of each hidden layer goes on.

        Weights are [H, A · F], so that initialisers see the right fan-in.
        """
        super().__init__()
        self.n_fields = n_fields
        self.activation = activation
        hidden, last = list(sizes[:-1]), sizes[-1]
        self.passed = [size // 2 if split else size for size in hidden] + [0]
        """Maps of each layer that the next one reads: its first ones."""
        self.spoken = [size - size // 2 if split else size for size in hidden] + [last]
        """Maps of each layer that the output reads: its last ones."""
        before = [n_fields, *self.passed[:-1]]
        self.maps = nn.ModuleList(nn.Linear(a * n_fields, h) for a, h in zip(before, sizes, strict=True))
        self.output = nn.Linear(sum(self.spoken), 1)

    def forward(self, e: Tensor) -> Tensor:
        """Score rows: e [B, F, D] -> [B]."""
        n_rows, _, dim = e.shape
        fields = self._blocks(e)  # [N, F, n]
        before: Tensor | None = None
        columns = fields.new_zeros(())
        run = self._activated if self.activation == "relu" else self._linear
        weights = torch.split(self.output.weight[0], self.spoken)
        for layer, passed, weight in zip(linears(self.maps), self.passed, weights, strict=True):
            before, spoken = run(layer, passed, weight, before, fields)
            columns = columns + spoken
        return columns.view(-1, dim).sum(1)[:n_rows] + self.output.bias

    def _blocks(self, e: Tensor) -> Tensor:
        """Fields by columns (row, coordinate), in blocks of whole rows: e [B, F, D] -> [N, F, n]; zeros fill up."""
        n_rows, n_fields, dim = e.shape
        if torch.compiler.is_exporting():  # blocks need a known number of rows
            return e.transpose(0, 1).reshape(1, n_fields, -1)
        limit = CACHE_CHUNK_BYTES if e.device.type == "cpu" else DEVICE_CHUNK_BYTES
        columns = max(MIN_CHUNK_COLUMNS, limit // (self._most_products * e.element_size()))
        at_least = max(1, n_rows)  # a worker of a cell may have none of a batch
        size = _block_rows(at_least, max(1, columns // dim))
        if missing := at_least + -at_least % size - n_rows:
            e = torch.cat([e, e.new_zeros(missing, n_fields, dim)])
        return e.view(-1, size, n_fields, dim).transpose(1, 2).reshape(-1, n_fields, size * dim)

    @property
    def _most_products(self) -> int:
        """Products that a column has in a layer, at most: the last one has none where it is a bilinear form."""
        read = self.passed[:-1] if self.activation == "relu" else self.passed[:-2]
        return max([self.n_fields // 2 + 1, *read]) * self.n_fields

    @staticmethod
    def _activated(
        layer: nn.Linear, passed: int, weight: Tensor, before: Tensor | None, fields: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Maps that go on, [N, passed, n], and the layer's part of the logit, [N, n]; ``weight`` is the output's."""
        maps = torch.relu(pair_maps(before, fields, layer.weight, layer.bias))  # [N, H, n]
        return maps[:, :passed].contiguous(), weight @ maps[:, maps.shape[1] - len(weight) :]

    @staticmethod
    def _linear(
        layer: nn.Linear, passed: int, weight: Tensor, before: Tensor | None, fields: Tensor
    ) -> tuple[Tensor | None, Tensor]:
        """The same without activation: all maps of the output are folded into one."""
        unheard = layer.out_features - len(weight)  # the output reads the last maps
        folded = weight @ layer.weight[unheard:]  # [A · F]
        shift = weight @ layer.bias[unheard:]
        if passed == 0:
            left = fields if before is None else before
            form = folded.to(fields.dtype).view(left.shape[1], fields.shape[1])
            return None, bilinear_form(left, fields, form) + shift
        both = torch.cat([layer.weight[:passed], folded[None]])
        bias = torch.cat([layer.bias[:passed], shift[None]])
        maps, spoken = torch.split(pair_maps(before, fields, both, bias), [passed, 1], 1)
        return maps, spoken[:, 0]

    def slice_fields(self, kept: Sequence[int]) -> CIN:
        """A copy over the fields ``kept`` (increasing)."""
        small = copy.deepcopy(self)
        small.n_fields = len(kept)
        for k, layer in enumerate(linears(self.maps)):
            before: Sequence[int] = kept if k == 0 else range(self.passed[k - 1])
            pairs = field_columns(before, self.n_fields).view(len(before), self.n_fields)
            small.maps[k] = slice_columns(layer, pairs[:, list(kept)].reshape(-1))
        return small


def _block_rows(n_rows: int, most: int) -> int:
    """Rows of a block, at most ``most``: about as many as fit, so that no row is missing in the last one or few are.

    ``n_rows``, all rows, is at least 1.
    """
    least = most - most // EVEN_SHARE
    even = (size for size in range(min(most, n_rows), least - 1, -1) if n_rows % size == 0)
    return next(even, math.ceil(n_rows / math.ceil(n_rows / most)))
