"""Adam in one call a step, without PyTorch's compiler.

``torch.optim.Adam`` loads the compiler when it is made: a second and about 67 MB of every process that trains. The
kernel and the state are those of ``torch.optim.Adam(fused=True)``.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
"""That of PyTorch, which else loads the compiler to hide from it."""


class FusedAdam(torch.optim.Adam):
    """``torch.optim.Adam(groups, fused=True)``; its parameters have dense real gradients, and no step a closure."""

    def __init__(self, groups: Iterable[Any]) -> None:
        """Take parameters, or groups of them with their settings; their moments are made now.

        Made amid the first step they would lie scattered between its activations, and every later step would take
        fresh memory for want of room.
        """
        super().__init__(groups, fused=True)
        for group in self.param_groups:
            for param in group["params"]:
                self.state_of(param)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters."""
        add_param_group(self, param_group)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient."""
        for group in self.param_groups:
            for params, grads in alike(group):
                states = [self.state_of(param) for param in params]
                parts = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "step"))
                exp_avgs, exp_avg_sqs, steps = parts
                torch._foreach_add_(steps, 1)
                fused_adam(group, params, grads, exp_avgs, exp_avg_sqs, steps)

    def state_of(self, param: Tensor) -> dict[str, Tensor]:
        """Step count and moments of a parameter, zero at first."""
        state: dict[str, Tensor] = self.state[param]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=param.device)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(param), torch.zeros_like(param)
        return state


def alike(group: dict[str, Any]) -> list[tuple[list[Tensor], list[Tensor]]]:
    """Parameters of a group that have a gradient, and these: one pair of lists for each device and type."""
    found: dict[tuple[torch.device, torch.dtype], tuple[list[Tensor], list[Tensor]]] = defaultdict(lambda: ([], []))
    for param in group["params"]:
        if param.grad is not None:
            params, grads = found[param.device, param.dtype]
            params.append(param)
            grads.append(param.grad)
    return list(found.values())


def fused_adam(
    group: dict[str, Any],
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    steps: list[Tensor],
) -> None:
    """One step with the settings of ``group``, in place, all on one device; ``steps`` count it already."""
    torch._fused_adam_(
        params, grads, exp_avgs, exp_avg_sqs, [], steps,
        lr=group["lr"], beta1=group["betas"][0], beta2=group["betas"][1], weight_decay=group["weight_decay"],
        eps=group["eps"], amsgrad=False, maximize=group["maximize"],
    )  # fmt: skip
