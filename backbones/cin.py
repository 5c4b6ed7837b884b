"""The compressed interaction network of xDeepFM, exact, at the cost of its matrix products alone.

Layer k makes maps out of products of the previous maps with the fields, coordinate by coordinate:

    X^k_h = act( sum_{a,b} W^k_{h,a,b} (X^{k-1}_a * X^0_b) + c^k_h ),    logit = sum_k sum_h u^k_h sum_d X^k_{h,d} + c

A direct implementation holds all products, B · D · H' · F numbers a layer, and is bound by memory. Four
rearrangements avoid that; none changes the function, its gradients or the parameters.

1. Columns (coordinate, row) are worked off in chunks whose products stay in the processor's cache: one matrix
   product a chunk, and the backward pass makes the products anew.
2. Products of two fields are symmetric: the first layer forms each unordered pair once and weighs it with
   W_ab + W_ba.
3. Without an activation, what goes only into the logit is a single weighted map, u^T W: hidden layers compute
   the maps that the next layer reads and that one.
4. Hence the last layer is a bilinear form of the previous maps and the fields, which needs no products at all.

Shape letters: A maps of the layer before, H maps of this one, S left factors of the products (A maps, or F // 2 + 1
rotations of the fields), n columns of all D · B or of one chunk.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from backbones.layers import linears
from bench.api import field_columns, goes_on, slice_columns, uncompiled

CACHE_CHUNK_BYTES = 2 << 20
"""Products held at once on a CPU: the fastest of 0.5 to 8 MiB for all shapes measured."""
MIN_CHUNK_COLUMNS = 64
"""Columns below which a matrix product loses more than the cache gains."""
DEVICE_CHUNK_BYTES = 256 << 20
"""Products held at once on an accelerator: enough to hide the launch of a kernel (reasoned, not measured)."""


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
        n_rows, n_fields, dim = e.shape
        fields = e.permute(1, 2, 0).reshape(n_fields, dim * n_rows)  # [F, D · B]
        before: Tensor | None = None
        columns = fields.new_zeros(())
        run = self._activated if self.activation == "relu" else self._linear
        weights = torch.split(self.output.weight[0], self.spoken)
        for layer, passed, weight in zip(linears(self.maps), self.passed, weights, strict=True):
            before, spoken = run(layer, passed, weight, before, fields)
            columns = columns + spoken
        return columns.view(dim, n_rows).sum(0) + self.output.bias

    @staticmethod
    def _activated(
        layer: nn.Linear, passed: int, weight: Tensor, before: Tensor | None, fields: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Maps that go on, [passed, n], and the layer's part of the logit, [n]; ``weight`` is the output's."""
        maps = torch.relu(pair_maps(before, fields, layer.weight, layer.bias))  # [H, n]
        return maps[:passed], weight @ maps[len(maps) - len(weight) :]

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
            form = folded.to(fields.dtype).view(len(left), len(fields))
            return None, bilinear_form(left, fields, form) + shift
        both = torch.cat([layer.weight[:passed], folded[None]])
        bias = torch.cat([layer.bias[:passed], shift[None]])
        maps, spoken = torch.split(pair_maps(before, fields, both, bias), [passed, 1])
        return maps, spoken[0]

    def slice_fields(self, kept: Sequence[int]) -> CIN:
        """A copy over the fields ``kept`` (increasing)."""
        small = copy.deepcopy(self)
        small.n_fields = len(kept)
        for k, layer in enumerate(linears(self.maps)):
            before: Sequence[int] = kept if k == 0 else range(self.passed[k - 1])
            pairs = field_columns(before, self.n_fields).view(len(before), self.n_fields)
            small.maps[k] = slice_columns(layer, pairs[:, list(kept)].reshape(-1))
        return small


@uncompiled  # already written for the cache, which a compiler would undo
def pair_maps(before: Tensor | None, fields: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Weighted sums of all products of two rows, column by column: [H, n].

    Args:
        before: left factors [A, n]; None means ``fields`` themselves.
        fields: right factors [F, n].
        weight: [H, A · F].
        bias: [H].
    """
    if torch.compiler.is_exporting():  # chunks need a known number of rows
        left = fields if before is None else before
        return torch.addmm(bias[:, None], weight, (left[:, None] * fields).flatten(0, 1))
    if before is None:
        weight = _fold_symmetric(weight, len(fields))
    maps: Tensor = _PairMaps.apply(before, fields, weight, bias)  # type: ignore[no-untyped-call]
    return maps


def _fold_symmetric(weight: Tensor, n_fields: int) -> Tensor:
    """Weights of unordered pairs, [H, S · F]: pair (s, b) is the fields b + s (modulo F) and b, s <= F // 2.

    For even F the last step s = F / 2 meets each of its pairs twice, at half the weight.
    """
    square = weight.view(-1, n_fields, n_fields)
    both = (square + square.transpose(1, 2)).flatten(1)  # W_ab + W_ba
    steps = torch.arange(n_fields // 2 + 1, device=weight.device)[:, None]
    right = torch.arange(n_fields, device=weight.device)
    share = torch.where((steps == 0) | (2 * steps == n_fields), 0.5, 1.0).to(weight.dtype)
    columns = (right + steps) % n_fields * n_fields + right  # [S, F]
    return both.index_select(1, columns.flatten()) * share.expand(-1, n_fields).flatten()


class _PairMaps(torch.autograd.Function):
    """maps = weight @ products + bias; only one chunk of products exists at a time, in either direction."""

    @staticmethod
    def forward(ctx: Any, before: Tensor | None, fields: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(before, fields, weight)
        maps = fields.new_empty(len(weight), fields.shape[1])
        work = _Workspace(fields, weight.shape[1])
        for part in work.parts():
            right = fields[:, part]
            products = work.multiply(_left(before, right, part), right).flatten(0, 1)  # [S · F, n]
            torch.addmm(bias[:, None], weight, products, out=maps[:, part])
        return maps

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor]:
        before, fields, weight = ctx.saved_tensors
        to_before, to_fields, to_weight, _ = ctx.needs_input_grad
        if torch.is_grad_enabled():  # this pass is to be differentiated itself
            return *_differentiable(ctx, grad, before, fields, weight), grad.sum(1)
        grad_before = torch.empty_like(before) if to_before else None
        grad_fields = torch.empty_like(fields) if to_fields or to_before else None
        grad_weight = torch.zeros_like(weight) if to_weight else None
        work = _Workspace(fields, weight.shape[1])
        for part in work.parts():
            right = fields[:, part]
            left = _left(before, right, part)
            if grad_weight is not None:
                grad_weight.addmm_(grad[:, part], work.multiply(left, right).flatten(0, 1).t())
            if grad_fields is not None:
                pull = work.pull(weight, grad[:, part]).view(-1, *right.shape)  # [S, F, n]
                grad_fields[:, part] = work.multiply(pull, left).sum(0)
                if before is None:
                    grad_fields[:, part] += work.rotate_back(pull, right)
                elif grad_before is not None:
                    grad_before[:, part] = work.multiply(pull, right).sum(1)
        return grad_before, grad_fields, grad_weight, grad.sum(1)


def _differentiable(
    ctx: Any, grad: Tensor, before: Tensor | None, fields: Tensor, weight: Tensor
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of the left and right factors and of the weights, where asked for, for a second backward pass.

    Those of factors are weighted sums of products as well, of the maps' gradients with the other factors. Those of
    weights hold all products.
    """
    at, n_fields = 0 if before is None else 1, len(fields)  # the tensor before is counted, None is not
    to_fields, to_weight = goes_on(ctx, at), goes_on(ctx, at + 1)
    of_weight = None
    if to_weight:
        of_weight = grad @ (_left(before, fields, slice(None)) * fields).flatten(0, 1).t()
    if before is None:
        square = _unfold(weight, n_fields)  # [H, F, F]
        both = (square + square.transpose(1, 2)).transpose(0, 1)
        return None, _sums(grad, fields, both) if to_fields else None, of_weight
    square = weight.view(len(grad), len(before), n_fields)
    of_before = _sums(grad, fields, square.transpose(0, 1)) if goes_on(ctx, 0) else None
    of_fields = _sums(grad, before, square.permute(2, 0, 1)) if to_fields else None
    return of_before, of_fields, of_weight


def _sums(left: Tensor, right: Tensor, weight: Tensor) -> Tensor:
    """Sums of the products of left [A, n] and right [F, n], weighted by [H, A, F]: [H, n]."""
    sums: Tensor = _PairMaps.apply(left, right, weight.flatten(1), left.new_zeros(len(weight)))  # type: ignore[no-untyped-call]
    return sums


def _unfold(weight: Tensor, n_fields: int) -> Tensor:
    """The weights [H, S · F] of ``_fold_symmetric`` by left and right field, [H, F, F]."""
    steps = torch.arange(n_fields // 2 + 1, device=weight.device)[:, None]
    right = torch.arange(n_fields, device=weight.device)
    places = ((right + steps) % n_fields * n_fields + right).flatten()
    square = weight.new_zeros(len(weight), n_fields * n_fields)
    return square.index_add(1, places, weight).view(-1, n_fields, n_fields)


@uncompiled  # as ``pair_maps``
def bilinear_form(left: Tensor, right: Tensor, form: Tensor) -> Tensor:
    """leftᵀ form right, column by column: left [A, n], right [F, n], form [A, F] -> [n]."""
    if torch.compiler.is_exporting():
        return (form.t() @ left * right).sum(0)
    sums: Tensor = _BilinearForm.apply(left, right, form)  # type: ignore[no-untyped-call]
    return sums


class _BilinearForm(torch.autograd.Function):
    """A chunk of columns at a time; nothing of the size of ``right`` is held but its gradient."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, form: Tensor) -> Tensor:
        ctx.save_for_backward(left, right, form)
        sums = right.new_empty(right.shape[1])
        work = _Workspace(right, len(right))
        for part in work.parts():
            torch.sum(work.pull(form, left[:, part]).mul_(right[:, part]), 0, out=sums[part])
        return sums

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        left, right, form = ctx.saved_tensors
        if torch.is_grad_enabled():  # this pass is to be differentiated itself
            return form @ right * grad, form.t() @ left * grad, left * grad @ right.t()
        grad_left, grad_right, grad_form = torch.empty_like(left), torch.empty_like(right), torch.zeros_like(form)
        work = _Workspace(right, len(right))
        for part in work.parts():
            torch.mul(work.pull(form, left[:, part]), grad[part], out=grad_right[:, part])
            weighed = work.multiply(right[None, :, part], grad[part])[0]  # [F, n]
            torch.mm(form, weighed, out=grad_left[:, part])
            grad_form.addmm_(left[:, part], weighed.t())
        return grad_left, grad_right, grad_form


def _left(before: Tensor | None, right: Tensor, part: slice) -> Tensor:
    """Left factors of the products: the maps before, [A, 1, n], or the fields rotated by s, [S, F, n]."""
    if before is not None:
        return before[:, None, part]
    steps = len(right) // 2 + 1
    return torch.cat([right, right[: steps - 1]]).unfold(0, len(right), 1).transpose(1, 2)


class _Workspace:
    """Buffers of one chunk, used again for all chunks of a pass."""

    def __init__(self, fields: Tensor, n_products: int) -> None:
        """Cut the columns of ``fields`` [F, n] into equal parts for ``n_products`` products a column."""
        limit = CACHE_CHUNK_BYTES if fields.device.type == "cpu" else DEVICE_CHUNK_BYTES
        self.n_fields, self.n_columns = fields.shape
        most = max(MIN_CHUNK_COLUMNS, limit // (n_products * fields.element_size()))
        self.width = math.ceil(self.n_columns / math.ceil(self.n_columns / most))
        self.n_products = n_products
        self._products = fields.new_empty(n_products * self.width)
        self._pull: Tensor | None = None
        self._skewed: Tensor | None = None

    def parts(self) -> Iterator[slice]:
        """The chunks: slices of columns."""
        for start in range(0, self.n_columns, self.width):
            yield slice(start, min(start + self.width, self.n_columns))

    def multiply(self, one: Tensor, other: Tensor) -> Tensor:
        """The product of two tensors that broadcast to [S, F, n]; valid until the next call."""
        out = self._products[: self.n_products * one.shape[-1]].view(-1, self.n_fields, one.shape[-1])
        return torch.mul(one, other, out=out)

    def pull(self, weight: Tensor, grad: Tensor) -> Tensor:
        """Gradient of the products, [S · F, n], from that of the maps [H, n]; valid until the next call."""
        if self._pull is None:
            self._pull = torch.empty_like(self._products)
        out = self._pull[: self.n_products * grad.shape[1]].view(self.n_products, -1)
        return torch.mm(weight.t(), grad, out=out)

    def rotate_back(self, pull: Tensor, right: Tensor) -> Tensor:
        """Sum over s of pull · right rotated forward by s, [F, n].

        Rows of F + S slots whose last S stay zero, read again as rows of F + S - 1, lie shifted by one slot a row;
        their sum over rows adds up what belongs to one field, save for the wrap past the last one.
        """
        steps, n_fields, n = pull.shape
        shape = (steps, n_fields + steps, n)
        if self._skewed is None or self._skewed.shape != shape:
            self._skewed = pull.new_zeros(shape)
        torch.mul(pull, right, out=self._skewed[:, :n_fields])
        shifted = self._skewed.flatten(0, 1)[: steps * (n_fields + steps - 1)].view(steps, -1, n)
        total = shifted.sum(0)  # [F + S - 1, n]
        total[: steps - 1] += total[n_fields:]
        return total[:n_fields]
