"""What a CTR backbone is: embeddings in, one logit a row out, and able to cut itself down to fewer fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

import torch
from torch import Tensor, nn

from bench.seeds import generator

if TYPE_CHECKING:
    from bench.profiles import Profile

P = TypeVar("P")


class Backbone(nn.Module, Generic[P]):
    """Base of all backbones: plain torch, no knowledge of data sets, gates or methods.

    A subclass declares ``Params`` (a frozen dataclass), ``uses_linear``, and writes ``defaults``, ``forward`` and
    ``slice_fields``. Weights of two or more dimensions are drawn by the harness (Xavier normal), biases of linear
    layers are zero, everything else keeps what the constructor gave it.

    The table of a model is as wide as its backbone asks: ``dim`` columns, which is zero for a backbone that reads
    linear weights only, and one more for the linear weights.

    Invariant, tested for every backbone in float64 to 1e-10: the sliced backbone on the kept columns equals the
    full one with the embeddings and linear weights of the dropped fields set to zero.
    """

    Params: ClassVar[type]
    uses_linear: bool = False
    """Whether ``forward`` needs the linear weights of the row's values; parameters may decide."""
    absorbs: bool = False
    """Whether ``absorb`` is there; parameters may decide."""

    def __init__(self, n_fields: int, dim: int, params: P) -> None:
        """Build the layers for ``n_fields`` fields of embedding size ``dim``."""
        super().__init__()
        self.n_fields = n_fields
        self.dim = dim
        self.params = params

    @classmethod
    def defaults(cls, profile: Profile) -> Any:
        """The parameters that ``profile`` gives this backbone."""
        raise NotImplementedError

    def forward(self, e: Tensor, linear: Tensor | None) -> Tensor:
        """Score rows: e [B, F, D], linear [B, F] (or None) -> logits [B]."""
        raise NotImplementedError

    def slice_fields(self, kept: Sequence[int]) -> Self:
        """A backbone over the fields ``kept`` (increasing) with the weights that belong to them, copied."""
        raise NotImplementedError

    def absorb(self, e: Tensor, linear: Tensor | None) -> None:
        """Take constants into the biases, in place: what a row gives is then what it gave with them added to it.

        Only where fields reach the logit through a linear layer of their own can biases hold that.

        Args:
            e: added to the embeddings of every row, [F, D].
            linear: added to its linear weights, [F] (or None).
        """
        raise NotImplementedError


def draw_layers(module: Backbone[Any], **axes: str | int) -> None:
    """Draw all weights of a backbone in place, each from its own generator (``axes``, layer name, shape)."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
    for name, weight in module.named_parameters():
        if weight.ndim >= 2:
            draw = generator(**axes, layer=name, shape=str(tuple(weight.shape)))
            nn.init.xavier_normal_(weight, generator=draw)


class UndrawnLinear(nn.Linear):
    """A linear layer whose weights are whatever the memory held: no generator moves.

    ``nn.utils.skip_init`` draws on the meta device, which loads half of PyTorch's compiler: half a second of the first
    cell that cuts a layer.
    """

    def reset_parameters(self) -> None:
        """Draw nothing."""


def slice_columns(layer: nn.Linear, columns: Tensor) -> nn.Linear:
    """A copy of ``layer`` that takes only the inputs ``columns`` (int64 [n])."""
    has_bias, like = layer.bias is not None, layer.weight
    cut = UndrawnLinear(len(columns), layer.out_features, bias=has_bias, device=like.device, dtype=like.dtype)
    with torch.no_grad():
        cut.weight.copy_(layer.weight[:, columns])
        if layer.bias is not None:
            cut.bias.copy_(layer.bias)
    return cut


def field_columns(kept: Sequence[int], width: int) -> Tensor:
    """Positions of the fields ``kept`` in a flattened [F, width] block, int64 [K · width]."""
    return (torch.as_tensor(list(kept))[:, None] * width + torch.arange(width)).reshape(-1)
