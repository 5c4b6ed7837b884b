"""The rearranged CIN is the plain one: same values, same gradients, no stored products."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Literal

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from backbones import cin as cin_module
from backbones.cin import CIN
from backbones.layers import linears
from backbones.products import pair_maps

ACTIVATIONS: tuple[Literal["identity", "relu"], ...] = ("identity", "relu")


def plain(cin: CIN, e: Tensor, split: bool) -> Tensor:
    """The definition, term by term: e [B, F, D] -> [B]."""
    maps, pooled = e, []
    for k, layer in enumerate(linears(cin.maps)):
        n_maps, is_last = len(layer.weight), k == len(cin.maps) - 1
        weight = layer.weight.view(n_maps, maps.shape[1], e.shape[1])
        maps = torch.einsum("hac,bad,bcd->bhd", weight, maps, e) + layer.bias[:, None]
        if cin.activation == "relu":
            maps = maps.relu()
        half = n_maps // 2 if split and not is_last else 0
        pooled.append(maps[:, half:].sum(2))
        maps = maps[:, :half] if half else maps
    logits: Tensor = cin.output(torch.cat(pooled, 1)).squeeze(1)
    return logits


def build(n_fields: int, sizes: tuple[int, ...], split: bool, activation: str) -> CIN:
    cin = CIN(n_fields, sizes, split, activation).double()  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(n_fields)
    with torch.no_grad():
        for weight in cin.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64) / 3)
    return cin


def embeddings(n_rows: int, n_fields: int, dim: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(n_rows, n_fields, dim, generator=generator, dtype=torch.float64).requires_grad_()


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of at most two rows of three columns, so that 11 rows need several, the last one filled up."""
    monkeypatch.setattr(cin_module, "CACHE_CHUNK_BYTES", 0)
    monkeypatch.setattr(cin_module, "MIN_CHUNK_COLUMNS", 6)


@pytest.mark.parametrize("n_fields", [1, 2, 5, 8])
@pytest.mark.parametrize("sizes", [(6,), (6, 5), (8, 6, 5)])
def test_values_and_gradients_equal_the_definition(n_fields: int, sizes: tuple[int, ...], small_chunks: None) -> None:
    e = embeddings(11, n_fields)
    for split, activation in product((True, False), ACTIVATIONS):
        cin = build(n_fields, sizes, split, activation)
        inputs = [e, *cin.parameters()]
        ours, reference = cin(e), plain(cin, e, split)
        torch.testing.assert_close(ours, reference, rtol=1e-10, atol=1e-10)
        mine = torch.autograd.grad(ours.sin().sum(), inputs)
        theirs = torch.autograd.grad(reference.sin().sum(), inputs)
        for a, b in zip(mine, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.fixture
def three_threads() -> Iterator[None]:
    """Three blocks at once."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_blocks_at_once_give_the_same(small_chunks: None, three_threads: None) -> None:
    """Six blocks of two rows are two times three, four blocks of two rows three and one."""
    for n_rows, sizes in product((11, 8), ((3,), (3, 4), (20, 6, 5))):
        cin, e = build(9, sizes, False, "relu"), embeddings(n_rows, 9)
        inputs = [e, *cin.parameters()]
        ours, reference = cin(e), plain(cin, e, False)
        torch.testing.assert_close(ours, reference, rtol=1e-10, atol=1e-10)
        mine = torch.autograd.grad(ours.sin().sum(), inputs)
        for a, b in zip(mine, torch.autograd.grad(reference.sin().sum(), inputs), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("n_rows", "most", "size"), [(4096, 33, 32), (4096, 33_000, 4096), (11, 2, 2), (97, 40, 33)])
def test_blocks_are_even_where_they_can_be(n_rows: int, most: int, size: int) -> None:
    """4096 = 128 · 32; 97 is a prime number: three blocks of 33 lack two rows, three of 40 would lack 23."""
    assert cin_module._block_rows(n_rows, most) == size


@pytest.mark.parametrize("n_maps", [2, 4])
@pytest.mark.parametrize("n_fields", [1, 4, 5])
def test_gradcheck(n_fields: int, n_maps: int) -> None:
    """Two maps are fewer than the rotations of four fields, and four are more."""
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()

    fields, before, bias = draw(2, n_fields, 4), draw(2, 3, 4), draw(n_maps)
    assert torch.autograd.gradcheck(pair_maps, (before, fields, draw(n_maps, 3 * n_fields), bias))
    square = draw(n_maps, n_fields * n_fields)
    assert torch.autograd.gradcheck(lambda x, w, b: pair_maps(None, x, w, b), (fields, square, bias))


def test_each_gradient_alone_is_the_same(small_chunks: None) -> None:
    """Steps train some parameters only; what is frozen must not change the gradient of the rest."""
    cin, e = build(5, (6, 4), True, "relu"), embeddings(11, 5)
    inputs = [e, *cin.parameters()]
    together = torch.autograd.grad(cin(e).sum(), inputs)
    for position, wanted in enumerate(inputs):
        for tensor in inputs:
            tensor.requires_grad_(tensor is wanted)
        (alone,) = torch.autograd.grad(cin(e).sum(), [wanted])
        assert torch.equal(alone, together[position])


def test_no_products_are_stored() -> None:
    n_rows, n_fields, dim = 64, 20, 8
    e = embeddings(n_rows, n_fields, dim)
    products = n_fields * n_fields * n_rows * dim
    for split, activation in product((True, False), ACTIVATIONS):
        cin = build(n_fields, (6, 6, 6), split, activation)
        sizes: list[int] = []

        def note(tensor: Tensor, sizes: list[int] = sizes) -> Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            cin(e)
        assert max(sizes) * 8 < products, f"{split=} {activation=}"


def test_inference_mode_eval_and_repetition_agree_bitwise() -> None:
    cin, e = build(9, (8, 6), True, "identity").float(), embeddings(50, 9).detach().float()
    training = cin(e)
    cin.eval()
    with torch.inference_mode():
        assert torch.equal(cin(e), training)
    assert torch.equal(cin(e), training)


def test_float32_stays_near_float64() -> None:
    cin, e = build(12, (16, 16), False, "identity"), embeddings(40, 12).detach()
    exact = cin(e)
    error = (cin.float()(e.float()).double() - exact).abs().max()
    assert error < 1e-5 * exact.abs().max()


def matrix_flops(n_fields: int, sizes: tuple[int, ...], n_rows: int, dim: int = 5) -> int:
    cin, e = build(n_fields, sizes, True, "identity"), embeddings(n_rows, n_fields, dim).detach()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        cin(e)
    return int(counter.get_total_flops())


def test_work_falls_with_the_square_of_the_fields() -> None:
    """Per column: unordered pairs into the maps that go on and one more, then the bilinear form.

    Folding the output weights costs the same for one row as for a batch, so two batch sizes separate the two.
    """
    for n_fields in (39, 20):
        steps, goes_on, columns = n_fields // 2 + 1, 50, 5
        per_column = steps * n_fields * (goes_on + 1) + n_fields * goes_on
        grown = matrix_flops(n_fields, (100, 100), 8) - matrix_flops(n_fields, (100, 100), 4)
        assert grown == 2 * per_column * columns * 4


def test_slicing_keeps_the_pairs_of_kept_fields(small_chunks: None) -> None:
    e = embeddings(11, 6).detach()
    for split, activation in product((True, False), ACTIVATIONS):
        cin = build(6, (6, 4, 3), split, activation)
        for kept in ([0], [5], [1, 4], [0, 2, 3, 5], list(range(6))):
            zeroed = torch.zeros_like(e)
            zeroed[:, kept] = e[:, kept]
            small = cin.slice_fields(kept)
            torch.testing.assert_close(small(e[:, kept]), cin(zeroed), rtol=0, atol=1e-10)
            fresh = build(len(kept), (6, 4, 3), split, activation)
            assert {k: v.shape for k, v in small.state_dict().items()} == {
                k: v.shape for k, v in fresh.state_dict().items()
            }
