"""Adam that moves only the rows of an embedding table that a batch has touched.

An option, for it is other mathematics than dense Adam: a row without data keeps its value and its moments, and L2
pulls at a row only when it occurs. The correction of the moments' start counts all steps. TensorFlow's LazyAdam has
the same rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from bench.engine.fast.adam import FusedAdam, fused_adam
from bench.engine.fast.gradient import BufferedRows, RowTable


class LazyAdam(FusedAdam):
    """Adam over all parameters, of tables over the touched rows alone.

    A table whose gradient something else has written into, e.g. a penalty on all values, is updated densely.
    """

    def __init__(self, groups: list[dict[str, Any]], tables: Iterable[RowTable]) -> None:
        """Take the parameter groups of Adam and the tables that they may hold."""
        super().__init__(groups)
        self._tables = {id(table.weight): table for table in tables}

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Update the touched rows of tables, and all other parameters as Adam does."""
        done: list[tuple[Tensor, Tensor]] = []
        for group in self.param_groups:
            for param in group["params"]:
                table = self._tables.get(id(param))
                held = None if table is None or param.grad is None else table.gradient
                written = held.distinct() if isinstance(held, BufferedRows) else None
                if written is not None:
                    self.update_rows(param, *written, group)
                    done.append((param, param.grad))
                    param.grad = None  # out of sight of the dense update
        super().step()
        for param, grad in done:
            param.grad = grad

    @torch.no_grad()
    def update_rows(self, weight: Tensor, rows: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        """One step with the settings of ``group`` on distinct ``rows``, int64 [n], of a table, with gradient [n, W]."""
        state = self.state_of(weight)
        whole = (weight, state["exp_avg"], state["exp_avg_sq"])
        parts = [tensor.index_select(0, rows) for tensor in whole]
        state["step"] += 1
        fused_adam(group, parts[:1], [grad], parts[1:2], parts[2:], [state["step"]])
        for tensor, part in zip(whole, parts, strict=True):
            tensor.index_copy_(0, rows, part)
