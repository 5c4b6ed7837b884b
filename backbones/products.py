"""Weighted sums of products of two rows, column by column, for the cache of a processor's cores.

Rows come as blocks of columns [N, R, n], so small that the products of one stay in the cache of a core. As many blocks
as there are threads are worked off at once, each by a matrix product of its own: threads that share a small one lose
most of their time. Backward passes make the products anew.

Shape letters: A left factors or F fields for them, H sums, S left factors of the products (A, or F // 2 + 1 rotations
of the fields), t blocks worked off at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from bench.api import goes_on, uncompiled

GROUPS = 3
"""Groups of fields between which the gradient of symmetric weights is formed: pairs across groups count once."""
PLAIN_BLOCKS = 8
"""Blocks a thread at once where there are no products: what lies in the cache is a small part of them."""


@uncompiled  # already written for the cache, which a compiler would undo
def pair_maps(before: Tensor | None, fields: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Weighted sums of all products of two rows, column by column: [N, H, n].

    Args:
        before: left factors [N, A, n]; None means ``fields`` themselves.
        fields: right factors [N, F, n].
        weight: [H, A · F].
        bias: [H].
    """
    if torch.compiler.is_exporting():
        left = fields if before is None else before
        return weight @ (left[:, :, None] * fields[:, None]).flatten(1, 2) + bias[:, None]
    if before is None:
        weight = _fold_symmetric(weight, fields.shape[1])
    maps: Tensor = _PairMaps.apply(before, fields, weight, bias)  # type: ignore[no-untyped-call]
    return maps


def _fold_symmetric(weight: Tensor, n_fields: int) -> Tensor:
    """Weights of unordered pairs, [H, S · F]: pair (s, b) is the fields b + s (modulo F) and b, s <= F // 2.

    For even F the last step s = F / 2 meets each of its pairs twice, at half the weight.
    """
    square = weight.view(-1, n_fields, n_fields)
    both = (square + square.transpose(1, 2)).flatten(1)  # W_ab + W_ba
    left, right = _pairs(n_fields, weight.device)
    steps = torch.arange(n_fields // 2 + 1, device=weight.device).repeat_interleave(n_fields)
    share = torch.where((steps == 0) | (2 * steps == n_fields), 0.5, 1.0).to(weight.dtype)
    return both.index_select(1, left * n_fields + right) * share


def _pairs(n_fields: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Left and right field of each pair, [S · F] each: of pair (s, b) b + s (modulo F) and b."""
    steps = torch.arange(n_fields // 2 + 1, device=device)[:, None]
    right = torch.arange(n_fields, device=device)
    return ((right + steps) % n_fields).flatten(), right.repeat(len(steps))


class _PairMaps(torch.autograd.Function):
    """maps = weight @ products + bias; only the products of a few blocks exist at a time, in either direction."""

    @staticmethod
    def forward(ctx: Any, before: Tensor | None, fields: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(before, fields, weight)
        n_blocks, n_fields, n = fields.shape
        maps = fields.new_empty(n_blocks, len(weight), n)
        few = _Few(fields)
        products = few.room(weight.shape[1] // n_fields, n_fields)
        for left, right, out in zip(few.lefts(before, fields), few.parts(fields), few.parts(maps), strict=True):
            few.each(weight, few.multiply(left, right[:, None], products).flatten(1, 2), out)
        return maps.add_(bias[:, None])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor]:
        before, fields, weight = ctx.saved_tensors
        to_before, to_fields, to_weight, _ = ctx.needs_input_grad
        of_bias = grad.sum((0, 2))
        if torch.is_grad_enabled():  # this pass is to be differentiated itself
            return *_differentiable(ctx, grad, before, fields, weight), of_bias
        grad_before = torch.empty_like(before) if to_before else None
        grad_fields = torch.empty_like(fields) if to_fields or to_before else None
        grad = grad.contiguous()
        if before is None and len(weight) <= weight.shape[1] // fields.shape[1]:
            of_weight = _by_maps(grad, fields, weight, grad_fields, to_weight)
        else:
            of_weight = _by_pairs(grad, before, fields, weight, (grad_before, grad_fields), to_weight)
        return grad_before, grad_fields, of_weight, of_bias


def _by_pairs(
    grad: Tensor,
    before: Tensor | None,
    fields: Tensor,
    weight: Tensor,
    grads: tuple[Tensor | None, Tensor | None],
    to_weight: bool,
) -> Tensor | None:
    """Write the gradients of ``before`` and fields to ``grads``; return that of weights, if it is wanted.

    Weights are those of ``_fold_symmetric`` without ``before``, and the left factors the fields, rotated.
    """
    grad_before, grad_fields = grads
    few, n_fields = _Few(fields), fields.shape[1]
    shape = weight.shape[1] // n_fields, n_fields
    products, pulls = few.room(*shape), few.room(*shape)
    skewed = few.room(shape[0], n_fields + shape[0]).zero_() if before is None and grad_fields is not None else None
    sums = few.sums(*weight.shape) if to_weight else None
    lefts, of_fields, of_left = few.lefts(before, fields), few.parts(grad_fields), few.parts(grad_before)
    for left, right, of_maps, to_right, to_left in zip(
        lefts, few.parts(fields), few.parts(grad), of_fields, of_left, strict=True
    ):
        if sums is not None:
            made = few.multiply(left, right[:, None], products).flatten(1, 2)
            sums[: len(right)].baddbmm_(of_maps, made.transpose(1, 2))
        if to_right is None:
            continue
        pull = pulls[: len(right)]
        few.each(weight.t(), of_maps, pull.flatten(1, 2))
        torch.sum(few.multiply(pull, left, products), 1, out=to_right)
        if skewed is not None:
            to_right.add_(_rotated_back(pull, right, skewed[: len(right)]))
        elif to_left is not None:
            torch.sum(few.multiply(pull, right[:, None], products), 2, out=to_left)
    return None if sums is None else sums.sum(0)


def _by_maps(
    grad: Tensor, fields: Tensor, weight: Tensor, grad_fields: Tensor | None, to_weight: bool
) -> Tensor | None:
    """The same without ``before``, by the products of fields with gradients of sums, [F · H, n]: here the fewer ones.

    With Q_h = W_h + W_hᵀ the gradient of fields is sum_h g_h Q_h x, and that of W_h,ab sum_n g_h x_a x_b, of which
    pairs of a field and one of its group or a group behind are formed.
    """
    few, n_fields, n_maps = _Few(fields), fields.shape[1], len(weight)
    square = _unfold(weight, n_fields)
    form = (square + square.transpose(1, 2)).permute(1, 2, 0).reshape(n_fields, -1)  # [F, F · H]
    step = math.ceil(n_fields / GROUPS)
    starts = range(0, n_fields, step) if to_weight else ()
    sums = [few.sums(min(step, n_fields - start) * n_maps, n_fields - start) for start in starts]
    room = few.room(n_fields, n_maps)
    for right, of_maps, to_right in zip(few.parts(fields), few.parts(grad), few.parts(grad_fields), strict=True):
        products = few.multiply(right[:, :, None], of_maps[:, None], room)  # [t, F, H, n]
        if to_right is not None:
            few.each(form, products.flatten(1, 2), to_right)
        columns = right.transpose(1, 2)
        for start, total in zip(starts, sums, strict=True):
            of_group = products[:, start : start + step].flatten(1, 2)
            total[: len(right)].baddbmm_(of_group, columns[:, :, start:])
    if not to_weight:
        return None
    of_square = fields.new_zeros(n_fields, n_maps, n_fields)
    for start, total in zip(starts, sums, strict=True):
        of_square[start : start + step, :, start:] = total.sum(0).view(-1, n_maps, n_fields - start)
    one, other = _pairs(n_fields, fields.device)
    return of_square[torch.minimum(one, other), :, torch.maximum(one, other)].t()


def _rotated_back(pull: Tensor, right: Tensor, skewed: Tensor) -> Tensor:
    """Sum over s of pull [t, S, F, n] · right [t, F, n] rotated forward by s, [t, F, n].

    Rows of F + S slots in ``skewed`` [t, S, F + S, n], whose last S stay zero, read again as rows of F + S - 1, lie
    shifted by one slot a row; their sum over rows adds up what belongs to one field, save for the wrap past the last.
    """
    blocks, steps, n_fields, n = pull.shape
    torch.mul(pull, right[:, None], out=skewed[:, :, :n_fields])
    shifted = skewed.flatten(1, 2)[:, : steps * (n_fields + steps - 1)].view(blocks, steps, -1, n)
    total = shifted.sum(1)  # [t, F + S - 1, n]
    total[:, : steps - 1] += total[:, n_fields:]
    return total[:, :n_fields]


def _differentiable(
    ctx: Any, grad: Tensor, before: Tensor | None, fields: Tensor, weight: Tensor
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of the left and right factors and of the weights, where asked for, for a second backward pass.

    Those of factors are weighted sums of products as well, of the maps' gradients with the other factors. Those of
    weights hold all products.
    """
    at, n_fields = 0 if before is None else 1, fields.shape[1]  # the tensor before is counted, None is not
    to_fields, to_weight = goes_on(ctx, at), goes_on(ctx, at + 1)
    of_weight = None
    if to_weight:
        left = _rotations(fields) if before is None else before[:, :, None]
        of_weight = _joined(grad) @ _joined((left * fields[:, None]).flatten(1, 2)).t()
    if before is None:
        square = _unfold(weight, n_fields)  # [H, F, F]
        both = (square + square.transpose(1, 2)).transpose(0, 1)
        return None, _sums(grad, fields, both) if to_fields else None, of_weight
    square = weight.view(grad.shape[1], before.shape[1], n_fields)
    of_before = _sums(grad, fields, square.transpose(0, 1)) if goes_on(ctx, 0) else None
    of_fields = _sums(grad, before, square.permute(2, 0, 1)) if to_fields else None
    return of_before, of_fields, of_weight


def _sums(left: Tensor, right: Tensor, weight: Tensor) -> Tensor:
    """Sums of the products of left [N, A, n] and right [N, F, n], weighted by [H, A, F]: [N, H, n]."""
    sums: Tensor = _PairMaps.apply(left, right, weight.flatten(1), left.new_zeros(len(weight)))  # type: ignore[no-untyped-call]
    return sums


def _joined(blocks: Tensor) -> Tensor:
    """The columns of all blocks beside each other: [N, R, n] -> [R, N · n]."""
    return blocks.transpose(0, 1).flatten(1)


def _unfold(weight: Tensor, n_fields: int) -> Tensor:
    """The weights [H, S · F] of ``_fold_symmetric`` by left and right field, [H, F, F]."""
    left, right = _pairs(n_fields, weight.device)
    square = weight.new_zeros(len(weight), n_fields * n_fields)
    return square.index_add(1, left * n_fields + right, weight).view(-1, n_fields, n_fields)


@uncompiled  # as ``pair_maps``
def bilinear_form(left: Tensor, right: Tensor, form: Tensor) -> Tensor:
    """leftᵀ form right, column by column: left [N, A, n], right [N, F, n], form [A, F] -> [N, n]."""
    if torch.compiler.is_exporting():
        return (form.t() @ left * right).sum(1)
    sums: Tensor = _BilinearForm.apply(left, right, form)  # type: ignore[no-untyped-call]
    return sums


class _BilinearForm(torch.autograd.Function):
    """A few blocks at a time; nothing of the size of ``right`` is held but its gradient."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, form: Tensor) -> Tensor:
        ctx.save_for_backward(left, right, form)
        sums = right.new_empty(right.shape[0], right.shape[2])
        few = _Few(right, PLAIN_BLOCKS)
        room = few.room(right.shape[1])
        for one, other, out in zip(few.parts(left), few.parts(right), few.parts(sums), strict=True):
            torch.sum(few.each(form.t(), one, room[: len(one)]).mul_(other), 1, out=out)
        return sums

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        left, right, form = ctx.saved_tensors
        weights = grad[:, None]
        if torch.is_grad_enabled():  # this pass is to be differentiated itself
            of_form = _joined(left * weights) @ _joined(right).t()
            return form @ right * weights, form.t() @ left * weights, of_form
        grad_left, grad_right, few = torch.empty_like(left), torch.empty_like(right), _Few(right, PLAIN_BLOCKS)
        room, sums = few.room(right.shape[1]), few.sums(*form.shape)
        inputs = few.parts(left), few.parts(right), few.parts(weights)
        for one, other, weight, to_one, to_other in zip(
            *inputs, few.parts(grad_left), few.parts(grad_right), strict=True
        ):
            few.each(form.t(), one, to_other).mul_(weight)
            weighed = few.multiply(other, weight, room)  # [t, F, n]
            few.each(form, weighed, to_one)
            sums[: len(one)].baddbmm_(one, weighed.transpose(1, 2))
        return grad_left, grad_right, sums.sum(0)


def _rotations(fields: Tensor) -> Tensor:
    """Fields [t, F, n] rotated by s, for s <= F // 2: [t, S, F, n]."""
    n_fields = fields.shape[1]
    return torch.cat([fields, fields[:, : n_fields // 2]], 1).unfold(1, n_fields, 1).transpose(2, 3)


class _Few:
    """Works off a few of the blocks [N, F, n] at once: one a thread on a CPU, else one."""

    def __init__(self, fields: Tensor, times: int = 1) -> None:
        """Blocks like those of ``fields``, ``times`` as many at once."""
        self._fields = fields
        at_once = times * torch.get_num_threads() if fields.device.type == "cpu" else 1
        self.size = max(1, min(at_once, len(fields)))

    def parts(self, blocks: Tensor | None) -> Sequence[Any]:
        """Blocks, a few at a time; as many times None for None."""
        if blocks is None:
            return [None] * math.ceil(len(self._fields) / self.size)
        return torch.split(blocks, self.size)

    def lefts(self, before: Tensor | None, fields: Tensor) -> Iterator[Tensor]:
        """Left factors of products, a few blocks at a time: of ``before`` [t, A, 1, n], or rotations [t, S, F, n]."""
        if before is None:
            return (_rotations(part) for part in self.parts(fields))
        return (part[:, :, None] for part in self.parts(before))

    def room(self, *rows: int) -> Tensor:
        """Room for a few blocks of so many rows, [t, ·, n]."""
        return self._fields.new_empty(self.size, *rows, self._fields.shape[2])

    def sums(self, *shape: int) -> Tensor:
        """Zeros [t, ·], to add up what each of the blocks at once gives; their sum is the sum over all blocks."""
        return self._fields.new_zeros(self.size, *shape)

    @staticmethod
    def multiply(one: Tensor, other: Tensor, room: Tensor) -> Tensor:
        """The product of two tensors that broadcast, in ``room``."""
        return torch.mul(one, other, out=room[: len(one)])

    @staticmethod
    def each(matrix: Tensor, blocks: Tensor, out: Tensor) -> Tensor:
        """``matrix @ block`` for each of the blocks [t, R, n], into ``out``."""
        return torch.bmm(matrix.expand(len(blocks), -1, -1), blocks, out=out)
