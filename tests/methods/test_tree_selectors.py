"""Random forest and gradient boosting: scores against scikit-learn's own, and what they must not depend on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.metrics import log_loss

from bench.api import Rows, Selection
from bench.data.schema import FIRST_VALUE
from bench.run.grid import choose_method
from methods.parts import shallow, trees
from methods.parts.target_encoding import fold_numbers

Select = Callable[..., Selection]
SIZES = (4, 30, 5, 60)
FOREST, BOOSTING = "random-forest[trees=15]", "gradient-boosting[rounds=20]"
BOTH = (FOREST, BOOSTING)


@pytest.fixture(scope="module")
def toy(toy_rows: Callable[..., Any]) -> Any:
    """Four fields, of which the first two tell something."""
    return toy_rows(6000, 0.8, seed=0, cardinalities=SIZES)


@pytest.fixture
def select(context: Callable[..., Any]) -> Select:
    def run(spec: str, train: Rows, held: Rows) -> Selection:
        method = choose_method(spec).make()
        ctx = context(train.schema, 2, method.params)
        assert method.skip(ctx) is None
        return method.select(ctx, train, held)

    return run


def with_parameters(spec: str, **given: object) -> str:
    return f"{spec[:-1]},{','.join(f'{name}={value}' for name, value in given.items())}]"


def scores_of(selection: Selection) -> np.ndarray:
    assert selection.scores is not None
    return selection.scores


def renamed(rows: Rows) -> Rows:
    new_id = np.arange(rows.schema.vocabulary_rows, dtype=np.int32)
    for start, stop in zip(rows.schema.offsets[:-1] + 2, rows.schema.offsets[1:], strict=True):
        new_id[start:stop] = np.random.default_rng(3).permutation(new_id[start:stop])
    return replace(rows, ids=torch.from_numpy(new_id)[rows.ids.long()])


@pytest.mark.parametrize("spec", BOTH)
def test_fields_that_tell_something_come_first_whatever_their_values_are_called(
    spec: str, toy: Any, select: Select
) -> None:
    selection = select(spec, toy.train, toy.held)
    scores = scores_of(selection)
    assert set(np.argsort(-scores)[:2].tolist()) == toy.relevant
    assert selection.rows_seen == selection.notes["rows"] == 6000
    assert selection.notes["selection_rows"] == 1200
    other = scores_of(select(spec, renamed(toy.train), renamed(toy.held)))
    np.testing.assert_array_equal(other, scores)


@pytest.mark.parametrize("spec", BOTH)
def test_rows_are_bounded_on_both_sides(spec: str, toy: Any, select: Select) -> None:
    selection = select(with_parameters(spec, max_rows=1000, max_selection_rows=300), toy.train, toy.held)
    assert (selection.rows_seen, selection.notes["selection_rows"]) == (1000, 300)


@pytest.fixture
def coded(toy: Any, context: Callable[..., Any]) -> trees.Coded:
    return trees.code(context(toy.train.schema, 2, None), toy.train, toy.held, 6000, 1200, 5)


def seed_of(ctx: Any) -> int:
    return int(torch.randint(2**31 - 1, (1,), generator=ctx.rng("trees")))


def shuffled(coded: trees.Coded, field: int, ctx: Any) -> list[np.ndarray]:
    """The selection rows with the field in each of three orders."""
    generator, found = ctx.rng("permutation"), []
    for _ in range(3):
        rows = coded.held.copy()
        rows[:, field] = rows[torch.randperm(len(rows), generator=generator).numpy(), field]
        found.append(rows)
    return found


def test_the_forest_is_scikit_learns_and_loses_what_is_shuffled(
    toy: Any, coded: trees.Coded, context: Callable[..., Any], select: Select
) -> None:
    """Grown ten trees at a time, it is the forest of one call."""
    ctx = context(toy.train.schema, 2, None)
    forest = RandomForestClassifier(15, max_depth=12, min_samples_leaf=50, random_state=seed_of(ctx))
    forest.fit(coded.matrix, coded.labels)
    impurity = scores_of(select("random-forest[trees=15,importance=impurity]", toy.train, toy.held))
    np.testing.assert_allclose(impurity, forest.feature_importances_, rtol=1e-12)
    scores = scores_of(select(FOREST, toy.train, toy.held))
    base = log_loss(coded.held_labels, forest.predict_proba(coded.held))
    for f in range(4):
        lost = [log_loss(coded.held_labels, forest.predict_proba(rows)) - base for rows in shuffled(coded, f, ctx)]
        assert scores[f] == pytest.approx(np.mean(lost), abs=1e-9)


def test_boosting_loses_what_is_shuffled(
    toy: Any, coded: trees.Coded, context: Callable[..., Any], select: Select
) -> None:
    ctx = context(toy.train.schema, 2, None)
    model = HistGradientBoostingClassifier(
        max_iter=20, min_samples_leaf=50, early_stopping=True, random_state=seed_of(ctx)
    ).fit(coded.matrix, coded.labels)
    selection = select(BOOSTING, toy.train, toy.held)
    assert selection.notes["rounds"] == model.n_iter_
    base = log_loss(coded.held_labels, model.predict_proba(coded.held))
    for f in range(4):
        lost = [log_loss(coded.held_labels, model.predict_proba(rows)) - base for rows in shuffled(coded, f, ctx)]
        assert scores_of(selection)[f] == pytest.approx(np.mean(lost), abs=1e-9)


def test_impurity_favours_many_values_that_say_nothing_and_shuffling_does_not(
    rows_of: Callable[..., Rows], select: Select
) -> None:
    """Field 0 tells a little by two values, field 1 nothing by two hundred."""
    rng = np.random.default_rng(0)
    n = 3000
    codes = np.stack([rng.integers(0, 2, n), rng.integers(0, 200, n)], axis=1) + 2
    labels = rng.random(n) < 0.2 + 0.2 * (codes[:, 0] - 2)
    sizes = np.array([4, 202])
    rows = rows_of(codes[:2400], sizes, labels[:2400]), rows_of(codes[2400:], sizes, labels[2400:], first=2400)
    grown = "random-forest[trees=15,leaf_rows=5,depth=20]"
    impurity = scores_of(select(with_parameters(grown, importance="impurity"), *rows))
    assert impurity[1] > 2 * impurity[0]
    lost = scores_of(select(grown, *rows))
    assert lost[0] > 0.01 > lost[1]


@pytest.mark.parametrize("spec", BOTH)
def test_a_field_without_a_split_scores_zero_and_none_at_all_is_said(
    spec: str, rows_of: Callable[..., Rows], select: Select
) -> None:
    rng = np.random.default_rng(0)
    codes = np.stack([rng.integers(2, 6, 400), np.full(400, 2)], axis=1)
    labels = rng.random(400) < 0.2 + 0.1 * (codes[:, 0] - 2)
    rows = rows_of(codes, np.array([6, 5]), labels)
    selection = select(spec, rows, rows)
    assert scores_of(selection)[1] == 0 < scores_of(selection)[0]
    assert selection.hint is None
    bare = select(with_parameters(spec, leaf_rows=300), rows, rows)
    assert scores_of(bare).tolist() == [0, 0]
    assert bare.hint == (
        f"no tree found a split with leaf_rows=300 on 400 rows, {labels.sum()} positive; lower it or give more rows"
    )


@pytest.mark.parametrize("spec", [*BOTH, "random-forest[importance=impurity]"])
def test_one_positive_row_is_too_few(spec: str, rows_of: Callable[..., Rows], select: Select) -> None:
    rows = rows_of(np.arange(200)[:, None] % 4, np.array([6]), np.arange(200) == 7)
    selection = select(spec, rows, rows)
    assert scores_of(selection).tolist() == [0]
    assert selection.hint == "1 of 200 rows are positive, and two of each class are needed; give more rows"


def test_a_constant_field_does_not_tell_folds_apart(rows_of: Callable[..., Rows], context: Callable[..., Any]) -> None:
    """Its codes would be the click rates of the other folds, which run against the labels of a fold's own rows."""
    rng = np.random.default_rng(2)
    codes = np.stack([np.zeros(600, dtype=int), rng.integers(0, 3, 600)], axis=1) + FIRST_VALUE
    rows = rows_of(codes, np.array([3, 5]), rng.random(600) < 0.3)
    method = choose_method("random-forest[importance=impurity,trees=20,leaf_rows=5]").make()
    ctx = context(rows.schema, 1, method.params)
    matrix = trees.code(ctx, rows, rows, 600, 600, 5).matrix
    assert len(np.unique(matrix[:, 0])) == 1
    fold = fold_numbers(rows.index.numpy(), 5, shallow.draw_number(ctx.rng("folds")))
    means = [matrix[fold == one, 1].mean(dtype=np.float64) for one in range(5)]
    assert means == pytest.approx([means[0]] * 5, abs=1e-6)
    assert scores_of(method.select(ctx, rows, rows))[0] == 0.0
