"""``FieldSelector`` as scikit-learn's tools use it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils.estimator_checks import parametrize_with_checks

import bench
from bench import sklearn as ours
from bench.errors import UserError
from bench.sklearn import FieldSelector

COLUMNS = ["ad", "user", "price", "device"]
FORMS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "pandas": lambda frame: frame,
    "polars": pl.from_pandas,
    "pyarrow": pa.Table.from_pandas,
}


@pytest.fixture(scope="module")
def X(clicks: pd.DataFrame) -> pd.DataFrame:
    return clicks[COLUMNS]


@pytest.fixture(scope="module")
def y(clicks: pd.DataFrame) -> pd.Series:
    return clicks["clicked"]


@parametrize_with_checks([FieldSelector()])
@pytest.mark.filterwarnings("ignore:y has . rows of one label")
@pytest.mark.filterwarnings("ignore:.* gives all fields one score")
def test_the_estimator_checks_pass(estimator: FieldSelector, check: Callable[[FieldSelector], None]) -> None:
    check(estimator)


@pytest.mark.parametrize("form", FORMS)
def test_frames_stay_what_they_are(X: pd.DataFrame, y: pd.Series, form: str) -> None:
    given = FORMS[form](X)
    selector = FieldSelector("lasso", n_fields=2).fit(given, y)
    found = selector.transform(given)
    assert type(found) is type(given)
    assert selector.get_feature_names_out().tolist() == ["ad", "price"]
    assert selector.get_support().tolist() == [True, False, True, False]
    assert selector.get_support(indices=True).tolist() == [0, 2]
    pd.testing.assert_frame_equal(
        found if form == "pandas" else found.to_pandas(), X[["ad", "price"]], check_index_type=False
    )


@pytest.mark.parametrize("form", FORMS)
def test_set_output_says_otherwise(X: pd.DataFrame, y: pd.Series, form: str) -> None:
    given = FORMS[form](X)
    for name, kind in (("pandas", pd.DataFrame), ("polars", pl.DataFrame)):
        selector = FieldSelector("lasso", n_fields=2).set_output(transform=name).fit(given, y)
        found = selector.transform(given)
        assert isinstance(found, kind)
        assert list(found.columns) == ["ad", "price"]
        assert found["price"].to_numpy() == pytest.approx(X["price"].to_numpy())


def test_arrays_are_ranked_as_the_same_frame(X: pd.DataFrame, y: pd.Series) -> None:
    framed = FieldSelector("lasso", n_fields=2).fit(X, y)
    objects = FieldSelector("lasso", n_fields=2).fit(X.to_numpy(), y)
    assert objects.scores_.tolist() == framed.scores_.tolist()
    assert objects.transform(X.to_numpy()).tolist() == X[["ad", "price"]].to_numpy().tolist()
    assert objects.get_feature_names_out().tolist() == ["x0", "x2"]
    numbers = X[["price"]].assign(noise=np.random.default_rng(1).normal(size=len(X))).to_numpy()
    assert FieldSelector("lasso", n_fields=1).fit(numbers, y).get_support().tolist() == [True, False]


def test_it_works_in_a_pipeline_with_cross_validation(X: pd.DataFrame, y: pd.Series) -> None:
    encode = OneHotEncoder(handle_unknown="ignore")
    pipeline = make_pipeline(FieldSelector("lasso"), encode, LogisticRegression())
    whole = cross_val_score(make_pipeline(encode, LogisticRegression()), X[["ad", "price"]], y, cv=3, scoring="roc_auc")
    assert cross_val_score(pipeline, X, y, cv=3, scoring="roc_auc") == pytest.approx(whole), "two of four: ad and price"
    search = GridSearchCV(pipeline, {"fieldselector__prune_ratio": [0.5, 0.75]}, cv=2, scoring="roc_auc").fit(X, y)
    assert search.best_estimator_[0].get_support().sum() in (1, 2)
    pair = clone(search.best_estimator_).fit(X, y)
    assert pair[0].get_feature_names_out().tolist() == search.best_estimator_[0].get_feature_names_out().tolist()


def test_fields_are_chosen_on_the_rows_of_fit_alone(X: pd.DataFrame, y: pd.Series) -> None:
    """Rows that a fold holds out cannot be known: labels of theirs that say everything change no score."""
    half = len(X) // 2
    echo = X.assign(echo=np.where(np.arange(len(X)) < half, 0, y).astype(str))
    first = FieldSelector("lasso", n_fields=2).fit(echo[:half], y[:half])
    assert "echo" not in first.get_feature_names_out()
    assert "echo" in FieldSelector("lasso", n_fields=2).fit(echo[half:], y[half:]).get_feature_names_out()


@pytest.mark.parametrize(
    ("given", "kept"), [({}, 2), ({"n_fields": 3}, 3), ({"n_fields": 4}, 4), ({"prune_ratio": 0.25}, 3)], ids=str
)
def test_so_many_stay(X: pd.DataFrame, y: pd.Series, given: dict[str, Any], kept: int) -> None:
    selector = FieldSelector("lasso", **given).fit(X, y)
    assert selector.get_support().sum() == kept
    assert set(selector.ranking_.top(kept)) == set(selector.get_feature_names_out())


def test_kinds_and_seeds_are_passed_on(X: pd.DataFrame, y: pd.Series) -> None:
    kinds = {"ad": "integer", 2: "categorical"}
    other = FieldSelector("lasso", kinds=kinds, seeds=2, min_count=2).fit(X, y)
    assert other.ranking_.scores.shape == (2, 4)
    assert other.scores_.tolist() != FieldSelector("lasso").fit(X, y).scores_.tolist()


def test_missing_values_constants_and_odd_names_are_no_trouble(X: pd.DataFrame, y: pd.Series) -> None:
    odd = X.assign(gap=X["price"].where(X.index % 2 == 0), one=1.0, nothing=np.nan)
    odd = odd.rename(columns={"ad": "a\nd", "user": "label", "device": ""})
    selector = FieldSelector("lasso", n_fields=3).fit(odd, y.map({0: "no", 1: "yes"}))
    assert {"a\nd", "price"} <= set(selector.get_feature_names_out())
    assert not selector.get_support()[[5, 6]].any()


def test_a_tolerance_asks_for_advice(X: pd.DataFrame, y: pd.Series, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    class Answer:
        verdict, kept = "drop", ["price", "ad"]

    def advise(data: bench.Data, tolerance: float, **given: Any) -> Answer:
        asked.update(given, fields=data.fields, rows=data.rows, tolerance=tolerance)
        return Answer()

    monkeypatch.setattr(ours, "advise", advise)
    selector = FieldSelector("lasso", tolerance=0.01, settings={"time": "1m"}).fit(X, y)
    assert selector.get_support().tolist() == [True, False, True, False]
    assert (asked["tolerance"], asked["rankers"], asked["seeds"], asked["time"]) == (0.01, ("lasso",), 2, "1m")
    assert (asked["fields"], asked["rows"]) == (COLUMNS, {"train": 960, "valid": 120, "test": 120})
    Answer.verdict = "small"
    assert FieldSelector(tolerance=0.01).fit(X, y).get_support().all(), "nothing can be dropped for certain"


def test_few_rows_and_equal_scores_are_told() -> None:
    y = np.array([0] * 9 + [1] * 3)
    with pytest.warns(UserWarning, match="y has 3 rows of one label: a ranking of fields by so few says little"):
        FieldSelector("lasso").fit(np.stack([y, np.arange(12) % 2], axis=1), y)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        selector = FieldSelector("lasso", n_fields=1).fit(np.ones((40, 2), dtype=int), np.arange(40) % 2)
    assert [str(one.message) for one in told] == ["lasso gives all fields one score: the first 1 columns stay"]
    assert selector.get_support().tolist() == [True, False]


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"n_fields": 9}, ValueError, "n_fields=9 is out of range; X has 4 columns"),
    ({"n_fields": 0}, ValueError, "n_fields=0 is out of range"),
    ({"prune_ratio": 1.0}, ValueError, "prune_ratio=1 is out of range"),
    ({"n_fields": 2, "tolerance": 0.1}, ValueError, "n_fields and tolerance exclude each other"),
    ({"kinds": {"ad": "number"}}, ValueError, "kinds: 'number' is unknown; choose one of categorical"),
    ({"kinds": {"add": "numeric"}}, ValueError, "kinds: 'add' is no column of X"),
    ({"method": "laso"}, UserError, "method 'laso' is unknown. Did you mean 'lasso'"),
    ({"method": "no-selection"}, UserError, "gives fields no scores"),
    ({"seeds": 0}, UserError, "seeds=0 is out of range"),
]


@pytest.mark.parametrize(("given", "kind", "said"), BAD, ids=[said for *_, said in BAD])
def test_bad_parameters_are_named(
    X: pd.DataFrame, y: pd.Series, given: dict[str, Any], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind) as error:
        FieldSelector(**given).fit(X, y)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda y: y * 2 + (y.index % 2),
            "Only binary classification is supported. The type of the target is multi",
        ),
        (lambda y: y * 0, "y has 1 class, 0: a ranking"),
        (lambda y: y[:50], "inconsistent numbers of samples: [1200, 50]"),
        (lambda y: None, "requires y to be passed"),
    ],
    ids=["multiclass", "one", "short", "none"],
)
def test_bad_labels_are_named(X: pd.DataFrame, y: pd.Series, change: Callable[[Any], Any], said: str) -> None:
    with pytest.raises(ValueError) as error:
        FieldSelector().fit(X, change(y))
    assert said in str(error.value)


def test_few_rows_and_other_columns_are_named(X: pd.DataFrame, y: pd.Series) -> None:
    with pytest.raises(ValueError, match="Found 5 sample"):
        FieldSelector().fit(X[:5], y[:5])
    fitted = FieldSelector("lasso").fit(X, y)
    with pytest.raises(ValueError, match="feature names"):
        fitted.transform(X[["user", "ad", "price", "device"]])
