"""Hard concrete gates (Louizos et al., ICLR 2018) and the Lagrangian that holds their mean at a target.

    s = σ((log u - log(1 - u) + a) / β),   u ~ U(0, 1)
    z = clip(s (ζ - γ) + γ, 0, 1)                           a = log α, one a field
    penalty = λ (c - κ) + φ (c - κ)²                        c = mean of z; ascent in λ and φ, which start at 0

Shapes: a [F]; u and z [F] (a draw a field and batch) or [B, F] (a draw a field and row); z without noise [F].
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from bench.api import Gate

NOISE_EDGE = 1e-6
"""u is clipped to [edge, 1 - edge]."""


class HardConcreteGate(Gate):
    """One stochastic gate a field; in eval mode the noise is left out.

    Args:
        log_alpha: initial a, [F].
        beta: temperature β.
        zeta: upper stretch ζ > 1.
        gamma: lower stretch γ < 0.
        noise: a field's draw of u serves the whole batch, or every row has its own.
    """

    shape = "BF"  # which takes [F] too: a row of factors for all rows

    def __init__(
        self, log_alpha: Tensor, beta: float, zeta: float, gamma: float, noise: Literal["batch", "sample"]
    ) -> None:
        super().__init__()
        self.log_alpha = nn.Parameter(log_alpha.clone())
        self.beta, self.zeta, self.gamma, self.noise = beta, zeta, gamma, noise
        self.sampled_mean: Tensor = log_alpha.new_zeros(())
        """Mean of the gates drawn by the last training forward pass, with its graph; scalar."""

    def forward(self, e: Tensor, ids: Tensor) -> Tensor:
        if not self.training:
            return self.deterministic()
        shape = ids.shape if self.noise == "sample" else ids.shape[1:]
        u = torch.rand(shape, device=e.device, dtype=e.dtype).clamp_(NOISE_EDGE, 1 - NOISE_EDGE)
        s = torch.sigmoid((torch.logit(u) + self.log_alpha) / self.beta)
        z = self._stretch(s)  # [F] or [B, F]
        self.sampled_mean = z.mean()
        return z

    def _stretch(self, s: Tensor) -> Tensor:
        return (s * (self.zeta - self.gamma) + self.gamma).clamp(0.0, 1.0)

    def deterministic(self) -> Tensor:
        """The gates without noise, clip(σ(a)(ζ - γ) + γ), [F]."""
        return self._stretch(torch.sigmoid(self.log_alpha))

    def open_probability(self) -> Tensor:
        """P(z > 0) = σ(a - β log(-γ / ζ)), [F]."""
        return torch.sigmoid(self.log_alpha - self.beta * math.log(-self.gamma / self.zeta))


class Lagrangian(nn.Module):
    """Linear and quadratic multiplier of an equality constraint; both start at 0 and are trained by ascent."""

    def __init__(self, target: float, device: torch.device) -> None:
        """Hold a mean at ``target`` (κ)."""
        super().__init__()
        self.target = target
        self.linear = nn.Parameter(torch.zeros((), device=device))
        self.quadratic = nn.Parameter(torch.zeros((), device=device))

    def forward(self, mean: Tensor) -> Tensor:
        """λ (mean - κ) + φ (mean - κ)²; scalar."""
        gap = mean - self.target
        penalty: Tensor = self.linear * gap + self.quadratic * gap * gap
        return penalty
