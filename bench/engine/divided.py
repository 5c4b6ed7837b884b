"""A backbone whose work on a batch is divided among the workers of a cell.

    e [B, F, D], linear [B, F]  -->  own rows  -->  backbone  -->  own logits  -->  logits [B]

Before and behind it every worker computes the whole batch. Backward, the gradients of the own rows are put together
again and those of the weights are added up, so that all gradients that leave the backbone are those of the whole batch:
of embeddings row by row, and of weights up to the order of their sum. Loss, gates, penalties, looked-up rows with their
L2, clipping and optimisers need not know of it. Passes that are differentiated themselves are divided too:

    identity forward, sum backward  |  own rows forward, all rows backward      each is the derivative of the other's

Dropout is drawn for the whole batch, as one process draws it, and each worker takes its rows of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from bench.engine.backbone import Backbone
from bench.engine.crew import Crew, CrewError, current

__all__ = ["divided"]


@contextmanager
def divided(model: nn.Module) -> Iterator[None]:
    """Divide the work of all backbones in ``model`` in the body, where this process has a crew.

    Raises:
        CrewError: a backbone cannot be divided.
    """
    crew = current()
    found = [] if crew is None else [module for module in model.modules() if isinstance(module, Backbone)]
    for backbone in found:
        assert crew is not None
        _refuse(backbone)
        backbone.forward = _Divided(backbone, crew)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for backbone in found:
            del backbone.forward


def _refuse(backbone: nn.Module) -> None:
    """Refuse layers whose output for a row hangs on the others."""
    for name, module in backbone.named_modules():
        if isinstance(module, _BatchNorm):
            raise CrewError(
                f"the backbone's {name} ({type(module).__name__}) takes statistics of a batch, which cannot be "
                "divided; run it without --workers-per-cell"
            )


class _Inner(nn.Module):
    """A backbone with the forward pass of its class, so that its weights can be given to a call."""

    def __init__(self, backbone: Backbone[Any], forward: Callable[..., Tensor]) -> None:
        super().__init__()
        self.backbone = backbone
        self._score = forward

    def forward(self, e: Tensor, linear: Tensor | None) -> Tensor:
        return self._score(e, linear)


class _Divided:
    """The forward pass of a backbone that is divided; where no gradient is wanted each worker takes it as a whole."""

    def __init__(self, backbone: Backbone[Any], crew: Crew) -> None:
        self._inner, self._crew = _Inner(backbone, backbone.forward), crew

    def __call__(self, e: Tensor, linear: Tensor | None) -> Tensor:
        if not torch.is_grad_enabled():
            return self._inner(e, linear)  # type: ignore[no-any-return]
        crew, n = self._crew, len(e)
        given = dict(self._inner.named_parameters())
        weights = dict(zip(given, _there(_apply(_Same, crew, None, list(given.values()))), strict=True))
        rows, linear_rows = _apply(_Own, crew, n, [e, linear])
        with _Draws(crew, n, e.device):
            logits: Tensor = torch.func.functional_call(self._inner, weights, (rows, linear_rows))
        (whole,) = _there(_apply(_All, crew, n, [logits]))
        return whole


class _Draws(TorchFunctionMode):
    """Draws dropout for all rows of a batch and applies that of the own ones; refuses what else is drawn."""

    def __init__(self, crew: Crew, n: int, device: torch.device) -> None:
        super().__init__()
        self._crew, self._n, self._device = crew, n, device
        self._expected = self._drawn()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is not F.dropout:
            return func(*args, **kwargs or {})
        self._refuse_others()
        found = self._dropout(*args, **kwargs or {})
        self._expected = self._drawn()
        return found

    def _dropout(self, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        own = self._crew.part(self._n)
        if not training or p == 0.0:
            return x
        if len(x) != own.stop - own.start:
            raise CrewError(
                f"the backbone drops out of a tensor {list(x.shape)}, whose first axis is not the rows of the batch; "
                "run it without --workers-per-cell"
            )
        factors = F.dropout(x.new_ones(self._n, *x.shape[1:]), p)[own]
        return x.mul_(factors) if inplace else x * factors

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)  # type: ignore[no-untyped-call]
        if raised[0] is None:
            self._refuse_others()

    def _drawn(self) -> Tensor:
        return torch.cuda.get_rng_state(self._device) if self._device.type == "cuda" else torch.get_rng_state()

    def _refuse_others(self) -> None:
        if not torch.equal(self._expected, self._drawn()):
            raise CrewError(
                "the backbone draws random numbers in another way than by torch.nn.functional.dropout, which cannot be "
                "divided; run it without --workers-per-cell"
            )


def _there(found: Sequence[Tensor | None]) -> list[Tensor]:
    return [one for one in found if one is not None]


def _apply(kind: Any, crew: Crew, n: int | None, given: Sequence[Tensor | None]) -> list[Tensor | None]:
    """``kind`` of the tensors that are there, in their places."""
    there = _there(given)
    found = iter(kind.apply(crew, n, *there) if there else ())
    return [None if one is None else next(found) for one in given]


class _Map(torch.autograd.Function):
    """A linear map of some tensors; gradients go through ``back``, whose own gradients go through this one."""

    back: type[_Map]

    @staticmethod
    def map(crew: Crew, n: int | None, given: Sequence[Tensor]) -> Sequence[Tensor]:
        raise NotImplementedError

    @classmethod
    def forward(cls, ctx: Any, crew: Crew, n: int | None, *given: Tensor) -> tuple[Tensor, ...]:
        ctx.crew, ctx.n = crew, n
        ctx.set_materialize_grads(False)
        return tuple(cls.map(crew, n, given))

    @classmethod
    def backward(cls, ctx: Any, *grads: Tensor | None) -> Any:
        return None, None, *_apply(cls.back, ctx.crew, ctx.n, grads)


class _Same(_Map):
    """Weights as they are: their gradients are those of the own rows, and are added up."""

    @staticmethod
    def map(crew: Crew, n: int | None, given: Sequence[Tensor]) -> Sequence[Tensor]:
        return [one.view_as(one) for one in given]


class _Sum(_Map):
    """Sums over all workers."""

    @staticmethod
    def map(crew: Crew, n: int | None, given: Sequence[Tensor]) -> Sequence[Tensor]:
        return crew.total(given)


class _Own(_Map):
    """The own rows of whole tensors [n, ...]."""

    @staticmethod
    def map(crew: Crew, n: int | None, given: Sequence[Tensor]) -> Sequence[Tensor]:
        assert n is not None
        return [one[crew.part(n)] for one in given]


class _All(_Map):
    """All rows [n, ...], from the own ones of every worker."""

    @staticmethod
    def map(crew: Crew, n: int | None, given: Sequence[Tensor]) -> Sequence[Tensor]:
        assert n is not None
        return [crew.join(one, n) for one in given]


_Same.back, _Sum.back, _Own.back, _All.back = _Sum, _Same, _All, _Own
