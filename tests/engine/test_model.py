"""Surgery of the assembled model, and training on the touched rows only."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import ClassVar, Literal, Self

import pytest
import torch
from torch import Tensor, nn

from bench.data.schema import Field, Schema
from bench.engine.backbone import Backbone, field_columns, slice_columns
from bench.engine.fit import log_loss
from bench.engine.model import CTRModel, Gate
from bench.rows.rows import Batch, Rows

F, D, N = 4, 3, 40
SCHEMA = Schema(
    (
        Field("a", "categorical", 30),
        Field("b", "numeric", 2),
        Field("c", "integer", 7),
        Field("d", "categorical", 50),
    )
)
V = SCHEMA.vocabulary_rows


class Tower(Backbone[None]):
    """One hidden layer and the linear part: enough to see every path through a model."""

    uses_linear = True

    def __init__(self, n_fields: int, dim: int, params: None) -> None:
        super().__init__(n_fields, dim, params)
        self.hidden = nn.Linear(n_fields * dim, 5)
        self.out = nn.Linear(5, 1)

    def forward(self, e: Tensor, linear: Tensor | None) -> Tensor:
        assert linear is not None
        hidden = torch.tanh(self.hidden(e.flatten(1)))
        logits: Tensor = self.out(hidden).squeeze(1) + linear.sum(1)
        return logits

    def slice_fields(self, kept: Sequence[int]) -> Self:
        small = copy.deepcopy(self)
        small.n_fields = len(kept)
        small.hidden = slice_columns(self.hidden, field_columns(kept, self.dim))
        return small


class Deep(Tower):
    """The same without a linear part: its table is [V, D]."""

    uses_linear = False

    def forward(self, e: Tensor, linear: Tensor | None) -> Tensor:
        assert linear is None
        return super().forward(e, e.new_zeros(len(e), self.n_fields))


class FieldGate(Gate):
    def __init__(self, factors: Tensor) -> None:
        super().__init__()
        self.factors = nn.Parameter(factors)

    def forward(self, e: Tensor, ids: Tensor) -> Tensor:
        return self.factors


class ValueGate(FieldGate):
    shape: ClassVar[Literal["F", "BF", "FD"]] = "BF"

    def forward(self, e: Tensor, ids: Tensor) -> Tensor:
        return self.factors[ids.long()]


class CoordinateGate(FieldGate):
    shape: ClassVar[Literal["F", "BF", "FD"]] = "FD"


class RowGate(ValueGate):
    per_sample = True


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_rows(n: int = N, seed: int = 0) -> Rows:
    draw = rng(seed)
    columns = [
        torch.randint(int(low), int(high), (n,), generator=draw, dtype=torch.int32)
        for low, high in zip(SCHEMA.offsets[:-1], SCHEMA.offsets[1:], strict=True)
    ]
    labels = torch.randint(2, (n,), generator=draw).float()
    return Rows(SCHEMA, torch.stack(columns, 1), torch.randn(n, 1, generator=draw), labels, torch.arange(n) * 3)


def make_model(backbone_type: type[Tower] = Tower) -> CTRModel:
    width = D + 1 if backbone_type.uses_linear else D
    with torch.random.fork_rng():
        torch.manual_seed(1)
        backbone = backbone_type(F, D, None).double()
    return CTRModel(SCHEMA, torch.randn(V, width, generator=rng(2), dtype=torch.float64), backbone)


def tower(model: CTRModel) -> Tower:
    assert isinstance(model.backbone, Tower)
    return model.backbone


def whole(rows: Rows) -> Batch:
    return next(rows.slices(len(rows)))


def same(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_forward_by_hand() -> None:
    model, batch = make_model(), whole(make_rows(3))
    assert batch.numeric is not None
    vectors = model.table.weight[batch.ids.long()].clone()  # [B, F, D + 1]
    vectors[:, 1] *= batch.numeric  # field b is numeric
    e, linear = vectors[..., :D], vectors[..., D]
    net = tower(model)
    hidden = torch.tanh(e.flatten(1) @ net.hidden.weight.T + net.hidden.bias)
    same(model(batch), hidden @ net.out.weight[0] + net.out.bias + linear.sum(1))


class ShiftGate(FieldGate):
    """Decides itself what the backbone gets."""

    def multiply(self, e: Tensor, linear: Tensor | None, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        e, linear = super().multiply(e, linear, ids)
        return e + 0.5, linear


def test_a_gate_gets_what_embed_gives_and_may_do_more_than_multiply() -> None:
    model, batch = make_model(), whole(make_rows(5))
    e, linear = model.embed(batch)
    assert linear is not None
    same(model(batch), model.backbone(e, linear))
    z = torch.linspace(0.2, 1.4, F).double()
    model.gate = ShiftGate(z)
    same(model(batch), model.backbone(e * z[:, None] + 0.5, linear * z))
    assert make_model(Deep).embed(batch)[1] is None


@pytest.mark.parametrize("backbone_type", [Tower, Deep])
@pytest.mark.parametrize("kept", [[0], [1], [0, 2], [1, 3], [0, 1, 2, 3]], ids=str)
def test_prune_equals_the_closed_gate(kept: list[int], backbone_type: type[Tower]) -> None:
    model, rows = make_model(backbone_type), make_rows()
    small = model.prune(kept)
    model.gate = FieldGate(torch.zeros(F).double().index_fill(0, torch.tensor(kept), 1.0))
    assert small.gate is None
    assert small.kept == tuple(kept)
    same(small(whole(small.view(rows))), model(whole(rows)))


def test_prune_with_scale_equals_the_open_gate() -> None:
    """What a method learned as gates survives its removal: scores do not jump."""
    model, rows, factors = make_model(), make_rows(), torch.tensor([0.5, 0.0, -2.0, 3.0]).double()
    small = model.prune([0, 2, 3], scale=factors[[0, 2, 3]])
    model.gate = FieldGate(factors)
    same(small(whole(small.view(rows))), model(whole(rows)))


def test_prune_copies_and_keeps_the_mode() -> None:
    model = make_model().eval()
    before = model.table.weight.detach().clone()
    small = model.prune(range(F))
    assert not small.training
    with torch.no_grad():
        small.table.weight.zero_()
        tower(small).hidden.weight.zero_()
    assert torch.equal(model.table.weight, before)
    assert tower(model).hidden.weight.any()
    assert small.table.weight.requires_grad


@pytest.mark.parametrize("kept", [[2, 0], [1, 1], [0, 4], [-1, 2]], ids=str)
def test_prune_refuses_fields_out_of_order_or_range(kept: list[int]) -> None:
    with pytest.raises(ValueError, match="increasing"):
        make_model().prune(kept)


def test_prune_of_a_pruned_model_counts_in_the_full_schema() -> None:
    model, rows = make_model(), make_rows()
    small = model.prune([0, 2, 3]).prune([1, 2])
    assert small.kept == (2, 3)
    assert small.schema == SCHEMA.keep([2, 3])
    direct = model.prune([2, 3])
    same(small(whole(small.view(rows))), direct(whole(direct.view(rows))))


def test_fold_of_values_equals_the_gate() -> None:
    model, rows = make_model(), make_rows()
    factors = torch.randn(V, generator=rng(3), dtype=torch.float64)
    folded = model.fold(value_scale=factors)
    model.gate = ValueGate(factors)
    same(folded(whole(rows)), model(whole(rows)))


@pytest.mark.parametrize("backbone_type", [Tower, Deep])
def test_fold_of_dimensions_equals_the_gate(backbone_type: type[Tower]) -> None:
    """Linear weights are no coordinates of the embedding: they stay whatever the dimension."""
    model, rows, dims = make_model(backbone_type), make_rows(), torch.tensor([0, 3, 1, 2])
    folded = model.fold(dims=dims)
    model.gate = CoordinateGate((torch.arange(D) < dims[:, None]).double())
    same(folded(whole(rows)), model(whole(rows)))
    assert folded.kept == model.kept


def test_fold_leaves_the_model_alone() -> None:
    model = make_model().eval()
    before = copy.deepcopy(model.state_dict())
    folded = model.fold(value_scale=torch.zeros(V).double(), dims=torch.zeros(F, dtype=torch.int64))
    assert not folded.training
    assert not folded.table.weight.any()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_gate_that_differs_by_row_forbids_surgery() -> None:
    model = make_model()
    model.gate = RowGate(torch.ones(V).double())
    with pytest.raises(ValueError, match="row to row"):
        model.prune([0])
    with pytest.raises(ValueError, match="row to row"):
        model.fold(torch.ones(V).double())


def test_view_passes_slices_or_refuses() -> None:
    model, rows = make_model(), make_rows()
    small = model.prune([0, 3])
    assert model.view(rows) is rows
    sliced = small.view(rows)
    assert sliced.schema == small.schema
    assert sliced.numeric is None
    assert small.view(sliced) is sliced
    for other in (model, make_model().prune([1, 3])):
        with pytest.raises(ValueError, match="do not fit"):
            other.view(sliced)


def test_restricted_model_scores_the_same() -> None:
    model, rows = make_model().eval(), make_rows(9)
    small = model.restrict(rows)
    assert len(small.model.table.weight) == len(set(rows.ids.flatten().tolist())) < V
    assert not small.model.training
    same(small.model(whole(small.rows)), model(whole(rows)))
    assert torch.equal(small.used[small.rows.ids.long()], rows.ids.long())


def test_restrict_takes_the_columns_that_a_pruned_model_has() -> None:
    model, rows = make_model().prune([0, 3]), make_rows(9)
    small = model.restrict(rows)
    same(small.model(whole(small.rows)), model(whole(model.view(rows))))


def train(model: CTRModel, rows: Rows, gate: FieldGate) -> None:
    """Six Adam steps over table, backbone and gate."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for step in range(6):
        batch = rows.batch(torch.arange(step, step + 5))
        log_loss(model, batch).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        for parameter in (*model.network_parameters(), gate.factors):
            parameter.grad = None
        model.table.clear_grad()


def test_training_the_restricted_model_is_training_the_full_one() -> None:
    rows = make_rows(12)
    rows = Rows(rows.schema, rows.ids, rows.numeric, rows.labels.double(), rows.index)
    full, restricted = make_model(), make_model().restrict(rows)
    start = full.table.weight.detach().clone()
    for model, data in ((full, rows), (restricted.model, restricted.rows)):
        model.gate = FieldGate(torch.linspace(0.5, 1.5, F, dtype=torch.float64))
        train(model, data, model.gate)
    back = restricted.write_back()
    assert back is restricted.full
    same(back.table.weight, full.table.weight)
    assert restricted.model.gate is not None
    assert full.gate is not None
    same(restricted.model.gate.factors, full.gate.factors)  # type: ignore[arg-type]
    for mine, theirs in zip(back.backbone.parameters(), full.backbone.parameters(), strict=True):
        same(mine, theirs)
    untouched = torch.ones(V, dtype=torch.bool).index_fill(0, restricted.used, False)
    assert untouched.any()
    assert torch.equal(back.table.weight[untouched], start[untouched])
    assert not torch.equal(back.table.weight[~untouched], start[~untouched])


class Absorbing(Tower):
    """Takes constants into its biases."""

    absorbs = True

    def absorb(self, e: Tensor, linear: Tensor | None) -> None:
        assert linear is not None
        self.hidden.bias.add_(self.hidden.weight @ e.flatten())
        self.out.bias.add_(linear.sum())


class ReplacingGate(FieldGate):
    """Fills up with constants."""

    def __init__(self, factors: Tensor, e: Tensor, linear: Tensor | None) -> None:
        super().__init__(factors)
        self.rest = e, linear

    def instead(self, e: Tensor, linear: Tensor | None, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.rest


class ReplacingValueGate(ReplacingGate):
    shape: ClassVar[Literal["F", "BF", "FD"]] = "BF"

    def forward(self, e: Tensor, ids: Tensor) -> Tensor:
        return self.factors[ids.long()]


class ReplacingCoordinateGate(ReplacingGate):
    shape: ClassVar[Literal["F", "BF", "FD"]] = "FD"


def constants() -> tuple[Tensor, Tensor]:
    return torch.randn(F, D, generator=rng(7)).double(), torch.randn(F, generator=rng(8)).double()


def test_a_gate_that_replaces_fills_up_what_it_takes_away() -> None:
    model, batch = make_model(), whole(make_rows(6))
    (e, linear), (rest, rest_linear) = model.embed(batch), constants()
    assert linear is not None
    fields = torch.linspace(-0.2, 1.0, F).double()
    by_value = torch.rand(V, generator=rng(9)).double()
    for gate, z in (
        (ReplacingGate(fields, rest, rest_linear), fields.expand(6, F)),
        (ReplacingValueGate(by_value, rest, rest_linear), by_value[batch.ids.long()]),
    ):
        vectors, weights = gate.multiply(e, linear, batch.ids)
        assert weights is not None
        same(vectors, e * z[..., None] + rest * (1 - z[..., None]))
        same(weights, linear * z + rest_linear * (1 - z))
    coordinates = torch.rand(F, D, generator=rng(9)).double()
    vectors, weights = ReplacingCoordinateGate(coordinates, rest, rest_linear).multiply(e, linear, batch.ids)
    same(vectors, e * coordinates + rest * (1 - coordinates))
    assert weights is linear
    assert ReplacingGate(fields, rest, None).multiply(e, None, batch.ids)[1] is None
    weights = ReplacingGate(fields, rest, None).multiply(e, linear, batch.ids)[1]
    assert weights is not None  # a gate that has no linear weights of its own leaves zero
    same(weights, linear * fields)


@pytest.mark.parametrize("kept", [[0], [1, 3], [0, 1, 2]], ids=str)
def test_prune_with_a_rest_equals_the_closed_gate_that_replaces(kept: list[int]) -> None:
    model, rows, (rest, rest_linear) = make_model(Absorbing), make_rows(), constants()
    small = model.prune(kept, rest=(rest, rest_linear))
    model.gate = ReplacingGate(torch.zeros(F).double().index_fill(0, torch.tensor(kept), 1.0), rest, rest_linear)
    same(small(whole(small.view(rows))), model(whole(rows)))
