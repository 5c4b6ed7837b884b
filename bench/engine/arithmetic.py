"""How a backbone is computed: precision and compilation. All of it is off unless a run asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

F = TypeVar("F", bound=Callable[..., Any])
Score = Callable[[Tensor, Tensor | None], Tensor]
"""A backbone, or its ``forward``."""


@dataclass(frozen=True)
class Arithmetic:
    """What may change the rounding of a backbone's numbers."""

    bf16: bool = False
    """Run under bfloat16 autocast; embeddings, gates, weights and their updates stay as they are."""
    compile: bool = False
    """Translate with ``torch.compile``; random numbers are drawn as in the untranslated backbone."""

    def prepare(self, backbone: nn.Module) -> None:
        """Have ``backbone`` compiled at its next call, if that is wanted."""
        if self.compile:
            while _unprotected:
                _unprotected.pop()()
            backbone.compile(options={"fallback_random": True})

    def score(self, backbone: Score, e: Tensor, linear: Tensor | None) -> Tensor:
        """Logits [B] of e [B, F, D] and linear [B, F], in the type of ``e``.

        The ``forward`` of a backbone is never compiled: a compiled one cannot be differentiated twice.
        """
        if not self.bf16:
            logits: Tensor = backbone(e, linear)
            return logits
        with torch.autocast(e.device.type, torch.bfloat16):
            low: Tensor = backbone(e, linear)
        return low.to(e.dtype)


PLAIN = Arithmetic()


_unprotected: list[Callable[[], None]] = []
"""What hides each function from the compiler: called once something is compiled, for it loads the compiler."""


def uncompiled(function: F) -> F:
    """Decorator: a compiled model calls ``function`` as it is written."""
    inner: Callable[..., Any] = function

    def protect() -> None:
        nonlocal inner
        inner = torch.compiler.disable(function)  # type: ignore[no-untyped-call]

    @wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        return inner(*args, **options)

    _unprotected.append(protect)
    return cast(F, call)


@contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """Compute products of float32 matrices by ``Profile.precision`` in the body, and as before afterwards."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest" if precision == "bf16" else precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def compile_ahead(model: Any, sizes: set[int], eval_sizes: set[int]) -> None:
    """Call a model's backbone once for every number of rows that it will meet, so that it is compiled now.

    Args:
        model: a ``CTRModel``; its weights, gradients and mode are left as they are.
        sizes: rows of training batches.
        eval_sizes: rows of batches that are only scored.
    """
    backbone, weight = model.backbone, model.table.weight
    shape = model.schema.n_fields, model.dim
    was_training = backbone.training

    def score(rows: int) -> Tensor:
        e = weight.new_zeros(rows, *shape).requires_grad_(torch.is_grad_enabled())
        linear = weight.new_zeros(rows, shape[0]).requires_grad_(torch.is_grad_enabled())
        logits: Tensor = model.arithmetic.score(backbone, e, linear if backbone.uses_linear else None)
        return logits

    backbone.train()
    params = list(backbone.parameters())
    for rows in sorted(sizes, reverse=True):
        torch.autograd.grad(score(rows).sum(), params, allow_unused=True)
    backbone.eval()
    with torch.inference_mode():
        for rows in sorted(eval_sizes, reverse=True):
            score(rows)
    backbone.train(was_training)
