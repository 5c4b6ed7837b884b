"""Small models, rows and reference loops for tests of training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.api import Backbone, Batch, CTRModel, Field, FitLog, FitPlan, Group, Rows, Schema, Step
from bench.engine.fit import Fitter, log_loss

DIM = 3
CARDINALITIES = (5, 2, 9)


class Tower(Backbone[float]):
    """One hidden layer, then a number; linear weights are added. The parameter is the dropout."""

    uses_linear = True

    def __init__(self, n_fields: int, dim: int, params: float) -> None:
        super().__init__(n_fields, dim, params)
        self.first, self.last = nn.Linear(n_fields * dim, 4), nn.Linear(4, 1)

    def forward(self, e: Tensor, linear: Tensor | None) -> Tensor:
        assert linear is not None
        hidden = F.dropout(torch.tanh(self.first(e.flatten(1))), self.params, self.training)
        return cast(Tensor, self.last(hidden).squeeze(1) + linear.sum(1))


class Pick(Backbone[None]):
    """Logit = mix · first coordinates of the embeddings."""

    def __init__(self, n_fields: int, dim: int, params: None = None) -> None:
        super().__init__(n_fields, dim, params)
        self.mix = nn.Parameter(torch.zeros(n_fields))

    def forward(self, e: Tensor, linear: Tensor | None) -> Tensor:
        return e[..., 0] @ self.mix


def make_rows(n: int, seed: int = 0, first: int = 0) -> Rows:
    draw = np.random.default_rng(seed)
    schema = Schema(tuple(Field(f"f{i}", "categorical", size) for i, size in enumerate(CARDINALITIES)))
    ids = np.stack([draw.integers(size, size=n) for size in CARDINALITIES], axis=1) + schema.offsets[:-1]
    labels = torch.from_numpy((draw.random(n) < 0.4).astype(np.float64))
    return Rows(schema, torch.from_numpy(ids.astype(np.int32)), None, labels, torch.arange(first, first + n))


def make_model(schema: Schema, dropout: float = 0.0) -> CTRModel:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        weight = torch.randn(schema.vocabulary_rows, DIM + 1, dtype=torch.float64)
        return CTRModel(schema, weight, Tower(schema.n_fields, DIM, dropout).double())


def profile_step(model: CTRModel, **changes: Any) -> Step:
    groups = [Group([model.table.weight], 0.01, weight_decay=0.1), Group(model.network_parameters(), 0.02)]
    return Step(groups, **changes)


def fit(
    model: CTRModel, train: Rows, steps: Sequence[Step], valid: Rows | None = None, seed: int = 0, **rest: Any
) -> FitLog:
    names = ("schedule", "on_epoch", "checkpoint")
    further = {name: rest.pop(name) for name in names if name in rest}
    plan = FitPlan(**({"epochs": 3, "batch_size": 4} | rest))
    return Fitter(model, train, valid, steps, plan, torch.Generator().manual_seed(seed), **further).run()


class PlainNet(nn.Module):
    """What ``Tower`` over the fused table computes, of torch's own layers."""

    def __init__(self, model: CTRModel) -> None:
        super().__init__()
        weight = model.table.weight.detach()
        self.embedding = nn.Embedding.from_pretrained(weight[:, :DIM].clone(), freeze=False)
        self.linear = nn.Embedding.from_pretrained(weight[:, DIM:].clone(), freeze=False)
        tower = cast(Tower, model.backbone)
        self.first, self.last = nn.Linear(len(CARDINALITIES) * DIM, 4).double(), nn.Linear(4, 1).double()
        self.first.load_state_dict(tower.first.state_dict())
        self.last.load_state_dict(tower.last.state_dict())

    def forward(self, ids: Tensor) -> Tensor:
        ids = ids.long()
        hidden = torch.tanh(self.first(self.embedding(ids).flatten(1)))
        return cast(Tensor, self.last(hidden).squeeze(1) + self.linear(ids).sum((1, 2)))

    def table(self) -> list[nn.Parameter]:
        return [self.embedding.weight, self.linear.weight]

    def network(self) -> list[nn.Parameter]:
        return [*self.first.parameters(), *self.last.parameters()]


def assert_same_weights(model: CTRModel, plain: PlainNet) -> None:
    tower = cast(Tower, model.backbone)
    pairs = [
        (model.table.weight, torch.cat(plain.table(), dim=1)),
        *zip(tower.first.parameters(), plain.first.parameters(), strict=True),
        *zip(tower.last.parameters(), plain.last.parameters(), strict=True),
    ]
    for ours, reference in pairs:
        torch.testing.assert_close(ours, reference, rtol=0, atol=1e-10)


class Constraint:
    """A second player: ascends in λ on λ · (mean p - 0.3), while the model's loss pays λ · mean p."""

    def __init__(self) -> None:
        self.lam = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))
        self.seen: list[tuple[str, Batch]] = []

    def model_loss(self, model: CTRModel, batch: Batch) -> Tensor:
        self.seen.append(("model", batch))
        return log_loss(model, batch) + self.lam * torch.sigmoid(model(batch)).mean()

    def lam_loss(self, model: CTRModel, batch: Batch) -> Tensor:
        self.seen.append(("lam", batch))
        return self.lam * (torch.sigmoid(model(batch)).mean() - 0.3)
