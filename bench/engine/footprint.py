"""Memory and operations of training, reckoned from shapes alone: a backbone is built and run without numbers."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.engine.backbone import Backbone

__all__ = ["Footprint", "footprint"]

_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Footprint:
    """Sizes of a backbone at a batch size."""

    network_params: int
    """Parameters outside the embedding table and the linear weights."""
    activation_bytes: int
    """Embeddings of a batch, their gradient, and what the forward pass keeps for the backward pass, float32."""
    pass_bytes: int
    """The most that lives at once in the two passes, float32: the former with what either holds for a moment; weights
    and their gradients apart. A backbone that works in chunks on a CPU may hold less there."""
    flops_per_row: float
    """Floating-point operations of both passes by row, matrix products only."""


def footprint(cls: type[Backbone[Any]], n_fields: int, dim: int, params: Any, batch_size: int) -> Footprint:
    """Sizes of the backbone ``cls(n_fields, dim, params)``, on PyTorch's device without memory.

    Args:
        cls: the backbone.
        n_fields: F.
        dim: embedding size D.
        params: its parameters.
        batch_size: B.
    """
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415 - slow to import

    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        net = cls(n_fields, dim, params)
        embeddings = torch.empty(batch_size, n_fields, net.dim, requires_grad=True)  # [B, F, D]
        linear = torch.empty(batch_size, n_fields, requires_grad=True) if net.uses_linear else None  # [B, F]
        kept = _kept(net, embeddings, linear)
        with FlopCounterMode(display=False) as operations, _Live() as live:
            net(embeddings, linear).sum().backward()
    given = embeddings.numel() * _FLOAT_BYTES
    # The embeddings are counted once, whether the backbone keeps them or not, and once more as their gradient.
    own = kept.pop(_storage(embeddings), 0)
    activations = max(own, given) + given + sum(kept.values())
    weights = sum(p.numel() for p in net.parameters())
    passes = given + live.peak_bytes - weights * _FLOAT_BYTES
    return Footprint(weights, activations, max(activations, passes), operations.get_total_flops() / batch_size)


class _Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages that operations make and that nobody has let go of."""

    def __init__(self) -> None:
        """Start at nothing."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak_bytes = self._bytes = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and _storage(tensor) not in self._known:
                storage = tensor.untyped_storage()
                self._known.add(_storage(tensor))
                self._bytes += storage.nbytes()
                self.peak_bytes = max(self.peak_bytes, self._bytes)
                weakref.finalize(storage, self._gone, _storage(tensor), storage.nbytes())
        return out

    def _gone(self, storage: int, size: int) -> None:
        self._known.discard(storage)
        self._bytes -= size


def _kept(net: Backbone[Any], embeddings: Tensor, linear: Tensor | None) -> dict[int, int]:
    """Bytes by storage that the forward pass keeps, weights apart."""
    weights = {_storage(param) for param in net.parameters()}
    alive: list[Tensor] = []  # a storage that was freed would lend its number to another
    found: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        alive.append(tensor.detach())
        if _storage(tensor) not in weights:
            found[_storage(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        net(embeddings, linear)
    return found


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
