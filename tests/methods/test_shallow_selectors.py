"""Lasso and PCA in all variants and the control by cardinality; what the shallow selectors have in common."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA as SklearnPCA
from sklearn.linear_model import Lasso as SklearnLasso

from bench import plugins
from bench.api import ConfigError, Field, Rows, Schema, Selection
from bench.run.cell import run_cell
from bench.run.grid import choose_method
from bench.run.job import Job
from bench.run.selections import SelectionStore
from methods.parts import shallow
from methods.parts.target_encoding import standard_codes
from methods.pca import components, covariance, picked

MakeJob = Callable[..., Job]
SMALL = (2, 5, 10, 30, 4, 40)
SOUND = ("lasso", "lasso[variant=group]", "pca", "pca[supervised=false]")
PUBLISHED = ("lasso[variant=published]", "pca[variant=published]")


@pytest.fixture
def select(context: Callable[..., Any]) -> Callable[..., Selection]:
    def run(spec: str, toy: Any, seed: int = 0) -> Selection:
        method = choose_method(spec).make()
        ctx = context(toy.train.schema, toy.train.schema.n_fields // 2, method.params, seed=seed)
        assert method.skip(ctx) is None
        return method.select(ctx, toy.train, toy.held)

    return run


@pytest.fixture(scope="module")
def toy(toy_rows: Callable[..., Any]) -> Any:
    return toy_rows(8000, 0.4, seed=0, cardinalities=SMALL)


class Both(NamedTuple):
    train: Rows
    held: Rows


def scores_of(selection: Selection) -> np.ndarray:
    assert selection.scores is not None
    return selection.scores


def renamed(rows: Rows, rng_seed: int) -> Rows:
    """The same rows with the codes from 2 on shuffled within each field."""
    rng = np.random.default_rng(rng_seed)
    new_id = np.arange(rows.schema.vocabulary_rows, dtype=np.int32)
    for start, stop in zip(rows.schema.offsets[:-1] + 2, rows.schema.offsets[1:], strict=True):
        new_id[start:stop] = rng.permutation(new_id[start:stop])
    return replace(rows, ids=torch.from_numpy(new_id)[rows.ids.long()])


@pytest.mark.parametrize("spec", [*SOUND, *PUBLISHED])
def test_scores_are_finite_and_say_what_they_rest_on(spec: str, toy: Any, select: Callable[..., Selection]) -> None:
    selection = select(spec, toy)
    scores = scores_of(selection)
    assert scores.dtype == np.float64 and scores.shape == (6,)
    assert np.isfinite(scores).all() and (scores >= 0).all()
    assert selection.rows_seen == selection.notes["rows"] == len(toy.train)
    bound = f"{spec[:-1]},max_rows=1000]" if "[" in spec else f"{spec}[max_rows=1000]"
    assert select(bound, toy).rows_seen == 1000


@pytest.mark.parametrize("spec", SOUND)
def test_names_of_values_do_not_matter_to_the_sound_variants(
    spec: str, toy: Any, select: Callable[..., Selection]
) -> None:
    other = toy._replace(train=renamed(toy.train, 4), held=renamed(toy.held, 4))
    first, second = (scores_of(select(spec, rows)) for rows in (toy, other))
    np.testing.assert_allclose(first, second, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("spec", PUBLISHED)
def test_names_of_values_decide_the_published_ranking(spec: str, toy: Any, select: Callable[..., Selection]) -> None:
    rankings = set()
    for seed in range(6):
        renamed_toy = toy._replace(train=renamed(toy.train, seed))
        rankings.add(tuple(np.argsort(-scores_of(select(spec, renamed_toy)), kind="stable").tolist()))
    assert len(rankings) > 1


def test_the_sound_lassos_find_weak_fields_and_the_published_does_not(
    toy_rows: Callable[..., Any], select: Callable[..., Selection]
) -> None:
    sound, published = ("lasso", "lasso[variant=group]"), "lasso[variant=published]"
    hits: dict[str, list[int]] = {spec: [] for spec in (*sound, published)}
    for seed in range(3):
        toy = toy_rows(60_000, 0.15, seed=seed)
        for name, found in hits.items():
            top = np.argsort(-scores_of(select(name, toy, seed)), kind="stable")[:8]
            found.append(len(set(top.tolist()) & toy.relevant))
    for spec in sound:
        assert min(hits[spec]) >= 7
        assert sum(hits[spec]) > sum(hits[published])


def test_the_published_lasso_is_the_public_call(toy: Any, select: Callable[..., Selection]) -> None:
    reference = SklearnLasso(alpha=1e-3).fit(shallow.code_matrix(toy.train), toy.train.labels.numpy())
    scores = scores_of(select("lasso[variant=published]", toy))
    np.testing.assert_allclose(scores, np.abs(reference.coef_), atol=1e-6)


def test_the_published_lasso_gives_two_codes_a_larger_score_than_many(
    rows_of: Callable[..., Rows], select: Callable[..., Selection], context: Callable[..., Any]
) -> None:
    """The same effect spread over codes 0..1 and 0..99: the coefficients' ratio is that of the codes' spacing."""
    rng = np.random.default_rng(0)
    n = 20_000
    few, many = rng.integers(0, 2, n), rng.integers(0, 100, n)
    labels = rng.random(n) < 0.2 + 0.3 * few + 0.3 * (many / 99)
    rows = rows_of(np.stack([few, many], axis=1), np.array([2, 100]), labels)
    method = choose_method("lasso[variant=published,alpha=1e-9]").make()
    scores = scores_of(method.select(context(rows.schema, 1, method.params), rows, rows))
    assert scores[0] / scores[1] == pytest.approx(99, rel=0.1)


def test_the_published_pca_is_the_first_component_of_the_codes(toy: Any, select: Callable[..., Selection]) -> None:
    reference = SklearnPCA(n_components=1, svd_solver="full").fit(shallow.code_matrix(toy.train).astype(np.float64))
    scores = scores_of(select("pca[variant=published]", toy))
    np.testing.assert_allclose(scores, np.abs(reference.components_[0]), atol=1e-6)
    assert int(np.argmax(scores)) == int(np.argmax(SMALL))  # the most codes, the most variance


def test_components_of_a_covariance_known_beforehand() -> None:
    """Eigenvalues 5, 2, 1 along chosen orthonormal directions."""
    directions = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    values, vectors = components(directions @ np.diag([2.0, 5.0, 1.0]) @ directions.T)
    np.testing.assert_allclose(values, [5, 2, 1])
    np.testing.assert_allclose(np.abs(vectors), np.abs(directions[:, [1, 0, 2]]), atol=1e-12)


def test_covariance_does_not_depend_on_the_size_of_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = np.random.default_rng(0).normal(1e4, [1, 30, 1e3], size=(1001, 3)).astype(np.float32)
    expected = np.cov(matrix.astype(np.float64), rowvar=False, bias=True)
    np.testing.assert_allclose(covariance(matrix), expected, rtol=1e-9)
    monkeypatch.setattr(shallow, "CHUNK", 100)
    np.testing.assert_allclose(covariance(matrix), expected, rtol=1e-9)


@pytest.mark.parametrize(("r", "scores"), [(0.6, [3, 1, 2]), (-0.6, [3, 1, 2]), (1.0, [3, 0, 2])])
def test_of_two_fields_that_vary_together_the_first_component_picks_one(
    r: float, scores: list[int], context: Callable[..., Any]
) -> None:
    """Numeric fields of correlation matrix R = [[1, r, 0], [r, 1, 0], [0, 0, 1]], whatever their scales.

    Its eigenvalues are 1 + |r|, 1, 1 - |r|: the first and the last component have both a and b, the second c alone.
    The first picks a (loadings equal, the lower index), the second c, the last what is left; with r = 1 it is empty.
    """
    n = 4000
    white = np.random.default_rng(0).normal(size=(n, 3))
    white = np.linalg.qr(white - white.mean(axis=0))[0] * np.sqrt(n)  # exactly uncorrelated, variance 1
    root = np.array([[1, 0, 0], [r, np.sqrt(1 - r * r), 0], [0, 0, 1]])
    values = white @ root.T * [3, 3 if r == 1 else 1, 50] + 7
    schema = Schema(tuple(Field(name, "numeric", 2) for name in "abc"))
    ids = torch.tensor([[0, 2, 4]], dtype=torch.int32).repeat(n, 1)
    rows = Rows(schema, ids, torch.from_numpy(values.astype(np.float32)), torch.zeros(n), torch.arange(n))
    method = choose_method("pca[supervised=false]").make()
    selection = method.select(context(schema, 1, method.params), rows, rows)
    assert scores_of(selection).tolist() == scores
    assert selection.notes["components"] == (3 if abs(r) < 1 else 2)


def crossed(*sizes: int) -> np.ndarray:
    """Every combination of codes equally often: the columns of fields of these sizes, independent of each other."""
    return np.stack([grid.ravel() for grid in np.meshgrid(*(np.arange(size) for size in sizes), indexing="ij")], axis=1)


def test_the_sound_pca_picks_by_the_spread_of_log_odds_and_a_copy_last(
    rows_of: Callable[..., Rows], select: Callable[..., Selection]
) -> None:
    """Three independent fields of two values, click rates .5 ± .02, ± .1, ± .3; the last is a copy of the third.

    The copies share a component, which has twice the variance of one; the next picks the middle, the third the weak
    field, and what sets the copies apart has no variance.
    """
    codes = np.repeat(crossed(2, 2, 2), 2500, axis=0)
    rate = 0.5 + np.array([0.02, 0.1, 0.3]) @ (2 * codes - 1).T
    clicks = np.random.default_rng(0).random(len(rate)) < rate
    codes = np.column_stack([codes, 1 - codes[:, 2]])  # under codes of its own
    rows = rows_of(codes, np.full(4, 2), clicks)
    assert scores_of(select("pca", Both(rows, rows))).tolist() == [2, 3, 4, 0]


def test_each_component_picks_its_largest_loading_that_is_left() -> None:
    loadings = np.array([[-0.9, 0.8, 0.0], [0.4, 0.5, 0.0], [0.1, -0.3, 0.0]])
    assert picked(loadings) == [0, 1], "|-.9|, then .5 as .8 is gone; a component without loadings picks nothing"
    twins = np.array([[0.70710678, 0.0], [0.70710679, 0.0], [0.0, 1.0]])
    assert picked(twins) == [0, 2], "rounding does not choose between twins"


@pytest.mark.parametrize(("supervised", "part"), [("true", True), ("false", False)])
def test_labels_enter_the_pca_where_its_note_says(
    supervised: str, part: bool, toy: Any, select: Callable[..., Selection]
) -> None:
    spec = f"pca[supervised={supervised}]"
    before = select(spec, toy)
    order = torch.randperm(len(toy.train), generator=torch.Generator().manual_seed(0))
    after = select(spec, Both(replace(toy.train, labels=toy.train.labels[order]), toy.held))
    assert np.array_equal(scores_of(before), scores_of(after)) is not part
    assert ("labels enter" in before.notes["rule"]) is part


def test_standard_codes_have_no_mean_in_any_fold_and_constants_are_nothing(rows_of: Callable[..., Rows]) -> None:
    from methods.parts.target_encoding import fold_numbers

    rng = np.random.default_rng(0)
    codes = np.stack([rng.integers(0, 30, 3000), np.full(3000, 3)], axis=1)
    rows = rows_of(codes, np.array([30, 5]), rng.random(3000) < 0.1 + 0.02 * codes[:, 0])
    matrix, fold = standard_codes(rows, 4, 9), fold_numbers(rows.index.numpy(), 4, 9)
    assert (matrix[:, 1] == 0).all()
    assert matrix[:, 0].std(dtype=np.float64) == pytest.approx(1, abs=1e-5)
    for j in range(4):
        assert matrix[fold == j, 0].mean(dtype=np.float64) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("constant", [0, 1, 5])
def test_the_own_label_does_not_move_a_standard_code_against_its_fold(
    constant: int, rows_of: Callable[..., Rows]
) -> None:
    """Flip one row's label: codes of its fold stay in the order and ratios they had; only the scale may follow."""
    from methods.parts.target_encoding import fold_numbers

    rng = np.random.default_rng(constant)
    codes = rng.integers(0, 12, (400, 1))
    labels = rng.random(400) < 0.1 + 0.05 * codes[:, 0]
    fold = fold_numbers(np.arange(400), 5, 2)
    before = standard_codes(rows_of(codes, np.array([12]), labels), 5, 2)[:, 0].astype(np.float64)
    labels[constant] ^= True
    after = standard_codes(rows_of(codes, np.array([12]), labels), 5, 2)[:, 0].astype(np.float64)
    own = fold == fold[constant]
    scale = (before[own] @ after[own]) / (before[own] @ before[own])
    np.testing.assert_allclose(after[own], scale * before[own], atol=1e-5)
    assert not np.allclose(after[~own], scale * before[~own], atol=1e-5)


def test_some_fields_are_copied_at_a_time_and_the_codes_are_those_of_all(
    toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    n, f = toy.train.ids.shape
    whole = shallow.local_codes(toy.train), shallow.local_codes(toy.held)
    monkeypatch.setattr(shallow, "CELLS", 2 * n + 1)
    copies = set()
    for number, codes in shallow.each_field(toy.train, toy.held):
        for one, all_fields in zip(codes, whole, strict=True):
            np.testing.assert_array_equal(one, all_fields[:, number])
        assert codes[0].base is not None
        copies.add(codes[0].base.shape)
    assert (number, copies) == (f - 1, {(2, n)})


def test_frequencies_are_counted_in_the_rows(rows_of: Callable[..., Rows]) -> None:
    rows = rows_of(np.array([[2, 0], [2, 1], [3, 1], [2, 1]]), np.array([5, 2]), np.zeros(4))
    expected = np.log1p([[3, 1], [3, 3], [1, 3], [3, 3]])
    np.testing.assert_allclose(shallow.frequency_matrix(rows), expected, rtol=1e-6)


def test_values_of_few_rows_share_a_weight_in_the_group_lasso(
    rows_of: Callable[..., Rows], context: Callable[..., Any]
) -> None:
    """Field 0 gives every row a value of its own: with min_count=2 it is constant and never enters."""
    rng = np.random.default_rng(0)
    n = 600
    codes = np.stack([rng.permutation(n), rng.integers(0, 4, n)], axis=1)
    rows = rows_of(codes, np.array([n, 4]), rng.random(n) < 0.2 + 0.15 * codes[:, 1])
    scores = {}
    for count in (1, 2):
        method = choose_method(f"lasso[variant=group,min_count={count}]").make()
        scores[count] = scores_of(method.select(context(rows.schema, 1, method.params), rows, rows))
    assert scores[1][0] > 0
    assert scores[2][0] == 0 < scores[2][1]


def test_cardinality_keeps_the_largest_vocabularies(toy: Any, select: Callable[..., Selection]) -> None:
    selection = select("cardinality", toy)
    assert scores_of(selection).tolist() == [size + 2 for size in SMALL]
    assert selection.rows_seen == 0


@pytest.mark.parametrize("spec", ["lasso", "lasso[variant=group]", "pca", "pca[variant=published]", "cardinality"])
def test_a_ranking_is_computed_once_for_all_prune_ratios_and_backbones(
    spec: str, make_job: MakeJob, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls = plugins.methods().entry(choose_method(spec).name).load()
    calls, select = [], cls.select
    monkeypatch.setattr(cls, "select", lambda self, *given: calls.append(1) or select(self, *given))
    store = SelectionStore(tmp_path)
    cells = [{"tau": 0.25}, {"tau": 0.5}, {"tau": 0.75}, {"backbone": "xdeepfm[mlp=8]"}]
    records = [run_cell(make_job(spec, epochs=1, shared=store, **cell)) for cell in cells]
    assert [record.status for record in records] == ["ok"] * 4, records[0].traceback
    assert len(calls) == 1
    assert len({tuple(record.field_scores) for record in records}) == 1
    assert len({record.pt_s for record in records}) == 1
    assert all(record.pt_shared for record in records)
    assert [len(record.kept_fields) for record in records] == [6, 4, 2, 4]
    run_cell(make_job(spec, epochs=1, shared=store, seed=1))
    assert len(calls) == (1 if spec == "cardinality" else 2)


@pytest.mark.parametrize(
    "spec",
    [
        "lasso",
        "lasso[variant=group]",
        "lasso[variant=published]",
        "pca",
        "xgboost",
        "cramers-v",
        "mrmr",
        "random-forest",
        "gradient-boosting",
    ],
)
def test_a_selection_out_of_time_is_given_up(spec: str, make_job: MakeJob, tmp_path: Any) -> None:
    late = f"{spec[:-1]},time_budget_s=1e-9]" if "[" in spec else f"{spec}[time_budget_s=1e-9]"
    record = run_cell(make_job(late, shared=SelectionStore(tmp_path)))
    assert record.status == "timeout"
    assert "time_budget_s=1e-09 was spent at" in str(record.reason)
    assert "max_rows" in str(record.reason)
    assert list(tmp_path.iterdir()) == []


def test_a_deadline_counts_from_its_making() -> None:
    deadline = shallow.Deadline(0.05)
    deadline.check("the start")
    time.sleep(0.06)
    with pytest.raises(TimeoutError, match=r"time_budget_s=0.05 was spent at tree 3"):
        deadline.check("tree 3")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("lasso[alpha=0.1]", ["variant=sound", "alpha", "leave it out"]),
        ("lasso[variant=published,folds=4]", ["variant=published", "folds"]),
        ("lasso[variant=published,alpha=0]", ["alpha=0", "out of range", "(0, inf)"]),
        ("lasso[variant=group,folds=4]", ["variant=group", "folds"]),
        ("lasso[min_count=5]", ["variant=sound", "min_count"]),
        ("lasso[steps=1]", ["steps=1", "out of range", "[2, 1000]"]),
        ("lasso[smallest=1]", ["smallest=1", "out of range", "(0, 1)"]),
        ("lasso[variant=grouped]", ["variant=grouped", "published, sound, group"]),
        ("lasso[max_rows=9]", ["max_rows=9", "[100, inf)"]),
        ("lasso[time_budget_s=0]", ["time_budget_s=0", "(0, inf)"]),
        ("pca[variant=published,buckets=9]", ["variant=published", "buckets=9", "leave it out"]),
        ("pca[supervised=false,folds=3]", ["supervised=false", "folds"]),
        ("pca[explained=0.5]", ["pca", "explained"]),
        ("xgboost[time_budget_s=0]", ["time_budget_s=0", "(0, inf)"]),
        ("cardinality[largest=true]", ["cardinality", "largest"]),
    ],
)
def test_bad_parameters_are_refused_before_anything_runs(spec: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        choose_method(spec)
    assert all(word in str(caught.value) for word in words)
