"""Field gates from two logits a field, keep and drop: AutoField's relaxation of a binary choice.

    p = softmax(A)_keep = σ(a),                    a = A_keep - A_drop                        relaxation=softmax
    p = softmax((log α + g) / T)_keep = σ((a + n) / T),   α = softmax(A), n = g_keep - g_drop    relaxation=gumbel

Two independent Gumbel variables differ by a logistic one, so n = log u - log(1 - u) with u uniform is the noise of
both logits in one draw. Shapes: A [F, 2], p, n [F]; one draw of n a batch; T a scalar buffer.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from bench.api import Gate

INITIAL_LOGIT = 0.5
"""Both logits of every field (the authors' code), so that p = 1/2."""
NOISE_EDGE = 1e-6
"""u is clipped to [edge, 1 - edge]."""


class TwoLogitGate(Gate):
    """The probability of keeping a field as its factor; in eval mode, and with softmax always, without noise."""

    temperature: Tensor

    def __init__(self, n_fields: int, relaxation: Literal["gumbel", "softmax"]) -> None:
        """Start undecided, at T = 1."""
        super().__init__()
        self.logits = nn.Parameter(torch.full((n_fields, 2), INITIAL_LOGIT))
        self.register_buffer("temperature", torch.ones(()))
        self.relaxation = relaxation

    def forward(self, e: Tensor, ids: Tensor) -> Tensor:
        a = self.preference()
        if self.relaxation == "softmax":
            return a.sigmoid()
        if self.training:
            u = torch.rand(a.shape, device=a.device, dtype=a.dtype).clamp_(NOISE_EDGE, 1 - NOISE_EDGE)
            a = a + torch.logit(u)
        return torch.sigmoid(a / self.temperature)

    def preference(self) -> Tensor:
        """A_keep - A_drop, [F]: the score of a field."""
        return self.logits[:, 0] - self.logits[:, 1]
