"""Tables of a field and the label, and the filters that read them, against loops, SciPy and scikit-learn."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binom
from sklearn.metrics import mutual_info_score

from bench.api import Field, Rows, Schema, Selection
from bench.data.schema import FIRST_VALUE, MISSING
from bench.run.grid import choose_method
from bench.stats.association import cramers_v
from methods.parts import contingency
from methods.parts.contingency import Table, label_tables

FILTERS = ("mutual-information", "cramers-v")
N = 3000


@pytest.fixture
def select(context: Callable[..., Any]) -> Callable[..., Selection]:
    def run(spec: str, rows: Rows) -> Selection:
        method = choose_method(spec).make()
        return method.select(context(rows.schema, 2, method.params), rows, rows)

    return run


def scores_of(selection: Selection) -> np.ndarray:
    assert selection.scores is not None
    return selection.scores


def tables(rows: Rows, buckets: int = 16, min_count: int = 1) -> list[Table]:
    return list(label_tables(rows, buckets, min_count, lambda doing: None))


@pytest.fixture(scope="module")
def columns() -> tuple[np.ndarray, np.ndarray]:
    """Codes [N, 4] of 6, 3, 40 and 9 values, and labels of which the first two say something."""
    rng = np.random.default_rng(0)
    codes = np.stack([rng.integers(0, size, N) for size in (6, 3, 40, 9)], axis=1) + FIRST_VALUE
    return codes, rng.random(N) < 0.1 + 0.05 * (codes[:, 0] - 2) + 0.1 * (codes[:, 1] == 3)


SIZES = np.array([8, 5, 42, 11])


def test_information_is_scikit_learns_less_what_chance_gives(
    columns: tuple[np.ndarray, np.ndarray], rows_of: Callable[..., Rows], select: Callable[..., Selection]
) -> None:
    codes, labels = columns
    got = scores_of(select("mutual-information[min_count=1]", rows_of(codes, SIZES, labels)))
    for f, values in enumerate((6, 3, 40, 9)):
        expected = mutual_info_score(codes[:, f], labels) - (values - 1) / (2 * N)
        assert got[f] == pytest.approx(expected, abs=1e-12)
    assert abs(got[2]) < tables(rows_of(codes, SIZES, labels))[2].information / 3  # 40 values that say nothing


def test_cells_that_are_empty_by_chance_count_in_the_correction() -> None:
    """What a value of 20 rows adds to 2 N times the information on average, by the binomial of its clicks."""
    n, rate = 20, 0.01
    clicks = np.arange(n + 1)
    cells, expected = np.stack([clicks, n - clicks]), n * np.array([[rate], [1 - rate]])
    terms = 2 * np.where(cells > 0, cells * np.log(np.maximum(cells, 1) / expected), 0.0).sum(axis=0)
    added = float((binom.pmf(clicks, n, rate) * terms).sum())
    by_rows = 1 - binom.pmf(0, n, rate)  # a value with clicks has one more cell than without, and one is its own
    assert added == pytest.approx(0.70, abs=0.005)
    assert by_rows == pytest.approx(0.18, abs=0.005)
    assert abs(added - 1) < abs(added - by_rows)


def test_v_is_that_of_two_columns_of_codes(
    columns: tuple[np.ndarray, np.ndarray], rows_of: Callable[..., Rows], select: Callable[..., Selection]
) -> None:
    codes, labels = columns
    got = scores_of(select("cramers-v[min_count=1]", rows_of(codes, SIZES, labels)))
    expected = [cramers_v(codes[:, f], labels.astype(int)) for f in range(4)]
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)
    assert min(got[:2]) > 0 and min(got) == 0


def test_values_of_few_rows_share_a_cell(rows_of: Callable[..., Rows]) -> None:
    codes = np.array([2, 2, 2, 3, 3, 4, 0])[:, None]
    rows = rows_of(codes, np.array([6]), np.array([1, 0, 0, 1, 1, 1, 0]))
    (apart,), (merged,) = tables(rows), tables(rows, min_count=3)
    assert (apart.counts.tolist(), apart.clicks.tolist(), apart.freedom) == ([1, 3, 2, 1], [0, 1, 2, 1], 3)
    assert (merged.counts.tolist(), merged.clicks.tolist(), merged.freedom) == ([4, 3], [3, 1], 1)
    assert merged.rows == 7
    assert merged.rate == pytest.approx(4 / 7)


SCHEMA = Schema((Field("a", "categorical", 4), Field("b", "categorical", 6, 3), Field("n", "numeric", 3)))


def pooled_rows(values: list[list[int]], labels: list[int]) -> Rows:
    n = len(values)
    padded = np.array([(row + [MISSING] * 3)[:3] for row in values]) + SCHEMA.offsets[1]
    ids = np.stack([np.full(n, 2), padded[:, 0], np.full(n, SCHEMA.offsets[2] + 2)], axis=1)
    first, further = (torch.from_numpy(part.astype(np.int32)) for part in (ids, padded[:, 1:]))
    numbers = torch.arange(n, dtype=torch.float32)[:, None]
    return Rows(SCHEMA, first, numbers, torch.tensor(labels, dtype=torch.float32), torch.arange(n), pooled=further)


VALUES = [[2, 3], [2], [3, 4, 5], [3, 3], [4], [2, 5]]


def test_a_value_of_a_pooled_field_has_a_share_of_its_rows() -> None:
    table = tables(pooled_rows(VALUES, [1, 0, 0, 1, 0, 0]))[1]
    shares = np.zeros((6, 4))
    for i, values in enumerate(VALUES):
        for value in values:
            shares[i, value - 2] += 1 / len(values)
    counts = shares.sum(axis=0)
    np.testing.assert_allclose(table.counts, counts)
    np.testing.assert_allclose(table.clicks, shares[[0, 3]].sum(axis=0))
    assert table.freedom == pytest.approx(((shares**2).sum(axis=0) / counts).sum() - 1)


def test_freedom_is_the_mean_of_chi_square_over_all_orders_of_the_labels() -> None:
    """Exactly d N / (N - 1), of pooled and of plain fields; one value a row says nothing of any label."""
    found = []
    for clicked in itertools.combinations(range(6), 2):
        found.append(tables(pooled_rows(VALUES, [int(i in clicked) for i in range(6)]), buckets=3))
    for f in (1, 2):
        mean = np.mean([one[f].phi2 for one in found])
        assert mean == pytest.approx(found[0][f].freedom / 5)
    assert [one.freedom for one in found[0]] == [0, pytest.approx(found[0][1].freedom), 2]
    assert {one[0].phi2 for one in found} == {0.0}


def test_rows_that_all_have_the_same_values_have_no_freedom() -> None:
    table = tables(pooled_rows([[2, 3, 4]] * 6, [1, 0, 0, 1, 0, 0]))[1]
    assert table.freedom == 0
    assert table.phi2 == pytest.approx(0, abs=1e-12)


def test_one_value_tells_exactly_nothing_at_any_rate() -> None:
    """Rounding would leave 1e-16 of either sign, and what is above 0 is more than chance."""
    found = [Table(np.array([997.0]), np.array([float(clicks)]), 0.0, 997, clicks / 997) for clicks in range(1, 997)]
    assert {(table.information, table.corrected_information) for table in found} == {(0.0, 0.0)}


@pytest.mark.parametrize("spec", FILTERS)
def test_order_of_codes_and_size_of_blocks_change_no_bit(
    spec: str,
    columns: tuple[np.ndarray, np.ndarray],
    rows_of: Callable[..., Rows],
    select: Callable[..., Selection],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codes, labels = columns
    expected = scores_of(select(spec, rows_of(codes, SIZES, labels)))
    renamed = codes.copy()
    for f, size in enumerate(SIZES):
        renamed[:, f] = FIRST_VALUE + np.random.default_rng(f).permutation(size - 2)[codes[:, f] - FIRST_VALUE]
    np.testing.assert_array_equal(scores_of(select(spec, rows_of(renamed, SIZES, labels))), expected)
    monkeypatch.setattr(contingency, "_CELLS", 1)  # a field at a time
    np.testing.assert_array_equal(scores_of(select(spec, rows_of(codes, SIZES, labels))), expected)


@pytest.mark.parametrize("spec", FILTERS)
def test_a_copy_ranks_beside_its_original(
    spec: str, columns: tuple[np.ndarray, np.ndarray], rows_of: Callable[..., Rows], select: Callable[..., Selection]
) -> None:
    codes, labels = columns
    copy = SIZES[0] - 1 - (codes[:, 0] - FIRST_VALUE)  # the codes the other way round
    scores = scores_of(select(spec, rows_of(np.column_stack([codes, copy]), np.append(SIZES, SIZES[0]), labels)))
    assert scores[0] == scores[4] == scores.max()


@pytest.mark.parametrize("spec", FILTERS)
def test_rows_are_bounded_on_request(
    spec: str, columns: tuple[np.ndarray, np.ndarray], rows_of: Callable[..., Rows], select: Callable[..., Selection]
) -> None:
    rows = rows_of(columns[0], SIZES, columns[1])
    assert select(spec, rows).rows_seen == N
    assert select(f"{spec}[max_rows=500]", rows).rows_seen == 500


def test_a_number_counts_by_its_range(rows_of: Callable[..., Rows], select: Callable[..., Selection]) -> None:
    schema = Schema((Field("n", "numeric", 3), Field("m", "numeric", 3)))
    ids = torch.tensor([[2, 5]] * 400, dtype=torch.int32)
    numbers = torch.stack([torch.arange(400.0) - 200, torch.arange(400.0) % 20], dim=1)
    rows = Rows(schema, ids, numbers, (numbers[:, 0].abs() > 100).float(), torch.arange(400))
    information = scores_of(select("mutual-information[buckets=4]", rows))
    # ranges 100 rows wide, of which the outer two hold the clicks: they say the label, but for one row at -100
    assert information[0] == pytest.approx(np.log(2), abs=0.03)
    assert information[1] < 0.01
    other = replace(rows, numeric=torch.exp(numbers / 50))  # ranges follow the order alone
    np.testing.assert_array_equal(scores_of(select("mutual-information[buckets=4]", other)), information)


@pytest.mark.parametrize("spec", [*FILTERS, "mrmr"])
def test_rows_of_one_label_give_no_ranking_and_the_reason(
    spec: str, columns: tuple[np.ndarray, np.ndarray], rows_of: Callable[..., Rows], select: Callable[..., Selection]
) -> None:
    selection = select(spec, rows_of(columns[0], SIZES, np.ones(N)))
    assert scores_of(selection).tolist() == [0.0] * 4
    assert selection.hint == "the labels of all 3,000 rows are 1; give more"
