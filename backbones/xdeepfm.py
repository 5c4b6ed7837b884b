"""xDeepFM (Lian et al., KDD 2018): linear part + compressed interaction network + MLP.

    logit = sum_f w_f + CIN(e) + MLP([e_1; ...; e_F])

Interaction maps have no activation by default: the paper found the identity to work best (its section 4.4).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from torch import Tensor

from backbones.cin import CIN
from backbones.layers import MLP
from bench.api import Backbone, Profile, Range, field_columns


@dataclass(frozen=True)
class XDeepFMParams:
    """Sizes of the two networks; the profile sets them."""

    mlp: Annotated[tuple[int, ...], Range(low=1)] = (400, 400, 200)
    """Hidden sizes of the MLP."""
    dropout: Annotated[float, Range(0, 1, open_high=True)] = 0.0
    """Share of the MLP's hidden units dropped in training."""
    cin: Annotated[tuple[int, ...], Range(low=1)] = (100, 100)
    """Maps of each interaction layer."""
    split: bool = True
    """Whether half of each hidden layer's maps feeds only the next layer and half only the output (the paper's
    released code), or all maps feed both."""
    activation: Literal["identity", "relu"] = "identity"
    """Activation of the maps."""

    def __post_init__(self) -> None:
        if self.split and any(size % 2 for size in self.cin[:-1]):
            given = "-".join(map(str, self.cin))
            even = "-".join(str(size + size % 2) for size in self.cin[:-1]) + f"-{self.cin[-1]}"
            raise ValueError(
                f"cin={given} with split=true needs even sizes in all layers but the last, since half of each goes "
                f"on to the next; use cin={even} or split=false."
            )


class XDeepFM(Backbone[XDeepFMParams]):
    """Linear weights, CIN and MLP, summed; the embeddings are shared."""

    Params = XDeepFMParams
    uses_linear = True

    def __init__(self, n_fields: int, dim: int, params: XDeepFMParams) -> None:
        """Build both networks for ``n_fields`` fields of embedding size ``dim``."""
        super().__init__(n_fields, dim, params)
        self.cin = CIN(n_fields, params.cin, params.split, params.activation)
        self.mlp = MLP(n_fields * dim, params.mlp, params.dropout)

    @classmethod
    def defaults(cls, profile: Profile) -> XDeepFMParams:
        return XDeepFMParams(profile.mlp, profile.dropout, profile.cin, profile.cin_split)

    def forward(self, e: Tensor, linear: Tensor | None) -> Tensor:
        assert linear is not None
        logits: Tensor = linear.sum(1) + self.cin(e) + self.mlp(e.flatten(1))
        return logits

    def slice_fields(self, kept: Sequence[int]) -> Self:
        small = copy.deepcopy(self)
        small.n_fields = len(kept)
        small.cin = self.cin.slice_fields(kept)
        small.mlp = self.mlp.slice_inputs(field_columns(kept, self.dim))
        return small
