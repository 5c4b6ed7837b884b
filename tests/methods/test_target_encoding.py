from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.preprocessing import TargetEncoder

from bench.api import Field, Rows, Schema
from methods.parts.target_encoding import encode, fold_numbers, out_of_fold, prior_strength, value_logits

FOLDS = 3


def example(n: int = 300, cardinality: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes (some without rows), labels and folds of one field whose values differ."""
    rng = np.random.default_rng(seed)
    codes = np.minimum(rng.geometric(0.08, n), cardinality - 1)
    rate = rng.beta(2, 5, cardinality)
    return codes, rng.random(n) < rate[codes], fold_numbers(np.arange(n), FOLDS, salt=1)


def loop_logit(codes: list[int], labels: list[bool], code: int) -> float:
    """The code of one value from these rows, straight from the formulas."""
    rate = sum(labels) / len(labels)
    counts = {v: codes.count(v) for v in set(codes)}
    clicks = {v: sum(y for c, y in zip(codes, labels, strict=True) if c == v) for v in counts}
    q = sum(n * (clicks[v] / n - rate) ** 2 for v, n in counts.items())
    spread, total = rate * (1 - rate), len(labels)
    scale = total - sum(n * n for n in counts.values()) / total
    strength = spread / max((q - (len(counts) - 1) * spread) / scale, 1e-9)
    p = (clicks.get(code, 0) + strength * rate) / (counts.get(code, 0) + strength)
    return math.log(p / (1 - p))


@pytest.mark.parametrize("seed", range(3))
def test_equals_a_plain_loop(seed: int) -> None:
    codes, positive, fold = example(seed=seed)
    rows, table = out_of_fold(codes, positive, fold, FOLDS, 40)
    for i, code in enumerate(codes):
        others = fold != fold[i]
        expected = loop_logit(codes[others].tolist(), positive[others].tolist(), int(code))
        assert rows[i] == pytest.approx(expected, rel=1e-6)
    expected_table = [loop_logit(codes.tolist(), positive.tolist(), v) for v in range(40)]
    np.testing.assert_allclose(table, expected_table, rtol=1e-6)


def test_no_label_of_a_fold_has_a_part_in_the_codes_of_that_fold() -> None:
    codes, positive, fold = example()
    before, _ = out_of_fold(codes, positive, fold, FOLDS, 40)
    for i in range(len(codes)):
        flipped = positive.copy()
        flipped[i] = not flipped[i]
        after, _ = out_of_fold(codes, flipped, fold, FOLDS, 40)
        assert np.array_equal(before[fold == fold[i]], after[fold == fold[i]])
        assert not np.array_equal(before, after)


def test_a_value_without_rows_gets_the_share_of_clicks() -> None:
    codes, positive, fold = example()
    _, table = out_of_fold(codes, positive, fold, FOLDS, 60)
    rate = positive.mean()
    np.testing.assert_allclose(table[40:], math.log(rate / (1 - rate)), rtol=1e-6)


def test_a_value_seen_in_one_fold_only_is_unknown_there() -> None:
    codes, positive, fold = example()
    alone = np.flatnonzero(fold == 1)[0]
    codes[alone] = 50
    rows, _ = out_of_fold(codes, positive, fold, FOLDS, 51)
    rate = positive[fold != 1].mean()
    assert rows[alone] == pytest.approx(math.log(rate / (1 - rate)), rel=1e-6)


def test_prior_strength_recovers_the_spread_of_the_values() -> None:
    rng = np.random.default_rng(0)
    strength = 20.0
    counts = rng.integers(5, 200, 20_000)
    clicks = rng.binomial(counts, rng.beta(0.25 * strength, 0.75 * strength, 20_000))
    # Var p = G(1-G) / (strength + 1) for a Beta prior, and k = G(1-G) / Var p.
    assert prior_strength(counts, clicks) == pytest.approx(strength + 1, rel=0.05)


def test_noise_is_shrunk_to_nothing() -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(1, 5, 50_000)
    clicks = rng.binomial(counts, 0.25)
    assert value_logits(counts, clicks).std() < 0.05


@pytest.mark.parametrize("labels", ["none", "all", "one fold"])
@pytest.mark.parametrize("constant", [True, False])
def test_degenerate_input_gives_finite_codes(labels: str, constant: bool) -> None:
    codes, _, fold = example(n=60)
    if constant:
        codes[:] = 2
    positive = {"none": fold < 0, "all": fold >= 0, "one fold": fold == 1}[labels]
    rows, table = out_of_fold(codes, positive, fold, FOLDS, 40)
    assert np.isfinite(rows).all() and np.isfinite(table).all()
    if constant:
        assert all(len(np.unique(rows[fold == j])) == 1 for j in range(FOLDS))


def test_folds_follow_the_row_and_are_even() -> None:
    index = np.arange(100_000)
    folds = fold_numbers(index, 5, salt=3)
    counts = np.bincount(folds, minlength=5)
    assert len(counts) == 5
    assert np.abs(counts - 20_000).max() < 5 * math.sqrt(100_000 * 0.2 * 0.8)
    some = index[::-7]
    assert np.array_equal(fold_numbers(some, 5, salt=3), folds[some])
    agree = (fold_numbers(index, 5, salt=4) == folds).mean()
    assert agree == pytest.approx(0.2, abs=0.01)


def test_agrees_with_scikit_learn_in_spirit() -> None:
    codes, positive, _ = example(n=20_000, cardinality=60)
    fold = fold_numbers(np.arange(len(codes)), 5, salt=1)
    rows, table = out_of_fold(codes, positive, fold, 5, 60)
    reference = TargetEncoder(target_type="binary", smooth="auto", cv=5)
    reference_rows = reference.fit_transform(codes[:, None], positive)[:, 0]
    assert np.corrcoef(1 / (1 + np.exp(-rows)), reference_rows)[0, 1] > 0.98
    seen = np.unique(codes)
    reference_table = reference.transform(seen[:, None])[:, 0]
    assert np.corrcoef(1 / (1 + np.exp(-table[seen])), reference_table)[0, 1] > 0.99


def test_the_order_of_the_codes_changes_no_bit(rows_of: Callable[..., Rows]) -> None:
    rng = np.random.default_rng(2)
    sizes = np.array([50, 700])
    columns = np.stack([rng.integers(0, size, 4000) for size in sizes], axis=1)
    labels = rng.random(4000) < 0.3
    orders = [rng.permutation(size) for size in sizes]
    renamed = np.stack([order[column] for order, column in zip(orders, columns.T, strict=True)], axis=1)
    plain, moved = rows_of(columns, sizes, labels), rows_of(renamed, sizes, labels)
    for one, other in zip(encode(plain, plain, 5, 9), encode(moved, moved, 5, 9), strict=True):
        assert np.array_equal(one, other)


def test_the_order_of_the_values_does_not_move_the_prior() -> None:
    rng = np.random.default_rng(3)
    counts = rng.integers(0, 50, 5000)
    clicks = rng.binomial(counts, rng.beta(2, 5, 5000))
    for _ in range(20):
        order = rng.permutation(5000)
        assert prior_strength(counts[order], clicks[order]) == prior_strength(counts, clicks)


def test_encode_goes_field_by_field_and_keeps_numeric_values() -> None:
    codes, positive, _ = example()
    schema = Schema((Field("n", "numeric", 2), Field("a", "categorical", 40), Field("m", "numeric", 2)))
    ids = np.stack([np.zeros_like(codes), codes + 2, np.full_like(codes, 42)], axis=1).astype(np.int32)
    numeric = np.stack([np.arange(300), -np.arange(300)], axis=1).astype(np.float32)
    labels, index = torch.from_numpy(positive.astype(np.float32)), torch.arange(7, 307)
    rows = Rows(schema, torch.from_numpy(ids), torch.from_numpy(numeric), labels, index)
    held = rows.take(torch.arange(10))

    encoded, other = encode(rows, held, FOLDS, salt=5)

    expected, table = out_of_fold(codes, positive, fold_numbers(np.arange(7, 307), FOLDS, 5), FOLDS, 40)
    assert encoded.dtype == np.float32 and encoded.flags.f_contiguous
    assert np.array_equal(encoded[:, [0, 2]], numeric)
    assert np.array_equal(encoded[:, 1], expected)
    assert np.array_equal(other[:, [0, 2]], numeric[:10])
    assert np.array_equal(other[:, 1], table[codes[:10]])
