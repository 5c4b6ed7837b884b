"""CatBoost's elimination: the order that fields leave in, and what is said where the package is missing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from bench.api import Rows, Selection
from bench.run.cell import run_cell
from bench.run.grid import choose_method
from bench.run.job import Job

installed = pytest.mark.skipif(find_spec("catboost") is None, reason="catboost is not installed: it is an extra")


@pytest.fixture
def select(context: Callable[..., Any]) -> Callable[..., Selection]:
    def run(spec: str, toy: Any) -> Selection:
        method = choose_method(spec).make()
        ctx = context(toy.train.schema, 3, method.params)
        assert method.skip(ctx) is None
        return method.select(ctx, toy.train, toy.held)

    return run


def test_without_the_package_the_cell_is_skipped_with_what_to_install(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "catboost", None)
    record = run_cell(make_job("catboost"))
    said = "catboost is not installed: pip install 'ctr-field-bench[catboost]'"
    assert (record.status, record.reason) == ("skipped", said)


@installed
def test_fields_that_tell_leave_last_and_scores_are_places(
    toy_rows: Callable[..., Any], select: Callable[..., Selection]
) -> None:
    toy = toy_rows(3000, 0.9, seed=1, cardinalities=(3, 10, 30, 4, 20, 60))
    found = select("catboost[trees=20,steps=2]", toy)
    assert found.scores is not None and sorted(found.scores) == list(range(6))
    assert set(np.argsort(found.scores)[-3:]) == toy.relevant


@installed
def test_numbers_are_read_as_numbers(toy_rows: Callable[..., Any], select: Callable[..., Selection]) -> None:
    toy = toy_rows(2000, 0.0, seed=2, cardinalities=(3, 4))
    fields = (replace(toy.train.schema.fields[0], kind="numeric"), toy.train.schema.fields[1])
    schema = replace(toy.train.schema, fields=fields)

    def with_numbers(rows: Any) -> Any:
        ids = torch.where(torch.tensor([True, False]), torch.tensor(2, dtype=torch.int32), rows.ids)
        return replace(rows, schema=schema, ids=ids, numeric=rows.labels[:, None] + 0.1 * torch.rand(len(rows), 1))

    numeric = type(toy)(with_numbers(toy.train), with_numbers(toy.held), frozenset({0}))
    scores = select("catboost[trees=5,steps=1]", numeric).scores
    assert scores is not None and scores.tolist() == [1, 0]


@installed
@pytest.mark.parametrize(
    ("values", "clicks", "reason"),
    [(1, 30, "no field has two values on 100 rows; give more"), (4, 0, "the labels of all 100 rows are 0; give more")],
)
def test_rows_that_catboost_refuses_give_no_ranking_and_the_reason(
    values: int, clicks: int, reason: str, rows_of: Callable[..., Rows], select: Callable[..., Selection]
) -> None:
    codes = np.stack([np.arange(100) % values, np.arange(100) % values], axis=1)
    rows = rows_of(codes + 2, np.array([8, 8]), np.arange(100) < clicks)
    selection = select("catboost", SimpleNamespace(train=rows, held=rows))
    assert selection.scores is not None
    assert (selection.scores.tolist(), selection.hint) == ([0, 0], reason)
