"""The line that a network must not stay below: logistic regression on the one-hot fields of the same rows.

    logit p = b + Σ_f x_f w[id_f]        x_f: the value of a numeric field, 1 of any other
    minimise ½ |w|² + C Σ loss           by L-BFGS, C the one of the highest validation AUC

It sees what the model's own linear part would see, no interactions, and has one setting, which is tried out. Of large
data it is fitted to ``MOST_ROWS`` training rows, which can only lower it.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from copy import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.data.schema import Schema
from bench.engine.evaluate import auc, predict
from bench.engine.model import CTRModel
from bench.errors import DataError
from bench.files import write_atomically
from bench.identity import config_hash
from bench.rows.load import LoadedData
from bench.rows.residency import settle
from bench.rows.rows import Batch, Rows, stratified_sample
from bench.seeds import generator
from bench.stats.difference import auc_difference

__all__ = ["STRENGTHS", "Line", "LineStore", "beside_line", "fit_line"]

STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Values of C, from the strongest penalty on; each fit starts where the one before has ended."""
MOST_ROWS = 200_000
_ITERATIONS = 200
_ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Line:
    """A fitted line on the test rows."""

    auc: float
    valid_auc: float
    strength: float
    """C."""
    rows: int
    """Training rows it was fitted to."""
    logits: np.ndarray
    """Of the test rows, float32 [n]."""


def fit_line(data: LoadedData) -> Line:
    """Fit the line of a data set.

    Raises:
        ValueError: a split has rows of one class alone.
    """
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415 - takes a second, and only baselines need it
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    train = _at_most(data.train, MOST_ROWS).resident()
    x, y = _design(train.schema, train), train.labels.cpu().numpy()
    model = LogisticRegression(solver="lbfgs", max_iter=_ITERATIONS, warm_start=True)
    fitted = []
    for strength in STRENGTHS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a line that could be a little higher is still one
            fitted.append(copy(model.set_params(C=strength).fit(x, y)))
    reached = [_auc(scores, data.valid) for scores in _scores(fitted, data.valid)]
    best = reached.index(max(reached))
    logits = _scores(fitted[best : best + 1], data.test)[0].astype(np.float32)
    return Line(_auc(logits, data.test), reached[best], STRENGTHS[best], len(train), logits)


def _scores(models: Sequence[Any], rows: Rows) -> list[np.ndarray]:
    """Logits of ``rows`` by each of the models, float64 [N]; the rows' one-hot form is there for some at a time."""
    parts = [
        [model.decision_function(design) for model in models]
        for design in (_design(rows.schema, batch) for batch in rows.slices(_ROWS_AT_ONCE))
    ]
    return [np.concatenate(of_model) for of_model in zip(*parts, strict=True)]


def _at_most(rows: Rows, most: int) -> Rows:
    if len(rows) <= most:
        return rows
    return rows.take(stratified_sample(rows.labels, most, generator(use="reference line")))


def _design(schema: Schema, rows: Rows | Batch) -> Any:
    """One-hot fields, a numeric one with its value, a pooled one with its values' shares: sparse, float64 [N, V]."""
    from scipy.sparse import csr_matrix  # noqa: PLC0415 - only baselines need it

    ids = rows.ids.cpu().numpy()
    values = np.ones(ids.shape)
    if rows.pooled is not None:
        ids, values = _with_further(schema, rows, ids)
    if rows.numeric is not None:
        values[:, list(schema.numeric_fields)] = rows.numeric.cpu().numpy()
    starts = np.arange(0, ids.size + 1, ids.shape[1])
    return csr_matrix((values.ravel(), ids.ravel(), starts), shape=(len(ids), schema.vocabulary_rows))


def _with_further(schema: Schema, rows: Rows | Batch, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids of all columns, int32 [N, F + P], and the share that each has among the values of its field."""
    assert rows.pooled is not None
    further = rows.pooled.cpu().numpy()
    there = np.concatenate([np.ones(ids.shape), further != schema.padding], axis=1)
    counts = np.zeros(ids.shape)
    np.add.at(counts.T, schema.column_fields, there.T)
    return np.concatenate([ids, further], axis=1), there / counts[:, schema.column_fields]


def _auc(logits: np.ndarray, rows: Rows) -> float:
    return auc(torch.from_numpy(np.array(logits)), rows.labels.cpu())


def beside_line(model: CTRModel, data: LoadedData, lines: LineStore) -> dict[str, float]:
    """What a record says of its reference line: AUC, C, rows, and the difference of ``model`` to it, with its error.

    Raises:
        DataError: a stored line cannot be read.
        NotTestable: the test split has fewer than two rows of a class.
    """
    line = lines.find(data)
    logits = predict(model, settle(data.test)).float().cpu().numpy()
    found = auc_difference([logits], [line.logits], data.test.labels.cpu().numpy())
    own = {"auc": line.auc, "strength": line.strength, "rows": float(line.rows)}
    return own | {"difference": found.mean, "error": found.se}


class LineStore:
    """The lines of a run folder: numbers as JSON, logits beside them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, data: LoadedData) -> Line:
        """The line of ``data``; fitted and kept where nobody has before.

        Raises:
            DataError: a stored line cannot be read.
            ValueError: as of ``fit_line``.
        """
        key = config_hash({"dataset": data.label, "revision": data.revision, "split_rows": data.split_rows, "line": 1})
        numbers, logits = (self.folder / f"{key[:16]}.{kind}" for kind in ("json", "npy"))
        if numbers.is_file():
            try:
                return Line(**json.loads(numbers.read_text()), logits=np.load(logits, allow_pickle=False))
            except (OSError, ValueError, TypeError) as error:
                raise DataError(
                    f"{numbers} is no readable reference line ({error}). Delete it and run again."
                ) from None
        line = fit_line(data)
        with write_atomically(logits, "wb") as file:
            np.save(file, line.logits, allow_pickle=False)
        with write_atomically(numbers) as file:  # last, so that it is there with its logits or not at all
            json.dump({name: value for name, value in asdict(line).items() if name != "logits"}, file)
        return line
