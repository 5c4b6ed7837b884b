"""SGD in one call a step, without PyTorch's compiler, as ``bench.engine.fast.adam`` is for Adam."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from bench.engine.fast.adam import add_param_group, alike


class FusedSGD(torch.optim.SGD):
    """``torch.optim.SGD(groups, fused=True)`` without momentum; gradients are dense, and no step has a closure."""

    def __init__(self, groups: Iterable[Any]) -> None:
        """Take parameters, or groups of them with their settings."""
        super().__init__(groups, fused=True)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters."""
        add_param_group(self, param_group)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient."""
        for group in self.param_groups:
            for params, grads in alike(group):
                torch._fused_sgd_(
                    params, grads, [],
                    lr=group["lr"], weight_decay=group["weight_decay"], momentum=0.0, dampening=0.0, nesterov=False,
                    maximize=group["maximize"], is_first_step=False,
                )  # fmt: skip
