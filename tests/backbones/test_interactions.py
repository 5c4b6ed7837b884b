"""Products of pairs: the fast forms equal the sums over pairs, in value, gradient and type."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from backbone_checks import assert_same, draw, plain_pairs
from torch import Tensor

from backbones.interactions import InnerProducts, kernel_products, pair_columns, pair_count, second_order

FIELDS = (1, 2, 5, 8)


def plain_kernels(e: Tensor, kernels: Tensor) -> Tensor:
    pairs = combinations(range(e.shape[1]), 2)
    products = [torch.einsum("ba,ac,bc->b", e[:, j], kernels[p], e[:, i]) for p, (i, j) in enumerate(pairs)]
    return torch.stack(products, 1) if products else e.new_zeros(len(e), 0)


@pytest.mark.parametrize("n_fields", FIELDS)
def test_second_order_is_the_sum_over_pairs(n_fields: int) -> None:
    e = draw(11, n_fields, 3)
    if n_fields == 1:  # the square of the sum cancels, up to rounding
        torch.testing.assert_close(second_order(e), e.new_zeros(11), rtol=0, atol=1e-12)
    else:
        assert_same(second_order(e), plain_pairs(e).sum(1), [e])


@pytest.mark.parametrize("n_fields", FIELDS)
def test_inner_products_of_all_pairs(n_fields: int) -> None:
    e = draw(11, n_fields, 3)
    ours = InnerProducts(n_fields)(e)
    assert ours.shape == (11, n_fields * (n_fields - 1) // 2)
    if n_fields > 1:
        assert_same(ours, plain_pairs(e), [e])


@pytest.mark.parametrize("n_fields", FIELDS)
def test_kernel_products_of_all_pairs(n_fields: int) -> None:
    e, kernels = draw(11, n_fields, 3), draw(pair_count(n_fields), 3, 3, seed=8)
    ours = kernel_products(e, kernels)
    assert ours.shape == (11, pair_count(n_fields))
    if n_fields > 1:
        assert_same(ours, plain_kernels(e, kernels), [e, kernels])


def test_gradcheck() -> None:
    e, kernels = draw(3, 4, 2), draw(6, 2, 2, seed=8)
    inner = InnerProducts(4)
    assert torch.autograd.gradcheck(inner, (e,))
    assert torch.autograd.gradgradcheck(inner, (e,))
    assert torch.autograd.gradcheck(kernel_products, (e, kernels))


def test_a_strided_embedding_is_read_in_place() -> None:
    """Embeddings are all columns but the last of a table with linear weights."""
    rows, kernels = draw(11, 5, 4), draw(10, 3, 3, seed=8)
    inner, strided = InnerProducts(5), rows[..., :3]
    assert not strided.is_contiguous()
    assert_same(inner(strided), plain_pairs(strided), [rows])
    assert_same(kernel_products(strided, kernels), plain_kernels(strided, kernels), [rows, kernels])


def test_pairs_of_kept_fields_keep_their_order() -> None:
    for kept in ([2], [0, 1], [1, 4], [0, 2, 3, 5], list(range(6))):
        everything = list(combinations(range(6), 2))
        expected = [everything.index(pair) for pair in combinations(kept, 2)]
        assert pair_columns(kept, 6).tolist() == expected


def test_autocast_keeps_the_sums_in_float32_and_gradients_in_the_type_of_the_embeddings() -> None:
    e = draw(64, 6, 5).detach().float().requires_grad_()
    kernels = draw(15, 5, 5, seed=8).detach().float()
    inner = InnerProducts(6)
    plain = (second_order(e), inner(e), kernel_products(e, kernels))
    with torch.autocast("cpu", torch.bfloat16):
        ours = (second_order(e), inner(e), kernel_products(e, kernels))
    assert torch.equal(ours[0], plain[0])
    assert torch.equal(ours[2], plain[2])
    assert ours[1].dtype == torch.bfloat16
    torch.testing.assert_close(ours[1].float(), plain[1], rtol=2**-6, atol=2**-5)
    (mine,) = torch.autograd.grad(ours[1].float().sum(), [e])
    (theirs,) = torch.autograd.grad(plain[1].sum(), [e])
    assert mine.dtype == torch.float32
    torch.testing.assert_close(mine, theirs, rtol=2**-6, atol=2**-4)


def test_kernel_products_store_no_gathered_pairs() -> None:
    n_rows, n_fields, dim = 64, 20, 8
    e, kernels = draw(n_rows, n_fields, dim), draw(pair_count(n_fields), dim, dim, seed=8)
    sizes: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        kernel_products(e, kernels)
    assert sorted(sizes) == [e.numel(), kernels.numel()]
