"""Models of pooled fields: the mean against a loop, and the promise that a cut model is the gated one, exactly."""

from __future__ import annotations

from typing import ClassVar, Literal

import pytest
import torch
from test_backbones import build
from torch import Tensor

from bench.data.schema import FIRST_VALUE, Field, Schema
from bench.engine.model import CTRModel, Gate
from bench.plugins import backbones
from bench.rows.rows import Batch, Rows

F, D, N = 7, 4, 41
PLACES = {1: 3, 4: 2, 6: 4}
"""Pooled fields and their positions."""
SCHEMA = Schema(
    tuple(Field(f"f{i}", "numeric" if i == 3 else "categorical", 5 + i, PLACES.get(i, 1)) for i in range(F))
)


def model(name: str) -> CTRModel:
    backbone = build(name, F, D)
    draw = torch.Generator().manual_seed(2)
    weight = torch.randn(
        SCHEMA.vocabulary_rows, backbone.dim + backbone.uses_linear, generator=draw, dtype=torch.float64
    )
    return CTRModel(SCHEMA, weight, backbone).eval()


def lists(seed: int = 4) -> list[list[list[int]]]:
    """Local ids of each row and field: as many as the field may have, at least one, or the missing one."""
    draw = torch.Generator().manual_seed(seed)

    def one(field: int) -> list[int]:
        most = PLACES.get(field, 1)
        n = int(torch.randint(1, most + 1, (), generator=draw))
        values = torch.randint(FIRST_VALUE, 5 + field, (n,), generator=draw).tolist()
        values[0] = 0 if torch.rand((), generator=draw) < 0.2 else values[0]  # a rare one
        return [1] if torch.rand((), generator=draw) < 0.2 else values

    return [[one(field) for field in range(F)] for _ in range(N)]


def make_rows(rows: list[list[list[int]]]) -> Rows:
    offsets, missing = SCHEMA.offsets, 1
    ids = [[values[0] + int(offsets[f]) for f, values in enumerate(row)] for row in rows]
    padded = [
        [v + int(offsets[f]) for f, n in PLACES.items() for v in (row[f][1:] + [missing] * n)[: n - 1]] for row in rows
    ]
    draw = torch.Generator().manual_seed(5)
    numeric = torch.randn(len(rows), 1, generator=draw)
    labels = (torch.rand(len(rows), generator=draw) < 0.5).float()
    as_int = [torch.tensor(part, dtype=torch.int32) for part in (ids, padded)]
    return Rows(SCHEMA, as_int[0], numeric, labels, torch.arange(len(rows)), pooled=as_int[1])


def whole(rows: Rows) -> Batch:
    return next(rows.slices(len(rows)))


class Closed(Gate):
    """Opens the fields given and closes the rest."""

    def __init__(self, open_fields: list[int]) -> None:
        super().__init__()
        self.factors = torch.zeros(F, dtype=torch.float64)
        self.factors[open_fields] = 1.0

    def forward(self, e: Tensor, ids: Tensor) -> Tensor:
        return self.factors


class ByValue(Gate):
    """A factor a value."""

    shape: ClassVar[Literal["F", "BF", "FD", "BFD"]] = "BF"
    by_value = True

    def __init__(self, factors: Tensor) -> None:
        super().__init__()
        self.factors = factors

    def forward(self, e: Tensor, ids: Tensor) -> Tensor:
        return self.factors[ids.long()]


@pytest.mark.parametrize("name", backbones().names())
def test_a_field_is_the_mean_of_the_values_of_its_row(name: str) -> None:
    full, rows = model(name), lists()
    batch = whole(make_rows(rows))
    assert batch.numeric is not None
    expected = torch.zeros(N, F, full.table.weight.shape[1], dtype=torch.float64)
    for i, row in enumerate(rows):
        for f, values in enumerate(row):
            vectors = [full.table.weight[int(SCHEMA.offsets[f]) + value] for value in values]
            expected[i, f] = sum(vectors, torch.zeros(())) / len(values)
            if f == 3:
                expected[i, f] *= batch.numeric[i, 0]
    e, linear = full.embed(batch)
    torch.testing.assert_close(e, expected[..., : full.dim], rtol=0, atol=1e-12)
    if linear is not None:
        torch.testing.assert_close(linear, expected[..., full.dim], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kept", [[0], [1], [4], [3, 6], [1, 2, 6], [0, 3, 5], list(range(F))], ids=str)
@pytest.mark.parametrize("name", backbones().names())
def test_pruned_equals_gated_to_zero(name: str, kept: list[int]) -> None:
    full, rows = model(name), make_rows(lists())
    full.gate = Closed(kept)
    gated = full(whole(rows))
    small = full.prune(kept)
    torch.testing.assert_close(small(whole(small.view(rows))), gated, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", backbones().names())
def test_cutting_twice_equals_cutting_once(name: str) -> None:
    full, rows = model(name), make_rows(lists())
    twice, once = full.prune([1, 2, 4, 6]).prune([0, 3]), full.prune([1, 6])
    assert twice.kept == once.kept == (1, 6)
    assert torch.equal(twice(whole(twice.view(rows))), once(whole(once.view(rows))))
    seen = rows.keep([1, 2, 4, 6]).keep([0, 3])
    assert seen.pooled is not None
    assert torch.equal(seen.pooled, rows.keep([1, 6]).pooled)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", backbones().names())
def test_a_gate_on_values_written_into_the_table_is_that_gate(name: str) -> None:
    full, batch = model(name), whole(make_rows(lists()))
    draw = torch.Generator().manual_seed(6)
    factors = (torch.rand(SCHEMA.vocabulary_rows, generator=draw) < 0.6).double() * 1.7
    full.gate = ByValue(factors)
    torch.testing.assert_close(full.fold(factors)(batch), full(batch), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", backbones().names())
def test_over_the_touched_rows_alone_it_is_the_same_model(name: str) -> None:
    full, rows = model(name), make_rows(lists()[:5])
    part = full.restrict(rows)
    assert len(part.model.table.weight) < len(full.table.weight)
    torch.testing.assert_close(part.model(whole(part.rows)), full(whole(rows)), rtol=0, atol=1e-12)


def test_a_batch_without_its_further_values_is_refused() -> None:
    full, batch = model("fm"), whole(make_rows(lists()))
    with pytest.raises(ValueError, match="needs the further values of a batch"):
        full(Batch(batch.ids, batch.numeric, batch.labels))
