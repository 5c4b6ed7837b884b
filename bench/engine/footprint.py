"""Memory that training takes, reckoned from shapes alone: a backbone is built and run without numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.engine.backbone import Backbone

__all__ = ["Footprint", "footprint"]

_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Footprint:
    """Sizes of a backbone at a batch size."""

    network_params: int
    """Parameters outside the embedding table and the linear weights."""
    activation_bytes: int
    """Embeddings of a batch, their gradient, and what the forward pass keeps for the backward pass, float32; what a
    pass holds for a moment comes on top."""


def footprint(cls: type[Backbone[Any]], n_fields: int, dim: int, params: Any, batch_size: int) -> Footprint:
    """Sizes of the backbone ``cls(n_fields, dim, params)``, on PyTorch's device without memory.

    Args:
        cls: the backbone.
        n_fields: F.
        dim: embedding size D.
        params: its parameters.
        batch_size: B.
    """
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        net = cls(n_fields, dim, params)
        embeddings = torch.empty(batch_size, n_fields, net.dim, requires_grad=True)  # [B, F, D]
        linear = torch.empty(batch_size, n_fields, requires_grad=True) if net.uses_linear else None  # [B, F]
        kept = _kept(net, embeddings, linear)
    given = embeddings.numel() * _FLOAT_BYTES
    # The embeddings are counted once, whether the backbone keeps them or not, and once more as their gradient.
    own = kept.pop(_storage(embeddings), 0)
    return Footprint(sum(p.numel() for p in net.parameters()), max(own, given) + given + sum(kept.values()))


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
