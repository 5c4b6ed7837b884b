"""Parts of gates that look at rows: running statistics, batch norm, scorers of the fields, the largest of each row.

Shapes: B rows, F fields, D embedding size, M views, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["BatchNorm", "ChannelNorm", "FieldScorer", "Running", "largest", "without_statistics"]


class Running(nn.Module):
    """Base of what keeps statistics of training batches.

    They are means over the batches so far, and from the tenth on move by a tenth a batch, as torch's do: what comes
    into a trained model would else be near its start long after.
    """

    batches: Tensor
    """Training batches that the running statistics have seen, float32 scalar."""
    momentum = 0.1

    def __init__(self) -> None:
        """Start without having seen any."""
        super().__init__()
        self.register_buffer("batches", torch.zeros(()))
        self.frozen = False
        """Whether training batches leave the running statistics alone."""

    @torch.no_grad()
    def follow(self, *moves: tuple[Tensor, Tensor]) -> None:
        """Move running statistics, in place, towards those of a batch: pairs of the two."""
        if self.frozen:
            return
        self.batches.add_(1)
        step = self.batches.reciprocal().clamp_min(self.momentum)
        for running, of_batch in moves:
            running.lerp_(of_batch, step)


class BatchNorm(Running):
    """Batch normalisation of C channels: z γ + β with z of mean 0 and variance 1 over the rows.

    One row has no variance: a training batch of one row is normalised by the running statistics.
    """

    running_mean: Tensor
    running_var: Tensor
    eps = 1e-5

    def __init__(self, channels: int) -> None:
        """Start as plain normalisation: γ = 1, β = 0."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x [B, C]."""
        if not self.training or len(x) == 1:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        mean, var = torch.zeros_like(self.running_mean), torch.zeros_like(self.running_var)
        y = F.batch_norm(x, mean, var, self.weight, self.bias, True, 1.0, self.eps)  # at 1, they become the batch's own
        self._follow(mean, var)
        return y

    def _follow(self, mean: Tensor, var: Tensor) -> None:
        """Move the running statistics towards those of a batch; ``var`` is unbiased."""
        self.follow((self.running_mean, mean), (self.running_var, var))


class ChannelNorm(BatchNorm):
    """Batch normalisation of embeddings [B, F, D]: a channel is a coordinate, its moments go over rows and fields.

    ``affine`` gives it as x = e · scale + shift, which a linear layer can take into its weights: nothing of the
    embeddings' size is written.
    """

    def forward(self, e: Tensor) -> Tensor:
        scale, shift = self.affine(e)
        return torch.addcmul(shift, e, scale)

    def affine(self, e: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and shift [D] of this batch."""
        if self.training and len(e) > 1:
            var, mean = _moments(e)
            n = e.shape[0] * e.shape[1]
            self._follow(mean.detach(), var.detach() * (n / (n - 1)))
        else:
            var, mean = self.running_var, self.running_mean
        scale = self.weight * torch.rsqrt(var + self.eps)
        return scale, torch.addcmul(self.bias, mean, scale, value=-1)


@contextmanager
def without_statistics(module: nn.Module) -> Iterator[None]:
    """Let running statistics inside ``module`` remember nothing of batches; norms go by a batch's own moments."""
    kept = [part for part in module.modules() if isinstance(part, Running)]
    for part in kept:
        part.frozen = True
    try:
        yield
    finally:
        for part in kept:
            part.frozen = False


def _moments(e: Tensor) -> tuple[Tensor, Tensor]:
    """Variance and mean [D] of e [B, F, D]; summing rows first takes half the time of one reduction over both."""

    def mean(x: Tensor) -> Tensor:
        return x.flatten(1).sum(0).view(x.shape[1:]).sum(0) / (x.shape[0] * x.shape[1])

    center = mean(e)
    return mean((e - center).square()), center


class FieldScorer(nn.Module):
    """M one-layer networks that score all fields, batch norm included, as one matrix product.

    y = BatchNorm(x Wᵀ), x [B, F · D], W [M · F, F · D]; a bias before batch norm would change nothing.

    Args:
        n_fields: F.
        dim: D.
        views: M.
        generator: draws W, Xavier normal for each view of its own (CPU).
    """

    def __init__(self, n_fields: int, dim: int, views: int, generator: torch.Generator) -> None:
        super().__init__()
        self.n_fields, self.dim, self.views = n_fields, dim, views
        weights = [torch.empty(n_fields, n_fields * dim) for _ in range(views)]
        for weight in weights:
            nn.init.xavier_normal_(weight, generator=generator)
        self.weight = nn.Parameter(torch.cat(weights))
        self.norm = BatchNorm(views * n_fields)

    def forward(self, e: Tensor, affine: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Score embeddings e [B, F, D], moved by ``affine`` (scale and shift [D]) first: [B, M · F]."""
        weight: Tensor = self.weight
        bias = None
        if affine is not None:
            scale, shift = affine
            shaped = weight.view(-1, self.n_fields, self.dim)
            weight, bias = (shaped * scale).flatten(1), shaped.sum(1) @ shift
        y: Tensor = self.norm(F.linear(e.flatten(1), weight, bias))
        return y


def largest(values: Tensor, k: int) -> Tensor:
    """A mask of the ``k`` largest numbers of each row of ``values`` [B, F], without a gradient: bool [B, F]."""
    if k == values.shape[1]:
        return torch.ones_like(values, dtype=torch.bool)
    places = values.detach().topk(k, dim=1, sorted=False).indices
    return torch.zeros_like(values, dtype=torch.bool).scatter_(1, places, True)
