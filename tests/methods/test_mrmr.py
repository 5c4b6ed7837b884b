"""mRMR: choices by hand, tables of two fields against scikit-learn, and the copy that it drops and filters keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score

from bench.api import Field, Rows, Schema, Selection
from bench.data.schema import FIRST_VALUE
from bench.run.grid import choose_method
from methods.mrmr import MRMR, choose
from methods.parts.contingency import Frequent, frequent_values, pair_information

N = 4000
SIZES = np.array([8, 8, 6, 6, 30, 3])
ORIGINAL, COPY, SECOND, WEAK, NOISE, CONSTANT = range(6)


@pytest.fixture(scope="module")
def rows(rows_of: Callable[..., Rows]) -> Rows:
    rng = np.random.default_rng(1)
    codes = np.stack([rng.integers(0, size - 2, N) for size in SIZES], axis=1)
    codes[:, COPY] = 5 - codes[:, ORIGINAL]
    codes[:, CONSTANT] = 0
    effect = 0.12 * codes[:, ORIGINAL] + 0.08 * (codes[:, SECOND] == 1) + 0.05 * (codes[:, WEAK] == 2)
    return rows_of(codes + FIRST_VALUE, SIZES, rng.random(N) < 0.1 + effect)


def renamed(rows: Rows) -> Rows:
    new_id = np.arange(rows.schema.vocabulary_rows, dtype=np.int32)
    for start, stop in zip(rows.schema.offsets[:-1] + 2, rows.schema.offsets[1:], strict=True):
        new_id[start:stop] = np.random.default_rng(7).permutation(new_id[start:stop])
    return replace(rows, ids=torch.from_numpy(new_id)[rows.ids.long()])


@pytest.fixture
def select(context: Callable[..., Any]) -> Callable[..., Selection]:
    def run(spec: str, rows: Rows) -> Selection:
        method = choose_method(spec).make()
        return method.select(context(rows.schema, 3, method.params), rows, rows)

    return run


def order_of(selection: Selection) -> list[int]:
    assert selection.scores is not None
    order: list[int] = np.argsort(-selection.scores, kind="stable").tolist()
    return order


def frequent(rows: Rows, limit: int, buckets: int = 4) -> list[Frequent]:
    return list(frequent_values(rows, buckets, limit, lambda doing: None))


@pytest.mark.parametrize("spec", ["mrmr", "mrmr[criterion=quotient]"])
def test_the_copy_is_dropped_and_filters_keep_it(spec: str, rows: Rows, select: Callable[..., Selection]) -> None:
    for single in ("mutual-information", "cramers-v"):
        assert set(order_of(select(single, rows))[:2]) == {ORIGINAL, COPY}
    order = order_of(select(spec, rows))
    assert order[:2] == [ORIGINAL, SECOND]
    assert order.index(COPY) >= 3
    assert order[-1] == CONSTANT


@pytest.mark.parametrize("spec", ["mrmr", "mrmr[criterion=quotient]", "mrmr[steps=2]"])
def test_names_of_values_do_not_matter(spec: str, rows: Rows, select: Callable[..., Selection]) -> None:
    assert order_of(select(spec, rows)) == order_of(select(spec, renamed(rows)))
    for one, other in zip(frequent(rows, 4), frequent(renamed(rows), 4), strict=True):
        np.testing.assert_array_equal(one.codes, other.codes)


@pytest.mark.parametrize("clicks", [195, 199, 205, 207])  # where rounding finds something in a constant
def test_constants_come_after_a_field_that_repeats_more_than_it_tells(
    clicks: int, rows_of: Callable[..., Rows], select: Callable[..., Selection]
) -> None:
    row = np.arange(400)
    labels = row < clicks
    strong = np.where(row % 7 < 6, labels, row % 2) + 2 * (row % 5)
    repeats = np.where(row % 3 < 2, strong, row % 11)  # of two nats in common, tenths of the label
    codes = np.stack([0 * row, strong, repeats], axis=1)
    assert order_of(select("mrmr", rows_of(codes + FIRST_VALUE, np.full(3, 13), labels))) == [1, 2, 0]


RELEVANCE = np.array([0.5, 0.4, 0.3, 0.0, 0.2])
SHARED = np.array(
    [
        [9.0, 0.30, 0.05, 0.0, 0.01],
        [0.30, 9.0, 0.10, 0.0, 0.01],
        [0.05, 0.10, 9.0, 0.0, 0.06],
        [0.0, 0.0, 0.0, 9.0, 0.0],
        [0.01, 0.01, 0.06, 0.0, 9.0],
    ]
)


@pytest.mark.parametrize(
    ("quotient", "steps", "expected"),
    [
        # 0; then .4-.3, .3-.05, .2-.01: 2; then .4-(.3+.1)/2, .2-(.01+.06)/2: 1; 4; 3 says nothing
        (False, 5, [0, 2, 1, 4, 3]),
        (False, 1, [0, 2, 4, 1, 3]),  # .25, .19, .10 as the criterion stands after 0
        # 0; then .4/.3, .3/.05, .2/.01: 4; then .4/.155, .3/.055: 2
        (True, 5, [0, 4, 2, 1, 3]),
    ],
)
def test_choices_by_hand(quotient: bool, steps: int, expected: list[int]) -> None:
    order = choose(RELEVANCE, lambda chosen, others: SHARED[chosen, others], steps, quotient)
    assert order.tolist() == expected


def test_equal_worth_falls_to_the_field_that_comes_first() -> None:
    order = choose(np.array([0.1, 0.2, 0.2]), lambda chosen, others: np.zeros(len(others)), 3, False)
    assert order.tolist() == [1, 2, 0]


def test_two_fields_say_each_other_what_scikit_learn_says_less_chance(rows: Rows) -> None:
    fields, codes = frequent(rows, 64), (rows.ids - torch.from_numpy(rows.schema.offsets[:-1])).numpy()
    for one, other in ((ORIGINAL, COPY), (ORIGINAL, SECOND), (NOISE, WEAK), (NOISE, CONSTANT)):
        values = [len(np.unique(codes[:, f])) for f in (one, other)]
        chance = (values[0] - 1) * (values[1] - 1) / (2 * N)
        expected = mutual_info_score(codes[:, one], codes[:, other]) - chance
        assert pair_information(fields[one], fields[other]) == pytest.approx(expected, abs=1e-12)


def test_the_most_frequent_values_stay_and_of_equals_the_first_in_the_rows(rows_of: Callable[..., Rows]) -> None:
    codes = np.array([9, 5, 5, 3, 3, 7, 7, 2, 2, 2])[:, None]
    (found,) = frequent(rows_of(codes, np.array([10]), np.zeros(10)), 3)
    assert found.codes.tolist() == [2, 1, 1, 2, 2, 2, 2, 0, 0, 0]
    assert found.counts.tolist() == [3, 2, 5]
    (all_kept,) = frequent(rows_of(codes, np.array([10]), np.zeros(10)), 5)
    assert all_kept.codes.tolist() == [4, 1, 1, 2, 2, 3, 3, 0, 0, 0]


def test_a_set_of_values_is_one_value_whatever_their_order() -> None:
    schema = Schema((Field("b", "categorical", 6, 3),))
    values = torch.tensor([[2, 3, 1], [3, 2, 1], [2, 1, 1], [2, 3, 4], [2, 1, 1]], dtype=torch.int32)
    rows = Rows(schema, values[:, :1], None, torch.zeros(5), torch.arange(5), pooled=values[:, 1:])
    assert frequent(rows, 4)[0].codes.tolist() == [0, 0, 1, 2, 1]


def test_cells_are_as_many_as_rows_can_fill(rows: Rows, select: Callable[..., Selection]) -> None:
    notes = select("mrmr", rows).notes
    assert (notes["values"], notes["steps"]) == (28, 6)  # √(4000 / 5) = 28.3
    bounded = select("mrmr[max_rows=500]", rows)
    assert (bounded.notes["values"], bounded.notes["pair_rows"], bounded.rows_seen) == (10, 500, N)


@pytest.mark.parametrize(("comparisons", "steps"), [(1, 1), (5 * N, 1), (9 * N - 1, 1), (9 * N, 2), (15 * N, 6)])
def test_choices_end_where_their_tables_cost_too_much(
    comparisons: int, steps: int, rows: Rows, select: Callable[..., Selection]
) -> None:
    """Six fields: five tables after the first choice, four after the second, fifteen in all."""
    selection = select(f"mrmr[comparisons={comparisons}]", rows)
    assert selection.notes["steps"] == steps
    assert sorted(order_of(selection)) == list(range(6))


def test_a_wide_table_gets_as_many_choices_as_the_docstring_says() -> None:
    method = choose_method("mrmr").make()
    assert isinstance(method, MRMR)
    assert method._affordable(200, 1_000_000) == 200
    assert method._affordable(632, 100_000) == 632
    assert method._affordable(5000, 100_000) == 40
