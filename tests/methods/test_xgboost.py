from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import methods
from bench.api import ConfigError, Field, Rows, Schema, Selection
from bench.params import fill
from methods.parts import boosting
from methods.parts.boosting import in_ranges, quantiles, threads_for
from methods.parts.shallow import bound_rows, category_matrix, code_matrix, permutation_importance
from methods.xgboost import XGBoost, XGBoostParams

VARIANTS = ("published", "sound", "categorical")
SMALL = (2, 5, 10, 30, 4, 40)


@pytest.fixture
def method() -> Callable[..., XGBoost]:
    def make(**given: str) -> XGBoost:
        return XGBoost(fill(XGBoostParams, given, "xgboost"), methods.TABLE["xgboost"])

    return make


@pytest.fixture
def select(method: Callable[..., XGBoost], context: Callable[..., Any]) -> Callable[..., Selection]:
    def run(toy: Any, seed: int = 0, **given: str) -> Selection:
        chosen = method(**given)
        ctx = context(toy.train.schema, toy.train.schema.n_fields // 2, chosen.params, seed=seed)
        assert chosen.skip(ctx) is None
        return chosen.select(ctx, toy.train, toy.held)

    return run


@pytest.fixture
def toy(toy_rows: Callable[..., Any]) -> Any:
    return toy_rows(8000, 0.4, seed=0, cardinalities=SMALL)


@pytest.fixture
def restore_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def scores_of(selection: Selection) -> np.ndarray:
    assert selection.scores is not None
    return selection.scores


def top(selection: Selection, k: int) -> set[int]:
    return set(np.argsort(-scores_of(selection), kind="stable")[:k].tolist())


@pytest.mark.parametrize("importance", ["auto", "gain", "total_gain", "weight", "permutation"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_scores_are_finite_and_find_strong_fields(
    variant: str, importance: str, toy: Any, select: Callable[..., Selection]
) -> None:
    selection = select(toy, variant=variant, importance=importance)
    scores = scores_of(selection)
    assert scores.dtype == np.float64 and scores.shape == (6,)
    assert np.isfinite(scores).all()
    if importance in ("gain", "total_gain", "weight"):
        assert scores.sum() == pytest.approx(1)
    if importance == "auto" and variant != "published":
        assert top(selection, 3) == toy.relevant


def test_sound_finds_weak_fields_where_codes_as_numbers_do_not(
    toy_rows: Callable[..., Any], select: Callable[..., Selection]
) -> None:
    hits: dict[str, list[int]] = {"sound": [], "published": []}
    for seed in range(3):
        toy = toy_rows(96_000, 0.1, seed=seed)
        for variant, found in hits.items():
            found.append(len(top(select(toy, seed=seed, variant=variant), 8) & toy.relevant))
    assert min(hits["sound"]) >= 7
    assert sum(hits["sound"]) >= sum(hits["published"])


def renamed(rows: Rows, rng_seed: int) -> Rows:
    """The same rows with the codes from 2 on shuffled within each field."""
    rng = np.random.default_rng(rng_seed)
    new_id = np.arange(rows.schema.vocabulary_rows, dtype=np.int32)
    for start, stop in zip(rows.schema.offsets[:-1] + 2, rows.schema.offsets[1:], strict=True):
        new_id[start:stop] = rng.permutation(new_id[start:stop])
    return replace(rows, ids=torch.from_numpy(new_id)[rows.ids.long()])


def test_names_of_values_matter_to_published_and_not_to_sound(toy: Any, select: Callable[..., Selection]) -> None:
    other = toy._replace(train=renamed(toy.train, 4), held=renamed(toy.held, 4))
    sound = [scores_of(select(rows)) for rows in (toy, other)]
    np.testing.assert_allclose(sound[0], sound[1], rtol=1e-9)
    published = [scores_of(select(rows, variant="published")) for rows in (toy, other)]
    assert np.abs(published[0] - published[1]).max() > 0.01


def test_published_is_the_public_call(toy: Any, select: Callable[..., Selection]) -> None:
    import xgboost

    reference = xgboost.XGBClassifier(n_estimators=10, n_jobs=1)
    reference.fit(code_matrix(toy.train), toy.train.labels.numpy())
    selection = select(toy, variant="published")
    np.testing.assert_allclose(scores_of(selection), reference.feature_importances_, rtol=1e-5)


def with_constant(rows: Rows) -> Rows:
    ids = rows.ids.clone()
    ids[:, 4] = int(rows.schema.offsets[4]) + 3
    return replace(rows, ids=ids)


@pytest.mark.parametrize("variant", ["published", "categorical"])
def test_fields_without_a_split_score_zero(variant: str, toy: Any, select: Callable[..., Selection]) -> None:
    toy = toy._replace(train=with_constant(toy.train), held=with_constant(toy.held))
    assert scores_of(select(toy, variant=variant))[4] == 0.0


def test_gain_counts_up_to_the_best_round_only(toy: Any, select: Callable[..., Selection]) -> None:
    stopped = select(toy)
    best = stopped.notes["best_round"]
    assert best + 20 == stopped.notes["rounds"] < 500
    cut = select(toy, rounds=str(best))
    assert cut.notes["best_round"] == best
    np.testing.assert_array_equal(scores_of(cut), scores_of(stopped))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_seed_settles_the_scores(variant: str, toy: Any, select: Callable[..., Selection]) -> None:
    first, again, other = (scores_of(select(toy, seed, variant=variant)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.array_equal(first, other) == (variant == "published")


@pytest.mark.usefixtures("restore_threads")
def test_threads_do_not_move_the_scores(
    toy: Any, select: Callable[..., Selection], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(2)
    one = select(toy, rounds="5")
    monkeypatch.setattr("methods.parts.boosting._ROWS_PER_THREAD", 1000)
    two = select(toy, rounds="5")
    assert (one.notes["threads"], two.notes["threads"]) == (1, 2)
    np.testing.assert_allclose(scores_of(one), scores_of(two), rtol=1e-6)


@pytest.mark.usefixtures("restore_threads")
def test_many_columns_give_threads_work_on_few_rows() -> None:
    torch.set_num_threads(8)
    # A thread more for each 100,000 rows of up to 256 columns, or as many cells of more.
    assert [threads_for(n, 39) for n in (99_999, 100_000, 350_000, 10**9)] == [1, 2, 4, 8]
    assert [threads_for(50_000, columns) for columns in (256, 511, 512, 1024)] == [1, 1, 2, 3]


def test_ranges_of_many_columns_begin_at_quantiles_or_at_every_value(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    few = np.repeat([-2.0, 0.5, 3.0, 3.5], [1, 700, 298, 1])
    matrix = np.asfortranarray(np.stack([rng.permutation(1000), rng.permutation(few)], axis=1), dtype=np.float32)
    begins = quantiles(matrix, 11)
    # Ranks 0, 99.9, 199.8, …, 999 of the numbers 0 to 999; all of four values, the last one repeated.
    assert begins[:, 0].tolist() == [0, 100, 200, 300, 400, 500, 599, 699, 799, 899, 999]
    assert begins[:, 1].tolist() == [-2, 0.5, 3] + [3.5] * 8
    monkeypatch.setattr(boosting, "_NARROW", 1)
    monkeypatch.setattr(boosting, "_FEWER_BINS", 11)
    starts, cuts = in_ranges(matrix, np.zeros(1000, dtype=np.float32)).get_quantile_cut()
    # The first and the last are XGBoost's own: below the least value, and above the largest.
    assert cuts[starts[0] : starts[1]][1:-1].tolist() == begins[1:, 0].tolist()
    assert cuts[starts[1] : starts[2]][1:-1].tolist() == [0.5, 3, 3.5]


def test_fields_of_a_wide_table_rank_as_those_of_a_narrow_one(
    toy: Any, select: Callable[..., Selection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no column has more values than there are ranges, ranges are the values, whoever finds them."""
    narrow = select(toy, folds="2", rounds="20")
    monkeypatch.setattr(boosting, "_NARROW", 1)
    monkeypatch.setattr(boosting, "_FEWER_BINS", 128)
    wide = select(toy, folds="2", rounds="20")
    assert toy.train.schema.cardinalities.max() * 2 <= 128
    np.testing.assert_allclose(scores_of(wide), scores_of(narrow), rtol=1e-6)
    monkeypatch.setattr(boosting, "_FEWER_BINS", 16)
    assert np.argsort(-scores_of(select(toy, folds="2", rounds="20")))[0] == np.argsort(-scores_of(narrow))[0]


@pytest.mark.parametrize("variant", VARIANTS)
def test_rows_are_bounded_and_recorded(variant: str, toy: Any, select: Callable[..., Selection]) -> None:
    small = select(toy, variant=variant, max_rows="1000", max_selection_rows="300")
    assert small.rows_seen == small.notes["rows"] == 1000
    assert small.notes["selection_rows"] == 300
    full = select(toy, variant=variant)
    assert full.rows_seen == len(toy.train)
    assert full.notes["selection_rows"] == len(toy.held)


def test_bounded_rows_keep_the_share_of_positives(toy: Any) -> None:
    rows = bound_rows(toy.train, 500, torch.Generator().manual_seed(0))
    assert len(rows) == len(set(rows.index.tolist())) == 500
    assert rows.labels.sum() == round(500 * toy.train.positive_rate)
    assert bound_rows(toy.train, len(toy.train), torch.Generator()) is toy.train


@pytest.mark.parametrize("variant", VARIANTS)
def test_numeric_fields_are_read_by_value(variant: str, toy: Any, select: Callable[..., Selection]) -> None:
    def numeric(rows: Rows, seed: int) -> Rows:
        """Field 5, noise before, becomes a number that follows the label."""
        fields = (*rows.schema.fields[:5], Field("f5", "numeric", 2))
        ids = rows.ids.clone()
        ids[:, 5] = int(rows.schema.offsets[5])
        noise = torch.randn(len(rows), generator=torch.Generator().manual_seed(seed))
        return replace(rows, schema=Schema(fields), ids=ids, numeric=(rows.labels + noise)[:, None])

    toy = toy._replace(train=numeric(toy.train, 0), held=numeric(toy.held, 1))
    assert int(np.argmax(scores_of(select(toy, variant=variant)))) == 5


def test_permutation_importance_by_hand() -> None:
    rng = np.random.default_rng(0)
    matrix, labels = rng.normal(size=(50, 3)).astype(np.float32), (rng.random(50) < 0.5).astype(np.float32)
    weights = np.array([1.0, -2.0, 0.5], dtype=np.float32)

    def loss(x: np.ndarray) -> float:
        p = 1 / (1 + np.exp(-(x @ weights).astype(np.float64)))
        return float(-np.mean(labels * np.log(p) + (1 - labels) * np.log(1 - p)))

    generator = torch.Generator().manual_seed(3)
    found = permutation_importance(lambda x: x @ weights, matrix, labels, [0, 2], 2, generator)

    generator = torch.Generator().manual_seed(3)
    for repeat in range(2):
        order = torch.randperm(50, generator=generator).numpy()
        for column in (0, 2):
            shuffled = matrix.copy()
            shuffled[:, column] = matrix[order, column]
            assert found[repeat, column] == pytest.approx(loss(shuffled) - loss(matrix), abs=1e-12)
        assert found[repeat, 1] == 0.0


def test_categories_are_numbered_by_frequency(rows_of: Callable[..., Rows]) -> None:
    sizes = np.array([8])
    train = rows_of(np.array([[5], [5], [5], [2], [2], [3], [7]]), sizes, np.zeros(7))
    held = rows_of(np.array([[5], [2], [3], [7], [4], [0]]), sizes, np.zeros(6))
    matrix, other = category_matrix(train, held, 2)
    assert matrix[:, 0].tolist() == [0, 0, 0, 1, 1, 2, 2]
    np.testing.assert_array_equal(other[:, 0], [0, 1, 2, 2, math.nan, math.nan])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"max_rows": "99"}, ["max_rows=99", "out of range", "[100, inf)"]),
        ({"eta": "0"}, ["eta=0", "out of range"]),
        ({"subsample": "1.5"}, ["subsample=1.5", "out of range"]),
        ({"folds": "1"}, ["folds=1", "out of range"]),
        ({"depth": "x"}, ["depth=x", "int"]),
        ({"variant": "best"}, ["variant=best", "published, sound, categorical"]),
        ({"varient": "sound"}, ["varient", "variant"]),
        ({"variant": "published", "eta": "0.5"}, ["variant=published", "eta", "leave it out"]),
        ({"categories": "9"}, ["variant=sound", "categories"]),
        ({"variant": "categorical", "folds": "4"}, ["variant=categorical", "folds"]),
    ],
)
def test_bad_parameters_are_refused(given: dict[str, str], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        fill(XGBoostParams, given, "method 'xgboost'")
    assert all(word in str(caught.value) for word in ["xgboost", *words])


def test_skips_say_what_to_do(
    toy: Any,
    method: Callable[..., XGBoost],
    context: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen = method(device="cuda")
    ctx = context(toy.train.schema, 3, chosen.params)
    assert "device=cuda" in (chosen.skip(ctx) or "")
    monkeypatch.setitem(sys.modules, "xgboost", None)
    assert "pip install xgboost" in (method().skip(ctx) or "")


def test_importing_the_method_imports_no_xgboost() -> None:
    code = "import sys, methods.xgboost; sys.exit('xgboost' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.gpu
def test_the_device_can_grow_the_trees(toy: Any, method: Callable[..., XGBoost], context: Callable[..., Any]) -> None:
    chosen = method(device="cuda", importance="permutation")
    device = torch.device("cuda")
    ctx = context(toy.train.schema, 3, chosen.params, device=device)
    assert chosen.skip(ctx) is None
    assert top(chosen.select(ctx, toy.train.to(device), toy.held.to(device)), 3) == toy.relevant
