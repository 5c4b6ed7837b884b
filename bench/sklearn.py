"""A step of scikit-learn's pipelines that keeps the fields which a method of the suite ranks first.

Columns of text, categories, whole numbers and truth values are categories: a value is a name, as in the suite. Columns
of fractions are numbers. Missing values are values of their own. The label has two values. It passes all of
scikit-learn's estimator checks, so that none is excepted.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectorMixin
from sklearn.utils import ClassifierTags, Tags
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from bench.budget import n_keep
from bench.data.card.card import load_card
from bench.data.card.toml_table import breaks_lines
from bench.data.prepare.prepare import prepare
from bench.data.store.splits import MIN_ROWS
from bench.data.store.store import store_folder
from bench.python.advice import advise
from bench.python.cards import to_toml
from bench.python.data import Data, write_table
from bench.python.frames import Frame, as_frame, to_arrow
from bench.python.ranking import rank

__all__ = ["FieldSelector"]

_LABEL = "label"
_HALF = 0.5
_SHARES = {"train": 0.8, "valid": 0.1, "test": 0.1}
_MORE_TO_LEARN = {"train": 0.89, "valid": 0.1, "test": 0.01}
"""Of the rows of ``fit``, for rankings: a store has to have test rows, but a ranking sees none."""
_ENOUGH = 200
"""Rows of the rarer label from which on so few test rows have both."""
_FEWEST = 8
"""Rows of a label below which a split in three lacks one: all rows are then taken several times."""
_KINDS = ("categorical", "integer", "numeric")


class FieldSelector(SelectorMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Keep the fields that a method ranks first, or those that ``bench.advise`` would keep.

    A frame of pandas, polars or pyarrow comes out as it went in, with fewer columns; an array as an array;
    ``set_output`` says otherwise.

    Args:
        method: the ranker by name, parameters in brackets; None: XGBoost.
        n_fields: how many fields stay.
        prune_ratio: the share of fields that goes; 0.5 where nothing is given.
        tolerance: the loss of AUC that is allowed: as many fields go as that permits, found by training models on fewer
            and fewer of them, which takes minutes; all stay where that cannot be told. With it ``method`` is the only
            ranker, or None: those of ``bench.advise``.
        backbone: the model of methods that train one, and of ``tolerance``.
        seeds: how often fields are ranked, or each set is trained with ``tolerance`` (from 2 on).
        kinds: column -> categorical, integer (a count) or numeric, where its type tells wrong; by name or place.
        min_count: rows in which a value must occur to be told from other rare ones.
        settings: further settings of the run, as {"device": "cpu", "threads": 1, "set": {"dim": 8}}.
        verbose: whether to show progress.

    Attributes:
        scores_: float64 [F], means over seeds, higher is kept first; None with ``tolerance``.
        ranking_: the ``bench.Ranking``; None with ``tolerance``.
        advice_: the ``bench.Advice`` with ``tolerance``, else None.
        n_features_in_: F.
        feature_names_in_: names of the columns, of frames whose columns all have names.
    """

    def __init__(  # noqa: PLR0913 - as scikit-learn wants parameters
        self,
        method: str | None = None,
        *,
        n_fields: int | None = None,
        prune_ratio: float | None = None,
        tolerance: float | None = None,
        backbone: str | None = None,
        seeds: int = 1,
        kinds: Mapping[Any, str] | None = None,
        min_count: int = 1,
        settings: Mapping[str, Any] | None = None,
        verbose: bool = False,
    ) -> None:
        """Take the parameters as they are; ``fit`` looks at them."""
        self.method = method
        self.n_fields = n_fields
        self.prune_ratio = prune_ratio
        self.tolerance = tolerance
        self.backbone = backbone
        self.seeds = seeds
        self.kinds = kinds
        self.min_count = min_count
        self.settings = settings
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> Self:
        """Rank the columns of ``X`` [n, F] by the labels ``y`` [n] of two values.

        Raises:
            ValueError: a parameter out of range, or X and y that cannot be.
            UserError: an unknown method, or one that cannot rank these columns.
        """
        if y is None:
            raise ValueError("FieldSelector requires y to be passed, but the target y is None.")
        table = self._table(X, reset=True)
        labels = _labels(y, len(table))
        kept = self._count(table.num_columns)
        names = _plain(table.column_names)
        kinds = [self._kind(place, column) for place, column in enumerate(table.columns)]
        stored = table.rename_columns(names).append_column(_label_name(names), pa.array(labels))
        with tempfile.TemporaryDirectory() as folder:
            data = self._store(stored, dict(zip(names, kinds, strict=True)), Path(folder))
            mask = np.zeros(len(names), dtype=bool)
            mask[self._chosen(data, names, kept, Path(folder))] = True
        self._mask = mask
        return self

    def transform(self, X: Any) -> Any:
        """The columns of ``X`` that stay, as a frame where it is one."""
        check_is_fitted(self)
        frame = as_frame(X)
        if frame is None:
            return super().transform(X)
        validate_data(self, X, reset=False, skip_check_array=True)
        kept = frame[:, np.flatnonzero(self._mask).tolist()]
        wanted = getattr(self, "_sklearn_output_config", {}).get("transform", "default")
        return {"pandas": kept.to_pandas, "polars": kept.to_polars}.get(wanted, kept.to_native)()

    def _get_support_mask(self) -> np.ndarray:
        check_is_fitted(self)
        return self._mask

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_mask")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.classifier_tags = ClassifierTags(multi_class=False)  # says that the label has two values
        return tags

    def _table(self, X: Any, reset: bool) -> pa.Table:
        """``X`` as columns; keeps what it is called where ``reset``."""
        frame = as_frame(X)
        if frame is not None:
            validate_data(self, X, reset=reset, skip_check_array=True)
            _refuse_few(frame)
            return to_arrow(frame)
        found = validate_data(
            self, X, reset=reset, dtype=None, ensure_all_finite="allow-nan", ensure_min_samples=MIN_ROWS
        )
        return pa.table({f"x{place}": _column(found[:, place]) for place in range(found.shape[1])})

    def _count(self, n_fields: int) -> int:
        """How many fields stay, where no tolerance decides.

        Raises:
            ValueError: more than one rule is given, or a number out of range.
        """
        given = [name for name in ("n_fields", "prune_ratio", "tolerance") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other; give one.")
        if self.n_fields is not None and not 1 <= self.n_fields <= n_fields:
            raise ValueError(f"n_fields={self.n_fields} is out of range; X has {n_fields} columns.")
        ratio = _HALF if self.prune_ratio is None else self.prune_ratio
        if not 0 <= ratio < 1:
            raise ValueError(f"prune_ratio={ratio:g} is out of range; allowed: [0, 1), the share of fields that goes.")
        return n_keep(ratio, n_fields) if self.n_fields is None else int(self.n_fields)

    def _kind(self, place: int, column: pa.ChunkedArray) -> str:
        """What a column is for.

        Raises:
            ValueError: ``kinds`` says what cannot be.
        """
        names, said = list(getattr(self, "feature_names_in_", ())), dict(self.kinds or {})
        for column_said in said:
            if column_said not in names and column_said not in range(self.n_features_in_):
                raise ValueError(f"kinds: {column_said!r} is no column of X; give a name, or a place from 0 on.")
        kind = said.get(place, said.get(names[place]) if names else None)
        if kind is not None and kind not in _KINDS:
            raise ValueError(f"kinds: {kind!r} is unknown; choose one of {', '.join(_KINDS)}.")
        number = pa.types.is_floating(column.type) or pa.types.is_decimal(column.type)
        return kind or ("numeric" if number and _has_spread(column) else "categorical")

    def _store(self, table: pa.Table, kinds: Mapping[str, str], folder: Path) -> Data:
        """Prepare the data set of one fit."""
        label = table.column_names[-1]
        rarer = int(np.bincount(table[label]).min())
        times = 1
        if rarer < _FEWEST:
            what = f"y has {rarer} rows of one label: a ranking of fields by so few says little"
            warnings.warn(what, UserWarning, stacklevel=3)
            times = -(-_FEWEST // rarer)
        card = {
            "name": "fit",
            "min_count": self.min_count * times,
            "raw": {"missing": [""], "columns": {**kinds, label: "label"}},
            "split": _MORE_TO_LEARN if self.tolerance is None and rarer >= _ENOUGH else _SHARES,
        }
        file = folder / "fit.toml"
        file.write_text(to_toml(card), encoding="utf-8")
        read = load_card(file)
        raw = write_table(pa.concat_tables([table] * times), folder / "fit.parquet")
        prepare(read, raw, store_folder(folder, read))
        return Data(str(file), folder)

    def _chosen(self, data: Data, names: Sequence[str], kept: int, folder: Path) -> list[int]:
        """Places of the fields that stay."""
        settings: dict[str, Any] = {**(self.settings or {}), "verbose": self.verbose}
        self.advice_ = self.ranking_ = self.scores_ = None
        if self.tolerance is not None:
            rankers = (self.method,) if self.method else ()
            self.advice_ = advise(
                data, self.tolerance, backbone=self.backbone, seeds=max(self.seeds, 2), rankers=rankers, **settings
            )
            stay = self.advice_.kept if self.advice_.verdict == "drop" else list(names)
            return [names.index(name) for name in stay]
        ratio, settings = 1 - kept / len(names), {"out": folder / "run", **settings}
        self.ranking_ = rank(data, self.method, backbone=self.backbone, seeds=self.seeds, prune_ratio=ratio, **settings)
        self.scores_ = self.ranking_.scores.mean(axis=0)
        if len(set(self.scores_.tolist())) == 1 and kept < len(names):
            what = f"{self.ranking_.method} gives all fields one score: the first {kept} columns stay"
            warnings.warn(what, UserWarning, stacklevel=3)
        return [int(place) for place in self.ranking_.order[:kept]]


def _refuse_few(frame: Frame) -> None:
    if len(frame) < MIN_ROWS:
        raise ValueError(f"Found {len(frame)} sample(s) while a minimum of {MIN_ROWS} is required by FieldSelector.")


def _plain(names: Sequence[str]) -> list[str]:
    """``names``, with stand-ins for those that no card can hold."""
    fit = [bool(name) and not breaks_lines(name) for name in names]
    return [name if fits else f"column-{place}-of-X" for place, (name, fits) in enumerate(zip(names, fit, strict=True))]


def _label_name(names: Sequence[str]) -> str:
    """A name for the labels that no column has."""
    name = _LABEL
    while name in names:
        name += "_"
    return name


def _column(values: np.ndarray) -> pa.Array:
    """One column of an array; objects of several types as their text."""
    try:
        return pa.array(values.tolist() if values.dtype == object else values, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError):
        import pandas as pd  # noqa: PLC0415 - knows all that stands for a missing value

        texts = [None if gone else str(one) for one, gone in zip(values, pd.isna(values), strict=True)]
        return pa.array(texts, pa.large_string())


def _has_spread(column: pa.ChunkedArray) -> bool:
    """Whether there are two different numbers, without which there is no scale."""
    ends = pc.min_max(column).as_py()
    return ends["min"] is not None and ends["min"] != ends["max"]


def _labels(y: Any, n_rows: int) -> np.ndarray:
    """0 and 1, the larger of the two values is 1, uint8 [n].

    Raises:
        ValueError: y has not two values, or another length than X.
    """
    found = column_or_1d(y, warn=True)
    kind = type_of_target(found, input_name="y", raise_unknown=True)
    if kind != "binary":
        raise ValueError(f"Only binary classification is supported. The type of the target is {kind}.")
    if len(found) != n_rows:
        raise ValueError(f"Found input variables with inconsistent numbers of samples: [{n_rows}, {len(found)}]")
    values, codes = np.unique(found, return_inverse=True)
    if len(values) < 2:
        raise ValueError(f"y has 1 class, {values.tolist()[0]!r}: a ranking needs rows of two.")
    return np.asarray(codes, dtype=np.uint8)
