"""Product-based neural network (Qu et al., ICDM 2016): an MLP over embeddings and products of their pairs.

    logit = MLP([e_1; ...; e_F; p])

The paper's first hidden layer, relu(W_z z + W_p p + b), is the first layer of this MLP. The products p are

    inner  <e_i, e_j> for i < j: the paper's IPNN
    outer  e_j^T K_ij e_i for i < j, the outer product of each pair weighed by a kernel (Qu et al., TOIS 2018):
           full ("mat"), diagonal ("vec") or a multiple of the identity ("num"); or ("sum") the matrix
           (sum_f e_f)(sum_f e_f)^T, all outer products at once: the paper's OPNN
    both   one after the other: the paper's PNN*

No linear part.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import torch
from torch import Tensor, nn

from backbones.interactions import InnerProducts, kernel_products, pair_columns, pair_count
from backbones.layers import MLP
from bench.api import Backbone, Profile, Range, field_columns

Kernel = Literal["mat", "vec", "num", "sum"]


@dataclass(frozen=True)
class PNNParams:
    """Sizes of the MLP, which the profile sets, and the products."""

    mlp: Annotated[tuple[int, ...], Range(low=1)] = (400, 400, 200)
    """Hidden sizes of the MLP."""
    dropout: Annotated[float, Range(0, 1, open_high=True)] = 0.0
    """Share of the MLP's hidden units dropped in training."""
    product: Literal["inner", "outer", "both"] = "inner"
    """Products of pairs that the MLP reads beside the embeddings."""
    kernel: Kernel | None = None
    """Form of the outer products; none: mat where there are any."""

    def __post_init__(self) -> None:
        if self.product == "inner" and self.kernel is not None:
            raise ValueError(
                f"kernel={self.kernel} is the form of outer products, and product=inner has none; use product=outer "
                f"or product=both, or leave kernel out."
            )


class Products(nn.Module):
    """What the MLP reads beside the embeddings: e [B, F, D] -> [B, n_outputs]."""

    n_outputs: int

    def columns(self, kept: Sequence[int]) -> Tensor:
        """Outputs that the fields ``kept`` leave, int64 [n]."""
        raise NotImplementedError

    def slice_fields(self, kept: Sequence[int]) -> Products:
        """A copy over the fields ``kept`` (increasing)."""
        raise NotImplementedError


class PairProducts(Products):
    """One product a pair: inner, or weighed by a kernel."""

    def __init__(self, n_fields: int, dim: int, kernel: Kernel | None) -> None:
        """Number the pairs and make their kernels; None stands for inner products.

        The harness draws "mat" and "vec"; "num" starts as ones, the inner product.
        """
        super().__init__()
        self.n_fields = n_fields
        self.kernel = kernel
        self.n_outputs = pair_count(n_fields)
        self.inner = InnerProducts(n_fields)
        self.weight: nn.Parameter | None = None
        if kernel is not None:
            shape = {"mat": (dim, dim), "vec": (dim,), "num": ()}[kernel]
            self.weight = nn.Parameter(torch.ones(self.n_outputs, *shape))

    def forward(self, e: Tensor) -> Tensor:
        if self.weight is None or self.kernel == "num":
            products: Tensor = self.inner(e)
            return products if self.weight is None else products * self.weight
        return kernel_products(e, self.weight if self.kernel == "mat" else torch.diag_embed(self.weight))

    def columns(self, kept: Sequence[int]) -> Tensor:
        return pair_columns(kept, self.n_fields)

    def slice_fields(self, kept: Sequence[int]) -> PairProducts:
        small = copy.deepcopy(self)
        small.n_fields = len(kept)
        small.n_outputs = pair_count(len(kept))
        small.inner = InnerProducts(len(kept)).to(self.inner.place.device)
        if self.weight is not None:
            small.weight = nn.Parameter(self.weight.detach()[self.columns(kept)])
        return small


class SumProduct(Products):
    """All outer products at once, added up: nothing in it belongs to a field."""

    def __init__(self, dim: int) -> None:
        """Expect embeddings of size ``dim``."""
        super().__init__()
        self.n_outputs = dim * dim

    def forward(self, e: Tensor) -> Tensor:
        total = e.sum(1)
        return (total[:, :, None] * total[:, None, :]).flatten(1)

    def columns(self, kept: Sequence[int]) -> Tensor:
        return torch.arange(self.n_outputs)

    def slice_fields(self, kept: Sequence[int]) -> SumProduct:
        return copy.deepcopy(self)


class PNN(Backbone[PNNParams]):
    """MLP over the embeddings, flattened in field order, and the products."""

    Params = PNNParams

    def __init__(self, n_fields: int, dim: int, params: PNNParams) -> None:
        """Build products and tower for ``n_fields`` fields of embedding size ``dim``."""
        super().__init__(n_fields, dim, params)
        products: list[Products] = []
        if params.product != "outer":
            products.append(PairProducts(n_fields, dim, None))
        if params.product != "inner":
            kernel = params.kernel or "mat"
            products.append(SumProduct(dim) if kernel == "sum" else PairProducts(n_fields, dim, kernel))
        self.products = nn.ModuleList(products)
        n_inputs = n_fields * dim + sum(product.n_outputs for product in products)
        self.mlp = MLP(n_inputs, params.mlp, params.dropout)

    @classmethod
    def defaults(cls, profile: Profile) -> PNNParams:
        return PNNParams(mlp=profile.mlp, dropout=profile.dropout)

    def forward(self, e: Tensor, linear: Tensor | None) -> Tensor:
        inputs = torch.cat([e.flatten(1), *(product(e) for product in self.products)], 1)
        logits: Tensor = self.mlp(inputs)
        return logits

    def slice_fields(self, kept: Sequence[int]) -> Self:
        small = copy.deepcopy(self)
        small.n_fields = len(kept)
        columns, start = [field_columns(kept, self.dim)], self.n_fields * self.dim
        for number, product in enumerate(self.products):
            assert isinstance(product, Products)
            small.products[number] = product.slice_fields(kept)
            columns.append(product.columns(kept) + start)
            start += product.n_outputs
        small.mlp = self.mlp.slice_inputs(torch.cat(columns))
        return small
