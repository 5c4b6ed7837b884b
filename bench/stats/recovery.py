"""How much of a known truth a selection recovers: for generated data, whose fields have declared roles.

A role is one of the constants below. ``interaction`` and ``redundant`` carry the other field's name,
``interaction:f03`` or ``redundant:f07``; a role of any other word counts as noise, also ``JUNK``: a junk field that was
made from true ones is no find, and stands for none of them. With

    T = the true fields: main and interaction; K = |T|
    root(f) = the field that f copies if f is redundant, else f
    found(S) = |{root(f) : f in S} ∩ T|         a field and its copies are found once

the metrics of a kept set S and of scores s, whose K highest fields are top(K), ties to the lower index:

    precision_at_k            found(top(K)) / K       without scores: found(S) / K where |S| = K, else NaN
    precision_by_lot          its mean over all sets of K fields: what a draw by lot has, on average
    precision_at_n_keep       found(S) / |S|
    recall_at_n_keep          found(S) / K
    main_recall               the same over the main fields alone
    interaction_recall        the same over the interaction fields alone
    interaction_share         |S ∩ interaction fields| / |S|
    junk_share                |S ∩ junk| / |S|        only where there is any
    score_cardinality_corr    Spearman's rank correlation of s with the log of the number of values
    attainable_auc_share      (AUC - 0.5) / (AUC of the true probabilities on the same rows - 0.5)

A metric that has no value is NaN: no field of that kind, no scores, or all scores equal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from bench.errors import DataError

MAIN = "main"
INTERACTION = "interaction"
REDUNDANT = "redundant"
NOISE_LOW = "noise-low"
NOISE_HIGH = "noise-high"
CONSTANT = "constant"
RANDOM = "random"
CORRUPTED = "corrupted"
SECOND_ORDER = "second-order"
JUNK = (RANDOM, CORRUPTED, SECOND_ORDER)
"""Roles of fields that were put beside the others to mislead: without any relation to the label, copies that are wrong
in many rows, and combinations of two fields."""

REAL = "real"
TWIN = "twin"
"""Beside the fields of a real table, of whose worth nothing is known: ``twin:NAME`` is a copy of one of them."""


def junk_share(names: Sequence[str], roles: Mapping[str, str], kept: Sequence[int]) -> float:
    """The share of the kept fields that are of no use: junk, and of a field and its twins all but one."""
    chosen = [names[i] for i in kept]
    wasted = sum(roles[name].partition(":")[0] in JUNK for name in chosen)
    same = [roles[name].partition(":")[2] or name for name in chosen if roles[name].partition(":")[0] in (REAL, TWIN)]
    return _share(wasted + len(same) - len(set(same)), len(kept))


def recovery(
    names: Sequence[str],
    roles: Mapping[str, str],
    kept: Sequence[int],
    scores: np.ndarray | Sequence[float] | None = None,
    cardinalities: np.ndarray | None = None,
) -> dict[str, float]:
    """The metrics of the module's docstring, but for the share of the attainable AUC.

    Args:
        names: the fields in the order of the columns.
        roles: role by name, one for each field.
        kept: indices of the kept fields.
        scores: importance, [F], higher = keep; None or any NaN stands for no scores.
        cardinalities: rows of each field's table, [F]; needed for the correlation only.

    Raises:
        DataError: a field has no role, or a role refers to a field that does not fit.
    """
    kinds, roots = _kinds_and_roots(names, roles)
    true = {i for i, kind in enumerate(kinds) if kind in (MAIN, INTERACTION)}
    main = {i for i in true if kinds[i] == MAIN}
    pairs = true - main
    found = {roots[i] for i in kept} & true
    values = None if scores is None else np.asarray(scores, dtype=np.float64)
    if values is not None and np.isnan(values).any():
        values = None
    top = kept if values is None else np.argsort(-values, kind="stable")[: len(true)].tolist()
    precision = _share(len({roots[i] for i in top} & true), len(true)) if len(top) == len(true) else math.nan
    junk = {i for i, kind in enumerate(kinds) if kind in JUNK}
    correlation = math.nan
    if values is not None and cardinalities is not None:
        correlation = spearman(values, np.log(cardinalities))
    return {
        "precision_at_k": precision,
        "precision_by_lot": _precision_by_lot(roots, true),
        "precision_at_n_keep": _share(len(found), len(kept)),
        "recall_at_n_keep": _share(len(found), len(true)),
        "main_recall": _share(len(found & main), len(main)),
        "interaction_recall": _share(len(found & pairs), len(pairs)),
        "interaction_share": _share(len(pairs.intersection(kept)), len(kept)),
        "score_cardinality_corr": correlation,
        **({"junk_share": _share(len(junk.intersection(kept)), len(kept))} if junk else {}),
    }


def attainable_auc_share(auc: float, truth: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """What of the AUC that can be had above chance a model reaches.

    Args:
        auc: the model's AUC on these rows.
        truth: the probabilities that the labels were drawn from, [N].
        labels: 0 or 1, [N].

    Returns:
        ``auc_truth``, the AUC of the true probabilities, and ``attainable_auc_share``, which sampling lets
        pass 1 by a little on few rows.
    """
    best = auc_of(truth, labels)
    return {"auc_truth": best, "attainable_auc_share": (auc - 0.5) / (best - 0.5) if best > 0.5 else math.nan}


def auc_of(scores: np.ndarray, labels: np.ndarray) -> float:
    """Area under the ROC curve: the Mann-Whitney statistic with mid-ranks; NaN where one class is absent."""
    positive = np.asarray(labels) > 0.5
    n_positive = int(positive.sum())
    n_pairs = n_positive * (len(positive) - n_positive)
    if n_pairs == 0:
        return math.nan
    rank_sum = float(_mid_ranks(scores)[positive].sum())
    return (rank_sum - n_positive * (n_positive + 1) / 2) / n_pairs


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation with mid-ranks; NaN where either side is constant."""
    ranks_a, ranks_b = _mid_ranks(a), _mid_ranks(b)
    ranks_a, ranks_b = ranks_a - ranks_a.mean(), ranks_b - ranks_b.mean()
    norm = math.sqrt(float(ranks_a @ ranks_a) * float(ranks_b @ ranks_b))
    return float(ranks_a @ ranks_b) / norm if norm else math.nan


def _mid_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, equal values share the mean of theirs; float64 [n]."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last: np.ndarray = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _precision_by_lot(roots: Sequence[int], true: set[int]) -> float:
    """The mean over true fields of the chance that K of F fields drawn by lot hold the field or a copy of it."""
    n_fields, k = len(roots), len(true)
    found = sum(1 - math.comb(n_fields - roots.count(f), k) / math.comb(n_fields, k) for f in true)
    return found / k if k else math.nan


def _kinds_and_roots(names: Sequence[str], roles: Mapping[str, str]) -> tuple[list[str], list[int]]:
    """Each field's kind of role and the index of the field that it stands for."""
    missing = [name for name in names if name not in roles]
    if missing:
        raise DataError(f"fields without a role: {', '.join(missing)}; prepare the data set again.")
    places = {name: i for i, name in enumerate(names)}
    kinds = [roles[name].partition(":")[0] for name in names]
    roots = list(range(len(names)))
    for i, name in enumerate(names):
        source = roles[name].partition(":")[2]
        if kinds[i] == REDUNDANT:
            if source not in places or kinds[places[source]] not in (MAIN, INTERACTION):
                raise DataError(
                    f"field {name} has role {roles[name]!r}, but {source!r} is no main or interaction field; "
                    "prepare the data set again."
                )
            roots[i] = places[source]
    return kinds, roots
