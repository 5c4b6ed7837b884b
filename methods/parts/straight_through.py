"""Functions whose derivative is written by hand: a step with a surrogate slope, a sigmoid that never goes flat."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def unit_step(x: Tensor) -> Tensor:
    """1 where x > 0, else 0, with a slope made up for the backward pass.

    slope(x) = 2 - 4|x|  for |x| ≤ 0.4,    0.4  for 0.4 < |x| ≤ 1,    0  beyond.
    """
    y: Tensor = _UnitStep.apply(x)  # type: ignore[no-untyped-call]
    return y


def sigmoid(x: Tensor) -> Tensor:
    """σ(x), with the slope σ(x) σ(-x) at every x.

    PyTorch's own slope is σ(x) (1 - σ(x)), which is exactly zero from x ≈ 17 on, where σ(x) rounds to one in float32.
    """
    y: Tensor = _Sigmoid.apply(x)  # type: ignore[no-untyped-call]
    return y


class _UnitStep(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        far = x.abs()
        slope: Tensor = (2 - 4 * far).clamp_min(0.4) * (far <= 1)  # 2 - 4|x| falls to 0.4 at |x| = 0.4
        return grad * slope


class _Sigmoid(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.sigmoid(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        slope: Tensor = torch.sigmoid(x) * torch.sigmoid(-x)
        return grad * slope
