"""The fast linear layer is ``torch.nn.Linear`` to rounding, in both directions, and falls back where it must."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bench.engine.fast import linear as module
from bench.engine.fast.linear import LEAST_ROWS, linear


def make(
    inputs: int, outputs: int, rows: int, dtype: torch.dtype = torch.float32, bias: bool = True
) -> tuple[nn.Linear, Tensor]:
    draw = torch.Generator().manual_seed(0)
    layer = nn.Linear(inputs, outputs, bias=bias, dtype=dtype)
    with torch.no_grad():
        for param in layer.parameters():
            param.copy_(torch.randn(param.shape, generator=draw))
    return layer, torch.randn(rows, inputs, generator=draw, dtype=torch.float64).to(dtype).requires_grad_()


def gradients(layer: nn.Linear, x: Tensor, y: Tensor) -> list[Tensor]:
    factors = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    return list(torch.autograd.grad((y * factors).sum(), [x, *layer.parameters()]))


@pytest.fixture
def precision_restored() -> Iterator[None]:
    yield
    torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(("inputs", "outputs"), [(39, 16), (32, 7), (16, 2)], ids=str)
def test_values_and_gradients_agree_with_float64(inputs: int, outputs: int, relu: bool, bias: bool) -> None:
    layer, x = make(inputs, outputs, 2 * LEAST_ROWS + 3, bias=bias)
    exact, x64 = make(inputs, outputs, 2 * LEAST_ROWS + 3, torch.float64, bias)
    exact.load_state_dict(layer.state_dict())
    x64 = x.detach().double().requires_grad_()
    ours, theirs = linear(layer, x, relu), exact(x64)
    theirs = torch.relu(theirs) if relu else theirs
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5)
    for one, other in zip(gradients(layer, x, ours), gradients(exact, x64, theirs), strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-4)


def test_an_output_nobody_reads_again_leaves_the_same_gradients() -> None:
    layer, x = make(39, 16, 2 * LEAST_ROWS)
    kept, spent = linear(layer, x, relu=True), linear(layer, x, relu=True, spent=True)
    assert torch.equal(kept, spent)
    before = kept.detach().clone()
    assert all(map(torch.equal, gradients(layer, x, kept), gradients(layer, x, spent)))
    assert torch.equal(kept, before)
    assert not torch.equal(spent, before), "its memory holds the gradient now"
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        spent.sum().backward()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_so_in_both_directions(value: float, relu: bool) -> None:
    layer, x = make(16, 8, LEAST_ROWS)
    with torch.no_grad():
        x[3, 5] = value
    ours, theirs = linear(layer, x, relu), layer(x)
    theirs = torch.relu(theirs) if relu else theirs
    assert torch.equal(ours.isfinite(), theirs.isfinite())
    assert not ours.isfinite().all()
    for one, other in zip(gradients(layer, x, ours), gradients(layer, x, theirs), strict=True):
        assert torch.equal(one.isfinite(), other.isfinite())


def test_only_what_is_asked_for_gets_a_gradient() -> None:
    layer, x = make(16, 8, LEAST_ROWS)
    layer.weight.requires_grad_(False)
    linear(layer, x.detach(), relu=True).sum().backward()
    assert layer.weight.grad is None
    assert layer.bias.grad is not None


@pytest.mark.parametrize("case", ["float64", "few rows", "one output", "autocast", "medium", "watched", "no oneDNN"])
@pytest.mark.usefixtures("precision_restored")
def test_everything_else_goes_to_torch(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "product", None)  # the fast path would fail
    rows = LEAST_ROWS - 1 if case == "few rows" else LEAST_ROWS
    layer, x = make(16, 1 if case == "one output" else 8, rows, torch.float64 if case == "float64" else torch.float32)
    if case == "no oneDNN":
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    if case == "medium":
        torch.set_float32_matmul_precision("medium")
    watch = FlopCounterMode(display=False) if case == "watched" else nullcontext()
    with watch, torch.autocast("cpu", torch.bfloat16, enabled=case == "autocast"):
        expected = torch.relu(layer(x))
        assert torch.equal(linear(layer, x, relu=True), expected)


def test_on_plain_rows_the_fast_path_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    if not module.full_precision():
        pytest.skip("this torch is built without oneDNN")
    taken: list[bool] = []
    fast = module.product

    def spy(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        taken.append(bias is not None)
        return fast(x, weight, bias)

    monkeypatch.setattr(module, "product", spy)
    layer, x = make(16, 8, LEAST_ROWS)
    linear(layer, x, relu=True).sum().backward()
    assert taken == [True, False]
