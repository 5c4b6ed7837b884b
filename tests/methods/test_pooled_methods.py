"""What methods that read rows themselves see of pooled fields, against loops."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from bench.api import Field, Rows, Schema
from bench.data.schema import FIRST_VALUE, MISSING
from bench.registry import MethodEntry
from bench.run.cell import run_cell
from bench.run.grid import choose_method
from bench.run.line import _design
from methods.parts import shallow
from methods.parts.supernet import Supernet
from methods.parts.target_encoding import encode, fold_numbers, value_logits
from methods.parts.value_gates import frequencies

N, FOLDS, SALT = 300, 4, 7
SCHEMA = Schema((Field("a", "categorical", 9), Field("b", "categorical", 7, 3), Field("n", "numeric", 3)))
POOLED = 1


def lists(n: int, seed: int) -> list[list[int]]:
    draw = np.random.default_rng(seed)
    return [draw.integers(FIRST_VALUE, 7, draw.integers(4)).tolist() or [MISSING] for _ in range(n)]


def make_rows(values: list[list[int]], seed: int) -> Rows:
    draw, n = np.random.default_rng(seed), len(values)
    padded = np.array([(row + [MISSING] * 3)[:3] for row in values]) + SCHEMA.offsets[POOLED]
    first = np.stack([draw.integers(9, size=n), padded[:, 0], np.full(n, SCHEMA.offsets[2] + 2)], axis=1)
    numeric = torch.from_numpy(draw.normal(size=(n, 1)).astype(np.float32))
    labels = torch.from_numpy((draw.random(n) < 0.4).astype(np.float32))
    ids, further = (torch.from_numpy(part.astype(np.int32)) for part in (first, padded[:, 1:]))
    return Rows(SCHEMA, ids, numeric, labels, torch.arange(seed * 1000, seed * 1000 + n), pooled=further)


TRAIN, OTHERS = lists(N, 1), lists(80, 2)


def test_the_target_code_of_a_row_is_the_mean_of_its_values_codes() -> None:
    train, others = make_rows(TRAIN, 1), make_rows(OTHERS, 2)
    got, got_others = encode(train, others, FOLDS, SALT)
    fold, clicked = fold_numbers(train.index.numpy(), FOLDS, SALT), train.labels.numpy() > 0.5

    def table(rows: list[int]) -> np.ndarray:
        counts, clicks = np.zeros(7, dtype=int), np.zeros(7, dtype=int)
        for i in rows:
            for value in TRAIN[i]:
                counts[value] += 1
                clicks[value] += clicked[i]
        return value_logits(counts, clicks)

    tables = [table([i for i in range(N) if fold[i] != held]) for held in range(FOLDS)]
    expected = [np.mean([tables[fold[i]][value] for value in TRAIN[i]]) for i in range(N)]
    np.testing.assert_allclose(got[:, POOLED], expected, rtol=1e-5)
    whole = table(list(range(N)))
    np.testing.assert_allclose(got_others[:, POOLED], [np.mean([whole[v] for v in row]) for row in OTHERS], rtol=1e-5)
    assert train.numeric is not None
    np.testing.assert_array_equal(got[:, 2], train.numeric[:, 0].numpy())


def test_a_row_of_one_value_has_that_values_code() -> None:
    single = replace(SCHEMA.fields[POOLED], positions=1)
    plain = Schema((SCHEMA.fields[0], single, SCHEMA.fields[2]))
    rows = make_rows([row[:1] for row in TRAIN], 1)
    expected, _ = encode(replace(rows, schema=plain, pooled=None), replace(rows, schema=plain, pooled=None), FOLDS, 1)
    np.testing.assert_array_equal(encode(rows, rows, FOLDS, 1)[0], expected)


def test_frequencies_are_pooled_and_counted_over_all_values() -> None:
    rows = make_rows(TRAIN, 1)
    counts = np.bincount([value for row in TRAIN for value in row], minlength=7)
    expected = [np.mean([np.log1p(counts[value]) for value in row]) for row in TRAIN]
    np.testing.assert_allclose(shallow.frequency_matrix(rows)[:, POOLED], expected, rtol=1e-6)
    first, last = SCHEMA.offsets[[POOLED, POOLED + 1]]
    np.testing.assert_array_equal(frequencies(rows).numpy()[first:last], counts)


def test_ranges_of_numbers_leave_the_values_where_they_are() -> None:
    rows = make_rows(TRAIN, 1)
    bucketed = rows.bucketed(4)
    assert bucketed.pooled is not None
    assert bucketed.schema.fields[POOLED] == SCHEMA.fields[POOLED]
    assert torch.equal(bucketed.pooled, rows.pooled)  # type: ignore[arg-type]
    front = Schema((SCHEMA.fields[2], SCHEMA.fields[POOLED]))  # the number first: its ranges move what comes after
    ids = torch.stack([torch.full((N,), 2), rows.ids[:, 1] - 9 + 3], 1).int()
    moved = Rows(front, ids, rows.numeric, rows.labels, rows.index, pooled=rows.pooled - 9 + 3).bucketed(4)  # type: ignore[operator]
    assert torch.equal(moved.pooled - (FIRST_VALUE + 4), rows.pooled - 9)  # type: ignore[operator]


def test_one_threshold_and_one_size_for_all_values_of_a_field() -> None:
    gate, dim, n = Supernet(SCHEMA), 6, 50
    columns = SCHEMA.column_fields.tolist()
    thresholds = [1.0, 3.0, 2.0]
    with torch.no_grad():
        gate.thresholds.copy_(torch.tensor(thresholds))
    e = torch.rand(n, len(columns), dim, generator=torch.Generator().manual_seed(0))
    ids = torch.zeros(n, len(columns), dtype=torch.int32)
    passes = gate.eval()(e, ids)[..., 0]
    bounds = torch.tensor([thresholds[f] if f != 2 else -1.0 for f in columns])
    assert torch.equal(passes > 0, e.sum(-1) > bounds)
    with torch.no_grad():
        gate.thresholds.zero_()
    sizes = gate.train()(e, ids).sum(-1)  # [n, columns]
    assert torch.equal(sizes[:, POOLED], sizes[:, 3])
    assert torch.equal(sizes[:, POOLED], sizes[:, 4])
    assert len(sizes.unique()) == dim


def test_the_reference_line_has_every_value_with_its_share() -> None:
    rows = make_rows(TRAIN, 1)
    got = _design(SCHEMA, rows).toarray()[:, SCHEMA.offsets[POOLED] : SCHEMA.offsets[POOLED + 1]]
    expected = np.zeros((N, 7))
    for i, row in enumerate(TRAIN):
        for value in row:
            expected[i, value] += 1 / len(row)
    np.testing.assert_allclose(got, expected, atol=1e-12)
    single = SCHEMA.keep([0, 2])
    plain = _design(single, replace(rows, schema=single, ids=rows.keep([0, 2]).ids, pooled=None)).toarray()
    np.testing.assert_array_equal(_design(SCHEMA, rows).toarray()[:, :9], plain[:, :9])


@pytest.mark.parametrize(
    ("method", "variant", "reads"),
    [
        ("lasso", "sound", True),
        ("lasso", "group", False),
        ("lasso", "published", False),
        ("xgboost", "sound", True),
        ("xgboost", "categorical", False),
        ("pca", "sound", True),
        ("pca", "published", False),
    ],
)
def test_variants_that_read_one_code_a_row_have_no_part_in_them(method: str, variant: str, reads: bool) -> None:
    choice = choose_method(f"{method}[variant={variant}]")
    ctx: Any = SimpleNamespace(schema=SCHEMA, device=torch.device("cpu"))
    reason = choice.make().skip(ctx)
    assert (reason is None) == reads
    assert reads or f"variant={variant} reads one value a row, and b may have several" in str(reason)
    ctx.schema = Schema(SCHEMA.fields[:1])
    assert choice.make().skip(ctx) is None


def test_a_method_that_says_so_is_skipped_with_the_reason(make_job: Any) -> None:
    job = make_job("cardinality")
    entry: MethodEntry = replace(job.method.entry, reads_pooled=False)
    fields = job.data.schema.fields
    schema = Schema((replace(fields[0], positions=2), *fields[1:]))
    data = replace(job.data, find_schema=lambda: schema)
    blind = replace(job, method=replace(job.method, entry=entry), data=data)
    record = run_cell(blind)
    assert record.status == "skipped"
    assert record.reason is not None
    assert f"the method reads one value a row, and {fields[0].name} are pooled" in record.reason
