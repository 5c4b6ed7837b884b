"""Gates that differ from row to row: AdaFS's controller and MvFS's views.

    AdaFS    w = softmax(dropout(ReLU(y))),   y = BN(W x),   x = BN(e) over coordinates
             soft   z_j = F w_j
             hard   z_j = K w_j / Σ_kept w   for the K largest y of the row, 0 for the others
    MvFS     c_i = softmax(ReLU(BN(W_i e))),   i = 1..M
             r = σ(V [c_1; ...; c_M] + b),   I = Σ_i r_i c_i
             s_j = (1 + tanh(T (I_j - l))) / 2 = σ(2 T (I_j - l)),   z_j = s_j, or 0 outside the K largest

Which fields are the largest has no gradient; the kept factors have theirs. Shapes: e [B, F, D], w, z, s, I [B, F],
c [B, M, F], r [B, M]; T a scalar buffer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.api import Gate
from methods.controllers import ChannelNorm, FieldScorer, largest


@dataclass(frozen=True)
class ControllerShape:
    """How AdaFS's controller is built and used."""

    kept: int | None
    """K, fields that each row keeps; None: all, softly."""
    head: Literal["relu", "linear"]
    """ReLU and dropout on the softmax's logits, or neither."""
    dropout: float
    reweight: bool
    """Whether kept weights are scaled to sum K."""
    normalise: Literal["controller", "all"]
    """Who sees the normalised embeddings."""


class ControllerGate(Gate):
    """AdaFS: one controller weighs the fields of every row; equal weights are the identity."""

    shape = "BF"
    per_sample = True

    def __init__(self, n_fields: int, dim: int, how: ControllerShape, generator: torch.Generator) -> None:
        """Build the controller; ``generator`` draws its weights."""
        super().__init__()
        self.how = how
        self.channels = ChannelNorm(dim)
        self.scorer = FieldScorer(n_fields, dim, 1, generator)

    def forward(self, e: Tensor, ids: Tensor) -> Tensor:
        return self._factors(e, self.channels.affine(e))

    def _factors(self, e: Tensor, affine: tuple[Tensor, Tensor]) -> Tensor:
        y: Tensor = self.scorer(e, affine)  # [B, F]
        kept = self.how.kept
        if kept is None:
            return self._head(y).softmax(1) * e.shape[1]
        closed, logits = ~largest(y, kept), self._head(y)
        if self.how.reweight:
            return logits.masked_fill(closed, -torch.inf).softmax(1) * kept
        return logits.softmax(1).masked_fill(closed, 0.0) * e.shape[1]

    def _head(self, y: Tensor) -> Tensor:
        return y if self.how.head == "linear" else F.dropout(y.relu(), self.how.dropout, self.training)

    def multiply(self, e: Tensor, linear: Tensor | None, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.how.normalise == "controller":
            return super().multiply(e, linear, ids)
        scale, shift = affine = self.channels.affine(e)
        z = self._factors(e, affine)
        return torch.addcmul(shift, e, scale) * z[..., None], None if linear is None else linear * z


class ViewsGate(Gate):
    """MvFS: M scorers, mixed row by row, squashed by a tanh that hardens with T.

    Args:
        n_fields: F.
        dim: D.
        views: M.
        threshold: l.
        kept: K, fields that each row keeps; None: all.
        generator: draws the weights.
    """

    shape = "BF"
    per_sample = True
    temperature: Tensor

    def __init__(
        self, n_fields: int, dim: int, views: int, threshold: float, kept: int | None, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.views, self.threshold, self.kept = views, threshold, kept
        self.scorer = FieldScorer(n_fields, dim, views, generator)
        self.mix_weight = nn.Parameter(torch.empty(views, views * n_fields))
        nn.init.xavier_normal_(self.mix_weight, generator=generator)
        self.mix_bias = nn.Parameter(torch.zeros(views))
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, e: Tensor, ids: Tensor) -> Tensor:
        s = torch.sigmoid(2 * self.temperature * (self.importance(e) - self.threshold))
        return s if self.kept is None else s * largest(s, self.kept)

    def importance(self, e: Tensor) -> Tensor:
        """I [B, F]."""
        y = self.scorer(e).relu().view(len(e), self.views, -1)
        c = y.softmax(2)  # [B, M, F]
        r = torch.sigmoid(F.linear(c.flatten(1), self.mix_weight, self.mix_bias))  # [B, M]
        return torch.bmm(r[:, None], c).squeeze(1)
