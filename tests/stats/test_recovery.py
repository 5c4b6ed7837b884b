"""Metrics of recovery against values worked out by hand."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from bench.errors import DataError
from bench.stats.recovery import attainable_auc_share, auc_of, recovery, spearman

NAMES = ["a", "b", "c", "d", "e", "f", "g", "h"]
ROLES = {
    "a": "main",
    "b": "redundant:a",
    "c": "interaction:d",
    "d": "interaction:c",
    "e": "noise-low",
    "f": "main",
    "g": "constant",
    "h": "noise-high",
}
"""True: a, c, d, f, so K = 4."""


def test_a_copy_and_its_source_are_found_once() -> None:
    got = recovery(NAMES, ROLES, kept=[0, 1, 2, 4])
    # roots a, a, c, e: two of the four kept stand for different true fields
    assert got["precision_at_n_keep"] == 2 / 4
    assert got["recall_at_n_keep"] == 2 / 4
    assert got["precision_at_k"] == 2 / 4, "without scores a kept set of K fields is its own top K"
    assert got["main_recall"] == 1 / 2
    assert got["interaction_recall"] == 1 / 2
    assert got["interaction_share"] == 1 / 4


def test_a_copy_alone_finds_its_source() -> None:
    got = recovery(NAMES, ROLES, kept=[1, 5])
    assert got["main_recall"] == 1.0
    assert got["precision_at_n_keep"] == 1.0
    assert got["recall_at_n_keep"] == 2 / 4
    assert got["interaction_recall"] == 0.0
    assert math.isnan(got["precision_at_k"]), "two kept fields say nothing of the best four"


def test_junk_is_no_find_even_where_it_tells_of_a_true_field() -> None:
    roles = {**ROLES, "e": "corrupted:f", "g": "second-order:a+f", "h": "random"}
    got = recovery(NAMES, roles, kept=[1, 4, 6, 7], scores=[0.1, 0.5, 0.2, 0, 0.9, 0.3, 0.8, 0.7])
    assert got["junk_share"] == 3 / 4, "all but b, a copy by nature"
    assert got["precision_at_n_keep"] == 1 / 4, "b stands for a; the junk made of f and a for nothing"
    assert got["precision_at_k"] == 1 / 4, "e, g, h and b are the best four"
    assert got["precision_by_lot"] == recovery(NAMES, ROLES, kept=[0])["precision_by_lot"]
    assert "junk_share" not in recovery(NAMES, ROLES, kept=[0, 4]), "plain noise is not put there to mislead"


def test_precision_at_k_follows_the_scores_and_not_the_kept_set() -> None:
    scores = [0.9, 0.8, 0.1, 0.7, 0.6, 0.2, 0.0, 0.0]  # best four: a, b, d, e -> roots a, d
    got = recovery(NAMES, ROLES, kept=range(8), scores=scores)
    assert got["precision_at_k"] == 2 / 4
    assert got["precision_at_n_keep"] == 4 / 8
    assert got["recall_at_n_keep"] == 1.0


def test_precision_by_lot_is_the_mean_over_all_draws() -> None:
    """A control's draws, all of them: 70 sets of 4 of the 8 fields."""
    draws = list(combinations(range(8), 4))
    mean = sum(recovery(NAMES, ROLES, kept=draw)["precision_at_k"] for draw in draws) / len(draws)
    assert recovery(NAMES, ROLES, kept=[0])["precision_by_lot"] == pytest.approx(mean)
    alone = {name: "noise-low" if name == "b" else role for name, role in ROLES.items()}
    assert recovery(NAMES, alone, kept=[0])["precision_by_lot"] == pytest.approx(4 / 8), "without copies K / F"
    assert math.isnan(recovery(["a"], {"a": "constant"}, kept=[0])["precision_by_lot"])


def test_ties_go_to_the_lower_index_and_nan_scores_count_as_none() -> None:
    tied = recovery(NAMES, ROLES, kept=[0], scores=np.zeros(8))  # a, b, c, d -> a, c, d
    assert tied["precision_at_k"] == 3 / 4
    none = recovery(NAMES, ROLES, kept=[0], scores=np.full(8, np.nan), cardinalities=np.arange(2, 10))
    assert math.isnan(none["precision_at_k"])
    assert math.isnan(none["score_cardinality_corr"])


def test_roles_without_pairs_or_main_fields_give_nan_and_no_division_by_zero() -> None:
    got = recovery(["a", "b"], {"a": "main", "b": "noise-low"}, kept=[])
    assert math.isnan(got["interaction_recall"])
    assert math.isnan(got["precision_at_n_keep"])
    assert got["recall_at_n_keep"] == 0.0


def test_correlation_of_scores_with_cardinality() -> None:
    cardinalities = np.array([3, 5, 10, 20, 50, 100, 1000, 10**6])
    up = recovery(NAMES, ROLES, [0], scores=np.arange(8.0), cardinalities=cardinalities)
    down = recovery(NAMES, ROLES, [0], scores=-np.arange(8.0), cardinalities=cardinalities)
    flat = recovery(NAMES, ROLES, [0], scores=np.ones(8), cardinalities=cardinalities)
    assert up["score_cardinality_corr"] == pytest.approx(1.0)
    assert down["score_cardinality_corr"] == pytest.approx(-1.0)
    assert math.isnan(flat["score_cardinality_corr"])


def test_ranks_agree_with_reference_implementations() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, 200), rng.integers(0, 9, 200)
    labels = (rng.random(200) < 0.1 * a).astype(np.uint8)
    assert spearman(a, b) == pytest.approx(float(stats.spearmanr(a, b).statistic), abs=1e-12)
    assert auc_of(a, labels) == pytest.approx(float(roc_auc_score(labels, a)), abs=1e-12)


def test_share_of_the_attainable_auc() -> None:
    truth = np.array([0.1, 0.2, 0.2, 0.9])
    labels = np.array([0, 1, 0, 1])
    # pairs (positive, negative): .2>.1 won, .2=.2 tied, .9 wins both -> 3.5 of 4
    got = attainable_auc_share(0.65, truth, labels)
    assert got["auc_truth"] == 3.5 / 4
    assert got["attainable_auc_share"] == pytest.approx(0.15 / 0.375)
    assert math.isnan(attainable_auc_share(0.6, truth, np.zeros(4))["attainable_auc_share"])
    assert math.isnan(attainable_auc_share(0.6, np.full(4, 0.3), labels)["attainable_auc_share"])


@pytest.mark.parametrize("source", ["z", "e", ""])
def test_a_copy_of_nothing_true_is_refused(source: str) -> None:
    with pytest.raises(DataError, match=f"field b has role 'redundant:{source}'"):
        recovery(NAMES, {**ROLES, "b": f"redundant:{source}"}, kept=[0])


def test_fields_without_a_role_are_named() -> None:
    with pytest.raises(DataError, match="without a role: y"):
        recovery([*NAMES, "y"], ROLES, kept=[0])
