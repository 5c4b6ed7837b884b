"""Products of pairs of field embeddings, each at the cost of its arithmetic alone.

Pairs (i, j), i < j, are numbered row by row: (0, 1), (0, 2), ..., (1, 2), ... Shape letter: P = F (F - 1) / 2 pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bench.api import goes_on, uncompiled


def second_order(e: Tensor) -> Tensor:
    """Sum of the inner products of all pairs, by the square of the sum: e [B, F, D] -> [B].

    The difference of two large sums needs float32; autocast leaves sums and norms in the type of ``e``.
    """
    sums: Tensor
    if torch.compiler.is_compiling():
        sums = 0.5 * (e.sum(1).square() - e.square().sum(1)).sum(1)
    else:
        sums = _SecondOrder.apply(e)  # type: ignore[no-untyped-call]
    return sums


class _SecondOrder(torch.autograd.Function):
    """Two passes over ``e`` forward and two backward, and no copy of its size but the gradient."""

    @staticmethod
    def forward(ctx: Any, e: Tensor) -> Tensor:
        total = e.sum(1)
        ctx.save_for_backward(e, total)
        squares: Tensor = torch.linalg.vector_norm(e.flatten(1), dim=1).square()
        return 0.5 * (total.square().sum(1) - squares)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        e, total = ctx.saved_tensors
        if torch.is_grad_enabled():  # this pass is to be differentiated itself, and autograd knows nothing of the total
            others: Tensor = e.sum(1, keepdim=True) - e
            return others * grad[:, None, None]
        pull: Tensor = torch.sub(total[:, None], e).mul_(grad[:, None, None])
        return pull


def pair_count(n_fields: int) -> int:
    """Number of pairs of two fields."""
    return n_fields * (n_fields - 1) // 2


def pair_columns(kept: Sequence[int], n_fields: int) -> Tensor:
    """Numbers of the pairs of which both fields are in ``kept`` (increasing), int64."""
    chosen = torch.as_tensor(list(kept))
    first, second = torch.triu_indices(len(chosen), len(chosen), 1)
    i, j = chosen[first], chosen[second]
    return i * (2 * n_fields - i - 1) // 2 + j - i - 1


class InnerProducts(nn.Module):
    """<e_i, e_j> of all pairs: e [B, F, D] -> [B, P]."""

    place: Tensor
    number: Tensor

    def __init__(self, n_fields: int) -> None:
        """Number the pairs of ``n_fields`` fields."""
        super().__init__()
        i, j = torch.triu_indices(n_fields, n_fields, 1)
        number = torch.zeros(n_fields, n_fields, dtype=torch.int64)
        number[i, j] = number[j, i] = torch.arange(len(i))
        self.register_buffer("place", i * n_fields + j, persistent=False)  # pair -> place in a flat [F, F]
        self.register_buffer("number", number.flatten(), persistent=False)  # place -> pair, zero on the diagonal

    @uncompiled  # two products and a gather: nothing to fuse
    def forward(self, e: Tensor) -> Tensor:
        if len(self.place) == 0:
            return e.new_zeros(e.shape[0], 0)
        if torch.compiler.is_exporting():
            return torch.bmm(e, e.transpose(1, 2)).flatten(1).index_select(1, self.place)
        products: Tensor = _InnerProducts.apply(e, self.place, self.number)  # type: ignore[no-untyped-call]
        return products


class _InnerProducts(torch.autograd.Function):
    """The upper triangle of e eᵀ; its backward is one product with the symmetric matrix of gradients."""

    @staticmethod
    def forward(ctx: Any, e: Tensor, place: Tensor, number: Tensor) -> Tensor:
        ctx.save_for_backward(e, number)
        products = torch.bmm(e, e.transpose(1, 2)).flatten(1)
        return _columns(products, place)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        e, number = ctx.saved_tensors
        n_rows, n_fields, _ = e.shape
        both = _columns(grads[0], number).view(n_rows, n_fields, n_fields)
        both.diagonal(dim1=1, dim2=2).zero_()
        left = e.to(both.dtype).transpose(1, 2)  # autocast may have made the products in another type
        return torch.bmm(left, both).transpose(1, 2).to(e.dtype), None, None  # eᵀ G is faster than G e, for G = Gᵀ


def _columns(x: Tensor, chosen: Tensor) -> Tensor:
    """Columns ``chosen`` of x [B, n], by the faster kernel: of bfloat16 on a CPU that for single numbers is."""
    if not x.is_cuda and x.dtype != torch.bfloat16:
        return x.index_select(1, chosen)
    return x.gather(1, chosen.expand(len(x), -1))


@uncompiled  # out-of-place as a compiler sees it, it would hold all pairs
def kernel_products(e: Tensor, kernels: Tensor) -> Tensor:
    """e_jᵀ K_ij e_i of all pairs: e [B, F, D], kernels [P, D, D] -> [B, P]."""
    if torch.compiler.is_exporting():
        i, j = torch.triu_indices(e.shape[1], e.shape[1], 1)
        by_pair = e.transpose(0, 1)
        turned = torch.bmm(by_pair.index_select(0, i), kernels.transpose(1, 2))  # [P, B, D]
        return (turned * by_pair.index_select(0, j)).sum(2).t()
    fields = e.permute(1, 2, 0).contiguous()  # [F, D, B]
    products: Tensor = _KernelProducts.apply(fields, kernels)  # type: ignore[no-untyped-call]
    return products.t()


class _KernelProducts(torch.autograd.Function):
    """One left field at a time, its kernels as one matrix; K e is made anew in the backward pass.

    Neither direction holds more than F · D · B numbers beside its arguments, where gathered pairs take P · D · B.
    """

    @staticmethod
    def forward(ctx: Any, fields: Tensor, kernels: Tensor) -> Tensor:
        ctx.save_for_backward(fields, kernels)
        products = fields.new_empty(len(kernels), fields.shape[2])  # [P, B]
        start = 0
        with torch.autocast(fields.device.type, enabled=False):
            for left in range(len(fields) - 1):
                right = fields[left + 1 :]  # [n, D, B]
                part = slice(start, start := start + len(right))
                turned = torch.mm(kernels[part].flatten(0, 1), fields[left]).view_as(right)
                torch.sum(turned.mul_(right), 1, out=products[part])
        return products

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None]:
        fields, kernels = ctx.saved_tensors
        if torch.is_grad_enabled():  # this pass is to be differentiated itself
            return _kernel_gradients(ctx, grad, fields, kernels)
        grad_fields, grad_kernels = torch.zeros_like(fields), torch.empty_like(kernels)
        start = 0
        for left in range(len(fields) - 1):
            right = fields[left + 1 :]
            part = slice(start, start := start + len(right))
            matrix = kernels[part].flatten(0, 1)  # [n · D, D]
            pull = (grad[part, None] * right).flatten(0, 1)  # [n · D, B]
            grad_fields[left].addmm_(matrix.t(), pull)
            torch.mm(pull, fields[left].t(), out=grad_kernels[part].view_as(matrix))
            turned = torch.mm(matrix, fields[left]).view_as(right)
            grad_fields[left + 1 :].addcmul_(turned, grad[part, None])
        return grad_fields, grad_kernels


def _kernel_gradients(ctx: Any, grad: Tensor, fields: Tensor, kernels: Tensor) -> tuple[Tensor, Tensor | None]:
    """Gradients of fields [F, D, B] and kernels [P, D, D] in operations that autograd knows, with all pairs at once."""
    i, j = torch.triu_indices(len(fields), len(fields), 1, device=fields.device)
    left, right = fields.index_select(0, i), fields.index_select(0, j)
    pull = grad[:, None] * right  # [P, D, B]
    of_left, of_right = torch.bmm(kernels.transpose(1, 2), pull), torch.bmm(kernels, left) * grad[:, None]
    of_fields = torch.zeros_like(fields).index_add(0, i, of_left).index_add(0, j, of_right)
    return of_fields, torch.bmm(pull, left.transpose(1, 2)) if goes_on(ctx, 1) else None
