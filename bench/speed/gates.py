"""One gate of each shape that methods use, as plain as can be: their cost is what every such method pays at least."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bench.data.schema import Schema
from bench.engine.model import Gate
from bench.engine.table import EmbeddingTable


class FieldGate(Gate):
    """z = σ(a), one a field: z [F]."""

    shape = "F"

    def __init__(self, schema: Schema, dim: int) -> None:
        """Half-open gates."""
        super().__init__()
        self.log_alpha = nn.Parameter(torch.zeros(schema.n_fields))

    def forward(self, e: Tensor, ids: Tensor) -> Tensor:
        return torch.sigmoid(self.log_alpha)


class SampleGate(Gate):
    """z = F · softmax(W e + b) over the concatenated embeddings, a controller of one layer: z [B, F]."""

    shape = "BF"
    per_sample = True

    def __init__(self, schema: Schema, dim: int) -> None:
        """A controller that starts near equal weights."""
        super().__init__()
        self.controller = nn.Linear(schema.n_fields * dim, schema.n_fields)

    def forward(self, e: Tensor, ids: Tensor) -> Tensor:
        return torch.softmax(self.controller(e.flatten(1)), 1) * e.shape[1]


class ValueGate(Gate):
    """z = σ(a_v), one a value, looked up by the row's ids: z [B, F]."""

    shape = "BF"

    def __init__(self, schema: Schema, dim: int) -> None:
        """Half-open gates; a table of one column, so that its gradient has a buffer of its own."""
        super().__init__()
        self.log_alpha = EmbeddingTable(torch.zeros(schema.vocabulary_rows, 1))

    def forward(self, e: Tensor, ids: Tensor) -> Tensor:
        return torch.sigmoid(self.log_alpha(ids).squeeze(-1))


GATES: dict[str, Callable[[Schema, int], Gate]] = {
    "field [F]": FieldGate,
    "sample [B, F]": SampleGate,
    "value [V]": ValueGate,
}
"""By the label of the row in the table."""
