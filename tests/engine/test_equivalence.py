"""The fast path is the slow one: 50 steps equal ``nn.Embedding`` trained by a plain ``torch.optim.Adam``.

Every registered backbone, without a gate and with a gate of each shape, clipped and unclipped.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.api import Backbone, CTRModel, Field, FitPlan, Gate, Group, Rows, Schema, Step
from bench.engine.backbone import draw_layers
from bench.engine.fit import Fitter
from bench.engine.table import EmbeddingTable
from bench.plugins import backbones
from bench.profiles import PAPER
from bench.speed.gates import GATES

STEPS, BATCH, DIM = 50, 16, 4
CARDINALITIES = (4, 700, 30, 250, 3)
NUMERIC = 3
"""Index of the field that has one vector, multiplied by its value."""
PROFILE = replace(PAPER, mlp=(16, 8), cin=(6, 4), dropout=0.0)
LR, L2 = 1e-3, 1e-3
WITHOUT = "no gate"
FIELD, SAMPLE, VALUE = GATES


def make_rows(dtype: torch.dtype) -> Rows:
    draw = np.random.default_rng(0)
    schema = Schema(
        tuple(Field(f"f{i}", "numeric" if i == NUMERIC else "categorical", c) for i, c in enumerate(CARDINALITIES))
    )
    n = STEPS * BATCH - 5  # the last batch is short
    codes = np.stack([np.floor(c * draw.random(n) ** 3) for c in CARDINALITIES], axis=1)
    ids = torch.from_numpy((codes + schema.offsets[:-1]).astype(np.int32))
    numeric = torch.from_numpy(draw.normal(size=(n, 1))).to(dtype)
    labels = torch.from_numpy(draw.random(n) < 0.3).to(dtype)
    return Rows(schema, ids, numeric, labels, torch.arange(n))


def make_model(name: str, gate: str, schema: Schema, dtype: torch.dtype) -> CTRModel:
    cls = backbones().load(name)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        backbone: Backbone[Any] = cls(schema.n_fields, DIM, cls.defaults(PROFILE))
        draw_layers(backbone, seed=1)
        width = backbone.dim + backbone.uses_linear
        model = CTRModel(schema, 0.1 * torch.randn(schema.vocabulary_rows, width), backbone)
        if gate == SAMPLE and not backbone.dim:
            pytest.skip("a controller reads embeddings, and this backbone has none")
        model.gate = GATES[gate](schema, backbone.dim) if gate != WITHOUT else None
    return model.to(dtype)


class Plain(nn.Module):
    """The same function of torch's own parts: one embedding for vectors, one for linear weights, gates by hand."""

    def __init__(self, model: CTRModel) -> None:
        super().__init__()
        weight = model.table.weight.detach()
        self.dim = model.dim
        self.embedding = nn.Embedding.from_pretrained(weight[:, : self.dim].clone(), freeze=False)
        self.linear = nn.Embedding.from_pretrained(weight[:, self.dim :].clone(), freeze=False)
        self.backbone = copy.deepcopy(model.backbone)
        self.gate = copy.deepcopy(model.gate)
        if self.gate is not None:
            for name, module in list(self.gate.named_children()):
                if isinstance(module, EmbeddingTable):
                    plain = nn.Embedding.from_pretrained(module.weight.detach().clone(), freeze=False)
                    setattr(self.gate, name, _TakesInt32(plain))

    def forward(self, ids: Tensor, numeric: Tensor) -> Tensor:
        values = torch.ones(ids.shape, dtype=numeric.dtype)
        values[:, NUMERIC] = numeric[:, 0]
        e = self.embedding(ids.long()) * values[..., None]
        linear = self.linear(ids.long()).sum(-1) * values  # an empty sum where there are no linear weights
        if self.gate is not None:
            z = self.gate(e, ids)
            e, linear = e * z[..., None], linear * z
        logits: Tensor = self.backbone(e, linear if self.backbone.uses_linear else None)
        return logits

    def groups(self) -> list[dict[str, Any]]:
        gate = [] if self.gate is None else list(self.gate.parameters())
        return [
            {"params": [self.embedding.weight, self.linear.weight], "lr": LR, "weight_decay": L2},
            {"params": list(self.backbone.parameters()), "lr": LR},
            {"params": gate, "lr": 10 * LR},
        ]


class _TakesInt32(nn.Module):
    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self.embedding = embedding

    def forward(self, ids: Tensor) -> Tensor:
        rows: Tensor = self.embedding(ids.long())
        return rows


def train_plainly(plain: Plain, rows: Rows, clip: float | None) -> int:
    """The loop anyone would write; returns how many steps were clipped."""
    optimizer = torch.optim.Adam(plain.groups(), foreach=False, fused=False)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(7))
    clipped = 0
    assert rows.numeric is not None
    for part in order.split(BATCH):
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(plain(rows.ids[part], rows.numeric[part]), rows.labels[part])
        loss.backward()
        if clip is not None:
            params = [param for group in optimizer.param_groups for param in group["params"]]
            clipped += bool(nn.utils.clip_grad_norm_(params, clip) > clip)
        optimizer.step()
    return clipped


def train_fast(model: CTRModel, rows: Rows, clip: float | None) -> None:
    groups = [Group([model.table.weight], LR, weight_decay=L2), Group(model.network_parameters(), LR)]
    if model.gate is not None:
        groups.append(Group(list(model.gate.parameters()), 10 * LR))
    plan = FitPlan(epochs=1, batch_size=BATCH, clip_norm=clip)
    log = Fitter(model, rows, None, [Step(groups)], plan, torch.Generator().manual_seed(7)).run()
    assert log.iterations == STEPS


def assert_equal(model: CTRModel, plain: Plain, tolerance: float) -> None:
    """Largest difference of a tensor, relative to its largest entry."""
    table = torch.cat([plain.embedding.weight, plain.linear.weight], 1)
    pairs = [("table", model.table.weight, table)]
    for part in ("backbone", "gate"):
        ours, theirs = getattr(model, part), getattr(plain, part)
        if ours is not None:
            values = zip(ours.named_parameters(), theirs.parameters(), strict=True)
            pairs += [(f"{part}.{name}", one, other) for (name, one), other in values]
    for name, one, other in pairs:
        if one.numel():
            gap = float((one - other).detach().abs().max() / other.detach().abs().max().clamp_min(1e-30))
            assert gap <= tolerance, f"{name}: {gap:.2e}"


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=["fp64", "fp32"])
@pytest.mark.parametrize("gate", [WITHOUT, *GATES])
@pytest.mark.parametrize("name", backbones().names())
def test_50_steps_equal_a_plain_loop(name: str, gate: str, dtype: torch.dtype, tolerance: float) -> None:
    rows = make_rows(dtype)
    model = make_model(name, gate, rows.schema, dtype)
    before = model.table.weight.detach().clone()
    plain = Plain(model)
    train_plainly(plain, rows, None)
    train_fast(model, rows, None)
    assert_equal(model, plain, tolerance)
    assert (model.table.weight - before).abs().max() > 5 * LR  # it has learnt


@pytest.mark.parametrize("gate", [WITHOUT, VALUE])
@pytest.mark.parametrize("name", backbones().names())
def test_clipped_steps_equal_a_plain_loop(name: str, gate: str) -> None:
    rows = make_rows(torch.float64)
    model = make_model(name, gate, rows.schema, torch.float64)
    plain = Plain(model)
    assert train_plainly(plain, rows, 0.05) > STEPS // 2
    train_fast(model, rows, 0.05)
    assert_equal(model, plain, 1e-10)


def test_the_model_is_large_enough_for_the_sparse_paths() -> None:
    """A batch writes a small part of the table, and fields repeat values within a batch."""
    rows = make_rows(torch.float64)
    written = BATCH * len(CARDINALITIES)
    assert written * 4 < rows.schema.vocabulary_rows
    assert len(torch.unique(rows.ids[:BATCH])) < written


def test_a_gate_of_values_is_gated_by_value() -> None:
    rows = make_rows(torch.float64)
    gate: Gate = GATES[VALUE](rows.schema, DIM)
    with torch.no_grad():
        next(gate.parameters()).copy_(torch.arange(rows.schema.vocabulary_rows).double()[:, None] / 100)
    z = gate(torch.empty(0), rows.ids)
    assert torch.equal(z, torch.sigmoid((rows.ids.double() / 100).float()))
