"""Permutation importance and dropping one field: what is shuffled, what is lost, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from bench.api import Batch, Field, Rows, Schema, predict
from bench.engine.clock import Clock
from bench.run.cell import _holdout, run_cell, run_selection
from bench.run.grid import choose_method
from bench.run.job import Job
from methods import permutation
from methods.parts.shuffling import put_field, shadows
from methods.permutation import losses

MakeJob = Callable[..., Job]
SCHEMA = Schema((Field("a", "categorical", 5), Field("b", "categorical", 7, 3), Field("n", "numeric", 3)))
N = 60


@pytest.fixture
def rows() -> Rows:
    """A categorical field, one of three values a row, and a number that is known by its row."""
    draw = np.random.default_rng(0)
    columns = [draw.integers(2, 5, N), 5 + draw.integers(2, 7, N), 12 + draw.integers(1, 3, N)]
    further = 5 + draw.integers(0, 7, (N, 2))
    return Rows(
        SCHEMA,
        torch.from_numpy(np.stack(columns, axis=1).astype(np.int32)),
        torch.arange(N, dtype=torch.float32)[:, None],
        torch.from_numpy(draw.integers(0, 2, N).astype(np.float32)),
        torch.arange(N),
        pooled=torch.from_numpy(further.astype(np.int32)),
    )


def copy_of(rows: Rows) -> Rows:
    assert rows.numeric is not None and rows.pooled is not None
    return replace(rows, ids=rows.ids.clone(), numeric=rows.numeric.clone(), pooled=rows.pooled.clone())


@pytest.mark.parametrize("field", range(3))
def test_all_of_a_field_moves_together_and_nothing_else(rows: Rows, field: int) -> None:
    order = torch.randperm(N, generator=torch.Generator().manual_seed(1))
    moved = copy_of(rows)
    put_field(moved, rows, SCHEMA, field, order)
    taken = rows.take(order)
    for name, owners in (("ids", [0, 1, 2]), ("numeric", [2]), ("pooled", [1, 1])):
        for column, owner in enumerate(owners):
            source = taken if owner == field else rows
            assert torch.equal(getattr(moved, name)[:, column], getattr(source, name)[:, column])
    put_field(moved, rows, SCHEMA, field, None)
    assert all(torch.equal(getattr(moved, name), getattr(rows, name)) for name in ("ids", "numeric", "pooled"))


def test_shadows_are_the_same_values_on_other_rows_of_the_same_labels(rows: Rows) -> None:
    before = copy_of(rows)
    cast = shadows(rows, torch.Generator().manual_seed(2))
    assert torch.equal(rows.ids, before.ids) and torch.equal(cast.labels, rows.labels)
    assert cast.numeric is not None and cast.pooled is not None and rows.numeric is not None
    assert torch.equal(cast.ids.sort(dim=0).values, rows.ids.sort(dim=0).values)
    order = cast.numeric[:, 0].long()  # a number names the row that it comes from
    assert torch.equal(cast.ids[:, 2], rows.ids[order, 2])
    assert not torch.equal(cast.ids[:, 0], rows.ids[order, 0]), "every field has an order of its own"
    lists = torch.cat([rows.ids[:, 1:2], rows.pooled], dim=1).tolist()  # type: ignore[list-item]
    assert sorted(torch.cat([cast.ids[:, 1:2], cast.pooled], dim=1).tolist()) == sorted(lists)


class Reads:
    """A model whose logit is a field's code of rows in evaluation mode."""

    def __init__(self, field: int) -> None:
        self.field, self.training = field, True

    def eval(self) -> None:
        self.training = False

    def view(self, rows: Rows) -> Rows:
        return rows

    def __call__(self, batch: Batch) -> torch.Tensor:
        assert not self.training
        return batch.ids[:, self.field].float() - 3


def test_a_score_is_the_log_loss_gained_by_shuffles_within_batches(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permutation, "_BATCH", 40)  # two batches, of 40 and of 20 rows
    got = losses(Reads(0), rows, 2, torch.Generator().manual_seed(3))  # type: ignore[arg-type]
    draw = torch.Generator().manual_seed(3)
    z, y = rows.ids[:, 0].double() - 3, rows.labels.double()

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> float:
        p = 1 / (1 + torch.exp(-logits))
        return float(-(labels * p.log() + (1 - labels) * (1 - p).log()).sum())

    expected = np.zeros(2)
    for part in (slice(0, 40), slice(40, 60)):
        for repeat in range(2):
            order = torch.randperm(len(z[part]), generator=draw)
            expected[repeat] += loss(z[part][order], y[part]) - loss(z[part], y[part])
    assert got[:, 0].tolist() == pytest.approx((expected / N).tolist())
    assert (got[:, 1:] == 0).all(), "what the model does not read costs nothing"


def test_the_mean_over_repeats_ranks_and_its_standard_error_is_noted(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = torch.arange(24, dtype=torch.float64).reshape(3, 8) ** 2
    monkeypatch.setattr(permutation, "losses", lambda model, rows, repeats, generator: lost[:repeats])
    record = run_cell(make_job("permutation", epochs=1))
    assert record.field_scores == pytest.approx(lost.numpy().mean(axis=0))
    assert record.notes["standard_error"] == pytest.approx(lost.numpy().std(axis=0, ddof=1) / np.sqrt(3))
    single = run_cell(make_job("permutation[repeats=1]", epochs=1))
    assert single.notes["standard_error"] is None


def test_pt_holds_the_training_of_the_reference_model(make_job: MakeJob) -> None:
    job = make_job("permutation")
    record = run_cell(job)
    parts = [record.phases[f"select/{name}"] for name in ("reference-model", "permute")]
    assert record.pt_s is not None and min(parts) > 0 and record.pt_s >= sum(parts)
    assert record.notes["permuted_rows"] == len(_holdout(job)[1])
    assert record.kept_fields == sorted(np.argsort(record.field_scores)[-4:])


def test_dropping_a_field_is_measured_by_training_without_it(make_job: MakeJob) -> None:
    job = make_job("drop-one")
    scores = run_selection(job)["scores"]
    train, held = _holdout(job)

    def loss(kept: list[int]) -> float:
        ctx = job.context(Clock(job.device))
        model = ctx.model(kept)
        ctx.fit(model, train, held, name="without" if len(kept) < 8 else "all-fields")
        p = 1 / (1 + torch.exp(-predict(model, held).double()))
        y = held.labels.double()
        return float(-(y * p.log() + (1 - y) * (1 - p).log()).mean())

    whole = loss(list(range(8)))
    for left_out in (0, 5):
        others = [f for f in range(8) if f != left_out]
        assert scores[left_out] == pytest.approx(loss(others) - whole, abs=1e-6)


@pytest.mark.parametrize(("n_fields", "most", "reason"), [(40, 40, None), (2, 40, None), (1, 40, "one field only")])
def test_few_fields_are_dropped_one_by_one(n_fields: int, most: int, reason: str | None) -> None:
    assert reason in (_skip(n_fields, most) or "") if reason else _skip(n_fields, most) is None


def test_many_fields_are_refused_with_the_price() -> None:
    assert _skip(41, 40) == (
        "it trains a model for each of 41 fields, and max_fields=40: give max_fields=41 to wait for 42 trainings, "
        "or take a method that trains one"
    )


def test_criteo_is_within_the_default_and_a_plan_reckons_with_a_training_a_field() -> None:
    choice = choose_method("drop-one")
    assert choice.params.max_fields >= 39
    low, high = choice.entry.search_cost
    assert 0.5 < low < high < 2  # one training
    assert choice.search_cost(39) == pytest.approx((40 * low, 40 * high))
    assert choose_method("stability[method=drop-one,pairs=2]").search_cost(4)[0] == pytest.approx(2 * 5 * low)


def _skip(n_fields: int, most: int) -> str | None:
    ctx: Any = SimpleNamespace(schema=Schema(tuple(Field(f"f{i}", "categorical", 3) for i in range(n_fields))))
    return choose_method(f"drop-one[max_fields={most}]").make().skip(ctx)
