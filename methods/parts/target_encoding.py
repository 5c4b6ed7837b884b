"""Out-of-fold target encoding with empirical-Bayes smoothing: a field of codes becomes a column of logits.

For counts n_v and clicks c_v of one field's values, with G the share of clicks and s = G(1 - G):

    Q    = sum_v n_v (c_v / n_v - G)^2,   df = #{v: n_v > 0} - 1
    tau2 = max((Q - df s) / (sum n - sum n^2 / sum n), 1e-9)      between-value variance, by moments
    k    = s / tau2                                               prior strength, in rows
    code = logit((c_v + k G) / (n_v + k))                         a value without rows gets logit(G)

A training row in fold j reads the code of its value from the rows of the other folds alone: counts, G and k
included, so that no label has any part in its own row's code. Other rows read it from all training rows.
Folds are a hash of the row's identity: a row stays in its fold whatever other rows are drawn.

Of a pooled field every value of a row is counted, and the row's code is the mean of its values' codes.

Shapes: N training rows, M other rows, F fields, C values of a field.
"""

from __future__ import annotations

import numpy as np
import torch

from bench.api import Rows
from methods.parts.shallow import each_field, further_codes, labels_of, new_matrix, pooled_means, put_numeric

__all__ = [
    "centred_codes",
    "encode",
    "fold_numbers",
    "out_of_fold",
    "prior_strength",
    "standard_codes",
    "standard_design",
    "value_logits",
]

_SMALLEST_VARIANCE = 1e-9
_ROUNDING = 1e-9  # a column of float32 numbers that differ at all differs by more


def encode(train: Rows, others: Rows, folds: int, salt: int, spare: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Encode all fields; numeric fields keep their values.

    Args:
        train: rows that are counted, and encoded out of fold.
        others: rows that are only encoded, from all of ``train``.
        folds: number of folds.
        salt: chooses the assignment of rows to folds.
        spare: columns behind those of ``train`` that are left to be filled.

    Returns:
        float32 [N, F + spare] and [M, F], column-major.
    """
    positive = labels_of(train) > 0.5
    fold = fold_numbers(train.index.numpy(), folds, salt)
    encoded, other_encoded = new_matrix(train, spare), new_matrix(others)
    for f, (codes, other_codes) in each_field(train, others):
        field = train.schema.fields[f]
        if field.positions > 1:
            pair = (codes, further_codes(train, f)), (other_codes, further_codes(others, f))
            encoded[:, f], other_encoded[:, f] = _pooled(*pair, positive, fold, folds, field.cardinality)
        elif field.kind != "numeric":
            encoded[:, f], table = out_of_fold(codes, positive, fold, folds, field.cardinality)
            other_encoded[:, f] = table[other_codes]
    put_numeric(encoded, train)
    put_numeric(other_encoded, others)
    return encoded, other_encoded


def standard_codes(train: Rows, folds: int, salt: int) -> np.ndarray:
    """The training rows encoded, each column with mean 0 in every fold and variance 1; a constant field becomes 0.

    Returns:
        float32 [N, F], column-major.
    """
    return _centred(train, folds, salt, scaled=True)


def standard_design(train: Rows, folds: int, salt: int) -> np.ndarray:
    """The same, and a column of ones behind them; float32 [N, F + 1], column-major."""
    design = _centred(train, folds, salt, scaled=True, spare=1)
    design[:, -1] = 1
    return design


def centred_codes(train: Rows, folds: int, salt: int) -> np.ndarray:
    """The same, in log odds: not scaled."""
    return _centred(train, folds, salt, scaled=False)


def _centred(train: Rows, folds: int, salt: int, scaled: bool, spare: int = 0) -> np.ndarray:
    # Without the centring a field that says nothing would still tell the folds apart by the share of clicks in the
    # other folds, which runs against the share in its own.
    encoded, _ = encode(train, train.take(torch.arange(0)), folds, salt, spare)
    fold = fold_numbers(train.index.numpy(), folds, salt)
    rows = np.maximum(np.bincount(fold, minlength=folds), 1)
    for f in range(train.schema.n_fields):
        column = encoded[:, f].astype(np.float64)
        centred = column - (np.bincount(fold, column, folds) / rows)[fold]
        deviation = float(centred.std())
        constant = deviation <= _ROUNDING * float(np.abs(column).max(initial=0.0))
        encoded[:, f] = 0.0 if constant else centred / (deviation if scaled else 1.0)
    return encoded


def fold_numbers(index: np.ndarray, folds: int, salt: int) -> np.ndarray:
    """Fold of each row from its identity and ``salt``, int64 [N], uniform over ``folds``."""
    offset = np.array([salt], dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    bits = index.astype(np.uint64) + offset
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
    bits ^= bits >> np.uint64(31)
    return (bits % np.uint64(folds)).astype(np.int64)


def out_of_fold(
    codes: np.ndarray, positive: np.ndarray, fold: np.ndarray, folds: int, cardinality: int
) -> tuple[np.ndarray, np.ndarray]:
    """Encode one field.

    Args:
        codes: values, counted from 0, int [N].
        positive: labels, bool [N].
        fold: fold of each row, int64 [N], below ``folds``.
        folds: number of folds.
        cardinality: C, above every code.

    Returns:
        Codes of the training rows, float32 [N], and of each value for other rows, float32 [C].
    """
    cell = fold * cardinality + codes
    size = folds * cardinality
    counts = np.bincount(cell, minlength=size).reshape(folds, cardinality)
    clicks = np.bincount(cell[positive], minlength=size).reshape(folds, cardinality)
    all_counts, all_clicks = counts.sum(axis=0), clicks.sum(axis=0)
    tables = value_logits(all_counts - counts, all_clicks - clicks).astype(np.float32)
    return tables.ravel()[cell], value_logits(all_counts, all_clicks).astype(np.float32)


def _pooled(
    train: tuple[np.ndarray, np.ndarray],
    others: tuple[np.ndarray, np.ndarray],
    positive: np.ndarray,
    fold: np.ndarray,
    folds: int,
    cardinality: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Encode a pooled field, of which rows have first [N] and further [N, P] values; the mean of each row, [N]."""
    first, further = train
    rows, places = np.nonzero(further >= 0)
    owner = np.concatenate([np.arange(len(first)), rows])
    codes = np.concatenate([first, further[rows, places]])
    encoded, table = out_of_fold(codes, positive[owner], fold[owner], folds, cardinality)
    spread = np.full(further.shape, np.nan)
    spread[rows, places] = encoded[len(first) :]
    padded = np.append(table, np.nan)  # the last one is that of -1
    return pooled_means(encoded[: len(first)], spread), pooled_means(table[others[0]], padded[others[1]])


def value_logits(counts: np.ndarray, clicks: np.ndarray) -> np.ndarray:
    """Smoothed logit of each value, float64 [..., C], from integer counts and clicks [..., C]."""
    rate = _rate(counts, clicks)
    strength = prior_strength(counts, clicks)[..., None]
    share = (clicks + strength * rate) / (counts + strength)
    return np.asarray(np.log(share) - np.log1p(-share))


def prior_strength(counts: np.ndarray, clicks: np.ndarray) -> np.ndarray:
    """The prior's weight k in rows, float64 [...], from integer counts and clicks [..., C]."""
    rate = _rate(counts, clicks)
    spread = (rate * (1 - rate))[..., 0]
    terms = counts * (clicks / np.maximum(counts, 1) - rate) ** 2
    # Summed in order of size: the same strength, to the last bit, whatever the order of the codes.
    between = np.sort(terms, axis=-1).sum(axis=-1)
    total = counts.sum(axis=-1)
    freedom = np.maximum((counts > 0).sum(axis=-1) - 1, 0)
    scale = total - (counts**2).sum(axis=-1) / np.maximum(total, 1)
    variance = (between - freedom * spread) / np.where(scale > 0, scale, np.inf)
    return np.asarray(spread / np.maximum(variance, _SMALLEST_VARIANCE))


def _rate(counts: np.ndarray, clicks: np.ndarray) -> np.ndarray:
    """Share of clicks [..., 1], half a row away from 0 and 1 where all labels are equal."""
    total = np.maximum(counts.sum(axis=-1, keepdims=True), 1)
    return np.asarray(np.clip(clicks.sum(axis=-1, keepdims=True) / total, 0.5 / total, 1 - 0.5 / total))
