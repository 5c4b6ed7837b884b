"""The harness holds masked tables to the budget, and says what they leave and how fast that is looked up."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from bench.api import CTRModel, Selection
from bench.method import Method
from bench.registry import MethodEntry
from bench.run import cell
from bench.run.cell import run_cell
from bench.run.grid import budgets_of
from bench.run.job import Job
from bench.run.weights import check_weights
from bench.tables.kinds import KINDS
from methods.magnitude import Magnitude
from tests.engine.fit_rig import DIM, make_model, make_rows

SCHEMA = make_rows(4).schema
V = SCHEMA.vocabulary_rows  # 16
MASK = torch.arange(V * DIM).view(V, DIM) % 4 != 0  # 36 of 48, as at prune ratio 0.25


def ctx(tau: float = 0.25, budget: str = "exact") -> Any:
    return cast(Any, SimpleNamespace(budget=budget, matched=False, keeps=lambda n: n - math.floor(tau * n)))


def masked_model() -> CTRModel:
    model = make_model(SCHEMA)
    model.table.mask_weights(MASK)
    return model


def test_a_table_within_its_budget_passes_and_so_does_one_without_masks() -> None:
    check_weights(masked_model(), Selection(weight_mask=MASK), ctx())
    check_weights(masked_model(), Selection(weight_mask=MASK), ctx(0.9, "native"))
    check_weights(make_model(SCHEMA), Selection(), ctx())


@pytest.mark.parametrize(
    ("model", "mask", "tau", "message"),
    [
        (make_model(SCHEMA), MASK, 0.25, "the trained table has none"),
        (masked_model(), MASK, 0.5, "select returned 36 active scalars of 48; the budget is 24"),
        (masked_model(), torch.ones(V, DIM, dtype=torch.bool), 0.0, "the trained table has 36 active .* budget is 48"),
    ],
)
def test_a_mask_of_another_size_is_a_fault(model: CTRModel, mask: torch.Tensor, tau: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_weights(model, Selection(weight_mask=mask), ctx(tau))


def test_so_is_a_scalar_outside_of_the_mask_that_is_not_zero() -> None:
    model = masked_model()
    with torch.no_grad():
        model.table.weight[0, 0] = 1e-30
    with pytest.raises(ValueError, match="outside of its mask that are not zero"):
        check_weights(model, Selection(weight_mask=MASK), ctx())


def test_the_prune_ratio_is_the_rule_of_methods_that_drop_weights_unless_they_have_their_own() -> None:
    def budgets(**declared: Any) -> tuple[str, ...]:
        return budgets_of(MethodEntry("a:B", "B", granularity="weight", **declared))

    assert budgets(scores="none") == ("exact",)
    assert budgets(scores="none", free_count=True) == ("exact", "native")
    assert budgets() == ("exact", "field")


@pytest.mark.parametrize(("method", "wanted"), [("magnitude", 1), ("no-selection", 2)])
def test_peak_memory_is_known_before_a_masked_table_stands_beside_itself_in_csr(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, method: str, wanted: int
) -> None:
    order: list[str] = []
    weighed, read = cell.weight_columns, itertools.count(1)

    def weigh(*given: Any, **more: Any) -> dict[str, Any]:
        order.append("csr")
        return weighed(*given, **more)

    def peak(*given: Any) -> int:
        order.append("peak")
        return next(read)

    monkeypatch.setattr(cell, "weight_columns", weigh)
    monkeypatch.setattr(cell, "peak_memory", peak)
    record = run_cell(make_job(method, backbone="dnn[mlp=8]", epochs=1))
    assert order[:2] == ["peak", "csr"]
    assert record.peak_mem_bytes == wanted  # without a mask all of the cell counts, as ever


def test_a_record_says_what_a_mask_leaves(make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch) -> None:
    models: list[CTRModel] = []
    train = Magnitude.train

    def kept(self: Method[Any], *given: Any) -> Any:
        trained = train(cast(Magnitude, self), *given)
        models.append(trained.model)
        return trained

    monkeypatch.setattr(Magnitude, "train", kept)
    record = run_cell(make_job("magnitude", tau=0.9, backbone="dnn[mlp=8]"))
    assert record.status == "ok", record.traceback
    active = models[0].table.weight[:, : models[0].dim] != 0
    v, dim = active.shape
    told = record.weights
    assert told is not None
    n = v * dim - math.floor(0.9 * v * dim)
    assert (told["active"], told["of"], int(active.sum())) == (n, v * dim, n)
    assert told["empty_rows"] == int((~active.any(1)).sum())
    assert told["quantiles"][-1] == int(active.sum(1).max())
    sizes = record.vocabulary_rows and models[0].schema.cardinalities
    assert sum(mean * int(size) for mean, size in zip(told["by_field"], sizes, strict=True)) == pytest.approx(n)
    assert told["dense_bytes"] == 4 * v * dim == record.embedding_bytes
    assert told["csr_bytes"] == 5 * n + 4 * (v + 1)
    assert told["bitmask_bytes"] == 4 * n + v * math.ceil(dim / 8) + 4 * (v + 1)
    assert record.selection is not None
    assert record.selection["kept_bytes"] == min(told["csr_bytes"], told["bitmask_bytes"])
    assert record.it_csr_s is not None
    assert record.it_csr_s > 0
    assert told["mask_apply_s"] > 0
    assert told["updates"] == 0
    known = record.to_dict()
    shown = {metric.name: metric.number(known) for metric in KINDS["weights"].columns}
    assert shown["active_scalars"] == n
    wanted = {"empty_rows": told["empty_rows"], "csr_bytes": 5 * n + 4 * (v + 1), "mask_updates": 0, "mask_update_s": 0}
    assert {name: shown[name] for name in wanted} == wanted
    assert shown["it_csr_s"] == record.it_csr_s
    assert KINDS["weights"].needs is not None
    assert KINDS["weights"].needs(known)
