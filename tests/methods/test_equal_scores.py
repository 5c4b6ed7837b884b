"""Where a shallow method's scores can all be equal: it avoids that where it can, and says why where it cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from bench.api import ConfigError, Rows, Selection
from bench.run.cell import run_cell
from bench.run.grid import choose_method
from bench.run.job import Job

Select = Callable[..., Selection]

VALUES = np.array([-1.6, -1.2, -0.8, 0.0, 0.4, 0.9, 1.4, 1.9])
N_FIELDS, N_TRAIN, N_HELD = 10, 7200, 800
"""What is left for selecting of 10,000 rows: 8,000 for training, a tenth of which is held out."""


class Rare(NamedTuple):
    """Rows of which one in a hundred is positive, and two fields of ten say which."""

    train: Rows
    held: Rows
    true: frozenset[int]


@pytest.fixture(scope="module")
def rare(rows_of: Callable[..., Rows]) -> Callable[..., Rare]:
    """The two true fields come last, so that they are the ones a ranking of equal scores drops; or first."""

    def make(reverse: bool = False, share: float = 0.01, seed: int = 3) -> Rare:
        rng = np.random.default_rng(seed)
        n = N_TRAIN + N_HELD
        codes = rng.integers(0, len(VALUES), (n, N_FIELDS))
        effect = VALUES[codes[:, 8]] + VALUES[::-1][codes[:, 9]]
        # exactly that share of positives, drawn without replacement by odds: the largest of odds times a lot
        order = np.argsort(-(effect + rng.gumbel(size=n)), kind="stable")
        labels = np.zeros(n, dtype=bool)
        labels[order[: round(share * n)]] = True
        codes, sizes = codes + 2, np.full(N_FIELDS, len(VALUES) + 2)
        true = frozenset({8, 9})
        if reverse:
            codes, true = codes[:, ::-1], frozenset({0, 1})
        train = rows_of(codes[:N_TRAIN], sizes, labels[:N_TRAIN])
        return Rare(train, rows_of(codes[N_TRAIN:], sizes, labels[N_TRAIN:], first=N_TRAIN), true)

    return make


@pytest.fixture
def select(context: Callable[..., Any]) -> Select:
    def run(spec: str, train: Rows, held: Rows) -> Selection:
        method = choose_method(spec).make()
        return method.select(context(train.schema, 2, method.params), train, held)

    return run


def scores_of(selection: Selection) -> np.ndarray:
    assert selection.scores is not None
    return selection.scores


def best_two(selection: Selection) -> set[int]:
    return set(np.argsort(-scores_of(selection), kind="stable")[:2].tolist())


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("variant", ["sound", "categorical"])
def test_xgboost_finds_both_true_fields_among_rare_positives_in_any_order(
    variant: str, reverse: bool, rare: Callable[..., Rare], select: Select
) -> None:
    rows = rare(reverse)
    assert 60 <= rows.train.labels.sum() <= 80
    fixed = scores_of(select(f"xgboost[variant={variant},min_child_weight=50]", rows.train, rows.held))
    assert (fixed == 0).all()  # a split would leave 50 of the 71 = n p(1 - p) on either side
    found = select(f"xgboost[variant={variant}]", rows.train, rows.held)
    assert best_two(found) == rows.true
    assert found.hint is None


@pytest.mark.parametrize(("share", "capped"), [(0.001, False), (0.01, False), (0.1, False), (0.3, True)])
def test_the_least_weight_of_a_leaf_follows_the_positives_up_to_fifty(
    share: float, capped: bool, rare: Callable[..., Rare], select: Select
) -> None:
    rows = rare(share=share)
    p = rows.train.labels.double().mean().item()
    total = sum(np.full(N_TRAIN, p * (1 - p)))
    used = select("xgboost[rounds=1]", rows.train, rows.held).notes["min_child_weight"]
    assert used == pytest.approx(50 if capped else total / 20)
    assert bool(total / 20 > 50) is capped
    assert select("xgboost[rounds=1,min_child_weight=7]", rows.train, rows.held).notes["min_child_weight"] == 7


def test_published_trees_keep_the_public_weight(rare: Callable[..., Rare], select: Select) -> None:
    rows = rare()
    assert "min_child_weight" not in select("xgboost[variant=published]", rows.train, rows.held).notes
    with pytest.raises(ConfigError, match="min_child_weight=50 has no part in variant=published"):
        choose_method("xgboost[variant=published,min_child_weight=50]")


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        (
            "xgboost[min_child_weight=50]",
            "no tree found a split with min_child_weight=50 on 7,200 rows, {p} positive; lower it or give more rows",
        ),
        (
            "xgboost[variant=categorical,min_child_weight=50]",
            "no tree found a split with min_child_weight=50 on 7,200 rows, {p} positive; lower it or give more rows",
        ),
        ("lasso[variant=published,alpha=0.5]", "every coefficient is 0 at alpha=0.5; lower it"),
        ("cardinality", "their vocabularies are of one size"),
    ],
)
def test_a_method_whose_scores_are_all_equal_says_why(
    spec: str, hint: str, rare: Callable[..., Rare], select: Select
) -> None:
    rows = rare()
    selection = select(spec, rows.train, rows.held)
    assert np.ptp(scores_of(selection)) == 0
    assert selection.hint == hint.format(p=int(rows.train.labels.sum()))


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("xgboost[variant=published]", "no tree found a split on 300 rows, 90 positive; give more rows"),
        ("xgboost[variant=categorical]", "no tree found a split with min_child_weight="),
        ("lasso", "none enters on 300 rows; give more"),
        ("lasso[variant=group]", "none enters on 300 rows; give more"),
        ("lasso[variant=published]", "every coefficient is 0 at alpha=0.001; lower it"),
        ("pca", "no column varies on 300 rows; give more"),
        ("pca[supervised=false]", "no column varies on 300 rows; give more"),
        ("mutual-information", "none has two values of 20 rows each on 300 rows; give more, or lower min_count"),
        ("mrmr", "none has two values of 20 rows each on 300 rows; give more, or lower min_count"),
        ("cramers-v", "none has two values of 20 rows each on 300 rows; give more, or lower min_count"),
    ],
)
def test_columns_that_do_not_vary_give_equal_scores_and_the_reason(
    spec: str, hint: str, rows_of: Callable[..., Rows], select: Select
) -> None:
    labels = np.arange(300) % 10 < 3
    rows = rows_of(np.full((300, 4), 2), np.full(4, 5), labels)
    selection = select(spec, rows, rows)
    assert np.ptp(scores_of(selection)) == 0
    assert str(selection.hint).startswith(hint)


def test_values_that_say_less_than_chance_give_equal_scores_and_the_reason(
    rows_of: Callable[..., Rows], select: Select
) -> None:
    """Each value has its share of clicks as exactly as may be: less than lots would scatter."""
    labels = np.arange(400) % 4 == 0
    rows = rows_of(np.stack([np.arange(400) // 100, np.arange(400) // 200], axis=1), np.array([6, 6]), labels)
    selection = select("cramers-v", rows, rows)
    assert scores_of(selection).tolist() == [0, 0]
    assert selection.hint == "none tells more than chance on 400 rows; give more"


def test_the_cell_of_a_method_without_a_ranking_ends_with_its_reason(make_job: Callable[..., Job]) -> None:
    record = run_cell(make_job("xgboost[min_child_weight=1000]"))
    positives = round(0.9 * record.positives["train"])
    assert (record.status, record.auc) == ("skipped", None)
    assert record.reason == (
        "no ranking, all 8 fields have the same score: no tree found a split with min_child_weight=1000 on 864 rows, "
        f"{positives} positive; lower it or give more rows"
    )
    assert len(record.reason) <= 160  # what the notes of a table show
