"""Backward passes that are to be differentiated themselves: what hand-written ones have to know."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["goes_on"]


def goes_on(ctx: Any, place: int) -> bool:
    """Whether the backward pass that is under way goes on to input ``place``, counted among the tensors.

    ``ctx.needs_input_grad`` says so of all that have a gradient, even where that of others alone is asked for:
    a first pass for the gradient of embeddings would make those of all weights as well.
    """
    node = ctx.next_functions[place][0]
    if node is None:
        return False
    try:
        return torch._C._will_engine_execute_node(node)
    except RuntimeError:  # of a leaf whose gradient is asked for
        return True
