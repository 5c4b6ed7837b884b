"""Training with pooled fields: gradients, updates that come later, captured steps, and rows that are not looked up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from fit_rig import Tower
from test_graph import CountedCudaGraphs, RecordedGraphs, Trainer, assert_captured_equals_eager, plain
from test_windowed import BATCH, adam, kind, make_fitter, plainly
from torch import Tensor

from bench.api import CTRModel, Field, Rows, Schema
from bench.data.schema import FIRST_VALUE, MISSING
from bench.engine import update
from bench.engine.fast import gradient, windowed
from bench.engine.fast.lazy import LazyAdam
from bench.engine.fit import FitPlan
from bench.engine.steps import Group, Step, log_loss
from bench.engine.update import Updates
from bench.rows.rows import Batch
from methods.parts.value_gates import ValueMask, ValueSizeMask

DIM = 3
SCHEMA = Schema((Field("a", "categorical", 700, 4), Field("b", "categorical", 20), Field("c", "categorical", 880, 2)))
V = SCHEMA.vocabulary_rows


def make_rows(n: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Rows:
    """One to all of the values of each pooled field; a tenth of the rows have none."""
    draw = np.random.default_rng(seed)
    owners = SCHEMA.column_fields
    sizes = SCHEMA.cardinalities[owners]
    local = FIRST_VALUE + np.floor((sizes - FIRST_VALUE) * draw.random((n, len(owners))) ** 3).astype(np.int64)
    counts = np.stack([draw.integers(0, field.positions + 1, n) for field in SCHEMA.fields], axis=1)
    places = np.array([(owners[:i] == f).sum() for i, f in enumerate(owners)])
    local[places >= np.maximum(counts[:, owners], 0)] = MISSING
    ids = torch.from_numpy((local + SCHEMA.offsets[owners]).astype(np.int32))
    labels = torch.from_numpy(draw.random(n) < 0.4).to(dtype)
    return Rows(SCHEMA, ids[:, :3].contiguous(), None, labels, torch.arange(n), pooled=ids[:, 3:].contiguous())


def make_model(dropout: float = 0.0) -> CTRModel:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return CTRModel(SCHEMA, torch.randn(V, DIM + 1), Tower(3, DIM, dropout)).double()


def whole(rows: Rows) -> Batch:
    return next(rows.slices(len(rows)))


def by_hand(weight: Tensor, rows: Rows) -> Tensor:
    """Vectors of the fields by a loop over rows, [N, F, W]."""
    assert rows.pooled is not None
    owners, padding = SCHEMA.column_fields[3:].tolist(), SCHEMA.padding.tolist()
    made = []
    for ids, further in zip(rows.ids.tolist(), rows.pooled.tolist(), strict=True):
        values = [[first] for first in ids]
        for owner, empty, value in zip(owners, padding, further, strict=True):
            values[owner] += [] if value == empty else [value]
        made.append(torch.stack([weight[one].mean(0) for one in values]))
    return torch.stack(made)


@pytest.mark.parametrize("gated", [False, True], ids=["plain", "by value"])
def test_gradients_are_those_of_a_loop(gated: bool) -> None:
    model, rows = make_model(), make_rows(60)
    factors = torch.rand(V, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    if gated:
        model.gate = ValueMask(factors)
    log_loss(model, whole(rows)).backward()  # type: ignore[no-untyped-call]
    weight = model.table.weight.detach().clone().requires_grad_()
    vectors = by_hand(weight * factors[:, None] if gated else weight, rows)
    logits = model.backbone(vectors[..., :DIM], vectors[..., DIM])
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, rows.labels)
    (expected,) = torch.autograd.grad(loss, weight)
    assert model.table.weight.grad is not None
    torch.testing.assert_close(model.table.weight.grad, expected, rtol=0, atol=1e-12)


def test_updates_that_come_later_are_the_same_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("LEAST_NUMBERS", 0), ("MOST", 1), ("BLOCK", 1024)):
        monkeypatch.setattr(windowed, name, value)
    rows, valid = make_rows(13 * BATCH - 5), make_rows(200, seed=1)

    def train() -> tuple[CTRModel, Any, set[str]]:
        model, held = make_model(dropout=0.3), set[str]()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            fitter = make_fitter(
                model, rows, valid, epochs=3, patience=9, evaluate_every=0.7, lr_decay=0.5,
                on_step=lambda iteration, planned: held.add(kind(fitter.model.table)),
            )  # fmt: skip
            log = fitter.run()
        adam(fitter)
        return model, log.history, held

    ours, history, held = train()
    theirs, plain_history, plain_held = plainly(monkeypatch, train)
    assert held == {"hot"}
    assert "hot" not in plain_held
    assert history == plain_history
    for (name, one), other in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


class PooledTrainer(Trainer):
    def make(self, name: str = "", gate: str = "") -> tuple[CTRModel, Rows]:
        return make_model().to(self.device), make_rows(24 * 16 + 11).to(self.device)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def trainer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[PooledTrainer]:
    for module in (gradient, update):
        monkeypatch.setattr(module, "on_cpu", lambda tensor: False)
    backend = RecordedGraphs if request.param == "cpu" else CountedCudaGraphs
    yield PooledTrainer(monkeypatch, torch.device(request.param), backend)


def test_a_captured_step_reads_the_values_of_its_batch(trainer: PooledTrainer) -> None:
    done = assert_captured_equals_eager(trainer, plain)
    assert done.log.execution == "model: captured"


def test_padding_looks_no_missing_value_up() -> None:
    model, rows = make_model(), make_rows(200)
    assert rows.pooled is not None
    filled = rows.take((rows.ids != torch.from_numpy(SCHEMA.offsets[:-1] + MISSING)).all(1).nonzero().squeeze(1))
    assert (filled.pooled == torch.from_numpy(SCHEMA.padding)).any()
    before = model.table.weight.detach().clone()
    plan = FitPlan(epochs=1, batch_size=8, lazy=True)
    step = Step([Group([model.table.weight], 0.1, weight_decay=0.1), Group(model.network_parameters(), 0.1)])
    updates = Updates(model, [step], plan)
    assert isinstance(updates.optimizers[0], LazyAdam)
    updates.run(0, whole(filled), 0)
    updates.finish()
    moved = (model.table.weight != before).any(1).nonzero().squeeze(1).tolist()
    assert moved
    assert not set(moved) & set((SCHEMA.offsets[:-1] + MISSING).tolist())


def test_rare_values_become_one_and_padding_stays() -> None:
    rows = make_rows(300)
    merged = rows.merge_rare(4)
    assert rows.pooled is not None
    assert merged.pooled is not None
    owners, padding = SCHEMA.column_fields, torch.from_numpy(SCHEMA.padding)
    both = [torch.cat([one.ids, one.pooled], 1) for one in (rows, merged) if one.pooled is not None]
    there = torch.cat([torch.ones_like(rows.ids, dtype=torch.bool), rows.pooled != padding], 1)
    values, counts = both[0][there].unique(return_counts=True)
    often = dict(zip(values.tolist(), counts.tolist(), strict=True))
    expected = [
        [
            value if not is_there or often[value] >= 4 else int(SCHEMA.offsets[owner])
            for value, is_there, owner in zip(row, flags, owners, strict=True)
        ]
        for row, flags in zip(both[0].tolist(), there.tolist(), strict=True)
    ]
    assert both[1].tolist() == expected
    assert not torch.equal(*both)


def test_paged_rows_give_the_further_values_of_resident_ones() -> None:
    rows = make_rows(50)
    paged = Rows(SCHEMA, rows.ids, None, rows.labels, rows.index, torch.device("cpu"), rows.pooled)
    for one, other in zip(rows.slices(20), paged.slices(20), strict=True):
        assert other.numeric is None
        assert torch.equal(one.pooled, other.pooled)  # type: ignore[arg-type]
    assert torch.equal(rows.batch(torch.tensor([7, 3])).pooled, paged.batch(torch.tensor([7, 3])).pooled)  # type: ignore[arg-type]
    assert rows.n_bytes == 50 * ((3 + 4) * 4 + 8)


def test_sizes_and_masks_written_into_the_table_are_the_gate() -> None:
    model, batch = make_model(), whole(make_rows(60))
    draw = torch.Generator().manual_seed(2)
    factors, sizes = (torch.rand(V, generator=draw) < 0.5).double(), torch.tensor([1, 3, 2])
    columns = torch.from_numpy(SCHEMA.column_fields)
    model.gate = ValueSizeMask(factors, sizes[columns], DIM)
    torch.testing.assert_close(model.fold(factors, sizes)(batch), model(batch), rtol=0, atol=1e-10)
