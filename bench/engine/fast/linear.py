"""Linear layers in the fastest exact form of the device.

On a CPU, oneDNN's float32 products are faster than those of the BLAS behind ``torch.nn.functional.linear`` for the
output and for the gradient of the input, above all where a width is no multiple of 16; they take the bias along without
a pass of its own. ReLU stays a pass of torch's: oneDNN's turns NaN into 0, and a training that diverges would go on
unseen. The gradient of the weight stays with BLAS, which is as fast there. Sums are formed in another order: results
agree to rounding.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.engine.fast.twice import goes_on

LEAST_ROWS = 64
"""Rows below which the call costs more than the product."""
UNEVEN = 16
"""A number of inputs that is no multiple of this slows the product with inputs as columns down by up to a fifth."""
FULL_PRECISION = ("none", "ieee")
"""Settings of oneDNN's float32 products that round nothing."""


def linear(layer: nn.Linear, x: Tensor, relu: bool = False, spent: bool = False) -> Tensor:
    """``layer(x)``, or ``relu(layer(x))``: x [B, inputs] -> [B, outputs].

    With ``spent`` the backward pass may write into the output: nobody reads it again, nor runs that pass twice, but
    to differentiate the first run of it.

    Autocast, reduced precision of matrix products, compilation, other devices and types go to torch's own.
    """
    if not torch.compiler.is_compiling() and _suits(layer, x):
        y: Tensor = _Linear.apply(x, layer.weight, layer.bias, relu, spent)  # type: ignore[no-untyped-call]
        return y
    y = F.linear(x, layer.weight, layer.bias)
    return torch.relu_(y) if relu else y


def _suits(layer: nn.Linear, x: Tensor) -> bool:
    plain = x.is_cpu and x.ndim == 2 and len(x) >= LEAST_ROWS and min(layer.weight.shape) > 1
    single = x.dtype == layer.weight.dtype == torch.float32
    watched = torch._C._len_torch_dispatch_stack() > 0  # a counter of operations knows those of torch alone
    return plain and single and not watched and not torch.is_autocast_enabled("cpu") and full_precision()


def full_precision() -> bool:
    """Whether oneDNN is at hand, and its float32 products round nothing."""
    backend = torch.backends.mkldnn
    built = backend.is_available()  # type: ignore[no-untyped-call]
    if not built or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    if hasattr(backend, "matmul"):
        return backend.matmul.fp32_precision in FULL_PRECISION
    return torch.get_float32_matmul_precision() == "highest"


def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``x weightᵀ + bias`` by oneDNN: x [B, inputs], weight [outputs, inputs], bias [outputs] -> [B, outputs]."""
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return y


def _weight_gradient(grad: Tensor, x: Tensor) -> Tensor:
    """gradᵀ x, by the form that the BLAS is faster at."""
    return (x.t() @ grad).t() if x.shape[1] % UNEVEN else grad.t() @ x


def _differentiable(
    ctx: Any, grad: Tensor, x: Tensor, weight: Tensor
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of input, weight and bias, where they are asked for, by products that autograd knows."""
    has_bias = ctx.needs_input_grad[2]
    return (
        grad @ weight if goes_on(ctx, 0) else None,
        grad.t() @ x if goes_on(ctx, 1) else None,
        grad.sum(0) if has_bias and goes_on(ctx, 2) else None,
    )


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool, spent: bool) -> Tensor:
        ctx.spent = spent
        y = product(x, weight, bias)
        if relu:
            torch.relu_(y)
        ctx.save_for_backward(x, weight, y if relu else None)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        x, weight, y = ctx.saved_tensors
        if torch.is_grad_enabled():  # this pass is to be differentiated itself
            ctx.spent = False  # so it comes again, and needs the output as it is
            return *_differentiable(ctx, grad if y is None else grad * (y > 0), x, weight), None, None
        if y is not None and ctx.spent:
            grad = torch.ops.aten.threshold_backward(grad, y, 0, grad_input=y)
        elif y is not None:
            grad = torch.ops.aten.threshold_backward(grad, y, 0)
        to_x, to_weight, to_bias, *_ = ctx.needs_input_grad
        grad_x = product(grad, weight.t(), None) if to_x else None
        grad_weight = _weight_gradient(grad, x) if to_weight else None
        return grad_x, grad_weight, grad.sum(0) if to_bias else None, None, None
